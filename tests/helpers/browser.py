"""A page in a real headless Chromium: its console, and its measures at a given width in both themes."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    "--virtual-time-budget=10000",
)
# The page is in a frame of the wanted width (a window cannot be as narrow as a phone), and measured from outside.
WRAPPER = """<!doctype html><meta charset="utf-8"><style>body{{margin:0}}iframe{{border:0;display:block}}</style>
<iframe id="page" width="{width}" height="{height}" srcdoc="{page}"></iframe><script>
window.addEventListener("load", () => {{
  const page = document.getElementById("page").contentDocument, root = page.documentElement;
  const pictures = [...page.images];
  const result = {{
    title: page.title, width: root.clientWidth, scrollWidth: root.scrollWidth, height: root.scrollHeight,
    background: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
    section: getComputedStyle(page.querySelector("section")).backgroundColor,
    pictures: pictures.map(p => ({{
      loaded: p.complete && p.naturalWidth > 1, width: p.clientWidth, alt: p.alt, end: p.currentSrc.slice(-48)
    }})),
    links: [...page.querySelectorAll("a")].map(link => link.getBoundingClientRect().height),
  }};
  const out = document.createElement("pre");
  out.id = "result";
  out.textContent = JSON.stringify(result);
  document.body.append(out);
}});
</script>
"""


def chromium() -> str:
    """Path of the browser; the test that asks is skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("no Chromium on this machine (Debian: apt-get install chromium); the page is opened where there is one")


def _run(folder: Path, *flags: str, dark: bool) -> subprocess.CompletedProcess[str]:
    """Run the browser once with a profile of its own."""
    theme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", theme, *flags]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)


def console(page: Path, folder: Path) -> list[str]:
    """Open a page from disk and return what its console says (errors, refused loads, warnings)."""
    done = _run(folder, "--enable-logging=stderr", "--dump-dom", page.resolve().as_uri(), dark=False)
    assert "</html>" in done.stdout
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(page: Path, folder: Path, *, width: int, height: int = 844, dark: bool = False) -> dict:
    """Open a page in a frame of the given width and return its measures."""
    wrapper, text = folder / "wrapper.html", html.escape(page.read_text(encoding="utf-8"))
    wrapper.write_text(WRAPPER.format(width=width, height=height, page=text), encoding="utf-8")
    done = _run(folder, "--dump-dom", wrapper.resolve().as_uri(), dark=dark)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1)))
