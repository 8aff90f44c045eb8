"""Zip archives read in place: members by name, never extracted, none that could reach outside or fill the memory."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from auformer.data.images import IMAGES
from auformer.errors import DatasetLayoutError
from auformer.files import leads_outside

LARGEST = 64 * 2**20  # bytes of one image unpacked, 20 times a 1040 x 1392 bitmap [ours]
_MOST = 200  # unpacked by packed size; images are packed already, DEFLATE reaches 1,032 on a bomb [ours]
_SMALL = 2**20  # bytes; below, no factor counts [ours]


def list_members(archive: Path) -> dict[str, int]:
    """The files in a zip archive, in the archive's order.

    Returns:
        Name of the member, with `/` between its parts -> size in bytes when unpacked. Folders and the hidden files that
        some systems add (`__MACOSX/`, `.DS_Store`) are left out.

    Raises:
        DatasetLayoutError: It is no zip archive, or one of its members has no place in a release: a path that is
            absolute or has `..`, a link or device, two members of one name, or an image that is too large or packed too
            densely to be one.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetLayoutError(
            f"Expected a zip archive at {archive}, but it cannot be read ({error}); copy it again"
        ) from error
    sizes: dict[str, int] = {}
    for member in members:
        name = member.filename
        reason = "two members have this name" if name in sizes else _refusal(member)
        if reason:
            raise DatasetLayoutError(
                f"{archive}: member {name!r} is refused: {reason}. Request the archive again from its owner"
            )
        if not member.is_dir():
            sizes[name] = member.file_size
    return {name: size for name, size in sizes.items() if not _is_clutter(name)}


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one image in an open archive, by its name as `list_members` gives it.

    Raises:
        ValueError: The member is not there, is refused, asks for a password, or is damaged.
    """
    try:
        member = archive.getinfo(name)
        reason = _refusal(member) or _too_large(member)
        if reason:
            raise ValueError(f"{archive.filename}: member {name!r} is refused: {reason}")
        with archive.open(member) as stream:
            data = stream.read(LARGEST + 1)
    except KeyError as error:
        raise ValueError(f"Expected a member {name!r} in {archive.filename}, but there is none") from error
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        EOFError,
        OSError,
    ) as error:  # RuntimeError: a password
        raise ValueError(f"{archive.filename}: member {name!r} cannot be read ({error})") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma"):  # damaged data: each packer has an error of its own
            raise ValueError(f"{archive.filename}: member {name!r} is damaged ({error})") from error
        raise
    if len(data) > LARGEST:
        raise ValueError(f"{archive.filename}: member {name!r} is refused: larger than it says")
    return data


def _is_clutter(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


def _refusal(member: zipfile.ZipInfo) -> str:
    """Why a member has no place in a release; empty where it has."""
    name = member.orig_filename
    if leads_outside(name.replace("\\", "/")) or "\x00" in name:
        return "its path leads out of the archive"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "it is a link or a device, no file"
    is_image = Path(member.filename).suffix.lower() in IMAGES
    return _too_large(member) if is_image else ""


def _too_large(member: zipfile.ZipInfo) -> str:
    """Why a member cannot be an image by its size; empty where it can."""
    if member.file_size > LARGEST:
        return f"{member.file_size:,} bytes unpacked, more than any image"
    if member.file_size > _SMALL and member.file_size > _MOST * max(1, member.compress_size):
        return f"{member.compress_size:,} bytes unpack to {member.file_size:,}, as no image does"
    return ""
