"""Small images of a folder's photos on the report page."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pandas as pd
import pytest

from auformer.data.images import write_image
from auformer.predict import report, thumbnails
from auformer.predict.sources import Source
from auformer.predict.thumbnails import photographs

AUS = ["AU1", "AU12"]


def entry(folder, number, *, box=(40.0, 20.0, 30.0, 30.0), active=(0, 1), faces=1, problem="", size=(96, 128)):
    """A photo with a bright square where its face is, and its rows."""
    path = folder / f"{number:03d}.png"
    image = np.full((*size, 3), 40, np.uint8)
    x, y, w, h = map(int, box)
    image[y : y + h, x : x + w] = 220
    write_image(path, image)
    rows = [
        {"frame": 0, "face": k, "status": "ok" if faces else "no_face", **dict(zip("xywh", box, strict=True)),
         "AU1_active": active[0], "AU12_active": active[1]}
        for k in range(max(1, faces))
    ]  # fmt: skip
    return Source(str(path), path.name, "photo"), pd.DataFrame(rows), problem


def images_of(html):
    coded = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(one), np.uint8), cv2.IMREAD_COLOR) for one in coded]


def test_the_largest_face_and_its_words(tmp_path):
    entries = [
        entry(tmp_path, 0), entry(tmp_path, 1, active=(0, 0), faces=2), entry(tmp_path, 2, faces=0),
        entry(tmp_path, 3, faces=0, problem="damaged <b>"), entry(tmp_path, 4, box=(600.0, 300.0, 500.0, 500.0),
                                                                 size=(900, 1200)),
    ]  # fmt: skip
    html = "".join(photographs(entries, AUS).blocks)
    for words in ("000.png: AU12<", "001.png: no AU; 2 faces<", "002.png: no face<", "003.png: damaged &lt;b&gt;<"):
        assert words in html
    pictures = images_of(html)
    assert all(one.shape == (112, 112, 3) for one in pictures) and len(pictures) == 5
    for one in (pictures[0], pictures[4]):  # the face in the middle, a margin around it
        assert one[30:80, 30:80].mean() > 200 and one[:8].mean() < 80 and one[-8:].mean() < 80


def test_what_cannot_be_read_stays_grey(tmp_path):
    source, rows, _ = entry(tmp_path, 0)
    (tmp_path / "000.png").write_bytes(b"nothing")
    (picture,) = images_of("".join(photographs([(source, rows, "")], AUS).blocks))
    assert np.abs(picture.astype(int) - 128).max() <= 2


def test_no_more_than_fit_at_even_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST", 5)
    html = "".join(photographs([entry(tmp_path, k) for k in range(9)], AUS).blocks)
    assert re.findall(r"(\d+)\.png:", html) == ["000", "002", "004", "006", "008"] and "5 of 9 photos" in html


@pytest.mark.parametrize(("number", "small"), [(3, False), (4, True)])
def test_on_the_page(tmp_path, monkeypatch, number, small):
    """Few photos have sections of their own; of more there is one line and one section."""
    monkeypatch.setattr(report, "MOST", 3)
    entries = [entry(tmp_path, k, faces=k % 2, problem="" if k else "no face found") for k in range(number)]
    side = {"au_names": AUS, "notice": "", "package_version": "1"}
    report.write_report(tmp_path / "report.html", entries, side, command="auformer predict")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("4 photos" in page, 'class="gallery"' in page, '<h2 id="h2">000.png' in page) == (small, small, not small)
    assert f"{tmp_path / '000.png'}: no face found" in page
