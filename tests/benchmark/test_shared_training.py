import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from auformer.benchmark import jobs as trained_once
from auformer.benchmark import runner
from auformer.benchmark.jobs import next_job, training_key, training_lock
from auformer.benchmark.report import provenance
from auformer.benchmark.runner import claim, execute
from auformer.benchmark.store import LINE, RunLock, read_lines
from auformer.benchmark.suite import Source
from auformer.benchmark.workers import run_jobs
from auformer.files import sha256
from auformer.predict import manifest
from auformer.training.run_folder import RunFolder
from tests.helpers.benchmarks import Killed, jobs_of, run_job, suite_of, two_labs, write_config
from tests.helpers.faces import tiny_manifest
from tests.helpers.runs import write_vit

CROSS = {"protocol": "cross", "train": "one"}
TWICE = {**CROSS, "test": ["two", "three"]}


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """`one` to train on; `two` and `three` share AU4 and 12 with it, `four` AU1 and 4."""
    folder = tmp_path_factory.mktemp("labs")
    aus = {"three": ("AU4", "AU12"), "four": ("AU1", "AU4")}
    size = {"subjects": 4, "frames": 4}
    more = {
        name: tiny_manifest(folder / name, **size, dataset=name, au_names=names, seed=len(name))
        for name, names in aus.items()
    }
    return two_labs(folder) | {name: Source(path) for name, path in more.items()}


@pytest.fixture
def trainings(monkeypatch):
    """Folders in which something was trained."""
    folders = []
    fit = runner.fit

    def counted(module, data, out, **settings):
        folders.append(Path(out).parent.parent.name)
        return fit(module, data, out, **settings)

    monkeypatch.setattr(runner, "fit", counted)
    return folders


def plain(line):
    """What may not differ between a training of its own and one that was taken over."""
    return {name: value for name, value in line.items() if name not in ("seconds", "trained_by")}


@pytest.fixture(scope="module")
def shared(labs, tmp_path_factory):
    """Makes a benchmark of which the first of two runs is finished."""
    folder = tmp_path_factory.mktemp("shared")
    first = jobs_of(suite_of(folder, labs, TWICE, out="made"))[0]
    run_job(first)

    def copy(name):
        shutil.copytree(folder / "made", folder / name)
        return folder / name, jobs_of(suite_of(folder, labs, TWICE, out=name))

    return copy


@pytest.fixture(scope="module")
def alone(labs, tmp_path_factory):
    """Line and predictions of the second run, trained by itself."""
    job = jobs_of(suite_of(tmp_path_factory.mktemp("alone"), labs, {**CROSS, "test": "three"}))[0]
    return run_job(job), (job.folder / "predictions.csv").read_bytes()


def test_two_test_sets_train_once(shared, alone, trainings):
    out, (first, second) = shared("once")
    line = run_job(second)
    assert trainings == [] and execute(first) is not None
    (other,) = [one for one in read_lines(out).values() if one["test"] == "two"]
    assert line["trained_by"] == other["folder"] == "runs/cross/one-to-two/auformer/seed0"
    assert other["trained_by"] is None
    assert line["seconds"] == other["seconds"] > 0 and line["epoch"] == other["epoch"]
    assert plain(line) == plain(alone[0]) and (second.folder / "predictions.csv").read_bytes() == alone[1]
    side = json.loads((second.folder / "predictions.json").read_text(encoding="utf-8"))
    assert side["run"] == dict(second.claim)
    assert side["adapter"]["sha256"] == sha256(first.folder / "adapter.safetensors")
    log = (second.folder / "log.txt").read_text(encoding="utf-8")
    assert f"training taken over from {other['folder']}, commit c0ffee" in log
    assert execute(second) == line
    left = [path.name for path in second.folder.iterdir()]
    assert "last.ckpt" not in left
    assert {"adapter.safetensors", "metrics.csv", "config.yaml", "summary.json"} <= set(left)


def test_a_third_run_names_who_has_trained(shared, trainings):
    out, (first, second) = shared("third")
    run_job(second)
    shutil.rmtree(first.folder)  # what was taken over can be taken over again
    folder = out / "runs/again/one-to-three/auformer/seed0"
    third = replace(second, claim={**second.claim, "name": "again"}, folder=folder)
    assert run_job(third)["trained_by"] == "runs/cross/one-to-two/auformer/seed0" and trainings == []


def test_other_aus_are_not_taken_over(labs, tmp_path, trainings):
    lines = [run_job(job) for job in jobs_of(suite_of(tmp_path, labs, {**CROSS, "test": ["two", "four"]}))]
    assert [line["aus"] for line in lines] == [["AU4", "AU12"], ["AU1", "AU4"]]
    assert [line["trained_by"] for line in lines] == [None, None]
    assert trainings == ["one-to-two", "one-to-four"]


def test_another_vit_in_a_file_of_the_same_name_is_not_taken_over(labs, tmp_path, trainings):
    first, second = jobs_of(suite_of(tmp_path, labs, TWICE))
    run_job(first)
    (tmp_path / "other").mkdir()
    write_config(tmp_path / "other")
    weights = tmp_path / "other" / "vit.safetensors"
    write_vit(weights, "test_vit", seed=1)
    arguments = {**second.config.network["init_args"], "checkpoint_path": str(weights)}
    network = {**second.config.network, "init_args": arguments}
    other = replace(second, config=replace(second.config, network=network))
    assert training_key(other.claim) == training_key(first.claim)
    assert run_job(other)["trained_by"] is None and trainings == ["one-to-two", "one-to-three"]


