"""The page in a real Chromium: dropped, predicted, looked at, compared and downloaded, and nothing asked elsewhere."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pandas as pd
import pytest

from auformer.annotations.videos import collect, episode_table
from auformer.cli import main
from auformer.data.images import decode_image, write_image
from auformer.data.manifest import write_predictions
from auformer.data.table_file import read_table
from auformer.episodes import episodes, frame_ends, runs, usual_length
from auformer.predict.compare import read_predictions
from tests.helpers.annotated import rows
from tests.helpers.browser import chromium
from tests.helpers.films import Film, number_in, seen, write_film
from tests.helpers.page import Served, page_process, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
FRAMES = 70  # of the rendered video: the fewest that the renderer makes
NUMBERED = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one the tests are skipped, and say so."""
    path = chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="the tests of the page need playwright")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Tab:
    """A tab of a user of its own; what it asks and what its console says."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.asked: list[str] = []
        self.said: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#statement:not([hidden])")

    def eval(self, code: str, value: Any = None) -> Any:
        return self.page.evaluate(code, value)

    def until(self, code: str, seconds: float = 30.0) -> Any:
        """What an expression gives as soon as that is true."""
        return wait_for(lambda: self.eval(code), seconds)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def seek(self, frame: int) -> None:
        """Go to a frame, and wait until its image is on the screen."""
        self.eval("k => auformer.player.seek(k)", frame)
        self.until(
            "auformer.player.mode !== 'video' || "
            "(!auformer.player.video.seeking && auformer.player.video.readyState > 1)"
        )
        self.page.wait_for_timeout(60)

    def now(self) -> dict[str, list[str]]:
        """The table at the playhead."""
        code = """[...document.querySelectorAll('#now tbody tr')].map(
            row => [row.cells[0].firstChild.textContent, ...[...row.cells].slice(1).map(cell => cell.textContent)])"""
        return {cells[0]: cells[1:] for cells in self.eval(code)}

    def download(self, key: str) -> dict[str, bytes]:
        """Files of a download by name."""
        self.eval("document.getElementById('download-box').open = true")
        with self.page.expect_download() as waiting:
            self.page.click(f"#downloads [data-key='{key}']")
        path = Path(waiting.value.path())
        if not waiting.value.suggested_filename.endswith(".zip"):
            return {waiting.value.suggested_filename: path.read_bytes()}
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; afterwards none has asked anything of another machine, or complained."""
    opened: list[Tab] = []

    def make(url: str, **options: Any) -> Tab:
        opened.append(Tab(browser, url, **options))
        return opened[-1]

    yield make
    for one in opened:
        hosts = {urlsplit(url).netloc for url in one.asked if urlsplit(url).scheme not in ("blob", "data")}
        assert len(hosts) == 1 and next(iter(hosts)).startswith("127.0.0.1:"), hosts
        assert [text for text in one.said if "status of 4" not in text] == []
        one.context.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered video whose truth is known, beside `truth.parquet`."""
    folder = tmp_path_factory.mktemp("film")
    words = ["synth", "--lab", "A", "--subjects", "1", "--videos", "1", "--frames", str(FRAMES), "--size", "128"]
    assert main([*words, "--first-subject", "300", "--out", str(folder / "data")]) == 0
    (video,) = (folder / "data").rglob("*.mp4")
    return video.rename(folder / "Gespräch 1.mp4")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with page_process(folder=tmp_path_factory.mktemp("page")) as url:
        yield url


def numbered(folder: Path, *, suffix: str = ".mp4", codec: str = "libx264", slots: tuple[int, ...] = ()) -> Path:
    """A video that shows the number of each frame, and predictions in which AU12's probability says it too."""
    folder.mkdir()
    film = Film(suffix, codec, slots=slots or tuple(range(NUMBERED)))
    path = write_film(film, folder)
    return with_predictions(path, film.times)


def with_predictions(path: Path, times: list[float]) -> Path:
    """The folder of a video, with predictions in it: AU12's probability is the frame's number over 100."""
    table = rows(range(len(times)), {"AU12": range(10, 20)}, name=path.name)
    table["time_s"] = np.round(times, 6)
    table["AU12_prob"] = np.round(np.arange(len(table)) / 100, 7)
    table["AU12_active"] = pd.array((table["AU12_prob"] >= 0.2).astype(int), "Int8")
    table[["x", "y", "w", "h"]] = [24.0, 16.0, 48.0, 32.0]
    write_predictions(table, path.parent / "predictions.csv", {"thresholds": {"AU1": 0.5, "AU12": 0.2}})
    return path.parent


