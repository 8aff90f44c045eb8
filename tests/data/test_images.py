import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from auformer.data.images import decode_image, image_kind, read_image, read_reduced, write_image


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


def oriented(image: Image.Image, form: str, orientation: int, **options) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


# (0-th row, 0-th column) of the image as it should be seen, EXIF 2.32 table 4.6.4: what lies at its upper left corner
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1)}


@pytest.mark.parametrize("orientation", CORNERS)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_of_every_format(photo, form, orientation):
    options = (
        {"lossless": True} if form == "WEBP" else {"quality": 95, "subsampling": "4:4:4"} if form == "AVIF" else {}
    )
    got = decode_image(oriented(Image.fromarray(photo), form, orientation, **options), "a")
    assert got.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))
    tolerance = 12 if form == "AVIF" else 0
    assert np.abs(got[0, 0].astype(int) - photo[CORNERS[orientation]]).max() <= tolerance
    turned = photo.swapaxes(0, 1) if orientation > 4 else photo
    flips = [got, got[::-1], got[:, ::-1], got[::-1, ::-1]]
    assert min(np.abs(flip.astype(int) - turned).mean() for flip in flips) <= tolerance / 4


def test_orientation_of_xmp(photo):
    """As editors write it, where there is no EXIF; the number 6 is a quarter turn clockwise."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=95, xmp=xmp)
    got = decode_image(buffer.getvalue(), "a")
    assert got.shape == (24, 16, 3) and np.abs(got.astype(int) - np.rot90(photo, -1)).mean() < 4


def test_heic(tmp_path, photo):
    heif = pytest.importorskip("pillow_heif")
    big = np.repeat(np.repeat(photo, 4, 0), 4, 1)
    heif.from_pillow(Image.fromarray(big)).save(tmp_path / "a.HEIC", quality=95)
    assert image_kind(tmp_path / "a.HEIC") == "HEIC"
    got = read_image(tmp_path / "a.HEIC")
    assert got.shape == big.shape and np.abs(got.astype(int) - big).mean() < 4


def test_formats_without_a_reader_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300)
    for data, words in {
        heic: r"this is HEIC.*pip install.*\[heic\]",
        b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(300): "this is AVIF",
        b"8BPS" + bytes(300): "this is Photoshop; save it as PNG or JPEG",
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(300): "this is a video",
    }.items():
        with pytest.raises(ValueError, match=words):
            decode_image(data, "a")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_of_an_animation_the_first_image(photo, form):
    buffer, options = io.BytesIO(), {"lossless": True} if form == "WEBP" else {}
    first, second = Image.fromarray(photo), Image.fromarray(255 - photo)
    first.save(buffer, form, save_all=True, append_images=[second], **options)
    assert np.abs(decode_image(buffer.getvalue(), "a").astype(int) - photo).mean() < 6


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks(photo, form):
    buffer = io.BytesIO()
    Image.fromarray(photo).convert("CMYK").save(buffer, form)
    assert np.abs(decode_image(buffer.getvalue(), "a").astype(int) - photo).mean() < 4


def test_lab(photo):
    lab = ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(photo), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    assert np.abs(decode_image(buffer.getvalue(), "a").astype(int) - photo).mean() < 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_what_follows_the_end_does_not_count(photo, suffix):
    """A telephone appends the seconds before and after; in its bytes a marker may stand by chance."""
    data = cv2.imencode(suffix, photo[..., ::-1])[1].tobytes()
    want = decode_image(data, "a")
    for more in (bytes(100), b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 50, data[: len(data) // 2]):
        np.testing.assert_array_equal(decode_image(data + more, "a"), want)


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


class TestReduced:
    """JPEG files that come smaller out of the decoder."""

    def write(self, path, size, **more):
        """Noise, so that the file is large enough, over a slope that says which corner is which."""
        width, height = size
        slope = np.add.outer(np.arange(height) * 100 // height, np.arange(width) * 60 // width)
        noise = np.random.default_rng(0).integers(0, 60, (height, width))
        image = np.repeat((slope + noise)[..., None], 3, 2).astype(np.uint8)
        Image.fromarray(image).save(path, quality=90, **more)
        return path

    @pytest.mark.parametrize(
        ("size", "factor"), [((1600, 800), 4), ((1600, 804), 4), ((1602, 802), 2), ((799, 640), 1)]
    )
    def test_factor_and_size(self, tmp_path, size, factor):
        path = self.write(tmp_path / "a.jpg", size)
        image, by = read_reduced(path, 400)
        assert by == factor and image.shape == (size[1] // factor, size[0] // factor, 3)
        whole = cv2.resize(read_image(path), image.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(whole.astype(int) - image).mean() < 2

    def test_turned(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = self.write(tmp_path / "a.jpg", (1600, 800), exif=exif)
        image, by = read_reduced(path, 800)
        assert by == 2 and image.shape == (800, 400, 3)
        whole = cv2.resize(read_image(path), (400, 800), interpolation=cv2.INTER_AREA)
        assert np.abs(whole.astype(int) - image).mean() < 2

    def test_others_are_whole(self, tmp_path):
        self.write(tmp_path / "a.jpg", (1600, 800))
        write_image(tmp_path / "a.png", read_image(tmp_path / "a.jpg"))
        write_image(tmp_path / "flat.jpg", np.full((800, 1600, 3), 90, np.uint8))
        assert [read_reduced(tmp_path / name, 100)[1] for name in ("a.png", "flat.jpg")] == [1, 1]
