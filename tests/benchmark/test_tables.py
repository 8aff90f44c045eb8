from auformer.benchmark.fold_scores import GroupScorer
from auformer.benchmark.groups import group_lines
from auformer.benchmark.tables import cross_matrix_of, group_tables, matrix_table, summary_table
from tests.helpers.run_lines import counted_line, line_of, some_predictions, three_fold_lines


def scorers(lines, draws=20):
    return [GroupScorer(group, draws=draws) for group in group_lines(lines)]


def tables(lines, draws=20):
    """Tables of the first group: main, scores, differences (with two methods or more), AUs."""
    scorer = scorers(lines, draws)[0]
    named = {table.name.removeprefix(scorer.group.name).strip("-"): table for table in group_tables(scorer)}
    return {name or "main": table for name, table in named.items()}


def row(table, label):
    (found,) = [dict(zip(table.header, cells, strict=True)) for cells in table.rows if cells[0] == label]
    return found


def said(table, text):
    return [note for note in table.notes if text in note]


def bold(table):
    return {(table.rows[i][0], table.header[k]) for i, k in table.bold}


def one_fold(au_counts, **given):
    return counted_line({au: {"bp4d/a": cells, "bp4d/b": cells} for au, cells in au_counts.items()}, **given)


class TestMain:
    def test_is_sorted_with_the_best_in_bold_and_the_floor_below(self):
        table = tables(three_fold_lines({"weak": 0.2, "strong": 1.2}), draws=50)["main"]
        assert said(table, "50 bootstrap draws of 3 + 3 + 2 subjects")
        assert [cells[0] for cells in table.rows] == ["strong", "weak", "always positive"]
        assert bold(table) == {("strong", name) for name in ("AU1", "AU4", "AU12", "mean of 3")}
        assert row(table, "strong")["95 % interval"].startswith("[")
        assert row(table, "always positive")["95 % interval"] == ""

    def test_published_rows_stand_beside_ours_and_stay_empty_where_nothing_was_published(self):
        lines = [
            one_fold({f"AU{n}": [9, 1, 1, 9] for n in (1, 2, 4, 6, 12)}, protocol="cross", data="BP4D", test="disfa")
        ]
        table = tables(lines)["main"]
        assert [cells[0] for cells in table.rows] == [
            "auformer", "FG-Net (extra data) (as published)", "UDCT (as published)", "AUFormer (as published)",
            "always positive",
        ]  # fmt: skip
        assert list(row(table, "AUFormer (as published)").values())[1:] == ["", "", "", "31.5", "43.5", "43.6", "", ""]
        (note,) = said(table, "quoted by UDCT")
        assert "over 5 AUs" in note and "not made by this package" in note and not said(table, "no source")
        assert not said(tables([line | {"data": "lab_c", "test": "lab_d"} for line in lines])["main"], "ublished")

    def test_a_published_mean_over_other_aus_says_so(self):
        lines = [one_fold({"AU1": [9, 1, 1, 9]}, data="bp4d", fold=fold) for fold in ("P1", "P2", "P3")]
        table = tables(lines)["main"]
        assert said(table, "Their means are over 12 AUs")
        assert row(table, "AUNCE (as published)")["mean of 1"] == "66.1 (12 AUs)"
        assert bold(table) == {("auformer", "AU1")}
        assert "AUFormer's own numbers here are in no source that we could read." in table.notes

    def test_what_was_selected_on_test_carries_a_dagger_everywhere_and_is_never_bold(self):
        cuts = {"thresholds": {"AU1": 0.4, "AU4": 0.4, "AU12": 0.4}}
        lines = three_fold_lines({"honest": 0.5}, **cuts)
        lines += three_fold_lines({"peeked": 1.5}, seeds=(0, 1), select="test", **cuts)
        groups = scorers(lines)
        all_tables = [*tables(lines).values(), summary_table(groups)]
        assert len(all_tables) == 5
        for table in all_tables:
            assert said(table, "† The epoch was chosen on the test split")
            for i, cells in enumerate(table.rows):
                if "peeked †" not in cells:
                    assert not any("†" in cell for cell in cells)
                    continue
                plain = ("runs", "AUs", "trained", "positives / annotated", "not annotated")
                shown = [cell for name, cell in zip(table.header, cells, strict=True) if name not in plain]
                marked = [cell for cell in shown if any(map(str.isdigit, cell)) and not cell.startswith("AU")]
                assert marked and all(cell.endswith("†") for cell in marked)
                assert not any(place[0] == i for place in table.bold)
        assert not said(tables(three_fold_lines())["main"], "†")

    def test_nan_is_shown_and_named(self):
        lines = [
            one_fold({"AU1": [3, 1, 1, 5], "AU2": [0, 1, 0, 9], "AU4": [1, 1, 1, 7]}, fold="P1"),
            one_fold({"AU1": [0, 1, 0, 9], "AU2": [0, 0, 0, 9], "AU4": [1, 1, 1, 7], "AU6": [1, 1, 1, 7]}, fold="P2"),
        ]
        table = tables(lines)["main"]
        cells = row(table, "auformer")
        assert (cells["AU1"], cells["AU2"], cells["AU4"], cells["AU6"]) == ("75.0 (1/2)", "nan", "50.0", "50.0 (1/2)")
        assert cells["mean of 4"] == "58.3 (3/4)"
        for text in (
            "Without positives, so without F1, AUROC and AP: AU2.",
            "Without positives in fold P2: AU1.",
            "Not scored in fold P1: AU6.",
        ):
            assert text in table.notes

    def test_warnings_missing_runs_unknown_labels_and_rows_without_a_face_are_footnotes(self):
        lines = three_fold_lines(seeds=(0, 1), warnings=["recipes differ"])[:-1]
        lines = [line | {"unknown": {"AU1": 2, "AU4": 0, "AU12": 0}, "unscored": {"no_face": 3}} for line in lines]
        lines[0] = lines[0] | {"warnings": ["recipes differ", "one fold only"]}
        table = tables(lines)["main"]
        for text in (
            "Warning: recipes differ",
            "Warning, auformer: one fold only (fold P1)",
            "Runs that are missing, by their folds: linear_probe, seed 1: P3. Means are over the others.",
            "Rows in which an AU is not annotated, not scored there: AU1 6.",
            "180 rows scored; left out: no_face 9.",
        ):
            assert text in table.notes

    def test_seeds_are_counted_with_their_spread(self):
        lines = three_fold_lines({"auformer": 0.8}, seeds=(0, 1, 2))
        assert row(tables(lines)["main"], "auformer")["seeds"].startswith("3 ± ")
        assert row(tables(lines[:3])["main"], "auformer")["seeds"] == "1"

    def test_one_subject_has_no_interval(self):
        lines = [counted_line({"AU1": {"d/a": [1, 1, 1, 1]}})]
        table = tables(lines)["main"]
        assert row(table, "auformer")["95 % interval"] == "" and said(table, "One subject only")

    def test_sizes_are_rows_and_compete_by_themselves(self):
        lines = []
        for size in (1.0, 100, 1000):
            lines += three_fold_lines({"auformer": 1.0, "probe": 0.4}, protocol="efficiency", subset=size)
        table = tables(lines)["main"]
        shown = [("auformer", "100"), ("auformer", "1,000"), ("auformer", "all"), ("always positive", "")]
        assert [tuple(cells[:2]) for cells in table.rows[::2]] == shown
        assert {i for i, _ in table.bold} == {0, 2, 4}
        assert len(tables(lines)["differences"].rows) == 3


