import math

from auformer.scoring.scores import score_predictions
from auformer.scoring.tables import au_columns_table, group_table, score_table
from tests.helpers.predictions import random_predictions


def scores_with_gaps():
    """AU2 has positives in two of three folds, AU12 in none, AU25 no truth, AU4 no probability."""
    table = random_predictions(5)
    table.loc[(table["fold"] == "P2") & (table["AU2_true"] == 1), "AU2_true"] = 0
    table.loc[table["AU12_true"] == 1, "AU12_true"] = 0
    return score_predictions(table.assign(AU25_prob=0.5, AU4_true=1), by="subject")


def cells(markdown):
    """Rows of cells of a Markdown table, without its bold."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("*") for cell in line.split("|")[1:-1]] for line in lines]


class TestScoreTable:
    def test_every_number_of_the_scores(self):
        scores = scores_with_gaps()
        header, _, *rows, mean = cells(score_table(scores).markdown())
        assert header == ["AU", "FACS name", "F1", "F1, folds", "AUROC", "AP", "accuracy", "always yes", "positives"]
        values = scores["per_au"]["AU1"]
        names = ("f1", "f1_folds", "auroc", "average_precision", "accuracy", "always_positive_f1")
        rates = [values[name] for name in names]
        positives = f"{values['positives']} / {values['annotated']}"
        assert rows[0] == ["AU1", "Inner brow raiser", *(f"{100 * rate:.1f}" for rate in rates), positives]
        assert mean[:3] == ["mean", "of 3 AUs", f"{100 * scores['mean']['f1']:.1f} (2/3)"]

    def test_gaps_are_visible(self):
        _, _, _, second, third, mean = cells(score_table(scores_with_gaps()).markdown())
        assert second[3].endswith(" (2/3)") and third[2:6] == ["nan"] * 4 and third[6] != "nan"
        assert [cell.endswith("(2/3)") for cell in mean[2:8]] == [True, True, True, True, False, True]
        text = score_table(scores_with_gaps()).text()
        assert "Without positives, in no mean but that of accuracy: AU12." in text
        assert "Predicted, but without truth: AU25." in text and "With truth, but not predicted: AU4." in text
        assert "270 of 300 rows scored; left out: no_face 30." in text

    def test_other_gaps(self):
        table = random_predictions().drop(columns="fold").assign(AU1_true=-1, AU2_true=1)
        text = score_table(score_predictions(table)).text()
        assert "Without annotated rows, in no mean: AU1." in text
        assert "Without negatives, so without AUROC: AU2." in text
        assert "folds" not in text

    def test_nothing_is_left_out_in_silence_when_all_is_well(self):
        table = random_predictions().drop(columns="fold")
        assert score_table(score_predictions(table[table["status"] == "ok"])).text().splitlines()[-2:] == [
            "Rates x 100; active from a probability of 0.5 on; 'always yes': F1 of a detector that always says yes.",
            "270 of 270 rows scored.",
        ]


class TestAUColumns:
    def test_groups(self):
        scores = scores_with_gaps()
        header, _, *rows = cells(group_table(scores).markdown())
        assert header == ["subject", "AU1", "AU2", "AU12", "mean of 3", "AUROC", "rows"]
        for name, row in zip(scores["groups"], rows, strict=True):
            group = scores["groups"][name]
            assert row[0] == name and row[1] == f"{100 * group['per_au']['AU1']['f1']:.1f}" and row[3] == "nan"
            assert row[4].startswith(f"{100 * group['mean']['f1']:.1f} (") and row[6] == str(group["rows"])

    def test_missing_and_nan_are_the_same(self):
        f1 = {"a": {"AU1": math.nan, "AU2": 0.5}, "b": {"AU2": 0.5}, "c": {}}
        half, none = ["nan", "50.0", "50.0 (1/2)"], ["nan"] * 3
        assert [row[1:] for row in au_columns_table("m", f1, ["AU1", "AU2"]).rows] == [half, half, none]
