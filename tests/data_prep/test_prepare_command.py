"""`auformer prepare`: the words, the list, the summary, errors as one line."""

import pytest

from auformer.cli import main
from auformer.data_prep.datasets import catalogue as readers
from auformer.data_prep.pipeline import prepare as pipeline
from tests.helpers.trees.tiny import TinyDetector, TinyReader


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    for module in (pipeline, readers):
        monkeypatch.setattr(module, "load", lambda name: TinyReader())
    monkeypatch.setattr(pipeline, "make_detector", lambda spec, largest: TinyDetector())


SUMMARY = """\
Tiny
16 rows of 3 subjects in 4 sequences
12 with an image, 4 no_face

AU     positives  labelled    rate
AU1            8        16   0.500
AU12           4        12   0.333

intensity of 0 to 5: AU12

Found on the way:
  no face found (4): S1/smile: frame 3; S1/weinen é/1: frame 3; film.mkv: frame 3 ...
  known faults of tiny: 1 rows corrected

"""


def test_the_summary_twice(tree, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["prepare", "tiny", "--root", str(tree), "--out", str(out), "--threshold", "3", "--size", "64"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"{SUMMARY}{out / 'manifest.csv'}\n"
    assert "preparing tiny" in said.err and "16/16" in said.err and "frame" in said.err
    assert main(words) == 0
    assert capsys.readouterr().out == f"{SUMMARY}All was there already: {out / 'manifest.csv'}\n"
    assert main([*words, "--no-corrections"]) == 1
    assert "corrections was True and is now False" in capsys.readouterr().err


def test_a_dry_run_counts_the_labels(tree, tmp_path, capsys):
    assert main(["prepare", "tiny", "--root", str(tree), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "16 rows of 3 subjects in 4 sequences\n\nAU " in said and "AU12           4        12   0.333" in said
    assert said.endswith("Labels only: no image was opened, nothing was written.\n")


def test_a_dry_run_tells_missing_files_after_the_counts(tree, capsys, monkeypatch):
    class Incomplete(TinyReader):
        def read(self, root, findings, *, threshold=2, corrections=True):
            findings.miss("S9", "not there")
            return super().read(root, findings, threshold=threshold, corrections=corrections)

    for module in (pipeline, readers):
        monkeypatch.setattr(module, "load", lambda name: Incomplete())
    words = ["prepare", "tiny", "--root", str(tree), "--dry-run"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "16 rows of 3 subjects" in said.out and "missing files: 1, the first S9: not there" in said.out
    assert "--partial" in said.err
    assert main([*words, "--partial"]) == 0


def test_the_list_has_every_data_set_and_so_has_the_refusal_of_an_unknown_one(capsys, monkeypatch):
    monkeypatch.undo()
    assert main(["prepare", "--list"]) == 0
    said = capsys.readouterr().out
    for name in readers.NAMES:
        release = readers.load(name).RELEASE
        assert release.name == name and f"{name}: {release.title}\n  request   {release.request}\n" in said
        assert all(line in said for line in release.tree.strip().splitlines())
    assert main(["prepare", "gft", "--root", "."]) == 1
    assert "one of bp4d, disfa," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ([], "Expected a data set, one of "),
        (["tiny"], "--root"),
        (["tiny", "--root", "nowhere"], "Expected `--out`"),
        (["tiny", "--root", ".", "--out", "x", "--recipe", "face"], "invalid choice"),
        (["tiny", "--root", ".", "--out", "x", "--camera", "left"], "unrecognized arguments: --camera"),
    ],
)
def test_wrong_words(words, match, capsys):
    assert main(["prepare", *words]) in (1, 2)
    said = capsys.readouterr().err
    assert match in said and "Traceback" not in said


def test_help_says_what_to_request_and_the_options(capsys):
    assert main(["prepare", "tiny", "--help"]) == 0
    said = capsys.readouterr().out
    assert "request   nothing, from nobody" in said and "--threshold" in said and "--no-corrections" in said
    assert main(["prepare", "--help"]) == 0
    assert "auformer prepare disfa --root" in capsys.readouterr().out