@pytest.mark.parametrize("fault", ["gone", "no adapter", "no predictions", "damaged", "of another training"])
def test_what_is_lost_or_damaged_is_trained_anew(shared, alone, trainings, fault):
    _, (first, second) = shared(fault.replace(" ", "-"))
    adapter, side = first.folder / "adapter.safetensors", first.folder / "predictions.json"
    if fault == "gone":
        shutil.rmtree(first.folder)
    elif fault == "damaged":
        adapter.write_bytes(adapter.read_bytes()[:-4] + b"0000")
    elif fault == "of another training":
        side.write_text(side.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    else:
        (adapter if fault == "no adapter" else side).unlink()
    line = run_job(second)
    assert line["trained_by"] is None and trainings == ["one-to-three"] and plain(line) == plain(alone[0])


@pytest.mark.parametrize("where", ["copying", "summary", "predictions"])
def test_killed_while_taking_over(shared, alone, trainings, monkeypatch, where):
    _, (first, second) = shared(f"killed-{where}")

    def kill(*args, **kwargs):
        raise Killed

    target = {
        "copying": (trained_once.shutil, "copyfile"),
        "summary": (RunFolder, "finish"),
        "predictions": (manifest, "write_predictions"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*target[where], kill)
        claim(second)
        with pytest.raises(Killed):
            execute(second)
    assert RunFolder(second.folder).finished == (where == "predictions")
    if where == "predictions":  # it has all that it needs
        shutil.rmtree(first.folder)
    line = run_job(second)
    assert line["trained_by"] == "runs/cross/one-to-two/auformer/seed0" and trainings == []
    assert plain(line) == plain(alone[0]) and (second.folder / "predictions.csv").read_bytes() == alone[1]


def test_a_copy_that_changes_under_way_is_not_used(shared, trainings, monkeypatch):
    _, (_, second) = shared("race")
    with monkeypatch.context() as patch:
        patch.setattr(trained_once.shutil, "copyfile", lambda one, other: Path(other).write_bytes(b"half"))
        line = run_job(second)
    assert line["trained_by"] is None and trainings == ["one-to-three"]


def test_nobody_trains_what_another_process_is_training(labs, tmp_path, trainings):
    first, second = jobs_of(suite_of(tmp_path, labs, TWICE))
    claim(second)
    with training_lock(first) as mine:  # as the process that trains the first one
        assert mine and execute(second) is None and trainings == []
        assert not RunLock(second.folder / "run.lock").holder() and not (second.folder / LINE).exists()
    assert (
        run_job(second)["trained_by"] is None
        and run_job(first)["trained_by"] == "runs/cross/one-to-three/auformer/seed0"
    )
    assert trainings == ["one-to-three"]


@pytest.mark.slow
def test_two_processes_train_once(labs, tmp_path):
    jobs = jobs_of(suite_of(tmp_path, labs, TWICE))
    told = {}
    for job in jobs:
        claim(job)
    run_jobs(jobs, 2, lambda job, line, error: told.update({job.run.test.data: (line, error)}))
    assert [told[name][1] for name in ("two", "three")] == [None, None]
    assert [told[name][0]["trained_by"] for name in ("two", "three")] == [None, "runs/cross/one-to-two/auformer/seed0"]


def test_the_next_run_is_one_that_need_not_wait(labs, tmp_path):
    jobs = jobs_of(replace(suite_of(tmp_path, labs, TWICE), seeds=(0, 1)))
    waiting = list(jobs)
    order = [next_job(waiting, []), next_job(waiting, [jobs[0]]), next_job(waiting, [jobs[0], jobs[2]])]
    assert order == [jobs[0], jobs[2], None] and next_job(waiting, [jobs[2]]) == jobs[1] and waiting == [jobs[3]]
    on_test = [replace(job, claim={**job.claim, "select": "test"}) for job in jobs]
    assert next_job(on_test[1:], on_test[:1]) == on_test[1]


def claim_of(**changes):
    plain = {
        "protocol": "cross", "name": "cross", "data": "one+two", "test": "three", "method": "auformer", "fold": "",
        "subset": None,
        "seed": 0, "select": "validation", "init": None, "config": {"fit": {"epochs": 3}, "au_names": ["AU4"]},
        "init_sha256": None,
        "test_subjects": None, "data_sha256": {"one": "1", "two": "2", "three": "3"},
    }  # fmt: skip
    return {**plain, **changes}


def test_what_makes_a_training():
    key = training_key(claim_of())
    same = [{name: "x"} for name in ("name", "method", "key")]
    same.append({"test": "four", "data_sha256": {"one": "1", "two": "2", "four": "4"}})
    assert all(training_key(claim_of(**change)) == key for change in same) and key is not None
    others = [
        {"data": "two+one"}, {"data": "one"}, {"data_sha256": {"one": "1", "two": "other", "three": "3"}},
        {"subset": 1}, {"subset": 1.0},
        {"seed": 1}, {"select": "last"}, {"init_sha256": "x"},
        {"config": {"fit": {"epochs": 3}, "au_names": ["AU4", "AU12"]}},
        {"config": {"fit": {"epochs": 3}, "au_names": ["AU4"], "min_steps": 5}}, {"test": "one+two", "fold": "P1"},
        {"test": "one+two", "fold": "P2"}, {"test": "one+two", "fold": "P1", "test_subjects": ["one/S1"]},
    ]  # fmt: skip
    keys = [training_key(claim_of(**change)) for change in others]
    assert None not in keys and len({key, *keys}) == len(others) + 1
    assert training_key(claim_of(select="test")) is None and training_key({"key": "x"}) is None
    assert training_key(claim_of(data="one+five")) is None


def test_the_time_of_a_shared_training_is_told_once():
    line = {"select": "last", "method": "auformer", "seconds": 3600.0}
    lines = [{**line, "trained_by": by} for by in (None, "runs/x", "runs/x")]
    assert "Time of all runs together: 1.0 h." in provenance(lines)[0]
