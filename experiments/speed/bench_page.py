"""The local page in a headless Chromium: first view, panning and zooming of ten minutes, memory of the tab.

    python -m experiments.speed.bench_page

Ten minutes at 25 frames a second, 18 AUs with probability, activity and intensity, two people, and their video.
`auformer page` serves them as people start it; the tab is 1280 x 900 pixels. A first view is from the address to the
statement about the AU detector, and to the first drawn timeline. Panning and zooming are wheel events, one for each
image of the screen, and every one draws the timeline anew. Writes page.md and page.json.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from auformer.data.manifest import write_predictions
from auformer.synthetic.video_file import VideoFile
from experiments.harness import Target, circumstances, new_parser, target_table, write_result
from experiments.speed.bench_exports import FPS, predictions

BUSY = "other work has the cores, see the load and the processor time of one image"
TARGETS = {
    "first_s": Target("first view, seconds", 2.0),
    "timeline_s": Target("first view with the timeline, seconds"),
    "pan_fps": Target("panning, images a second", 30.0, below=False, reason=BUSY),
    "zoom_fps": Target("zooming, images a second", 30.0, below=False, reason=BUSY),
    "all_fps": Target("zooming with all rows in view, images a second", 30.0, below=False, reason=BUSY),
    "heap_growth_mib": Target("growth of the tab's JavaScript heap after all of it, MiB", 5.0),
}
PROBE = """([kind, seconds]) => new Promise((done) => {
  const line = auformer.timeline, element = document.getElementById("timeline"), gaps = [];
  const middle = element.getBoundingClientRect().left + line.left + line.plot / 2;
  if (kind === "pan") line.view(line.begin, line.begin + (line.end - line.begin) / 10);
  const start = performance.now(), drawn = line.drawn, spent = line.spent;
  let last = start, sign = 1;
  const step = (now) => {
    gaps.push(now - last);
    last = now;
    if (now - start > 1000 * seconds) {
      gaps.sort((a, b) => a - b);
      const count = line.drawn - drawn;
      return done({
        fps: count / ((now - start) / 1000), draw_ms: (line.spent - spent) / count,
        slowest_ms: gaps[Math.floor(0.95 * gaps.length)],
      });
    }
    if (kind === "pan") {
      if (line.to >= line.end) sign = -1;
      if (line.from <= line.begin) sign = 1;
      element.dispatchEvent(new WheelEvent("wheel", { deltaX: 25 * sign, clientX: middle, cancelable: true }));
    } else {
      if (line.to - line.from > 0.99 * (line.end - line.begin)) sign = -1;
      if (line.to - line.from < 2) sign = 1;
      const event = { deltaY: 25 * sign, ctrlKey: true, clientX: middle, cancelable: true };
      element.dispatchEvent(new WheelEvent("wheel", event));
    }
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
ALL_ROWS = "() => { document.getElementById('timeline').style.height = `${auformer.timeline.height + 2}px`; }"
SLIDERS = """() => {
  for (const input of document.querySelectorAll("#sliders input")) for (let k = 1; k < 10; k++) {
    input.value = String(k / 10);
    input.dispatchEvent(new Event("input"));
  }
  document.getElementById("reset").click();
}"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--frames", type=int, default=15_000, help="frames of the video (default: %(default)s)")
    add("--people", type=int, default=2, help="faces in each (default: %(default)s)")
    add("--rounds", type=int, default=5, help="tabs that are opened (default: %(default)s)")
    add("--seconds", type=float, default=5.0, help="of panning and of zooming in a tab (default: %(default)s)")
    return parser.parse_args(argv)


def write_material(args: argparse.Namespace, folder: Path) -> Path:
    """Predictions and a video of their length."""
    out = folder / "out"
    out.mkdir()
    write_predictions(predictions(args.frames, args.people), out / "predictions.csv", {})
    with VideoFile(out / "talk.mp4", 64, FPS) as video:
        image = np.zeros((64, 64, 3), np.uint8)
        for number in range(args.frames):
            image[:, number % 64] = number % 251
            video.add(image)
    return out


@contextmanager
def serving(out: Path) -> Iterator[tuple[str, float]]:
    """`auformer page` on some results: its address, and the seconds until it was printed."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "auformer", "page", str(out), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), time.perf_counter() - start
        finally:
            process.terminate()
            process.wait(20)


def ready(page: Any, code: str) -> None:
    """Wait until an expression is true; the page allows no code of text, so it is asked again and again."""
    until = time.monotonic() + 60
    while not page.evaluate(code):
        if time.monotonic() > until:
            raise TimeoutError(code)
        time.sleep(0.005)


def first_view(page: Any, url: str) -> dict[str, float]:
    """Seconds from the address to the statement, and to the timeline."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#statement:not([hidden])")
    statement = time.perf_counter() - start
    ready(page, "auformer.timeline.drawn > 0")
    return {"first_s": statement, "timeline_s": time.perf_counter() - start}


def browser_pids(browser: Any, kind: str = "") -> list[int]:
    """Processes of the browser, of one kind or of all."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return [one["id"] for one in found if kind in ("", one["type"])]


def processor_seconds(browser: Any) -> float:
    """What all processes of the browser have used so far; 0 where the system does not say (other than Linux)."""
    seconds = 0.0
    for pid in browser_pids(browser):
        stat = Path(f"/proc/{pid}/stat")
        if stat.is_file():
            user, system = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
            seconds += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds


def memory(page: Any, browser: Any) -> dict[str, float]:
    """MiB of the tab after a collection: JavaScript heap, and resident memory of all processes for pages."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used, resident = session.send("Runtime.getHeapUsage")["usedSize"], 0
    for pid in browser_pids(browser, "renderer"):
        status = Path(f"/proc/{pid}/status")
        found = re.search(r"VmRSS:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.is_file() else None
        resident += int(found[1]) * 1024 if found else 0
    return {"heap": used / 2**20, "resident": resident / 2**20}


def rate(page: Any, browser: Any, kind: str, seconds: float) -> dict[str, float]:
    """Images a second of `pan` or `zoom`, what drawing one takes, and processor time of one in the whole browser."""
    before = processor_seconds(browser)
    found = page.evaluate(PROBE, [kind, seconds])
    used = processor_seconds(browser) - before
    return {**found, "processor_ms": 1000 * used / max(1.0, found["fps"] * seconds)}


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in one browser."""
    from playwright.sync_api import sync_playwright

    out, views, found = write_material(args, folder), [], {}
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with serving(out) as (url, started), sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        version = browser.version
        for number in range(args.rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            page = context.new_page()
            views.append(first_view(page, url))
            if number == args.rounds - 1:
                found = in_tab(page, browser, args.seconds)
            context.close()
        browser.close()
    middle = {name: statistics.median(one[name] for one in views) for name in views[0]}
    return {**middle, **found, "started_s": started, "views": views, "chromium": version}


def in_tab(page: Any, browser: Any, seconds: float) -> dict[str, Any]:
    """Rates, and memory before and after; a first round of everything is not counted."""
    page.evaluate(PROBE, ["zoom", 1.0])
    page.evaluate(PROBE, ["pan", 1.0])
    page.evaluate(SLIDERS)
    before = memory(page, browser)
    found = {kind: rate(page, browser, kind, seconds) for kind in ("pan", "zoom")}
    for _ in range(3):
        page.evaluate(SLIDERS)
    page.evaluate(ALL_ROWS)
    found["all"] = rate(page, browser, "zoom", seconds)
    after = memory(page, browser)
    rates = {f"{kind}_fps": one["fps"] for kind, one in found.items()}
    return {**rates, "tab": found, "before": before, "after": after, "heap_growth_mib": after["heap"] - before["heap"]}


def page_text(result: dict[str, Any]) -> str:
    how, found = result["settings"], result["measured"]
    names = {"pan": "panning a tenth", "zoom": "zooming", "all": "zooming, all rows in view"}
    rows = "\n".join(
        f"| {names[kind]} | {one['fps']:.0f} | "
        + " | ".join(f"{one[name]:.1f}" for name in ("processor_ms", "draw_ms", "slowest_ms"))
        + " |"
        for kind, one in found["tab"].items()
    )
    before, after = found["before"], found["after"]
    times = ", ".join(f"{one['first_s']:.2f} and {one['timeline_s']:.2f}" for one in found["views"])
    return f"""# The local page

`{how["command"]}`: {how["frames"]:,} frames at {FPS} a second, 18 AUs, {how["people"]} people, and their video;
Chromium {found["chromium"]}, headless, without a GPU, 1280 x 900 pixels; starlette {how["starlette"]}, uvicorn
{how["uvicorn"]}; {how["machine"]}; commit {how["commit"]}, {how["date"]}.

{target_table(TARGETS, found)}

Medians of {how["rounds"]} tabs, each of a new user; of each, seconds to the statement and to the timeline: {times}. The
first came while the page was still opening the file. From the command to the printed address it took
{found["started_s"]:.1f} s. The machine's load was {how["load"]} when the benchmark began: wall times are those of a
busy machine.

| in the tab, {how["seconds"]:g} s each | images a second | processor ms of one | ms to draw one | 95 % within, ms |
| --- | ---: | ---: | ---: | ---: |
{rows}

The screen of a headless Chromium has 60 images a second; fewer are drawn where other work takes the time. Processor
time is that of all processes of the browser and does not depend on other work; drawing is timed by the clock. Memory
after collection, before and after all of it and three times nine positions of every slider: {before["heap"]:.1f} and
{after["heap"]:.1f} MiB of JavaScript heap; {before["resident"]:.0f} and {after["resident"]:.0f} MiB resident in the
browser's processes for pages.
"""


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    plain = vars(parse_arguments([]))
    sizes = {key: getattr(args, key) for key in ("frames", "people", "rounds", "seconds")}
    words = "".join(f" --{key} {value}" for key, value in sizes.items() if value != plain[key])
    how = {
        **sizes,
        "command": f"python -m experiments.speed.bench_page{words}",
        **circumstances("starlette", "uvicorn"),
    }
    with tempfile.TemporaryDirectory() as folder:
        result = {"settings": how, "measured": measure(args, Path(folder))}
    write_result(args.out, "page", result, page_text(result))
    print(page_text(result))


if __name__ == "__main__":
    main()
