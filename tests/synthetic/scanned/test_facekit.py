"""Reading a user's copy of the face model: both forms, and what is said of one that is incomplete or another's."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from auformer.synthetic.scanned.facekit import EXPRESSIONS, LANDMARKS, LIGHT, read_facekit, read_obj
from auformer.synthetic.scanned.shapes import EXTRA, shape_names
from tests.helpers.facekit import miniature, read, write_folder, write_npz


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("kit"))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy") / "FaceXModel"


def test_a_folder_and_a_file_of_arrays_give_the_same_model(folder, tmp_path):
    from_text, from_arrays = read(folder), read(write_npz(tmp_path / "kit.npz"))
    assert np.allclose(from_text.base, from_arrays.base, atol=1e-5)
    assert np.array_equal(from_text.triangles, from_arrays.triangles)
    assert np.allclose(from_text.identities, from_arrays.identities, atol=2e-3)
    for name in EXPRESSIONS:
        assert np.allclose(from_text.expressions[name], miniature().expressions[name], atol=2e-3)
    assert from_arrays.digest == miniature().digest


def test_the_repository_or_its_model_folder_may_be_named(folder):
    assert read(folder).digest == read(folder / "FaceXModel").digest


def test_saved_arrays_are_the_same_model(folder, tmp_path):
    kit = read(folder)
    kit.save(tmp_path / "saved.npz")
    assert read(tmp_path / "saved.npz").digest == kit.digest


def test_the_digest_tells_copies_apart():
    kit = miniature()
    other = replace(kit, base=kit.base + np.float32(0.01))
    assert other.digest != kit.digest and len(kit.digest) == 12


def test_polygons_are_cut_into_fans(tmp_path):
    path = tmp_path / "quad.obj"
    path.write_text("# made by hand\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1/1 2/1/1 3/1/1 4/1/1\nf 1 2 3\n")
    vertices, triangles = read_obj(path, faces=True)
    assert vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


def test_the_renderer_drives_every_shape_that_is_asked_for_and_no_other():
    assert {name for name in shape_names() if not name.startswith(EXTRA)} == set(EXPRESSIONS)


def test_the_released_layout_is_that_of_the_model_s_own_tables():
    """README of ICT-FaceKit: counts, and landmarks inside the face part."""
    assert (LIGHT.vertices, LIGHT.identities, len(LANDMARKS), len(set(LANDMARKS))) == (26719, 100, 68, 68)
    assert max(LANDMARKS) < dict(LIGHT.parts)["head"]
    starts = [start for _, start in LIGHT.parts]
    assert starts == sorted(starts) and starts[0] == 0 and starts[-1] < LIGHT.vertices


def test_missing_files_are_named(copy):
    (copy / "browDown_L.obj").unlink()
    (copy / "identity001.obj").unlink()
    with pytest.raises(ValueError, match=r"lacks browDown_L.obj, identity001.obj"):
        read(copy)
    for path in copy.glob("*.obj"):
        path.unlink()
    with pytest.raises(ValueError, match=r"lacks generic_neutral_mesh.obj, .* and \d+ more"):
        read(copy)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="copy of ICT-FaceKit at .*none, but there is nothing"):
        read_facekit(tmp_path / "none")


def test_another_version_is_refused(copy, folder):
    with pytest.raises(ValueError, match="lacks .*identity0"):
        read_facekit(folder)  # the released layout has more of everything
    with pytest.raises(ValueError, match="with 5 vertices, but it has"):
        read_facekit(copy, replace(miniature().layout, vertices=5))
    other = {"idx_to_landmark_verts": [0, *miniature().layout.landmarks[1:]]}
    (copy / "vertex_indices.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(ValueError, match=r"vertex_indices.json to be of the current version"):
        read(copy)
    (copy / "vertex_indices.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vertex_indices.json to be JSON"):
        read(copy)


def test_a_shape_of_another_mesh_is_named(copy):
    (copy / "jawOpen.obj").write_text("v 0 0 0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"jawOpen.obj to have \d+ vertices, but it has 1"):
        read(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"v 0 0 0\nv 1 zero 0\n", "Wavefront OBJ"),
        (b"v 0 0\n", "1 vertices with 2 coordinates"),
        (b"", "0 vertices"),
        (b"\xff\xfe\x00v", "not text"),
    ],
)
def test_a_damaged_file_is_named(copy, content, message):
    (copy / "eyeWide_R.obj").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read(copy)
    assert "eyeWide_R.obj" in str(error.value)


def _arrays():
    kit = miniature()
    names = list(kit.expressions)
    return {
        "base": kit.base, "faces": kit.triangles, "idn": kit.identities, "exn": np.array(names),
        "ex": np.stack([kit.expressions[name] for name in names]),
    }  # fmt: skip


def test_arrays_that_are_missing_or_wrong_are_named(tmp_path):
    path, arrays = tmp_path / "kit.npz", _arrays()
    np.savez(path, **{name: value for name, value in arrays.items() if name not in ("idn", "ex")})
    with pytest.raises(ValueError, match="it has no idn, ex"):
        read(path)
    for change, message in (
        ({"exn": np.array(["other", *arrays["exn"][1:]])}, f"lacks the shape {arrays['exn'][0]}"),
        ({"base": arrays["base"] * np.nan}, "finite"),
        ({"faces": arrays["faces"] + 10**6}, "triangles"),
        ({"idn": arrays["idn"][:, :-1]}, "shapes differ"),
        ({"idn": arrays["idn"][:2]}, "3 identity shapes, but it has 2"),
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(ValueError, match=message):
            read(path)


def test_code_in_a_file_of_arrays_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    np.savez(tmp_path / "kit.npz", **{**_arrays(), "exn": np.array([Trap()], dtype=object)})
    with pytest.raises(ValueError, match=r"kit.npz to be a .npz with base"):
        read(tmp_path / "kit.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ValueError, match=r"text.npz to be a .npz"):
        read(tmp_path / "text.npz")
