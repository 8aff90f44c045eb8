import numpy as np
import pytest

from auformer.benchmark.jobs import image_differences, image_look
from auformer.benchmark.protocols import DataSet, find_facts
from auformer.benchmark.suite import Source
from auformer.data.images import write_image
from auformer.data.manifest import read_manifest, write_manifest
from auformer.errors import ManifestError
from tests.helpers.benchmarks import AUS, jobs_of, rewrite, suite_of, tiny_clips, two_labs
from tests.helpers.faces import tiny_manifest

WITHIN = {"protocol": "within", "data": "one"}


def test_a_job_is_named_by_what_makes_it(labs, tmp_path):
    jobs = jobs_of(suite_of(tmp_path, labs, WITHIN))
    assert [job.run.fold for job in jobs] == ["T1", "T2", "T3"] and len({job.claim["key"] for job in jobs}) == 3
    first = jobs[0]
    assert first.claim["config"]["fit"]["epochs"] == 1
    assert first.folder == tmp_path / "out/runs/within/one/auformer/T1-seed0"
    assert str(tmp_path) not in str(first.claim)  # nothing of this machine
    again = jobs_of(suite_of(tmp_path, labs, WITHIN, out="elsewhere"))
    assert [job.claim["key"] for job in again] == [job.claim["key"] for job in jobs]
    for changed in ({"trainer.max_epochs": 2}, {"model.lr": 0.5}, {"data.batch_size": 4}):
        other = jobs_of(suite_of(tmp_path, labs, WITHIN, **changed))
        assert other[0].claim["key"] != first.claim["key"]
        assert other[0].claim["config_hash"] != first.claim["config_hash"]
    free = jobs_of(suite_of(tmp_path, labs, WITHIN, **{"data.num_workers": 1, "trainer.accelerator": "auto"}))
    assert free[0].claim["key"] == first.claim["key"]


def test_other_rows_are_other_runs(tmp_path):
    labs = two_labs(tmp_path)
    before = jobs_of(suite_of(tmp_path, labs, WITHIN))[0].claim
    frame = read_manifest(labs["one"].manifest)
    rewrite(labs["one"].manifest, AU1=1 - frame["AU1"])
    after = jobs_of(suite_of(tmp_path, labs, WITHIN))[0].claim
    assert before["key"] != after["key"] and before["data_sha256"] != after["data_sha256"]


def test_cross_takes_shared_aus_in_the_configuration_s_order(labs, tmp_path):
    cross = {"protocol": "cross", "train": "one", "test": "two"}
    (job,) = jobs_of(suite_of(tmp_path, labs, cross))
    assert job.au_names == ("AU4", "AU12") and job.test == str(labs["two"].manifest)
    (job,) = jobs_of(suite_of(tmp_path, labs, cross, **{"data.au_names": "AU12,AU1,AU4"}))
    assert job.au_names == ("AU12", "AU4")
    with pytest.raises(ValueError, match="that training and test of `cross .*` share"):
        jobs_of(suite_of(tmp_path, labs, cross, **{"data.au_names": "AU1,AU25"}))


def test_micro_clips_are_one_sample_each(tmp_path):
    data = {
        "a": Source(tiny_clips(tmp_path / "a", dataset="a")),
        "b": Source(tiny_clips(tmp_path / "b", dataset="b", au_names=AUS[:2])),
    }
    micro = {"protocol": "micro", "data": ["a", "b"], "split": "lodo"}
    jobs = jobs_of(suite_of(tmp_path, data, micro))
    assert [(job.au_names, job.warnings) for job in jobs] == [
        (("AU1", "AU4"), ("not annotated in training: AU2, AU5, AU6, AU7, AU9, AU10, AU12, AU14, AU15, AU17",)),
        (("AU1", "AU4", "AU12"), ("not annotated in training: AU2, AU5, AU6, AU7, AU9, AU10, AU14, AU15, AU17",)),
    ]
    assert jobs[0].config.data["clip_input"] == "apex" and jobs[0].config.data["leave_out_missing"]
    other = jobs_of(suite_of(tmp_path, data, {**micro, "set": {"data.clip_input": "mean:3"}}))
    assert other[0].config.data["clip_input"] == "mean:3" == other[0].claim["config"]["data"]["clip_input"]


def test_what_is_missing_is_named(labs, tmp_path):
    data = {**labs, "three": Source(tmp_path / "nowhere.csv")}
    with pytest.raises(ValueError, match=r"manifests of three to be there, but found none at .*nowhere\.csv"):
        jobs_of(suite_of(tmp_path, data, {"protocol": "cross", "train": "one", "test": "three"}))


def test_leaks_are_refused_before_anything_starts(tmp_path):
    labs = two_labs(tmp_path)
    for path, dataset in ((labs["one"].manifest, "disfa"), (labs["two"].manifest, "DISFA+")):
        rewrite(path, dataset=dataset)
    with pytest.raises(ManifestError, match="show people of DISFA"):
        jobs_of(suite_of(tmp_path, labs, {"protocol": "cross", "train": "one", "test": "two"}))
    frame = read_manifest(labs["one"].manifest)
    rewrite(labs["one"].manifest, fold=["T1" if row == 0 else "T2" for row in range(len(frame))])
    with pytest.raises(ManifestError, match="1 are in `training` and in `test`: S000 of disfa"):
        jobs_of(suite_of(tmp_path, labs, WITHIN))
    files = ["one.avi" if subject in ("S000", "S001") else "" for subject in frame["subject"]]
    rewrite(labs["one"].manifest, fold=frame["fold"], file=files)
    with pytest.raises(ManifestError, match="the video of these is the same"):
        jobs_of(suite_of(tmp_path, labs, WITHIN))


def test_images_made_in_other_ways_are_a_warning(labs, tmp_path):
    one, two = (DataSet(name, source.manifest, find_facts(source.manifest)) for name, source in labs.items())
    assert image_differences([one], two) == []
    dark = tiny_manifest(tmp_path, subjects=2, frames=3, dataset="dark")
    frame = read_manifest(dark)
    for number, name in enumerate(frame["image"]):
        write_image(dark.parent / name, np.full((8, 8, 3), [51 + 51 * (number % 2), 0, 0], np.uint8))
    write_manifest(frame, dark, {"crop_recipe": "megraphau"})
    recipe, mean, std = image_look(dark)
    assert recipe == "megraphau" and mean.tolist() == pytest.approx([0.3, 0, 0])
    assert std.tolist() == pytest.approx([0.1, 0, 0])
    told = image_differences([one], DataSet("dark", dark, find_facts(dark)))
    assert told[0] == "crop recipes differ: one eyes, dark megraphau"
    assert told[1].startswith("mean of the images") and told[1].endswith("dark 0.30/0.00/0.00")
