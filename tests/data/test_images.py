import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from auformer.data.images import read_image, write_image


@pytest.fixture
def photo():
    """Smooth colours, not square, so that every turn and every swap of channels shows."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (24, 16), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.bmp", "a.tiff", "Größe 顔/ß é.png"])
def test_lossless_formats_come_back(tmp_path, photo, name):
    write_image(tmp_path / name, photo)
    back = read_image(tmp_path / name)
    assert back.dtype == np.uint8 and back.flags.c_contiguous
    np.testing.assert_array_equal(back, photo)
    assert [file.name for file in (tmp_path / name).parent.iterdir()] == [Path(name).name]


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_quality_counts(tmp_path, photo, name):
    write_image(tmp_path / name, photo)
    good = (tmp_path / name).stat().st_size
    assert np.abs(read_image(tmp_path / name).astype(int) - photo).mean() < 4
    write_image(tmp_path / name, photo, quality=10)
    assert (tmp_path / name).stat().st_size < good


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_other_modes_read_as_pillow_reads_them(tmp_path, photo, mode):
    image = Image.fromarray(photo).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(photo[..., 0]))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_become_8(tmp_path, suffix, channels):
    deep = np.random.default_rng(1).integers(0, 65536, (8, 9, channels)).astype(np.uint16)
    deep[0, 0], deep[0, 1] = 65535, 0
    (tmp_path / f"a{suffix}").write_bytes(cv2.imencode(suffix, deep)[1].tobytes())
    want = np.repeat(deep, 3, axis=2) if channels == 1 else deep[..., 2::-1]
    got = read_image(tmp_path / f"a{suffix}")
    assert got.shape == (8, 9, 3) and got[0, 0].tolist() == [255] * 3 and got[0, 1].tolist() == [0] * 3
    assert np.abs(got - want / 257).max() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, photo, orientation):
    image, exif, buffer = Image.fromarray(photo), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(buffer, "JPEG", exif=exif, quality=95)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    want = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    got = read_image(tmp_path / "a.jpg")
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).max() <= 4  # two JPEG decoders


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_a_truncated_file_is_named(tmp_path, photo, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    write_image(path, np.repeat(np.repeat(photo, 4, 0), 4, 1))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ValueError, match=f"cut{suffix}"):
        read_image(path)


def test_a_jpeg_whose_thumbnail_is_complete_is_still_truncated(tmp_path, photo):
    thumbnail, whole = (cv2.imencode(".jpg", image)[1].tobytes() for image in (photo[:8, :8], photo))
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + whole[2:]
    (tmp_path / "a.jpg").write_bytes(with_thumbnail)
    assert read_image(tmp_path / "a.jpg").shape == photo.shape
    (tmp_path / "a.jpg").write_bytes(with_thumbnail[:-30])
    with pytest.raises(ValueError, match="ends early"):
        read_image(tmp_path / "a.jpg")


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image", encoding="utf-8")
    (tmp_path / "folder.png").mkdir()
    wrong = {"none": "but there is no such file", "empty": "but the file ends early", "text": "cannot be decoded"}
    for name, message in (wrong | {"folder": ""}).items():
        with pytest.raises(ValueError, match=rf"{name}\.png.*{message}"):
            read_image(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match="cannot be read"):
        read_image("with\0zero.png")


def test_what_is_not_written(tmp_path, photo):
    for image in (photo[..., 0], np.dstack([photo, photo[..., :1]]), photo[:0], photo.astype(np.float32)):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
            write_image(tmp_path / "a.png", image)
    with pytest.raises(ValueError, match="image suffix"):
        write_image(tmp_path / "a.docx", photo)
    assert list(tmp_path.iterdir()) == []
