"""Archives that attack: paths that lead out, links, bombs, doubles, passwords, damage; and one that does not."""

import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from auformer.data.images import decode_image, write_image
from auformer.data_prep.formats import archives
from auformer.data_prep.formats.archives import list_members, read_member
from auformer.errors import DatasetLayoutError


def archive(path: Path, members: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            opened.writestr(info, content)
    return path


def test_members_and_their_images(tmp_path, rng):
    image = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    data = (tmp_path / "a.png").read_bytes()
    images = {"F001/T1/10.png": data, "F001/T1/9 é.png": data}
    path = archive(tmp_path / "F001.zip", images | {"__MACOSX/x.png": b"", "F001/.DS_Store": b"1", "F001/T1/": b""})
    assert list_members(path) == dict.fromkeys(images, len(data))
    with zipfile.ZipFile(path) as opened:
        assert (decode_image(read_member(opened, "F001/T1/9 é.png"), "x") == image).all()
        with pytest.raises(ValueError, match="but there is none"):
            read_member(opened, "F001/T1/11.png")
    assert not (tmp_path / "F001").exists()


@pytest.mark.parametrize(
    "name", ["../up.jpg", "a/../../up.jpg", "/etc/passwd", "C:/up.jpg", "..", "a\\..\\..\\up.jpg", "\\\\host\\up.jpg"]
)
def test_paths_that_lead_out_are_refused(tmp_path, name):
    path = archive(tmp_path / "bad.zip", {"1.jpg": b"x", name: b"x"})
    with pytest.raises(DatasetLayoutError, match=r"member .* is refused: its path leads out"):
        list_members(path)
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match="refused"):
        read_member(opened, opened.namelist()[1])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = archive(tmp_path / "bad.zip", {"1.jpg": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16, create_system=3)
    with pytest.raises(DatasetLayoutError, match="a link or a device"):
        list_members(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "bomb.zip", {"1.jpg": bytes(3 * 2**20)})
    with pytest.raises(DatasetLayoutError, match="as no image does"):
        list_members(path)
    monkeypatch.setattr(archives, "_MOST", 10**9)
    assert list_members(path) == {"1.jpg": 3 * 2**20}
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    with pytest.raises(DatasetLayoutError, match="3,145,728 bytes unpacked, more than any image"):
        list_members(path)
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match="more than any image"):
        read_member(opened, "1.jpg")


def test_a_large_file_that_is_no_image_may_lie_beside_but_is_not_read(tmp_path):
    path = archive(tmp_path / "a.zip", {"mesh.obj": bytes(3 * 2**20), "1.jpg": b"x"})
    assert set(list_members(path)) == {"mesh.obj", "1.jpg"}
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match="as no image does"):
        read_member(opened, "mesh.obj")


def test_a_member_that_says_less_than_it_holds_gives_no_more(tmp_path):
    """The size in the directory is changed to one byte; what is behind it is never unpacked."""
    path = archive(tmp_path / "lie.zip", {"1.jpg": bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match="cannot be read"):
        read_member(opened, "1.jpg")


def test_two_members_of_one_name_are_refused(tmp_path):
    path = archive(tmp_path / "twice.zip", {"1.jpg": b"a"})
    with zipfile.ZipFile(path, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr("1.jpg", b"b")
    with pytest.raises(DatasetLayoutError, match="two members have this name"):
        list_members(path)


def test_damage_is_said(tmp_path):
    path = archive(tmp_path / "F001.zip", {"1.jpg": bytes(range(256)) * 8})
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(bytes(data))
    wanted = r"F001.zip: member '1.jpg' (is damaged|cannot be read)"
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match=wanted):
        read_member(opened, "1.jpg")
    path.write_bytes(bytes(data[:200]))
    with pytest.raises(DatasetLayoutError, match="Expected a zip archive at .*; copy it again"):
        list_members(path)
    with pytest.raises(DatasetLayoutError, match="Expected a zip archive"):
        list_members(tmp_path / "missing.zip")


def test_a_password_is_said(tmp_path):
    path = archive(tmp_path / "F001.zip", {"1.jpg": b"0123456789"})
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(magic) + offset] |= 1
    path.write_bytes(bytes(data))
    with zipfile.ZipFile(path) as opened, pytest.raises(ValueError, match="password"):
        read_member(opened, "1.jpg")
