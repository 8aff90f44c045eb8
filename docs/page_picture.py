"""Makes docs/images/page.png, the picture of `auformer page` in the README: a rendered video and its predictions.

    python docs/page_picture.py

Needs a Chromium and playwright; takes a minute.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from auformer.cli import main as auformer

TO = Path(__file__).parent / "images" / "page.png"
WIDTH, HEIGHT, SHOWN, COLOURS = 1180, 720, 960, 128  # SHOWN: of the page, from the image down
RENDERED = "--lab A --subjects 1 --first-subject 300 --videos 1 --frames 150 --size 256"
FRAME = 19  # shows several AUs


def material(folder: Path) -> Path:
    """A rendered video and its predictions."""
    auformer(["synth", *RENDERED.split(), "--out", str(folder / "data")])
    (video,) = (folder / "data").rglob("*.mp4")
    video.rename(folder / "talk.mp4")
    auformer(["predict", str(folder / "talk.mp4"), "--out", str(folder / "talk")])
    return folder / "talk"


def picture(out: Path) -> bytes:
    """A PNG file of the page with a result."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "auformer", "page", str(out), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as running:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(url)
        page.wait_for_selector("#viewer:not([hidden])")
        while not page.evaluate("auformer.timeline.drawn > 0 && auformer.player.video.readyState > 1"):
            time.sleep(0.1)
        page.evaluate("k => auformer.player.seek(k)", FRAME)
        page.wait_for_timeout(1500)
        top = page.evaluate("document.getElementById('look').getBoundingClientRect().top + scrollY") - 10
        found = page.screenshot(full_page=True, clip={"x": 0, "y": top, "width": WIDTH, "height": SHOWN})
        browser.close()
        process.terminate()
        return bytes(found)


def main() -> None:
    """Render, predict, open the page, take its picture."""
    with tempfile.TemporaryDirectory() as folder:
        shot = picture(material(Path(folder)))
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(COLOURS).save(TO, optimize=True)


if __name__ == "__main__":
    main()
