"""The documentation builds without a warning and without a network, its links lead somewhere, its commands run.

The build here leaves the notebooks unexecuted, which takes half a minute less: `test_notebooks.py` runs their cells.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

from auformer.aus import ACTION_UNITS, AU_SETS
from auformer.data.schema import CLIP_FRAMES, KEY, NUMBERS, PREDICTION_KINDS
from auformer.predict.table import table_columns
from tests.helpers.documents import blocks, commands, reader_files, run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# Pages whose commands run here, in the order of the site. Those of data_prep/README.md need data that nobody has here.
IN_ORDER = (
    "install",
    "first_photo",
    "first_video",
    "page",
    "own_coding",
    "exports",
    "clips",
    "language",
    "r",
    "benchmarks",
)

FIT = "--data.train photos-coded/manifest.csv --data.test null --out runs/mine"
# What a page says -> what runs here, ROOT being the checkout; None: there is nothing to run, and why.
VIDEOS = "--data.train runs/videos/manifest.csv --data.test runs/videos-test/manifest.csv --data.chunk_rows 48"
START = "--data.train photos-coded/manifest.csv --out runs/mine"
REDUCED: dict[str, str | None] = {
    "pip install .": None,  # whoever runs the tests has installed it; tests/test_wheel.py does so from a wheel
    "pip install '.[heic,annotations]'": None,  # likewise
    "pip install '.[page]'": None,  # likewise
    "pip install '.[language]'": None,  # likewise
    # tests/commands/test_language.py and tests/experiments/test_language.py train networks that speak
    "auformer describe runs/vlfau data/synth-b/manifest.csv --all --out runs/b.descriptions.csv": None,
    "auformer ask runs/aullava photo.jpg 'How strong is AU12?'": "auformer ask demo photo.jpg 'How strong is AU12?'",
    "auformer score-text runs/b.descriptions.csv data/synth-b/manifest.csv --ngrams": "auformer score-text --help",
    "auformer fit --config experiments/configs/language/vlfau.yaml": None,
    "auformer fit --config experiments/configs/language/aullava_tiny.yaml": None,
    "auformer fit --config experiments/configs/language/aullava_7b.yaml": None,
    "auformer synth --videos 2 --subjects 20 --out runs/videos --workers 4 --sheet": (
        "auformer synth --videos 1 --subjects 1 --frames 80 --size 32 --out runs/videos --sheet"
    ),
    "auformer synth --videos 2 --subjects 10 --first-subject 100 --out runs/videos-test --workers 4": None,  # likewise
    # tests/training/test_films.py trains on videos
    f"auformer fit --config experiments/configs/temporal/synthetic_vit_mdhr.yaml --out runs/vit-mdhr {VIDEOS}": None,
    "auformer page": "auformer page --help",  # it runs until it is ended; tests/page opens it
    "auformer page runs/talk": "auformer page --help",
    "auformer demo --fast": "auformer demo --help",  # tests/test_readme.py runs it
    "auformer predict talk.mp4 --out runs/talk --annotate --plot --report": "auformer predict talk.mp4 --out runs/talk",
    f"auformer fit --config experiments/configs/synthetic.yaml {FIT}": None,  # tests/test_readme.py trains with it
    # tests/experiments/test_configs.py trains with it
    f"auformer fit --config experiments/configs/own_coding.yaml {START}": None,
    "auformer evaluate runs/mine others-coded/manifest.csv --out runs/others.csv": (
        "auformer evaluate demo photos-coded/manifest.csv --out runs/others.csv"
    ),
    "auformer predict talk.mp4 --checkpoint runs/mine --out runs/talk-mine": (
        "auformer predict talk.mp4 --checkpoint demo --out runs/talk-mine"
    ),
    # first_video has run it on the video
    "auformer summarise predictions.csv --out summary.csv --pairs pairs.csv": None,
}


class _Links(HTMLParser):
    """Targets and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.targets.append(given["href"])
        if tag in ("img", "script", "link", "source", "iframe"):
            self.loaded += [given[name] for name in ("src", "href") if name in given]


