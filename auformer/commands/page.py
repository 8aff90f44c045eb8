"""Open the page: videos beside their action units over time, in your browser, on this machine only.

  auformer page                           drop photos and videos into it
  auformer page runs/talk                 open results that exist: a folder of `auformer predict`, or a predictions file
  auformer page runs/talk other.csv --port 8765 --no-browser

The address with its token is printed; it answers on 127.0.0.1 only, and nothing is sent anywhere else. Whoever opens
it in another browser is another user and does not see your uploads. Uploads and what was predicted of them are deleted
when you remove them, when you end the page (Ctrl-C), and after --keep-hours without a request: download what you want
to keep. Files named here are left as they are. Needs: pip install ".[page]"
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MEGABYTE = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options of `auformer page`."""
    add = parser.add_argument
    add("results", nargs="*", type=Path, metavar="OUT", help="results to open: folders or predictions files")
    add("--port", type=int, default=0, metavar="N", help="port on 127.0.0.1 (default: one that is free)")
    add("--no-browser", action="store_true", help="only print the address")
    add("--checkpoint", default="demo", metavar="CKPT", help="AU detector of new runs, as in predict (default: demo)")
    frozen = "local file with the frozen weights, where they cannot be downloaded"
    add("--backbone-checkpoint", type=Path, metavar="FILE", help=frozen)
    add("--detector", default="cascade", metavar="SPEC", help="face detector (default: cascade)")
    add("--device", default="auto", help="cpu, cuda, mps ... (default: auto)")
    add("--max-upload", type=int, default=2000, metavar="MB", help="uploads of a user at a time (default: 2000)")
    add("--keep-hours", type=float, default=12.0, metavar="H", help="a silent user's files are deleted (default: 12)")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        MissingExtraError: starlette or uvicorn is not installed.
        ValueError: A file or folder holds no predictions, or the port is taken.
    """
    from auformer.errors import require

    for name in ("starlette", "uvicorn"):
        require(name, "page")
    if args.max_upload < 1 or not args.keep_hours > 0:
        raise ValueError("Expected --max-upload and --keep-hours to be above 0")
    from auformer.page.jobs import Jobs
    from auformer.page.results import find_tables
    from auformer.page.server import Page, address, listen, make_server
    from auformer.page.users import Users

    results = [(_name(path, out), path.resolve()) for out in args.results for path in find_tables(out)]
    socket = listen(args.port)
    checkpoint = args.checkpoint if args.checkpoint == "demo" else _whole(args.checkpoint)
    kind, colon, file = args.detector.partition(":")
    frozen = None if args.backbone_checkpoint is None else args.backbone_checkpoint.resolve()
    options: dict[str, Any] = {
        "checkpoint": checkpoint, "backbone_checkpoint": frozen, "device": args.device,
        "detector": f"{kind}{colon}{_whole(file) if file else ''}",
    }  # fmt: skip
    users = Users(most_bytes=args.max_upload * MEGABYTE, keep_s=3600 * args.keep_hours)
    with closing(users), closing(Jobs(options)) as jobs, suppress(KeyboardInterrupt), _sigterm_as_interrupt():
        page = Page(users, jobs, results=results, checkpoint=checkpoint, read_coding=read_coding)
        url = address(page, socket)
        print(
            f"{url}\nOpen this address in a browser on this machine. Ctrl-C ends the page and deletes uploads.",
            flush=True,
        )
        with _in_browser(url, wanted=not args.no_browser):
            make_server(page).run(sockets=[socket])
    print("\nThe page is closed; uploads and their results are deleted.")
    return 0


def _whole(path: str) -> str:
    """The absolute path of what is there, since runs work in other folders; anything else as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def _name(path: Path, out: Path) -> str:
    """What the page calls a result: its file, or for the one table of a folder the folder."""
    return path.name if out.is_file() or path.stem != "predictions" else out.resolve().name


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """An orderly end when the system asks for one, as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _in_browser(url: str, *, wanted: bool) -> Iterator[None]:
    """Open the address by way of a file that only its owner can read: other users see the arguments of programs."""
    if not wanted:
        yield
        return
    handle, name = tempfile.mkstemp(prefix="auformer-", suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">')
    try:
        webbrowser.open(Path(name).as_uri())
        yield
    finally:
        Path(name).unlink(missing_ok=True)


def read_coding(path: Path, video: Path | None) -> pd.DataFrame:
    """A person's coding in ELAN or Praat as a table of the frames of a video, as of `read_predictions`.

    Raises:
        ValueError: The video is not there, or the coding cannot be read.
    """
    from auformer.data_prep.datasets.annotations import read
    from auformer.data_prep.release import Findings
    from auformer.predict.compare import read_predictions

    if video is None:
        raise ValueError(
            f"Expected the video beside the predictions, since {path.name} says times and not frames, but it is not "
            "here: drop the predictions together with their video"
        )
    findings = Findings()
    rows = read(video.parent, findings, table=str(path), video=video.name)
    rows = rows.drop(columns=["source", "source_frame"]).assign(
        dataset="annotations", subject=video.name, sequence=video.name, file=video.name, face=0, status="no_face"
    )
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.csv"
        rows.to_csv(manifest, index=False)
        table = read_predictions(manifest)
    table.attrs["notes"] = [*table.attrs["notes"], *(f"{kind}: {text}" for kind, _, text in findings.notes)]
    return table
