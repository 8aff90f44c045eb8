"""README.md does what it says: every shell command runs in the reduced form that `REDUCED` gives it, and the Python block runs as well.

A command without an entry fails, and so does an entry that README.md no longer has. Commands run in the order of README.md in one empty
folder, where `photo.jpg` is a photograph of a person in the public domain, and `talk.mp4` moves over it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from auformer.cli import main
from auformer.commands import demo
from tests.helpers.trees.pictures import write_video

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

TINY = (
    "--trainer.max_epochs 1 --trainer.accelerator cpu --data.image_size 32 --data.batch_size 4 --model.init_args.backbone test_vit "
    "--model.init_args.pretrained false "
    "--model.init_args.img_size 32 --out runs/fit"
)

# Hours or days, on data that is not here: listed only.
LISTED = (
    "auformer benchmark within --data bp4d/manifest.csv --config experiments/bp4d.yaml --out runs/bp4d",
    "auformer benchmark cross --train bp4d/manifest.csv --test disfa/manifest.csv --config experiments/bp4d.yaml --out runs/cross",
    "auformer benchmark efficiency --data bp4d/manifest.csv --config experiments/bp4d.yaml --out runs/efficiency",
    "auformer benchmark micro --data casme2/manifest.csv --protocol loso --config experiments/casme2.yaml --out runs/casme2",
    "auformer benchmark suite experiments/suite-synthetic.yaml --jobs 2",
)

# What README.md says -> what runs here, ROOT being the checkout. Text after `#` instead of a command: why there is nothing to run.
REDUCED: dict[str, str] = {
    "make demo": "make -n demo",
    "make test": "make -n test",
    "pip install .": "# whoever runs the tests has installed it; tests/test_wheel.py does so from a wheel",
    "auformer demo": "auformer demo --fast",  # with fewer faces still, see below
    "auformer synth --lab A --subjects 50 --frames 50 --aus bp4d --out data/synth-a": (
        "auformer synth --lab A --subjects 6 --frames 4 --aus bp4d --size 64 --out data/synth-a"
    ),
    "auformer synth --lab B --subjects 20 --frames 100 --aus bp4d --first-subject 120 --out data/synth-b": (
        "auformer synth --lab B --subjects 2 --frames 4 --aus bp4d --size 64 --first-subject 120 --out data/synth-b"
    ),
    "auformer fit --config experiments/synthetic.yaml": f"auformer fit --config ROOT/experiments/synthetic.yaml {TINY}",
    "auformer evaluate demo data/synth-b/manifest.csv --out runs/predictions.csv": (
        "auformer evaluate demo data/synth-b/manifest.csv --out runs/predictions.csv"
    ),
    "auformer score runs/predictions.csv --by subject": "auformer score runs/predictions.csv --by subject",
    "auformer info demo": "auformer info demo",
    "auformer export demo --out runs/detector.onnx": "auformer export demo --format torch --out runs/detector.pt2",  # the faster of the two
    "auformer prepare --list": "auformer prepare --list",
    "auformer prepare disfa --root disfa --out disfa-crops --dry-run": "auformer prepare disfa --help",  # nobody may pass the data on
    "auformer verify data/synth-b/manifest.csv": "auformer verify data/synth-b/manifest.csv",
    "auformer predict photo.jpg --out runs/photo": "auformer predict photo.jpg --out runs/photo",
    "auformer predict talk.mp4 --out runs/talk --annotate --plot --report": (
        "auformer predict talk.mp4 --out runs/talk --annotate --plot --report"
    ),
    "auformer predict talk.mp4 --out runs/openface --format openface --detect-every 5": (
        "auformer predict talk.mp4 --out runs/openface --format openface --detect-every 5"
    ),
    "auformer predict videos/ --out runs/videos --cluster ray": "# tests/inference/test_cluster_ray.py does so on two processes",
    "auformer compare runs/talk/predictions.csv runs/openface/talk.csv": (
        "auformer compare runs/talk/predictions.csv runs/openface/talk.csv"
    ),
    **{command: f"{command.replace('experiments/', 'ROOT/experiments/')} --dry-run" for command in LISTED},
}

# What a Python block names that would take a download or long: replaced by something tiny.
SMALLER: dict[str, str] = {
    "vit_base_patch16_224.augreg_in21k": "vit_tiny_patch16_224",
    "pretrained=True": "pretrained=False",
}


def _blocks(language: str, text: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def _commands(text: str) -> list[str]:
    """Every command of the bash blocks on one line each, without comments; `a && b` are two."""
    found = []
    for block in _blocks("bash", text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            parts = " ".join("&&" if word == "&&" else shlex.quote(word) for word in words).split(" && ")
            found += [part for part in parts if part]
    return found


def _run(command: str, folder: Path) -> int:
    """Exit code of one reduced command; `auformer` runs in this process, which has its packages loaded already."""
    words = shlex.split(command.replace("ROOT", str(ROOT)))
    if words[0] == "auformer":
        return main(words[1:])
    if words[0] in ("python", "pip"):
        words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "pip"]
    return subprocess.run(
        words, cwd=ROOT if words[0] == "make" else folder, capture_output=True, check=False
    ).returncode


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader of README.md stands, with a photograph at hand."""
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("reader")
    cv2.imwrite(str(path / "photo.jpg"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    write_video(path / "talk.mp4", [astronaut()[:240, 100 + k : 340 + k] for k in range(6)])
    return path


def test_the_reader_of_blocks_sees_what_a_shell_would() -> None:
    shell = "pip install x  # once\nauformer synth \\\n  --lab A\n\n# only words\nmake a && make 'b c'\n"
    text = f"a\n```bash\n{shell}```\n```python\nmake = 1\n```\n"
    assert _commands(text) == ["pip install x", "auformer synth --lab A", "make a", "make 'b c'"]
    assert _blocks("python", text) == ["make = 1\n"]


def test_every_command_has_a_reduced_form_and_every_form_a_command(readme: str) -> None:
    said = list(dict.fromkeys(_commands(readme)))
    assert [command for command in said if command not in REDUCED] == []
    assert [command for command in REDUCED if command not in said] == []
    assert {"auformer", "make"} <= {command.split()[0] for command in said}


@pytest.mark.timeout(600)
def test_commands_and_python_run_in_the_order_of_the_readme(
    readme: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(demo, "FAST", demo.Plan(train=(6, 8), val=(2, 8), test=(2, 8), epochs=1, probe_epochs=1))
    for command in dict.fromkeys(_commands(readme)):
        reduced = REDUCED[command]
        if not reduced.startswith("#"):
            assert _run(reduced, folder) == 0, f"{command}\n(as {reduced})"
    blocks = _blocks("python", readme)
    assert blocks
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        exec(compile(block, str(README), "exec"), names)


def test_links_and_pictures_of_the_readme_exist(readme: str) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", readme)
    local = {(a or b).split("#")[0] for a, b in targets if "://" not in a + b and not (a + b).startswith("mailto:")} - {
        ""
    }
    assert [target for target in sorted(local) if not (ROOT / target).exists()] == []