def numbered_late(folder: Path, late: int = 12) -> Path:
    """As `numbered`, with sound from the beginning and a first frame 0.48 seconds later."""
    folder.mkdir()
    with av.open(str(folder / "film.mp4"), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48_000)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for number in range(NUMBERED):
            frame = av.VideoFrame.from_ndarray(seen(number), format="rgb24")
            frame.pts, frame.time_base = number + late, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for number in range(100):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts, silence.time_base = 48_000, number * 1024, Fraction(1, 48_000)
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    return with_predictions(folder / "film.mp4", [number / 25 for number in range(NUMBERED)])


@contextmanager
def served(out: Path) -> Iterator[str]:
    """The page with a result that exists, without the process that predicts."""
    found = Served(out.parent, results=[("out", out / "predictions.csv")])
    try:
        yield found.url
    finally:
        found.close()


def shown(tab: Tab) -> int | None:
    """The number that the picture shows."""
    code = """() => {
      const player = auformer.player, from = player.mode === "video" ? player.video : player.image;
      const canvas = document.createElement("canvas");
      canvas.width = 96; canvas.height = 64;
      const context = canvas.getContext("2d");
      context.drawImage(from, 0, 0, 96, 64);
      return [...context.getImageData(0, 0, 96, 64).data];
    }"""
    return number_in(np.array(tab.eval(code), np.uint8).reshape(64, 96, 4)[..., :3])


def test_from_a_dropped_video_to_downloads(
    page: str, tab: Callable[..., Tab], film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tab(page)
    assert "no measuring instrument" in one.text("#statement") and "Measured on photographs" in one.text("#statement")
    assert urlsplit(one.page.url).query == ""  # the token is out of sight
    one.page.set_input_files("#files", film)
    one.until("document.querySelector('#items li progress')?.value > 0", 60)
    assert re.search(r"\d+ of \d+ frames", one.text("#items"))
    one.page.click("#items button[data-word=cancel]")
    one.until("document.querySelector('#items')?.innerText.includes('cancelled after')")
    one.page.click("#items button[data-word=resume]")
    one.until("document.querySelector('#items button[data-word=open]')?.hidden === false", 90)
    one.page.click("#items button[data-word=open]")
    one.until("auformer.view && auformer.player.video.readyState > 1 && auformer.timeline.drawn > 0")

    monkeypatch.chdir(film.parent)
    assert main(["predict", film.name, "--out", str(tmp_path / "out"), "--no-plot"]) == 0
    wanted = tmp_path / "out" / "predictions.csv"
    found = one.download("predictions")
    assert found["predictions.csv"] == wanted.read_bytes()  # to the byte, after a cancel and a resume

    table = read_predictions(wanted)
    truth = read_table(film.parent / "data" / "truth.parquet")
    for frame in (0, 33, 52, FRAMES - 1):
        one.seek(frame)
        assert f"frame {frame}" in one.text("#clock")
        for au, (cell,) in one.now().items():
            if f"{au}_prob" in table:
                row = table.iloc[frame]
                assert cell == f"{row[f'{au}_prob']:.2f} · {row[f'{au}_intensity_pred']:.1f}", (au, frame)
    strongest = {
        au: truth[[f"{au}_left", f"{au}_right"]].max(axis=1)
        for au in ("AU4", "AU6", "AU12", "AU25")
        if f"{au}_left" in truth
    }
    assert strongest
    au, course = max(strongest.items(), key=lambda each: each[1].max())
    one.seek(int(course.idxmax()))
    apex = float(one.now()[au][0].split(" ")[0])
    one.seek(int(course.idxmin()))
    assert apex > float(one.now()[au][0].split(" ")[0])  # the face that moves is the one whose values are shown

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "predictions.csv").write_bytes(found["predictions.csv"])
    assert main(["summarise", "predictions.csv", "--out", "summary.csv"]) == 0
    assert one.download("summary") == {"summary.csv": Path("summary.csv").read_bytes()}
    assert main(["export-annotations", "predictions.csv", "--to", "csv-episodes", "--out", "."]) == 0
    assert one.download("episodes") == {"episodes.csv": Path("episodes.csv").read_bytes()}

    other = tab(page)
    assert other.eval("document.querySelectorAll('#items li').length") == 0  # another browser, another user
    id_ = one.eval("auformer.view.id")
    assert other.eval("async id => (await fetch(`api/items/${id}/about`)).status", id_) == 404
    one.page.click("#items button[data-word=remove]")
    one.until("document.querySelectorAll('#items li').length === 0")
    assert one.eval("document.getElementById('viewer').hidden")


