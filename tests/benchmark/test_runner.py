from dataclasses import replace

import pandas as pd
import pytest
import torch

from auformer.benchmark import runner
from auformer.benchmark.runner import build_data, claim, execute, finished_line
from auformer.benchmark.store import RunLock, check_claims, forget, read_lines, restore_lines
from auformer.benchmark.suite import Source
from auformer.data.manifest import read_manifest, read_predictions
from auformer.data.splits import people
from auformer.files import read_json
from auformer.models import load_detector, save_adapter
from auformer.predict import manifest
from tests.helpers.benchmarks import Killed, jobs_of, rewrite, run_job, suite_of, tiny_clips, two_labs

WITHIN = {"protocol": "within", "data": "one"}
CROSS = {"protocol": "cross", "train": "one", "test": "two"}


def plain(line):
    """What may not differ between two ways to the same result."""
    return {name: value for name, value in line.items() if name not in ("seconds", "commit", "machine")}


def weights(job):
    network = load_detector(job.folder / "adapter.safetensors", backbone_checkpoint=job.config.weights)
    return network.adapter_state_dict()


@pytest.fixture(scope="module")
def finished(labs, tmp_path_factory):
    """A run of the fold T1, three epochs."""
    job = jobs_of(suite_of(tmp_path_factory.mktemp("run"), labs, WITHIN, **{"trainer.max_epochs": 3}))[0]
    return job, run_job(job)


def test_a_run_writes_its_folder_and_its_line(finished):
    job, line = finished
    names = {path.name for path in job.folder.iterdir()}
    assert {"run.json", "line.json", "config.yaml", "log.txt", "metrics.csv"} <= names
    assert {"adapter.safetensors", "predictions.csv", "predictions.json"} <= names
    assert RunLock(job.folder / "run.lock").holder() is None
    table = read_predictions(job.folder / "predictions.csv")
    assert set(table["fold"]) == {"T1"} and len(table) == 8 and table.attrs["side"]["run"]["key"] == line["key"]
    assert list(read_lines(job.out).values()) == [line] == [read_json(job.folder / "line.json")]
    assert (line["aus"], line["rows"], line["unscored"]) == (["AU1", "AU4", "AU12"], 8, {})
    assert {subject for counts in line["counts"].values() for subject in counts} == {"one/S000", "one/S003"}
    assert set(line["thresholds"]) == set(line["aus"]) and line["select"] == "validation" and line["epochs"] == 3
    assert line["folder"] == "runs/within/one/auformer/T1-seed0"
    assert 0 < line["trainable_parameters"] < line["total_parameters"]
    scores = pd.read_csv(job.folder / "metrics.csv")["val/f1"].dropna()
    assert line["validation_score"] == pytest.approx(scores.max()) and line["epoch"] == scores.argmax() + 1
    text = (job.folder / "log.txt").read_text(encoding="utf-8")
    assert "within  one  fold T1  auformer  seed 0" in text and "finished: epoch" in text


def test_no_person_is_in_two_parts(finished):
    data = build_data(finished[0])
    train, val, test = (set(people(data.splits[part])) for part in ("train", "val", "test"))
    assert train and val and test and not (train & val or train & test or val & test)


def test_a_finished_run_is_not_run_again(finished, monkeypatch):
    job, line = finished
    monkeypatch.setattr(runner, "_run", lambda *_: pytest.fail("ran again"))
    assert execute(job) == line == finished_line(job)


def test_a_grid_survives_the_loss_of_folders_and_of_the_file(finished, tmp_path):
    job, line = finished
    (tmp_path / "runs.jsonl").write_bytes((job.out / "runs.jsonl").read_bytes())
    assert finished_line(replace(job, out=tmp_path, folder=tmp_path / "runs/x")) == line
    (job.out / "runs.jsonl").unlink()
    restore_lines(job.out)
    assert list(read_lines(job.out).values()) == [line] and (job.out / "runs.jsonl").is_file()


