"""Every data set from its miniature release to a verified manifest; wrong folders, options, damaged files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest
from auformer.data_prep.datasets.catalogue import NAMES, load
from auformer.data_prep.pipeline import prepare as pipeline
from auformer.data_prep.pipeline.prepare import own_options
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import assert_rows, bp4d, casme, disfa, micro, others, photo_sets, read, write_text
from tests.helpers.trees.images import face_image
from tests.helpers.trees.tiny import TinyDetector


def write_photos(root: Path) -> None:
    for number in range(2):
        write_image(root / f"photo {number}.jpg", face_image(number, 0))


TREES: dict[str, Callable[..., Any]] = {
    "bp4d": bp4d.write_bp4d, "bp4dplus": bp4d.write_bp4dplus, "disfa": disfa.write_disfa,
    "disfaplus": disfa.write_disfaplus, "casme": casme.write_casme, "casme2": casme.write_casme2,
    "casme3": casme.write_casme3, "casme_sq": casme.write_casme_sq, "samm": micro.write_samm,
    "mmew": micro.write_mmew, "fourdme": micro.write_fourdme, "ckplus": others.write_ckplus,
    "unbc": others.write_unbc, "affwild2": others.write_affwild2, "emotionet": photo_sets.write_emotionet,
    "rafau": photo_sets.write_rafau, "feafa": photo_sets.write_feafa, "bosphorus": photo_sets.write_bosphorus,
    "csv": write_photos,
}  # fmt: skip


def options(name: str) -> dict[str, Any]:
    """What a data set cannot be read without: nobody has published the order of FEAFA's values."""
    return {"columns": ",".join(photo_sets.FEAFA_COLUMNS.split()[3:])} if name == "feafa" else {}