def test_what_is_no_video_is_said(page: str, tab: Callable[..., Tab], tmp_path: Path) -> None:
    one = tab(page)
    (tmp_path / "talk.mp4").write_bytes(b"no video at all " * 100)
    one.page.set_input_files("#files", tmp_path / "talk.mp4")
    note = "document.querySelector('#items .note')?.innerText"
    said = one.until(f"{note}?.includes('talk.mp4') && {note}", 60)
    assert "Expected a video at talk.mp4, but it cannot be read as one" in said
    (tmp_path / "notes.docx").write_text("hm")
    one.page.set_input_files("#files", tmp_path / "notes.docx")
    assert "notes.docx" in one.until(
        "!document.getElementById('error').hidden && document.getElementById('error').innerText"
    )


GAPS = (*range(0, 20), *range(30, 50, 2), *range(60, 70))


@pytest.mark.parametrize("times", ["gaps", "late"])
def test_the_row_under_the_playhead_is_the_image_s(times: str, tab: Callable[..., Tab], tmp_path: Path) -> None:
    out = numbered(tmp_path / "out", slots=GAPS) if times == "gaps" else numbered_late(tmp_path / "out")
    with served(out) as url:
        one = tab(url)
        one.until("auformer.view && auformer.player.video.readyState > 1 && auformer.timeline.drawn > 0")
        for frame in (0, 1, 7, 19, 20, 24, 33, 39):
            one.seek(frame)
            wait_for(lambda frame=frame: shown(one) == frame, 5)
            assert one.now()["AU12"] == [f"{frame / 100:.2f} · {3.0 if 10 <= frame < 20 else 0.0}"]
            at_frame(one, frame)

        assert playhead(one) == pytest.approx(one.eval("auformer.timeline.x(auformer.timeline.playhead)"), abs=2)
        times = read_predictions(out / "predictions.csv")["time_s"].to_numpy()
        box = one.page.locator("#timeline").bounding_box()
        for frame in (5, 21, 38):  # a click in the middle of a frame
            x = one.eval("t => auformer.timeline.x(t)", float((times[frame] + frame_ends(times)[frame]) / 2))
            one.page.mouse.click(box["x"] + x, box["y"] + 60)
            at_frame(one, frame)
            wait_for(lambda frame=frame: shown(one) == frame, 5)

        one.seek(0)
        one.eval("auformer.player.speed(0.25)")
        one.page.focus("#timeline")
        one.page.keyboard.press("Space")
        one.until("auformer.player.frame >= 4")
        one.page.keyboard.press("Space")
        one.page.wait_for_timeout(300)
        assert one.eval("auformer.player.video.paused") and shown(one) == one.eval("auformer.player.frame")

        one.seek(10)
        for key, frame in (("ArrowRight", 11), ("ArrowLeft", 10), ("End", 39), ("Home", 0)):
            one.page.keyboard.press(key)
            at_frame(one, frame)
        whole = one.eval("auformer.timeline.to - auformer.timeline.from")
        one.page.keyboard.press("+")
        assert one.eval("auformer.timeline.to - auformer.timeline.from") == pytest.approx(whole / 2)
        one.page.keyboard.press("0")
        assert one.eval("auformer.timeline.to - auformer.timeline.from") == pytest.approx(whole)
        told = "document.getElementById('timeline').getAttribute('aria-valuetext')"
        wait_for(lambda: one.eval(told).endswith("frame 0"), 5)


def at_frame(tab: Tab, frame: int) -> None:
    """Wait until the page says that this frame is shown: the video answers a key or a click when it has gone there."""
    wait_for(lambda: tab.eval("auformer.player.frame") == frame, 5)


def playhead(tab: Tab) -> float:
    """Where the playhead is seen in the timeline, in pixels from its left."""
    image = decode_image(tab.page.locator("#timeline").screenshot(), "timeline").astype(int)
    red = np.abs(image[40:-40] - (0xC1, 0x12, 0x1F)).sum(axis=2) < 30
    (columns,) = np.nonzero(red.mean(axis=0) > 0.9)
    return float(columns.mean())


