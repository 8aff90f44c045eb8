"""Values that a user writes: times, how many faces, a part of an array job, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from auformer.aus import canonical


def parse_time(text: str) -> float:
    """Seconds, from seconds or `[H:]M:S`.

    Raises:
        ValueError: it is neither.

    >>> parse_time("1:30"), parse_time("2.5"), parse_time("1:00:00")
    (90.0, 2.5, 3600.0)
    """
    parts = text.split(":")
    try:
        if len(parts) > 3:
            raise ValueError
        return float(sum(float(part) * 60**power for power, part in enumerate(reversed(parts))))
    except ValueError:
        raise ValueError(f"Expected `--start` and `--end` to be seconds or [H:]M:S, but got {text!r}.") from None


def parse_faces(text: str) -> int | None:
    """How many of the largest faces: None for `all`, 1 for `largest`, or a number from 1 on.

    Raises:
        ValueError: it is none of them.

    >>> parse_faces("all"), parse_faces("largest"), parse_faces("3")
    (None, 1, 3)
    """
    if text in ("all", "largest"):
        return None if text == "all" else 1
    if not text.isdecimal() or not int(text):
        raise ValueError(f"Expected `--faces` to be all, largest or a number from 1 on, but got {text!r}.")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """`I/N` with 1 <= I <= N.

    Raises:
        ValueError: it is not.

    >>> parse_shard("2/8")
    (2, 8)
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise ValueError(f"Expected `--shard` to be I/N with I from 1 to N, but got {text!r}.")
    return int(first), int(count)


def read_thresholds(text: str, au_names: Sequence[str]) -> dict[str, float]:
    """Thresholds from a number or a YAML or JSON file.

    Args:
        text: a number in [0, 1], or a path to `AU12: 0.4` and so on; AUs that it does not name keep the checkpoint's.
        au_names: AUs of the checkpoint.

    Returns:
        Threshold per AU.

    Raises:
        ValueError: it is neither, or names an AU that the checkpoint does not have.

    >>> read_thresholds("0.4", ["AU1", "AU2"])
    {'AU1': 0.4, 'AU2': 0.4}
    """
    try:
        return dict.fromkeys(au_names, float(text))
    except ValueError:
        pass
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"Expected `--threshold` to be a number in [0, 1] or a file, but got {text!r}, and there is no such file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        found = {canonical(au): float(value) for au, value in content.items()}
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"Expected {path} to hold a line such as `AU12: 0.4` per action unit, but it does not ({error}).") from error
    return found
