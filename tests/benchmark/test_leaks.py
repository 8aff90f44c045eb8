import shutil

import pytest

from auformer.benchmark.jobs import check_leaks, with_marks
from auformer.data.manifest import join_manifests, read_manifest, write_manifest
from auformer.errors import ManifestError
from tests.helpers.faces import tiny_manifest


def parts(path):
    rows = with_marks(join_manifests(path))
    return rows[rows["fold"] != "T1"], rows[rows["fold"] == "T1"]


@pytest.fixture
def manifest(tmp_path):
    return tiny_manifest(tmp_path, subjects=6, frames=3)  # S000 and S003 in T1


def planted(manifest, subject, source, **columns):
    """Rows of one subject take over columns of another's."""
    frame = read_manifest(manifest)
    if "file" in columns:
        frame["file"] = frame["subject"] + ".avi"
    for name in columns:
        frame.loc[frame["subject"] == subject, name] = frame.loc[frame["subject"] == source, name].to_numpy()
    write_manifest(frame, manifest, {})
    return manifest


def test_separate_people_and_videos_pass(manifest):
    check_leaks(*parts(manifest))
    check_leaks(*parts(planted(manifest, "S003", "S000", file="")))  # both in the test part


def test_a_person_on_both_sides(manifest):
    train, test = parts(manifest)
    with pytest.raises(ManifestError, match="S000 of tiny"):
        check_leaks(with_marks(join_manifests(manifest)), test)
    with pytest.raises(ManifestError, match="DISFA"):
        check_leaks(train.assign(dataset="disfa"), train.assign(dataset="DISFA+"))


VIDEO = r"the video of these is the same: tiny S001 .*file S000\.avi \(training\) and tiny S000"


@pytest.mark.parametrize(
    "column, message", [("file", VIDEO), ("image", r"the image of these is the same.*tiny_S000_0\.png")]
)
def test_the_same_video_or_image_under_two_subjects(manifest, column, message):
    with pytest.raises(ManifestError, match=message):
        check_leaks(*parts(planted(manifest, "S001", "S000", **{column: ""})))


def test_equal_file_names_in_two_data_sets_are_two_videos(manifest, tmp_path):
    other = tiny_manifest(tmp_path / "other", subjects=2, frames=2, dataset="other", seed=1)
    for path in (manifest, other):
        frame = read_manifest(path)
        write_manifest(frame.assign(file="001.avi"), path, {})
    check_leaks(with_marks(join_manifests(manifest)), with_marks(join_manifests(other)))


def test_a_copied_video_is_known_by_its_first_image(manifest):
    for path in manifest.parent.glob("images/tiny_S000_*.png"):
        shutil.copy(path, path.with_name(path.name.replace("S000", "S001")))
    with pytest.raises(ManifestError, match=r"first image of these is the same: tiny S001 stills frame 0"):
        check_leaks(*parts(manifest))