def test_a_video_that_the_browser_cannot_play(tab: Callable[..., Tab], tmp_path: Path) -> None:
    """MPEG-4 Part 2 in AVI: single images at once, then a copy with the same frames."""
    out = numbered(tmp_path / "out", suffix=".avi", codec="mpeg4")
    with served(out) as url:
        one = tab(url)
        one.until("auformer.view && auformer.player.mode === 'video' && auformer.player.video.readyState > 1")
        assert "a copy for viewing, since this browser cannot play the video (mpeg4)" in one.text("#viewing")
        for frame in (0, 13, 26, 39):
            one.seek(frame)
            wait_for(lambda frame=frame: shown(one) == frame, 5)
        one.eval("auformer.player.stills('')")
        for frame in (5, 22):
            one.seek(frame)
            wait_for(lambda frame=frame: shown(one) == frame, 5)


def crossing(frames: int = 60) -> pd.DataFrame:
    """Two people with gaps, unknown values and probabilities at the threshold itself."""
    rng = np.random.default_rng(7)
    parts = []
    for face in range(2):
        seen = np.flatnonzero(rng.random(frames) < 0.8)
        part = rows(seen.tolist(), {}, face=face, name="talk.mp4")
        for au in ("AU1", "AU12"):
            part[f"{au}_prob"] = rng.choice([0.1, 0.395, 0.4, 0.405, 0.9], len(part))
            part[f"{au}_active"] = pd.array((part[f"{au}_prob"] >= 0.5).astype(int), "Int8")
            part[f"{au}_intensity_pred"] = rng.random(len(part)).round(6) * 5
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_thresholds_and_episodes_are_those_of_python(tab: Callable[..., Tab], tmp_path: Path) -> None:
    table = crossing()
    (tmp_path / "out").mkdir()
    write_predictions(table, tmp_path / "out" / "predictions.csv", {"thresholds": {"AU1": 0.5, "AU12": 0.5}})
    with served(tmp_path / "out") as url:
        one = tab(url)
        one.until("auformer.view && auformer.timeline.drawn > 0")
        assert "is not here" in one.text("#nothing")  # the video
        for threshold in (None, 0.4, 0.395, 0.9, 1.0):
            if threshold is not None:
                one.eval("document.getElementById('threshold-box').open = true")
                slider = one.page.locator("#sliders label", has_text="AU12").locator("input")
                slider.fill(str(threshold))
                table["AU12_active"] = (table["AU12_prob"] >= threshold).astype("Int8")
            (video,) = collect(table).videos
            for number, person in enumerate(video.people):
                wanted = episode_table(video, person)
                found = one.eval(
                    "k => auformer.view.source.people[k].rows.map(row => row.episodes.map(each => [row.au, each.begin, "
                    "each.end, each.frames, each.meanProb, each.meanIntensity, each.peak])).flat()",
                    number,
                )
                found = sorted(found, key=lambda each: (each[1], each[0] != "AU1"))
                assert [(each[0], each[3]) for each in found] == list(zip(wanted["au"], wanted["frames"], strict=True))
                columns = ["begin_s", "end_s", "mean_prob", "mean_intensity", "peak_intensity"]
                values = np.array([[each[k] for k in (1, 2, 4, 5, 6)] for each in found]).reshape(-1, 5)
                assert np.allclose(values, wanted[columns].to_numpy(float), atol=1e-6)
            count = sum(len(episode_table(video, person)) for person in video.people)
            assert one.text("#episode-count") == f"({count})"
        assert one.text("#moved") == "(1 moved)"
        saved = one.download("predictions")["predictions.csv"]
        (tmp_path / "saved.csv").write_bytes(saved)
        assert (read_predictions(tmp_path / "saved.csv")["AU12_active"] == 0).all()
        one.page.click("#reset")
        assert one.text("#moved") == ""

        rng = np.random.default_rng(0)
        for n in (0, 1, 2, 3, 50, 400):
            times = np.cumsum(rng.choice([0.04, 0.04, 0.04, 0.08, 0.5], n))
            active = rng.random(n) < 0.5
            usual = usual_length(times)
            given = [times.tolist(), active.astype(int).tolist()]
            ours = one.eval(
                "([times, active]) => { const t = auformer.time, own = Float64Array.from(times); "
                "const usual = t.usualLength(own), ends = [...t.frameEnds(own)]; "
                "return [usual, ends, t.runs(own, active, usual)]; }",
                given,
            )
            assert ours[0] == usual and ours[1] == frame_ends(times).tolist()
            assert ours[2] == runs(times, active, usual).ravel().tolist()
            assert len(ours[2]) == 2 * len(episodes(times, active))


