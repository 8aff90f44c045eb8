"""Action units that cannot be seen together, and those that bring another with them [ours].

The rules follow what the manual says of each AU's appearance and of what hides it (Ekman, Friesen and Hager, "Facial
Action Coding System", 2002). They are the sampler's: the renderer draws whatever it is given.
"""

from __future__ import annotations

import numpy as np

from auformer.synthetic.canvas import Array
from auformer.synthetic.muscles import AU_NAMES, INDEX, LATER

_SHUT, _ROUND = "lips that are sucked in are shut, and their red is hidden", "one shape of the lips or the other"
_LENGTH = "the mouth is short or long"
_OWN_FOLD = "it makes the same furrow, and a deeper one"
#: Two AUs that never act on one face, and why. Where both are drawn, the one with the stronger cause stays.
EXCLUDED: tuple[tuple[str, str, str], ...] = (
    ("AU43", "AU5", "the levator of the lid cannot raise the lid and let it fall"),
    ("AU28", "AU25", _SHUT), ("AU28", "AU10", _SHUT), ("AU28", "AU16", _SHUT), ("AU28", "AU18", _SHUT),
    ("AU28", "AU22", _SHUT), ("AU28", "AU23", _SHUT), ("AU28", "AU24", _SHUT),
    ("AU27", "AU28", "a stretched jaw pulls the lips out"), ("AU27", "AU24", "a stretched jaw parts the lips"),
    ("AU27", "AU23", "a stretched jaw parts the lips"), ("AU27", "AU18", "a stretched mouth is no small round one"),
    ("AU27", "AU17", "the chin goes down or up"),
    ("AU24", "AU25", "pressed lips are not parted"), ("AU24", "AU26", "pressed lips are not parted"),
    ("AU16", "AU24", "pressed lips are held"), ("AU18", "AU24", _ROUND), ("AU22", "AU24", _ROUND),
    ("AU18", "AU22", _ROUND), ("AU18", "AU20", _LENGTH), ("AU22", "AU20", _LENGTH),
    ("AU16", "AU17", "the lower lip goes down or up"),
    ("AU11", "AU9", _OWN_FOLD), ("AU11", "AU10", _OWN_FOLD), ("AU11", "AU12", _OWN_FOLD),
)  # fmt: skip
_PAIRS = np.array([(INDEX[first], INDEX[second]) for first, second, _ in EXCLUDED])
_EXCLUDES = np.zeros((len(AU_NAMES), len(AU_NAMES)), bool)
_SILENCES = np.zeros((len(AU_NAMES), len(AU_NAMES)), bool)  # row: who acts, column: who is then without a trace
for _first, _second in _PAIRS:
    _SILENCES[_first, _second] = _EXCLUDES[_first, _second] = _EXCLUDES[_second, _first] = True
    _SILENCES[_second, _first] = AU_NAMES[_first] in LATER  # beside parted lips AU24 has always kept its trace
_SILENCES[INDEX["AU27"], INDEX["AU26"]] = True
_STRETCH, _DROP = INDEX["AU27"], INDEX["AU26"]


def choose(on: Array, cause: Array) -> Array:
    """Which AUs `(N,)` bool stay of those in `on (N,)`.

    In the order of their `cause (N,)`, the strongest first, each sends away what it excludes; so an AU goes only where
    one stays that excludes it.

    AU26 and AU27 are one scale of the jaw: where AU27 acts, AU26 does not.

    >>> on, cause = np.zeros(len(AU_NAMES), bool), np.zeros(len(AU_NAMES))
    >>> on[[INDEX["AU5"], INDEX["AU26"], INDEX["AU27"], INDEX["AU43"]]] = True
    >>> cause[INDEX["AU43"]] = 1.0
    >>> [name for name, stays in zip(AU_NAMES, choose(on, cause), strict=True) if stays]
    ['AU27', 'AU43']
    """
    stays = on.copy()
    if on[_PAIRS].all(1).any():
        for au in np.argsort(-cause).tolist():
            if stays[au]:
                stays &= ~_EXCLUDES[au]
    stays[_DROP] &= not stays[_STRETCH]
    return stays


def silenced(on: Array) -> Array:
    """AUs `(N,)` bool of which not even a trace may be seen, because an AU acts that excludes them."""
    quiet: Array = np.asarray(_SILENCES[on].any(0))
    quiet[_STRETCH] |= not on[_STRETCH]  # a trace would already be a wide open mouth
    return quiet
