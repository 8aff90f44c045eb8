import csv
from importlib import resources

import pytest

from auformer.scoring.published import published_rows, read_published


def test_every_row_has_a_source_and_its_numbers():
    text = resources.files("auformer").joinpath("assets", "published_f1.csv").read_text(encoding="utf-8")
    for row, line in zip(read_published(), csv.DictReader(text.splitlines()), strict=True):
        assert row.source == line["source"] != "" and row.method == line["method"]
        assert 100 * row.mean == pytest.approx(float(line["mean"]))
        assert {au: round(100 * value, 2) for au, value in row.f1.items()} == {
            au: float(value) for au, value in line.items() if au.startswith("AU") and value
        }


@pytest.mark.parametrize(
    "row", [row for row in read_published() if row.protocol == "within"], ids=lambda row: f"{row.test}-{row.method}"
)
def test_means_are_those_of_the_cells(row):
    assert row.num_aus == len(row.f1) == {"BP4D": 12, "DISFA": 8}[row.test]
    assert 100 * sum(row.f1.values()) / len(row.f1) == pytest.approx(100 * row.mean, abs=0.11)


def test_auformer_has_no_cell_that_nobody_published():
    assert [row.method for row in published_rows("within", "bp4d", "BP4D") if row.method == "AUFormer"] == []
    (row,) = [row for row in published_rows("cross", "bp4d", "disfa") if row.method == "AUFormer"]
    assert list(row.f1) == ["AU6", "AU12"] and row.num_aus == 5
    assert published_rows("cross", "disfa", "bp4d") == [] and published_rows("efficiency", "bp4d", "bp4d") == []