def test_a_second_file_beside_the_first(tab: Callable[..., Tab], tmp_path: Path) -> None:
    out = numbered(tmp_path / "out")
    openface = "frame, face_id, timestamp, confidence, success, AU12_r, AU12_c\n" + "".join(
        f"{k + 1}, 0, {k / 25:.3f}, 0.95, 1, {k / 10:.2f}, {int(k >= 30)}\n" for k in range(NUMBERED)
    )
    (tmp_path / "film.csv").write_text(openface)
    with served(out) as url:
        one = tab(url)
        one.until("auformer.view && auformer.timeline.drawn > 0")
        one.eval("document.getElementById('second-box').open = true")
        one.page.set_input_files("#second", tmp_path / "film.csv")
        one.until("document.querySelectorAll('#agreement tbody tr').length === 1")
        cells = one.eval("[...document.querySelector('#agreement tbody tr').cells].map(cell => cell.innerText)")
        assert cells[:5] == ["AU12", "40", "50.0", "25.0", "75.0"] and cells[5] == "0.50"
        active = one.eval("auformer.view.source.people[0].rows[1].second.active")
        assert active == [0] * 30 + [1] * 10 and "film.csv" in one.text("#legend")
        one.eval("document.getElementById('threshold-box').open = true")
        one.page.locator("#sliders label", has_text="AU12").locator("input").fill("0.3")
        one.until("document.querySelector('#agreement tbody tr').cells[5].innerText === '1.00'")
        one.page.click("#second-remove")
        one.until("document.getElementById('agreement-frame').hidden")
        (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
        one.page.set_input_files("#second", tmp_path / "bad.csv")
        one.until("!document.getElementById('second-error').hidden")
        assert "expected the predictions" in one.text("#second-error")


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "dark")])
def test_a_phone_and_the_night(width: int, scheme: str, tab: Callable[..., Tab], tmp_path: Path) -> None:
    out = numbered(tmp_path / "out")
    with served(out) as url:
        one = tab(url, viewport={"width": width, "height": 800}, color_scheme=scheme)
        one.until("auformer.view && auformer.timeline.drawn > 0")
        for box in ("options", "threshold-box", "second-box", "download-box"):
            one.eval("id => { document.getElementById(id).open = true; }", box)
        assert one.eval("document.documentElement.scrollWidth") <= width
        assert contrast(one, "#made") > 4.5 and contrast(one, "#title") > 7 and contrast(one, "#second-box summary") > 7
        back = one.eval("getComputedStyle(document.body).backgroundColor")
        assert (luminance(back) < 0.1) == (scheme == "dark")
        one.page.click("#theme")  # light, whatever the system says
        one.page.click("#theme")
        assert luminance(one.eval("getComputedStyle(document.body).backgroundColor")) < 0.1
        names = one.eval(
            "[...document.querySelectorAll('button, input, select, a, summary')].filter(each => each.offsetParent && "
            "!(each.innerText || each.getAttribute('aria-label') || each.closest('label'))).map(each => each.outerHTML)"
        )
        assert names == []
        reached = set()
        one.page.focus("#theme")
        for _ in range(60):
            one.page.keyboard.press("Tab")
            reached.add(one.eval("document.activeElement.id"))
        assert {"files", "source", "play", "timeline", "closer", "reset", "second"} - {"source"} <= reached


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2)."""
    parts = np.array([int(each) for each in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(tab: Tab, selector: str) -> float:
    """Contrast of an element's text on its section (WCAG 2)."""
    colours = tab.eval(
        "s => { const e = document.querySelector(s); return [getComputedStyle(e).color, "
        "getComputedStyle(e.closest('section')).backgroundColor]; }",
        selector,
    )
    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def test_photos_are_shown_with_their_values(page: str, tab: Callable[..., Tab], film: Path, tmp_path: Path) -> None:
    with av.open(str(film)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, image)
    one = tab(page)
    one.page.set_input_files("#files", [tmp_path / "a.png", tmp_path / "b.png"])
    one.until("auformer.view && auformer.player.image.naturalWidth === 128", 60)
    assert one.eval("document.getElementById('over-time').hidden") and len(one.now()) == 24
    one.page.select_option("#source", "1")
    one.until("auformer.view.number === 1 && auformer.player.image.src.includes('sources/1/')")
