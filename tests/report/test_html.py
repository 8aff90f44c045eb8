"""A page is whole and safe as a file, and comes out well in a real browser: by day, by night, on a phone."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from auformer.report.html import (
    OCCURRENCE,
    RENDERED_ONLY,
    Section,
    build_report,
    code,
    demo_note,
    figure,
    meaning,
    notice,
    paragraph,
    responsible_use,
    table,
)
from auformer.report.style import THEMES
from auformer.report.table import Table
from tests.helpers.browser import console, measure

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "source", "br"}


def _png(shade: int, width: int = 900) -> bytes:
    return cv2.imencode(".png", np.full((300, width, 3), shade, np.uint8))[1].tobytes()


LIGHT, DARK = _png(250), _png(20)


def _page() -> str:
    header = ["Method", "Lab A F1", "Lab A AUROC", "Lab B F1", "Lab B AUROC", "Lab B shared F1", "Trained"]
    rows = [
        [name, *["81.2"] * 5, "2,816 k"]
        for name in ("AUFormer", "Linear probe", "Full fine-tuning †", "Always positive")
    ]
    sections = [
        Section(
            "Result",
            [
                table(Table(header, rows, title="Means", notes=["† of the committed run"])),
                responsible_use(RENDERED_ONLY),
            ],
            wide=True,
        ),
        Section("F1 per action unit", [figure(LIGHT, DARK, alt="bars of F1", caption="Bars.")]),
        Section("Faces", [figure(_png(200, 400), alt="a grid of faces")]),
        Section("Settings", [code("seed: 0\nlong: " + "x" * 400, "settings"), paragraph("y" * 300)]),
    ]
    return build_report("AUFormer on rendered faces", sections, lead="What this is.", footer="auformer")


class _Reader(HTMLParser):
    """Collects tags with attributes, and refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_well_formed_and_names_its_parts():
    tags = _read(_page()).tags
    assert [name for name, _ in tags].count("h1") == 1
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    targets = [attributes["href"] for name, attributes in tags if name == "a"]
    assert [target.lstrip("#") in ids for target in targets] == [True] * 4
    assert {attributes.get("scope") for name, attributes in tags if name == "th"} == {"col", "row"}
    assert all(attributes["alt"] for name, attributes in tags if name == "img")


def test_nothing_comes_from_outside_the_file():
    page = _page()
    links = [
        value for _, attributes in _read(page).tags for key, value in attributes.items()
        if key in ("src", "srcset", "href") and value
    ]  # fmt: skip
    assert links and all(link.startswith(("data:", "#")) for link in links)
    assert "http" not in re.sub(r"http-equiv|base64,[A-Za-z0-9+/=]+", "", page)
    assert "@import" not in page and "url(" not in page
    policy = next(attributes["content"] for name, attributes in _read(page).tags if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "script" not in policy


def test_whatever_stands_in_the_data_stays_text():
    blocks = [
        paragraph(EVIL), notice(EVIL, [EVIL]), code(EVIL, EVIL),
        table(Table([EVIL, EVIL], [[EVIL, EVIL]], title=EVIL, notes=[EVIL])), figure(LIGHT, alt=EVIL, caption=EVIL),
    ]  # fmt: skip
    reader = _read(build_report(EVIL, [Section(EVIL, blocks)] * 4, lead=EVIL, footer=EVIL))
    assert "script" not in [name for name, _ in reader.tags]
    assert not [attributes for _, attributes in reader.tags if "onerror" in attributes]
    assert reader.words.count(EVIL) == 1 + 1 + 1 + 4 + 1 + 4 * (1 + 1 + 2 + 1 + 6 + 1)


def test_pictures_are_embedded_to_the_byte_and_told_apart():
    block = figure(LIGHT, DARK, alt="x")
    images = [base64.b64decode(part) for part in re.findall(r"base64,([A-Za-z0-9+/=]+)", block)]
    assert images == [DARK, LIGHT]
    assert 'srcset="data:image/png' in block and 'media="(prefers-color-scheme: dark)"' in block
    assert "data:image/webp" in figure(b"RIFF....WEBP", alt="x")
    with pytest.raises(ValueError, match="PNG, WebP or JPEG"):
        figure(b"<svg/>", alt="x")
    with pytest.raises(ValueError, match="`alt`"):
        figure(LIGHT, alt="")


def test_a_page_without_sections_is_refused():
    with pytest.raises(ValueError, match="at least one section"):
        build_report("t", [])


def test_the_box_says_what_the_numbers_are_not():
    words = " ".join(_read(responsible_use(RENDERED_ONLY)).words)
    thoughts = ("rendered faces only", "movement of facial muscles", "not tell what someone feels", "not intensities")
    assert all(thought in words for thought in (*thoughts, "Probabilities", "consent"))
    assert "rendered" not in responsible_use(None)


def test_the_words_about_values_follow_the_network():
    words = " ".join(_read(responsible_use(None, intensity=True)).words)
    assert "not intensities" not in words and "intensity, 0 to 5" in words and "consent" in words
    assert meaning(intensity=True) in demo_note(intensity=True).splitlines()[1]
    assert demo_note(intensity=False).splitlines() == [demo_note(intensity=True).splitlines()[0], OCCURRENCE]


def test_pages_and_figures_share_their_colours():
    page = _page().lower()
    day, night = page.split("@media (prefers-color-scheme: dark)")[:2]
    for theme, sheet in (("light", day), ("dark", night)):
        for name, variable in (("background", "surface"), ("ink", "ink"), ("quiet", "quiet"), ("grid", "line")):
            assert f"--{variable}: {THEMES[theme][name]};" in sheet


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(_page(), encoding="utf-8")
    return path


@pytest.mark.browser
def test_the_browser_s_console_is_silent_and_would_not_be(page, tmp_path):
    assert console(page, tmp_path) == []
    page.write_text(_page().replace("</main>", '<img src="missing.png" alt="x"></main>'), encoding="utf-8")
    assert any("missing.png" in line for line in console(page, tmp_path))


@pytest.mark.browser
def test_on_a_phone_by_night_nothing_is_wider_than_the_screen(page, tmp_path):
    seen = measure(page, tmp_path, width=390, dark=True)
    assert seen["title"] == "AUFormer on rendered faces"
    assert seen["width"] == 390 and seen["scrollWidth"] <= 390
    assert [picture["loaded"] for picture in seen["pictures"]] == [True, True]
    assert all(300 <= picture["width"] <= 390 for picture in seen["pictures"])
    assert seen["section"] == "rgb(26, 29, 35)" and seen["ink"] == "rgb(236, 238, 242)"
    assert seen["pictures"][0]["end"] == base64.b64encode(DARK).decode()[-48:]
    assert min(seen["links"]) >= 24  # WCAG 2.2: targets of at least 24 pixels


@pytest.mark.browser
def test_on_a_desk_by_day_and_a_page_that_is_too_wide_is_noticed(page, tmp_path):
    seen = measure(page, tmp_path, width=1280)
    assert seen["scrollWidth"] <= 1280 and seen["section"] == "rgb(255, 255, 255)"
    assert seen["pictures"][0]["end"] == base64.b64encode(LIGHT).decode()[-48:]
    page.write_text(
        _page().replace("</main>", '<div style="width:1500px">x</div><img src="data:," alt="x"></main>'),
        encoding="utf-8",
    )
    seen = measure(page, tmp_path, width=1280)
    assert seen["scrollWidth"] >= 1500 and not seen["pictures"][2]["loaded"]
