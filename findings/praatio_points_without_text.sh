#!/usr/bin/env bash
# praatio 6.2.2: `openTextgrid(..., includeEmptyIntervals=False)` drops the points of a point tier that have no text, not
# only empty intervals. A point without text is an event (a blink, a keystroke); an interval without text is none.
# Seen: of points at 1 s (no text) and 2 s ("y") only the second is read; with includeEmptyIntervals=True both are.
# What to do: read with True and leave out empty intervals oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet praatio==6.2.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from praatio import textgrid

grid = textgrid.Textgrid(0, 10)
grid.addTier(textgrid.PointTier("AU45", [(1, ""), (2, "y")], 0, 10))
grid.save("talk.TextGrid", "long_textgrid", includeBlankSpaces=True)
times = {
    keep: [point.time for point in textgrid.openTextgrid("talk.TextGrid", includeEmptyIntervals=keep).tiers[0].entries]
    for keep in (False, True)
}
print(times)
assert times == {False: [2.0], True: [1.0, 2.0]}
PYTHON
