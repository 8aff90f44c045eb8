"""Intensities of every data set that codes them: 0 to 5 or empty, what the sidecar says of them, and odd scales."""

import numpy as np
import pandas as pd
import pytest

from auformer.cli import main
from auformer.data.images import write_image
from auformer.data.manifest import validate_manifest
from auformer.data.schema import aus_with
from auformer.data_prep.datasets import feafa
from auformer.data_prep.datasets.catalogue import load
from auformer.data_prep.formats.csv_labels import read_labels
from auformer.data_prep.pipeline.summary import intensities, table_lines
from auformer.data_prep.release import LETTERS, Findings
from auformer.errors import DatasetLayoutError
from tests.helpers.trees import kinds, read
from tests.helpers.trees.bp4d import write_bp4d
from tests.helpers.trees.disfa import write_disfa, write_disfaplus
from tests.helpers.trees.images import plain_image
from tests.helpers.trees.others import write_ckplus, write_unbc
from tests.helpers.trees.photo_sets import FEAFA_COLUMNS, write_bosphorus, write_feafa

SETS = {
    "disfa": (write_disfa, 12, 2), "disfaplus": (write_disfaplus, 12, 2), "bp4d": (write_bp4d, 5, None),
    "unbc": (write_unbc, 9, 1), "bosphorus": (write_bosphorus, None, None), "ckplus": (write_ckplus, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SETS))
def test_levels_are_0_to_5_or_empty_and_the_sidecar_says_what_they_are(tmp_path, name):
    write, number, threshold = SETS[name]
    write(tmp_path)
    rows, _ = read(name, tmp_path)
    rows = rows.assign(image=None, status="no_face", dataset=name)
    manifest = validate_manifest(rows)
    aus = aus_with(manifest.columns, "intensity")
    assert aus and (number is None or len(aus) == number)
    release = load(name).RELEASE
    record = {} if threshold is None else {"threshold": threshold}
    told = intensities(release, manifest, record)
    assert told["intensity"] == release.intensity and told["intensity_coded"].keys() == set(aus)
    assert told.get("occurrence_threshold") == threshold
    for au in aus:
        values = manifest[f"{au}_intensity"].dropna()
        assert set(values) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0} and told["intensity_coded"][au] == len(values)
        if threshold is not None:  # occurrence is the threshold's, and unknown where the intensity is
            level = manifest[f"{au}_intensity"].to_numpy()
            expected = np.where(np.isnan(level), -1, level >= threshold)
            assert manifest[au].tolist() == expected.tolist()
    assert f"intensity of 0 to 5: {', '.join(aus)}" in table_lines(manifest)


def test_what_each_data_set_says():
    texts = {name: load(name).RELEASE.intensity for name in (*SETS, "feafa", "samm")}
    assert "code 9" in texts["bp4d"] and "times 5" in texts["feafa"] and "AU43" in texts["unbc"]
    assert texts["bosphorus"] == texts["samm"] == LETTERS and "A to E are 1 to 5" in LETTERS
    assert "present, not scored" in texts["ckplus"]


def test_nothing_is_said_where_nothing_is_coded():
    assert intensities(load("affwild2").RELEASE, pd.DataFrame({"AU1": [1]}), {"threshold": 2}) == {}


def test_closed_eyes_of_unbc_are_there_or_not(tmp_path):
    write_unbc(tmp_path)
    rows, _ = read("unbc", tmp_path)
    assert "AU43" in rows and "AU43_intensity" not in rows and set(rows["AU43"]) <= {0, 1}
    assert {f"AU{au}_intensity" for au in (4, 6, 7, 9, 10)} <= set(rows.columns)  # PSPI can be derived


def test_fractions_of_feafa_are_levels_with_its_threshold_beside_them(tmp_path):
    write_feafa(tmp_path / "feafa")
    (tmp_path / "columns.txt").write_text(FEAFA_COLUMNS, encoding="utf-8")
    names = feafa.names_in(str(tmp_path / "columns.txt"))
    rows = feafa.read(tmp_path / "feafa", Findings(), columns=names, threshold=0.5)
    told = intensities(feafa.RELEASE, rows, {"threshold": 0.5})
    assert told["occurrence_threshold"] == 2.5
    for au in told["intensity_coded"]:
        assert rows[f"{au}_intensity"].between(0, 5).all()
        assert rows[au].tolist() == (rows[f"{au}_intensity"] >= 2.5 - 1e-9).astype(int).tolist()


