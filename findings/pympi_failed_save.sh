#!/usr/bin/env bash
# pympi-ling 1.71 (Python 3.11): `Eaf.to_file` renames the file that is there to NAME.bak before it writes, and does not
# put it back when the write fails. Here the write fails as on a full disk (a limit on the size of files): the ELAN file
# of before is gone from its name, a torn one is in its place. Seen: {'talk.eaf': 'torn', 'talk.bak': 'the good one'}.
# Besides, times that are numpy integers are refused: "start and end must be an integer...".
# What to do: write to a temporary name, then rename; pass int(...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pympi-ling==1.71 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import pathlib
import resource

import numpy as np
import pympi

eaf = pympi.Eaf()
try:
    eaf.add_annotation("default", np.int64(0), np.int64(100), "a")
    said = "taken"
except ValueError as error:
    said = str(error)
print("numpy integers:", said)
folder = pathlib.Path("files")
folder.mkdir()
path = folder / "talk.eaf"
eaf.add_annotation("default", 0, 100, "a")
eaf.to_file(str(path))
good = path.read_bytes()
for number in range(1, 3000):
    eaf.add_annotation("default", number * 100, number * 100 + 100, "b")
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    eaf.to_file(str(path))
    print("the save did not fail")
except OSError as error:
    print("save:", error)
found = {each.name: "the good one" if each.read_bytes() == good else "torn" for each in folder.iterdir()}
print(found)
assert said == "start and end must be an integer..."
assert found == {"talk.eaf": "torn", "talk.bak": "the good one"}
PYTHON