class TestDetails:
    def test_scores_have_a_column_each(self):
        lines = three_fold_lines(thresholds={"AU1": 0.3, "AU4": 0.3, "AU12": 0.3})
        table = tables(lines)["scores"]
        assert table.header == [
            "method", "F1, folds", "F1, pooled", "F1, tuned thresholds", "accuracy", "AUROC", "AP", "ECE", "trained",
            "runs",
        ]  # fmt: skip
        cells = row(table, "auformer")
        assert cells["trained"] == "1,234" and cells["runs"] == "3"
        assert cells["F1, tuned thresholds"] != cells["F1, folds"]
        assert "F1, tuned thresholds" not in tables(three_fold_lines())["scores"].header

    def test_macro_f1_and_all_predictions_together_for_micro_expressions(self):
        folds = {f"s{i}": some_predictions(f"s{i}", skill=0.9, subjects=[f"s{i}"]) for i in range(4)}
        made = tables([line_of(table, protocol="micro", data="casme2", fold=fold) for fold, table in folds.items()])
        assert "macro-F1" in made["scores"].header and said(made["main"], "of the predictions of all 4 folds together")
        assert said(made["main"], "4 folds of one subject each") and said(made["main"], "240 clips scored")

    def test_every_au_has_its_counts(self):
        table = tables(three_fold_lines())["aus"]
        assert len(table.rows) == 6 and table.text_columns == 2
        first = dict(zip(table.header, table.rows[0], strict=True))
        assert first["AU"] == "AU1 Inner brow raiser" and first["positives / annotated"].endswith("/ 180")
        assert first["not annotated"] == "0"

    def test_differences_name_what_cannot_be_compared(self):
        lines = three_fold_lines({"auformer": 1.2, "probe": 0.3, "other": 0.6})
        table = tables(lines, draws=200)["differences"]
        assert [cells[:2] for cells in table.rows] == [["auformer", "other"], ["auformer", "probe"], ["other", "probe"]]
        assert all(cells[2].startswith("+") for cells in table.rows) and float(table.rows[1][4]) < 0.05
        lacking = [line for line in lines if (line["method"], line["fold"]) != ("probe", "P2")]
        table = tables(lacking)["differences"]
        assert len(table.rows) == 1 and said(table, "auformer and probe: runs are missing")
        assert "differences" not in tables(three_fold_lines({"auformer": 1.0}))


class TestMatrix:
    def lines(self):
        lines = []
        for i, (data, test) in enumerate([("lab_a", "lab_b"), ("lab_b", "lab_a")]):
            aus = ["AU1", "AU4", "AU12", "AU25"][: 4 - i]
            table = some_predictions("x", skill=0.5, subjects="abc", dataset=test, aus=aus)
            lines.append(line_of(table, protocol="cross", data=data, test=test))
        return [*lines, *three_fold_lines({"auformer": 1.0, "probe": 1.0})]

    def test_holds_within_scores_of_the_same_methods_over_the_shared_aus(self):
        groups = scorers(self.lines())
        matrix = cross_matrix_of(groups)
        assert matrix.au_names == ["AU1", "AU4", "AU12"] and list(matrix.values) == ["auformer"]
        table = matrix_table(matrix)
        assert [cells[:2] for cells in table.rows] == [["lab_a", "auformer"], ["lab_b", "auformer"]]
        assert table.header[2:] == ["lab_a", "lab_b"]
        assert table.rows[1][3] == "" and "" not in (table.rows[0][2], table.rows[0][3], table.rows[1][2])
        assert table.rows[0][2] == row(tables(three_fold_lines({"auformer": 1.0}))["main"], "auformer")["mean of 3"]

    def test_is_not_made_of_one_pair(self):
        assert cross_matrix_of(scorers(self.lines()[:1])) is None
