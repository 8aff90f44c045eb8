"""README.md does what it says: every shell command runs, as it is or in a reduced form, and so do the Python blocks.

Commands run in the order of README.md in one empty folder, where `photo.jpg` is a photograph of a person in the public
domain, and `talk.mp4` moves over it. What documents name exists.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.documents import blocks, commands, reader_files, run

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = [
    "README.md",
    "data_prep/README.md",
    "experiments/README.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "auformer" / "assets").glob("*.md"))),
]

TINY = (
    "--trainer.max_epochs 1 --trainer.accelerator cpu --data.image_size 32 --data.batch_size 4 "
    "--model.init_args.network.init_args.backbone test_vit --model.init_args.network.init_args.pretrained false "
    "--model.init_args.network.init_args.img_size 32 --out runs/fit"
)
SMALL = {  # rendered: a few small faces
    "--subjects 50 --frames 50": "--subjects 6 --frames 4 --size 64",
    "--subjects 20 --frames 100": "--subjects 2 --frames 4 --size 64",
}

# What README.md says -> what runs here, ROOT being the checkout; None: there is nothing to run, and why.
REDUCED: dict[str, str | None] = {
    "make demo": "make -n demo",
    "make test": "make -n test",
    "pip install .": None,  # whoever runs the tests has installed it; tests/test_wheel.py does so from a wheel
    "auformer demo": "auformer demo --fast",
    "auformer fit --config experiments/configs/synthetic.yaml": (
        f"auformer fit --config ROOT/experiments/configs/synthetic.yaml {TINY}"
    ),
    "auformer export demo --out runs/detector.onnx": (
        "auformer export demo --format torch --out runs/detector.pt2"  # the faster of the two
    ),
    "auformer prepare disfa --root disfa --out disfa-crops --dry-run": (
        "auformer prepare disfa --help"  # nobody may pass the data on
    ),
    "auformer prepare annotations --root videos --table talk.eaf --out talk-coded": (
        "auformer prepare annotations --root . --table runs/talk/elan/talk.eaf --dry-run"
    ),
    "pip install '.[page]'": None,  # likewise
    "auformer page runs/talk": "auformer page --help",  # it runs until it is ended; tests/page opens it
    "auformer predict videos/ --out runs/videos --cluster ray": None,  # tests/predict does so on two processes
}


def _reduced(command: str) -> str | None:
    """The form of a command that runs here: days of training are listed only, few faces are rendered."""
    if command in REDUCED:
        return REDUCED[command]
    if command.startswith("auformer benchmark"):
        return f"{command.replace('experiments/', 'ROOT/experiments/')} --dry-run"
    for large, small in SMALL.items():
        command = command.replace(large, small)
    return command


# What a Python block names that would take a download or long: replaced by something tiny.
SMALLER: dict[str, str] = {
    "vit_base_patch16_224.augreg_in21k": "vit_tiny_patch16_224",
    "pretrained=True": "pretrained=False",
}


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of README.md stands, with a photograph at hand."""
    return reader_files(tmp_path_factory.mktemp("reader"))


def test_the_reader_of_blocks_sees_what_a_shell_would() -> None:
    shell = "pip install x  # once\nauformer synth \\\n  --lab A\n\n# only words\nmake a && make 'b c'\n"
    text = f"a\n```bash\n{shell}```\n```python\nmake = 1\n```\n"
    assert commands(text) == ["pip install x", "auformer synth --lab A", "make a", "make 'b c'"]
    assert blocks("python", text) == ["make = 1\n"]


def test_every_reduced_form_belongs_to_a_command(readme: str) -> None:
    said = commands(readme)
    assert [command for command in REDUCED if command not in said] == []
    assert {"auformer", "make"} <= {command.split()[0] for command in said}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_and_python_run_in_the_order_of_the_readme(
    readme: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for command in dict.fromkeys(commands(readme)):
        reduced = _reduced(command)
        if reduced is not None:
            assert run(reduced, folder) == 0, f"{command}\n(as {reduced})"
    python = blocks("python", readme)
    assert python
    names: dict[str, object] = {"__name__": "readme"}
    for block in python:
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        exec(compile(block, str(README), "exec"), names)


def test_public_names_of_the_readme() -> None:
    """The names that other people's code imports."""
    from auformer import AUFormer, AUModule, AUPredictor, MDWALoss
    from auformer.predict import AUPredictor as Predictor

    assert AUPredictor is Predictor
    assert {AUFormer.__name__, AUModule.__name__, MDWALoss.__name__} == {"AUFormer", "AUModule", "MDWALoss"}


@pytest.mark.parametrize("file", DOCUMENTS)
def test_links_of_the_documents_exist(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    targets = {(a or b).split("#")[0] for a, b in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)}
    local = {target for target in targets if target and "://" not in target and not target.startswith("mailto:")}
    assert [target for target in sorted(local) if not ((ROOT / file).parent / target).exists()] == []


@pytest.mark.parametrize("file", DOCUMENTS)
def test_files_and_modules_that_the_documents_name_exist(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:auformer|data_prep|experiments|tests|docs)/[\w./-]+)`", text))
    paths |= {name.replace(".", "/") + ".py" for name in re.findall(r"python -m (experiments[\w.]+\w)", text)}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