class EverywhereDetector(TinyDetector):
    """A face in plain images too."""

    def __call__(self, image, **where):
        noise = image.copy()
        noise[::2] = 255 - noise[::2]
        noise[0, :2] = (0, 255, 0), (255, 0, 255)
        return super().__call__(noise, **where)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name != "annotations"]
)  # no release; it has tests of its own
def test_from_release_to_verified_manifest(name, tmp_path, capsys, monkeypatch):
    """By the words of the README, with blanks and non-ASCII in the path; the release is not written to."""
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: EverywhereDetector())
    root, out = tmp_path / "Release é 1", tmp_path / "out"
    root.mkdir()
    expected = TREES[name](root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    words = ["prepare", name, "--root", str(root)]
    if name == "feafa":
        words += ["--columns", str(write_text(tmp_path / "columns.txt", photo_sets.FEAFA_COLUMNS))]
    assert main([*words, "--dry-run", "--partial"]) == 0, capsys.readouterr().err
    counted = capsys.readouterr().out.splitlines()
    assert not out.exists()
    assert main([*words, "--out", str(out), "--size", "32", "--partial"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert counted[1] in said and said.endswith(f"{out / 'manifest.csv'}\n")
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    manifest = read_manifest(out / "manifest.csv")
    side = manifest.attrs["side"]
    assert side["dataset"] == name and side["crop_recipe"] == "eyes" and str(tmp_path) not in json.dumps(side)
    assert (manifest["status"] == "ok").any() and all((out / image).is_file() for image in manifest["image"].dropna())
    if isinstance(expected, pd.DataFrame):
        names = ["subject", "sequence", "frame", *(au for au in expected if au.startswith("AU"))]
        assert_rows(manifest, expected[names])
    for au in load(name).RELEASE.au_names:
        assert manifest[au].isin([-1, 0, 1]).all()
    main(["verify", str(out / "manifest.csv"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert {problem["kind"] for problem in report["problems"]} <= {"duplicate_image"}  # plain images are alike


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("csv", "annotations")])
def test_the_wrong_folder_is_named(tmp_path, name):
    """It says what was looked for and what is there."""
    (tmp_path / "holiday").mkdir()
    wanted = r"Expected .* in .*, but none of .* is there; the folder holds .*holiday/"
    with pytest.raises(DatasetLayoutError, match=wanted):
        read(name, tmp_path, **options(name))
    with pytest.raises(DatasetLayoutError, match="there is none at"):
        read(name, tmp_path / "nowhere", **options(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_keeps_to_the_interface(name, monkeypatch):
    """Its release says everything; the words of the command are the arguments of `read`, with the same defaults."""
    reader = load(name)
    release = reader.RELEASE
    said = (release.title, release.request, release.terms, release.tree, release.frames, release.source)
    assert release.name == name and all(said)
    assert set(release.options) == set(own_options(reader)) - {"corrections"}
    received = {}

    def prepare(*_, options, **settings):
        received.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("auformer.data_prep.prepare", prepare)
    main(["prepare", name, "--root", "x", "--dry-run"])
    assert received == own_options(reader)


LABELS = {
    "bp4d": "AUCoding/AU_OCC/F001_T1.csv",
    "disfa": "ActionUnit_Labels/SN001/SN001_au12.txt",
    "disfaplus": "DISFAPlusDataset/Labels/SN010/A1_AU1_TrailNo_1/AU4.txt",
    "ckplus": "FACS/S010/002/S010_002_00000014_facs.txt",
    "unbc": "Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff002_facs.txt",
    "affwild2": "annotations/AU_Set/Train_Set/12-24-1920x1080_left.txt",
    "rafau": "RAFAU_label.txt",
    "feafa": "FEAFA-A/PV057.output/00000004.auw",
    "bosphorus": "facscodes/facscodes.lst",
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bp4d", "", "F001_T1.csv"),
        ("bp4d", "0,1,2\n", "F001_T1.csv"),
        ("bp4d", "0,1\n1,0\n", "F001_T1.csv"),
        ("bp4d", b"\xff\xfe\x00\x00", "F001_T1.csv"),
        ("disfa", "1,0\n2,6\n", r"SN001_au12\.txt, line 2: expected intensity to be .* 0, 1, 2, 3, 4, 5, but got 6"),
        ("disfa", "1,0\n2,9\n", "got 9"),
        ("disfa", "1,0\n2,\n", "line 2: .* but got ''"),
        ("disfa", "1,0\n1,0\n", "frame 1 is there for the second time"),
        ("disfa", "1 0\n2 0\n", "cannot be read as one"),
        ("disfa", "", "expected a line per frame, but there is none"),
        ("disfaplus", "000.jpg 6\n", r"AU4\.txt, line 1: expected an intensity of 0 to 5, but got '6'"),
        ("disfaplus", "# a\n000.jpg 1\n0.jpg 2\n", "line 3: frame 0 is there for the second time"),
        ("disfaplus", "000.jpg\n", "line 1: expected an image and its intensity"),
        ("disfaplus", "cover.jpg 1\n", "line 1: expected an image and its intensity"),
        ("ckplus", "4 6\n", r"S010_002_00000014_facs\.txt, line 1: expected the intensity to be 0 to 5, but got 6"),
        ("ckplus", "4 1.5\n", "line 1: expected the intensity to be 0 to 5, but got 1.5"),
        ("ckplus", "1 2\n\n0 1\n", "line 3: expected the action unit to be 1 to 99, but got 0"),
        ("ckplus", "4\n", "line 1: expected an action unit and its intensity, but got 1 numbers"),
        ("ckplus", "4 1\nAU five\n", "line 2: expected numbers between blanks, but got 'AU five'"),
        ("ckplus", "4 nan\n", "line 1: expected numbers between blanks"),
        ("ckplus", "\n\nAU\nAU\n", "line 4: expected numbers between blanks"),
        ("unbc", "4 7 0 0\n", r"ll042t1aaaff002_facs\.txt, line 1: expected the intensity to be 0 to 5, but got 7"),
        ("unbc", "4 1 0 0 0\n", "line 1: expected an action unit, its intensity and two numbers, but got 5"),
        ("unbc", "4 1 0 0\nnothing here\n", "line 2: expected numbers between blanks"),
        ("unbc", "400 1 0 0\n", "line 1: expected the action unit to be 1 to 99, but got 400"),
        ("affwild2", "AU1,AU2\n1,0\n1,9\n", r"_left\.txt, line 3: expected AU2 to be -1, 0 or 1, but got 9"),
        ("affwild2", "AU1,AU2\n1,0\n\n1,0\n", "line 3: expected AU1 to be -1, 0 or 1, but got nan"),
        ("affwild2", "AU1,AU2\n1,x\n", "line 2: expected AU2 to be -1, 0 or 1, but got x"),
        ("affwild2", "Neutral,Anger\n1,0\n", "expected a header of action units"),
        ("affwild2", "", "expected a header of action units"),
        ("affwild2", "AU1,AU2\n", "expected a header of action units"),
        ("affwild2", "AU1,AU2\n1\n", "2 names, 1 values in a line"),
        ("affwild2", "AU1,AU2\n1,0\n1,0,1\n", "Expected 2 fields in line 3, saw 3"),
        ("affwild2", "AU1,AU2\n1,0,1,1\n", "2 names, 4 values in a line"),
        ("rafau", "0001.jpg 4\n0001.jpg 12\n", "line 2: 0001.jpg is there for the second time, as in line 1"),
        ("rafau", "0001.jpg 4\n12+4\n", "line 2: expected an image and its codes"),
        ("rafau", b"\xff\xfe\x00", "expected text, but it cannot be read"),
        ("feafa", " ".join(["0"] * 23), r"00000004\.auw: expected one line of 24 numbers, but got 23 in 1 lines"),
        ("feafa", "", "expected one line of 24 numbers, but got 0 in 0 lines"),
        ("feafa", " ".join(["0"] * 23 + ["1.5"]), "expected numbers from 0 to 1, but got 1.5"),
        ("feafa", " ".join(["0"] * 23 + ["x"]), "expected numbers between blanks"),
        ("bosphorus", "h\nh\nbs011_N_N_0 -> 1\nbs011_N_N_0 -> 1\n", "line 4: bs011_N_N_0 .* as in line 3"),
        ("bosphorus", "h\nh\nbs011_LFAU_15_0 12C\n", "line 3: expected `bs000_LFAU_12_0 -> 12C` or the like"),
        ("bosphorus", "h\nh\nsomebody -> 12C\n", "line 3: expected `bs000_LFAU_12_0 -> 12C` or the like"),
    ],
)  # fmt: skip
def test_damaged_label_files(tmp_path, name, content, message):
    TREES[name](tmp_path)
    write_text(tmp_path / LABELS[name], content)
    with pytest.raises(DatasetLayoutError, match=message):
        read(name, tmp_path, **options(name))


@pytest.mark.parametrize(
    ("name", "first", "second", "message"),
    [
        ("bp4d", "F001/T1/0009.jpg", "9.jpg", r"0009\.jpg and 9\.jpg are both frame 9"),
        ("bp4d", "F001/T1/0009.jpg", "img_0009.png", "are both frame 9; remove one"),
        ("ckplus", "cohn-kanade-images/S010/002/S010_002_00000014.png", "S010_002_014.png", "are both frame 14"),
        ("ckplus", LABELS["ckplus"], "S010_002_014_facs.txt", "one FACS file per frame"),
        ("unbc", LABELS["unbc"], "ll042t1aaaff0002_facs.txt", r"0002_facs\.txt and .*002_facs\.txt are both frame 2"),
        ("affwild2", "cropped_aligned/12-24-1920x1080_left/00001.jpg", "1.jpg", r"1\.jpg are both frame 1"),
        ("affwild2", LABELS["affwild2"], "../Validation_Set/12-24-1920x1080_left.txt", "every video in one set"),
        ("rafau", "aligned/0001_aligned.jpg", "0001_aligned.png", r"one image for 0001_aligned\.jpg, but"),
        ("feafa", LABELS["feafa"], "4.auw", r"00000004\.auw and 4\.auw are both frame 4"),
        ("bosphorus", "BosphorusDB/BosphorusDB/bs000/bs000_N_N_0.png", "bs000_N_N_0.jpg", "may both be it"),
    ],
)  # fmt: skip
def test_two_files_for_one_frame(tmp_path, name, first, second, message):
    TREES[name](tmp_path)
    shutil.copy(tmp_path / first, (tmp_path / first).parent / second)
    with pytest.raises(DatasetLayoutError, match=message):
        read(name, tmp_path, **options(name))