class TestTables:
    def read(self, findings=None, scale=None, **columns):
        table = pd.DataFrame({name: pd.to_numeric(pd.Series(values)) for name, values in columns.items()})
        options = {"missing": frozenset({9.0}), "threshold": 2.0, "where": "mine.csv", "scale": scale}
        return read_labels(table, findings=findings or Findings(), **options)

    def test_occurrence_follows(self):
        """The opener has made numbers of letters and words before."""
        found = Findings()
        rows = self.read(found, AU12_r=["1", "5", "", "0", "9", "2.5"])
        assert rows["AU12_intensity"].tolist()[:2] == [1, 5] and np.isnan(rows["AU12_intensity"][[2, 4]]).all()
        assert rows["AU12"].tolist() == [0, 1, -1, 0, -1, 1]
        assert kinds(found) == ["read as not annotated", "occurrence from intensity"]
        assert "from an intensity of 2 on" in found.notes[1][2]

    def test_fractions_are_refused_until_the_scale_is_named(self):
        columns = {"AU1_r": ["0", "1", "1"], "AU12_r": ["0.25", "0", "1"]}
        with pytest.raises(DatasetLayoutError, match="--intensity-scale 1, or 5"):
            self.read(**columns)
        assert self.read(scale=1.0, **columns)["AU12_intensity"].tolist() == [1.25, 0, 5]
        assert self.read(scale=1.0, **columns)["AU1"].tolist() == [0, 1, 1]
        assert self.read(scale=5.0, **columns)["AU12_intensity"].tolist() == [0.25, 0, 1]
        assert self.read(AU12_r=["0", "1", "1"])["AU12_intensity"].tolist() == [0, 1, 1]  # whole numbers are levels
        assert self.read(AU1_r=["0", "3"], AU12_r=["0.25", "0"])["AU12_intensity"].tolist() == [0.25, 0]

    def test_above_the_scale_is_refused_with_what_to_set(self):
        wanted = r"`AU12_r` to be an intensity of 0 to 5, but got '80'.*--missing-values.*--intensity-scale"
        with pytest.raises(DatasetLayoutError, match=wanted):
            self.read(AU12_r=["20", "80"][1:])
        assert self.read(scale=100.0, AU12_r=["20", "80"])["AU12_intensity"].tolist() == [1, 4]
        with pytest.raises(DatasetLayoutError, match="0 to 1, but got '1.5'"):
            self.read(scale=1.0, AU12_r=["0.5", "1.5"])


def test_the_scale_is_an_option_of_the_command(tmp_path, capsys):
    write_image(tmp_path / "a.png", plain_image(1))
    (tmp_path / "labels.csv").write_text("path,AU12_r\na.png,0.5\n", encoding="utf-8")
    words = ["prepare", "csv", "--root", str(tmp_path), "--table", str(tmp_path / "labels.csv"), "--dry-run"]
    assert main(words) == 1 and "--intensity-scale 1, or 5" in capsys.readouterr().err
    assert main([*words, "--intensity-scale", "1"]) == 0
    assert "intensity of 0 to 5: AU12" in capsys.readouterr().out
    assert main([*words, "--intensity-scale", "0"]) == 1 and "above 0" in capsys.readouterr().err


def test_letters_are_levels_and_others_are_refused(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, plain_image(1))
    table = tmp_path / "labels.csv"
    words = ["prepare", "csv", "--root", str(tmp_path), "--table", str(table), "--dry-run"]
    table.write_text("path,AU12_r\na.png,A\nb.png,e\n", encoding="utf-8")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "the letters A to E read as the FACS intensities 1 to 5 (2 cells)" in said
    assert "AU12           1         2   0.500" in said  # A is below the threshold of 2, E above
    table.write_text("path,AU12_r\na.png,A\nb.png,F\n", encoding="utf-8")
    assert main(words) == 1
    assert "line 3: expected `AU12_r` to be a number or empty, but got 'F'" in capsys.readouterr().err
