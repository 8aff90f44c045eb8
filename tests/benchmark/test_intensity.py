"""Intensities in a benchmark: what a line holds, parity with scoring of all rows, tables, and runs from end to end."""

import json

import numpy as np
import pandas as pd
import pytest

from auformer.benchmark.fold_scores import GroupScorer
from auformer.benchmark.groups import group_lines
from auformer.benchmark.intensity import IntensityScorer
from auformer.benchmark.intensity_tables import intensity_tables
from auformer.benchmark.record import record_intensity
from auformer.benchmark.report import write_results
from auformer.benchmark.tables import summary_table
from auformer.data.manifest import read_manifest
from auformer.scoring.intensity import score_intensity
from tests.helpers.benchmarks import jobs_of, rewrite, run_job, suite_of, two_labs
from tests.helpers.run_lines import AUS, FOLDS, line_of, some_predictions


def graded(fold, *, noise, seed=0, aus=AUS, **given):
    """Predictions with intensities; the codes depend on the fold alone, AU12 is always 0."""
    table = some_predictions(fold, skill=1.0, seed=seed, aus=aus, **given)
    codes, errors = (np.random.default_rng(list(f"{fold}{text}".encode())) for text in ("", f"{noise}{seed}"))
    for au in aus:
        coded = codes.choice(6, len(table)).astype(float) * (au != "AU12")
        coded[codes.random(len(table)) < 0.1] = np.nan
        table[f"{au}_intensity_true"] = coded
        table[f"{au}_intensity_pred"] = np.clip(np.nan_to_num(coded) + errors.normal(0, noise, len(table)), 0, 5)
    return table


def lines_of(methods, seeds=(0,), **given):
    return [
        line_of(graded(fold, noise=noise, seed=seed), method=method, fold=fold, seed=seed, **given)
        for method, noise in methods.items()
        for seed in seeds
        for fold in FOLDS
    ]


def scorer_of(lines, draws=30):
    (group,) = group_lines(lines)
    return IntensityScorer(GroupScorer(group, draws=draws))


def tables(lines, draws=30):
    scorer = scorer_of(lines, draws)
    return {one.name.removeprefix(scorer.scorer.group.name): one for one in intensity_tables(scorer)}


def test_scores_and_intervals_are_those_of_all_rows_together():
    """Lines alone give what `auformer score` gives of the joined predictions: same draws, same numbers."""
    joined = pd.concat([graded(fold, noise=0.8) for fold in FOLDS], ignore_index=True)
    expected, (found,) = score_intensity(joined, draws=30), scorer_of(lines_of({"auformer": 0.8})).ranked
    for name, score in found.scores.items():
        values = [expected["per_au"][au][name] for au in AUS]
        assert score.values == pytest.approx(
            [np.nan if value is None else value for value in values], abs=1e-6, nan_ok=True
        )
        assert score.mean.value == pytest.approx(expected["mean"][name], abs=1e-6)
        assert score.mean_interval()[:2] == pytest.approx(expected["mean"]["interval"][name], abs=1e-6)
    assert found.rows.tolist() == [expected["per_au"][au]["rows"] for au in AUS]
    assert found.reasons == ["", "", "always coded 0"] and found.icc.mean.num == 2


def test_seeds_are_averaged_and_the_best_is_bold():
    lines = lines_of({"weak": 2.0, "strong": 0.5}, seeds=(0, 1))
    alone = [scorer_of([line for line in lines if line["seed"] == s]).ranked[0].icc.mean.value for s in (0, 1)]
    found = tables(lines)
    main = found["-intensity"]
    assert [row[0] for row in main.rows] == ["strong", "weak"] and (0, main.header.index("mean of 3")) in main.bold
    cells = dict(zip(main.header, main.rows[0], strict=True))
    assert cells["mean of 3"] == f"{np.mean(alone):.3f} (2/3)" and cells["seeds"].startswith("2 ± ")
    assert cells["AU12"] == "nan" and any("Always coded 0: AU12." in note for note in main.notes)
    scores = found["-intensity-scores"]
    assert scores.header == ["method", "ICC", "ICC, folds", "CCC", "PCC", "MAE", "MSE", "runs"]
    assert (0, scores.header.index("MAE")) in scores.bold  # the lowest error
    apart = found["-intensity-differences"].rows
    assert len(apart) == 1 and apart[0][:2] == ["strong", "weak"] and apart[0][2].startswith("+0.")
    assert len(found["-intensity-aus"].rows) == 6