def test_the_reader_of_pages_sees_links_and_what_is_loaded() -> None:
    page = _Links('<a href="b.html#c">x</a><h2 id="d"></h2><img src="e.png"><script src="https://f/g.js"></script>')
    assert (page.targets, page.loaded, page.anchors) == (["b.html#c"], ["e.png", "https://f/g.js"], {"d"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; that the build ends without a warning is what this fixture itself demands."""
    out = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-q", "-D", "nb_execution_mode=off", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_links_between_the_pages_lead_to_a_place(site: Path) -> None:
    pages = {path: _Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for target in [*page.targets, *page.loaded]:
            file, _, anchor = unquote(target).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            to = (path.parent / file.split("?")[0]).resolve() if file else path
            if not to.exists() or (anchor and to in pages and anchor not in pages[to].anchors):
                broken.append(f"{path.name}: {target}")
    assert len(pages) > len(PAGES) and broken == []


@pytest.mark.slow
def test_the_pages_load_nothing_from_a_network(site: Path) -> None:
    pages = {path.name: _Links(path.read_text(encoding="utf-8")).loaded for path in site.rglob("*.html")}
    assert [(name, one) for name, all_ in pages.items() for one in all_ if re.match(r"(https?:)?//", one)] == []


@pytest.mark.slow
def test_every_rendered_au_has_its_image_and_its_muscle(site: Path) -> None:
    text = (site / "action_units.html").read_text(encoding="utf-8")
    for name in AU_SETS["all"]:
        unit = ACTION_UNITS[name]
        assert f"{name}: {unit.name}" in text and f"Muscle: {unit.muscle}." in text
        assert re.search(rf'<img alt="[^"]*with {name},[^"]*"[^>]*src="_images/{name}\.png"', text)
    assert len({(site / "_images" / f"{name}.png").read_bytes() for name in AU_SETS["all"]}) == len(AU_SETS["all"])


def test_every_column_is_explained() -> None:
    text = (DOCS / "columns.md").read_text(encoding="utf-8")
    said = {name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    written = {*table_columns(["AU12"], ["AU12"]), *KEY, *NUMBERS, "status", "fold", "clip", *CLIP_FRAMES}
    written |= {f"AU12_{kind}" for kind in PREDICTION_KINDS}
    assert written - said == set()
    assert {name for name in said if not name.startswith("group_")} == written


def test_every_page_is_reached_from_the_first() -> None:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = {line for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL) for line in block.split("\n")}
    files = {path.stem for path in PAGES} | {f"notebooks/{path.stem}" for path in DOCS.glob("notebooks/*.ipynb")}
    assert files - {"index"} == {line for line in listed if line and not line.startswith(":")}


def test_questions_name_the_thread_in_which_they_were_asked() -> None:
    sections = (DOCS / "faq.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) >= 10
    for section in sections:
        assert re.search(r"\(https://github\.com/[\w-]+/[\w-]+/issues/\d+\)", section), section.split("\n")[0]


def test_only_pages_that_run_here_have_commands() -> None:
    with_commands = {path.stem for path in PAGES if commands(path.read_text(encoding="utf-8"))}
    assert with_commands == set(IN_ORDER)
    said = [one for name in IN_ORDER for one in commands((DOCS / f"{name}.md").read_text(encoding="utf-8"))]
    assert [command for command in REDUCED if command not in said] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_commands_and_python_of_the_pages_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader who has a photo and a video, and has coded both."""
    monkeypatch.chdir(reader_files(tmp_path))
    (tmp_path / "photos").mkdir()
    rows = []
    for number in range(8):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes())
        rows.append({"path": f"{number}.jpg", "subject": f"s{number // 2}", "AU12": number % 2})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    _code_the_video(tmp_path)
    for name in IN_ORDER:
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for command in dict.fromkeys(commands(text)):
            reduced = REDUCED.get(command, command)
            if reduced is None:
                continue
            if reduced.startswith("auformer benchmark"):
                reduced = reduced.replace("experiments/", "ROOT/experiments/")
            assert run(reduced, tmp_path) == 0, f"{name}: {command}\n(as {reduced})"
        names: dict[str, object] = {"__name__": name}
        for block in blocks("python", text):
            exec(compile(block, name, "exec"), names)


def _code_the_video(folder: Path) -> None:
    """`videos`, with `talk.mp4` and a coding of it as ELAN writes it."""
    import pympi

    videos = folder / "videos"
    videos.mkdir()
    (videos / "talk.mp4").write_bytes((folder / "talk.mp4").read_bytes())
    coding = pympi.Elan.Eaf()
    coding.remove_tier("default")
    coding.add_linked_file(str(videos / "talk.mp4"), relpath="./talk.mp4")
    coding.add_tier("AU12")
    coding.add_annotation("AU12", 0, 120, "")
    coding.to_file(str(videos / "talk.eaf"))