def test_somebody_else_s_run_is_left_alone(finished):
    job, _ = finished
    lock = RunLock(job.folder / "run.lock")
    assert lock.acquire()
    assert execute(job) is None and (job.folder / "run.lock").is_file()
    lock.release()


@pytest.mark.slow
def test_another_configuration_is_refused_and_no_resume_begins_anew(labs, finished):
    job, _ = finished
    other = jobs_of(suite_of(job.out.parent, labs, WITHIN, **{"trainer.max_epochs": 1}))[0]
    assert other.folder == job.folder
    with pytest.raises(ValueError, match=r"config.fit.epochs was 3 and is now 1"):
        check_claims(job.out, [other.claim])
    copy = jobs_of(suite_of(job.out.parent, labs, WITHIN, out="copy"))[0]
    run_job(copy)
    changed = jobs_of(suite_of(job.out.parent, labs, WITHIN, out="copy", **{"trainer.max_epochs": 2}))[0]
    forget(changed.out, [changed.claim])
    assert finished_line(changed) is None
    claim(changed, resume=False)
    assert execute(changed)["epochs"] == 2 and len(read_lines(changed.out)) == 1


@pytest.mark.kill
@pytest.mark.parametrize("where", ["epoch", "write_predictions", "append_line"])
def test_a_run_killed_anywhere_ends_the_same(finished, labs, tmp_path, monkeypatch, where):
    reference, line = finished
    job = jobs_of(suite_of(reference.out.parent, labs, WITHIN, out=f"killed-{where}", **{"trainer.max_epochs": 3}))[0]

    def kill(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        if where == "epoch":
            start = "auformer.training.module.AUModule.on_train_epoch_start"
            patch.setattr(start, lambda module: kill() if module.current_epoch == 2 else None)
        else:
            patch.setattr(runner if where == "append_line" else manifest, where, kill)
        claim(job)
        with pytest.raises(Killed):
            execute(job)
    assert (job.folder / "last.ckpt").is_file()
    assert (finished_line(job) is None) == (where != "append_line")
    again = run_job(job)
    restore_lines(job.out)
    assert plain(again) == plain(line) and list(read_lines(job.out).values()) == [again]
    assert (job.folder / "predictions.csv").read_bytes() == (reference.folder / "predictions.csv").read_bytes()
    torch.testing.assert_close(weights(job), weights(reference), rtol=0, atol=0)


def test_select_on_test_is_flagged_everywhere(labs, tmp_path):
    honest, job = (jobs_of(suite_of(tmp_path, labs, {**WITHIN, "select_on_test": flag}))[0] for flag in (False, True))
    line = run_job(job)
    assert line["select"] == "test" and line["thresholds"] is None and line["counts_tuned"] is None
    data = build_data(job)
    assert data.splits["val"].equals(data.splits["test"]) and len(data.splits["train"]) == 16
    side = read_json(job.folder / "predictions.json")
    assert "†" in side["notice"] and job.folder != honest.folder and job.claim["key"] != honest.claim["key"]


def test_cross_trains_and_scores_what_both_have(labs, tmp_path):
    job = jobs_of(suite_of(tmp_path, labs, CROSS))[0]
    line = run_job(job)
    assert line["aus"] == ["AU4", "AU12"] and (line["data"], line["test"], line["rows"]) == ("one", "two", 16)
    assert {subject.partition("/")[0] for subject in line["counts"]["AU4"]} == {"two"}


def test_efficiency_trains_on_few_frames_for_enough_steps(labs, tmp_path):
    entry = {"protocol": "efficiency", "data": "one", "sizes": [5], "min_steps": 7}
    job = jobs_of(suite_of(tmp_path, labs, entry))[0]
    assert len(build_data(job).splits["train"]) == 5
    line = run_job(job)
    assert line["subset"] == 5 and line["epochs"] == 7 and line["rows"] == 8  # one batch per epoch
    metrics = pd.read_csv(job.folder / "metrics.csv")
    assert metrics["val/f1"].notna().sum() == 1  # as often as configured
    assert line["config"]["min_steps"] == 7


def test_rows_without_a_face_are_counted(tmp_path):
    labs = two_labs(tmp_path)
    frame = read_manifest(labs["one"].manifest)
    rewrite(labs["one"].manifest, status=["no_face" if row in (1, 2, 5) else "ok" for row in range(len(frame))])
    line = run_job(jobs_of(suite_of(tmp_path, labs, WITHIN))[0])
    assert line["rows"] == 6 and line["unscored"] == {"no_face": 2}


def test_clips_are_predicted_once_each(tmp_path):
    data = {"clips": Source(tiny_clips(tmp_path / "clips"))}
    settings = {"data.clip_input": "difference", "select": "last", "data.val_fraction": 0.0}
    jobs = jobs_of(suite_of(tmp_path, data, {"protocol": "micro", "data": "clips", "set": settings}))
    assert [job.run.fold for job in jobs] == ["S0", "S1", "S2", "S3"]
    line = run_job(jobs[1])
    table = read_predictions(jobs[1].folder / "predictions.csv")
    assert table["clip"].tolist() == ["S1_0", "S1_1"] and table["frame"].tolist() == [11, 11] and line["rows"] == 2
    assert line["select"] == "last" and line["thresholds"] is None


@pytest.mark.slow
def test_experts_of_a_checkpoint(labs, tmp_path):
    macro = jobs_of(suite_of(tmp_path, labs, WITHIN))[0]
    run_job(macro)
    slow = {"model.lr": 1e-12}  # what is trained stays what was taken over
    entry = {"protocol": "micro", "data": "clips", "split": "4fold", "init": ["none", f"macro={macro.folder}"]}
    data = {"clips": Source(tiny_clips(tmp_path / "clips", au_names=("AU4", "AU12", "AU17")))}
    jobs = jobs_of(suite_of(tmp_path, data, {**entry, "set": slow}))
    job = next(job for job in jobs if job.run.init == "macro")
    line = run_job(job)
    assert line["init"] == "macro" and line["init_sha256"] and job.folder.parent.name == "auformer-from-macro"
    frozen = job.config.weights
    source, target = (load_detector(each.folder, backbone_checkpoint=frozen) for each in (macro, job))
    for au, same in (("AU4", True), ("AU17", False)):
        one = target.expert_weights(0, au)["conv.weight"]
        assert torch.allclose(one, source.expert_weights(0, "AU4")["conv.weight"], atol=1e-5) == same


def test_a_checkpoint_that_saw_the_test_data_is_a_warning(labs, tmp_path):
    macro = jobs_of(suite_of(tmp_path, labs, WITHIN))[0]
    run_job(macro)
    network = load_detector(macro.folder, backbone_checkpoint=macro.config.weights)
    save_adapter(tmp_path / "seen.safetensors", network, training_data={"train": {"datasets": ["clips"]}})
    data = {"clips": Source(tiny_clips(tmp_path / "clips"))}
    entry = {"protocol": "micro", "data": "clips", "split": "4fold", "init": str(tmp_path / "seen.safetensors")}
    line = run_job(jobs_of(suite_of(tmp_path, data, entry))[0])
    assert any("seen was itself trained on clips" in text for text in line["warnings"])


def test_an_au_that_training_never_shows_is_an_error_in_the_log(tmp_path):
    labs = two_labs(tmp_path)
    frame = read_manifest(labs["one"].manifest)
    rewrite(labs["one"].manifest, AU4=frame["AU4"].where(frame["fold"] == "T1", 0))
    job = jobs_of(suite_of(tmp_path, labs, WITHIN))[0]
    claim(job)
    with pytest.raises(ValueError, match=r"AU4 \(\d+ annotated rows\)"):
        execute(job)
    assert "ManifestError: Expected every action unit" in (job.folder / "log.txt").read_text(encoding="utf-8")
    assert finished_line(job) is None
    left_out = jobs_of(suite_of(tmp_path, labs, WITHIN, out="other", **{"data.leave_out_missing": True}))[0]
    line = run_job(left_out)
    assert line["aus"] == ["AU1", "AU12"] and "without a positive training row, so not trained: AU4" in line["warnings"]