def test_methods_without_intensities_are_named_and_lines_without_any_make_no_table():
    lines = lines_of({"auformer": 0.5})
    plain = [line_of(some_predictions(fold, skill=0.5), method="plain", fold=fold) for fold in FOLDS]
    assert all(line["intensity"] is None for line in plain)
    main = tables(lines + plain)["-intensity"]
    assert [row[0] for row in main.rows] == ["auformer"] and "Without intensities: plain." in main.notes
    older = [{name: value for name, value in line.items() if name != "intensity"} for line in plain]
    assert tables(older) == {}
    scorers = [GroupScorer(group, draws=5) for group in group_lines(lines + plain)]
    summary = summary_table(scorers)
    icc = summary.header.index("ICC")
    assert [bool(row[icc]) for row in summary.rows] == [row[1] == "auformer" for row in summary.rows]
    assert "ICC" not in summary_table([GroupScorer(group, draws=5) for group in group_lines(older)]).header


def test_numbers_selected_on_test_carry_the_dagger():
    main = tables(lines_of({"auformer": 0.5}, select="test"))["-intensity"]
    assert main.rows[0][1].endswith("†") and not main.bold


def test_pain_is_in_a_line_and_in_no_mean():
    aus = ("AU4", "AU6", "AU7", "AU9", "AU10", "AU43")
    rows = graded("P1", noise=0.5, aus=aus).drop(columns=["AU43_intensity_true", "AU43_intensity_pred"])
    held = record_intensity(rows)
    assert held["aus"] == list(aus[:5]) and set(held["sums"]) == {*aus[:5], "PSPI"}
    json.dumps(held, allow_nan=False)
    lines = [line_of(rows, method="auformer", fold="P1")]
    table = tables(lines)["-intensity-scores"]
    assert table.header[-3:] == ["PSPI: ICC", "PSPI: MAE", "runs"]
    assert (
        dict(zip(table.header, table.rows[0], strict=True))["PSPI: ICC"]
        == f"{score_intensity(rows)['pspi']['icc']:.3f}"
    )


def test_a_page_shows_them(tmp_path):
    page = write_results(lines_of({"auformer": 0.5, "probe": 1.5}), tmp_path, bootstraps=20)
    text = page.read_text(encoding="utf-8")
    assert "ICC of intensities per action unit" in text and "differences in ICC" in text
    assert (tmp_path / "figures" / "within-lab_a-intensity.png").stat().st_size > 5_000
    assert (tmp_path / "tables" / "within-lab_a-intensity.csv").is_file()


def with_codes(manifest, aus):
    """Give a tiny manifest intensities: 0 where absent, else 1 to 5 in turn."""
    frame = read_manifest(manifest)
    levels = 1 + np.arange(len(frame)) % 5
    return rewrite(manifest, **{f"{au}_intensity": np.where(frame[au] == 1, levels, 0) for au in aus})


ENTRY = {"set": {"network.intensity": "ordinal"}}


def test_a_run_trains_predicts_and_scores_intensities(tmp_path):
    data = two_labs(tmp_path)
    with_codes(data["one"].manifest, ("AU1", "AU12"))  # AU4 is coded for occurrence only
    job = jobs_of(suite_of(tmp_path, data, {"protocol": "within", "data": "one", **ENTRY}))[0]
    line = run_job(job)
    assert line["intensity"]["aus"] == ["AU1", "AU12"] and line["aus"] == ["AU1", "AU4", "AU12"]
    expected = score_intensity(pd.read_csv(job.folder / "predictions.csv"))
    rows = {au: int(sum(sums[0] for sums in line["intensity"]["sums"][au].values())) for au in ("AU1", "AU12")}
    assert rows == {au: expected["per_au"][au]["rows"] for au in rows} and min(rows.values()) > 0


def test_across_data_sets_only_what_both_code_is_scored(tmp_path):
    data = two_labs(tmp_path)
    with_codes(data["one"].manifest, ("AU1", "AU4"))
    with_codes(data["two"].manifest, ("AU4", "AU12"))
    line = run_job(jobs_of(suite_of(tmp_path, data, {"protocol": "cross", "train": "one", "test": "two", **ENTRY}))[0])
    assert line["aus"] == ["AU4", "AU12"] and line["intensity"]["aus"] == ["AU4"]


def test_each_subject_left_out(tmp_path):
    data = two_labs(tmp_path)
    suite = suite_of(tmp_path, data, {"protocol": "within", "data": "one", "folds": "loso"})
    jobs = jobs_of(suite)
    assert [job.run.fold for job in jobs] == [f"S{number:03d}" for number in range(6)]
    assert [job.run.test.subjects for job in jobs][:2] == [("one/S000",), ("one/S001",)]
    lines = [line_of(graded(f"S{k}", noise=0.5, subjects=[f"S{k}"]), fold=f"S{k}") for k in range(4)]
    scorer = scorer_of(lines)
    assert scorer.scorer.main == "f1_pooled" and scorer.ranked[0].icc.mean_interval().num == 30
