"""Code in documents: the blocks of a Markdown file, its commands, and a folder in which a reader would run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2

from auformer.cli import main
from tests.helpers.trees.images import write_video

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str, text: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """Every command of the bash blocks on one line each, without comments; `a && b` are two."""
    found = []
    for block in blocks("bash", text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            parts = " ".join("&&" if word == "&&" else shlex.quote(word) for word in words).split(" && ")
            found += [part for part in parts if part]
    return found


def run(command: str, folder: Path) -> int:
    """Exit code of one command; `auformer` runs in this process, which has its packages loaded already."""
    words = shlex.split(command.replace("ROOT", str(ROOT)))
    if words[0] == "auformer":
        return main(words[1:])
    if words[0] in ("python", "pip"):
        words[:1] = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "pip"]
    return subprocess.run(
        words, cwd=ROOT if words[0] == "make" else folder, capture_output=True, check=False
    ).returncode


def reader_files(folder: Path) -> Path:
    """`photo.jpg`, a photograph of a person in the public domain, and `talk.mp4`, which moves over it."""
    from skimage.data import astronaut

    cv2.imwrite(str(folder / "photo.jpg"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    write_video(folder / "talk.mp4", [astronaut()[:240, 100 + k : 340 + k] for k in range(6)])
    return folder
