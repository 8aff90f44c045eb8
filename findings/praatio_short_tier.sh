#!/usr/bin/env bash
# praatio 6.2.2: a tier that is shorter than its TextGrid is filled up with empty intervals when it is saved, but its own
# `xmin` and `xmax` stay those of before. The file contradicts itself: a tier from 1 to 2 s has intervals from 0 to 10 s.
# Seen: tier header ['1', '2'], its intervals from 0 to 10; praatio reads the file back with the tier at 0 to 10.
# What to do: give every tier the times of the whole file when it is made.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet praatio==6.2.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import re

from praatio import textgrid

grid = textgrid.Textgrid(0, 10)
grid.addTier(textgrid.IntervalTier("AU12", [(1, 2, "C")]))
grid.save("talk.TextGrid", "long_textgrid", includeBlankSpaces=True)
text = open("talk.TextGrid", encoding="utf-8").read().split("item [1]:")[1]
header, intervals = text.split("intervals: size")
head = re.findall(r"xm(?:in|ax) = (\S+)", header)
inside = re.findall(r"xm(?:in|ax) = (\S+)", intervals)
print("tier header", head, "intervals from", inside[0], "to", inside[-1])
(tier,) = textgrid.openTextgrid("talk.TextGrid", includeEmptyIntervals=True).tiers
print("read back:", tier.minTimestamp, tier.maxTimestamp)
assert head == ["1", "2"] and (inside[0], inside[-1]) == ("0", "10")
assert (tier.minTimestamp, tier.maxTimestamp) == (0, 10)
PYTHON
