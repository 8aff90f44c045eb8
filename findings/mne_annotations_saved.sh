#!/usr/bin/env bash
# MNE-Python 1.13.2: annotations without `orig_time` come back from three of its own forms as three different things.
# CSV: shifted, so that the first onset is 0 (1.25 and 2.0 s become 0 and 0.75 s).
# FIF: onsets are 32-bit floats (3599.967633 s becomes 3599.967529...), a tenth of a millisecond after an hour.
# Text: exact, but a comma in a description makes the file unreadable ("the number of columns changed").
# What to do: text where times must be exact and descriptions are plain words, else FIF; never CSV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mne==1.13.2 numpy==2.4.6 pandas==3.1.1
cd "$folder"
MNE_LOGGING_LEVEL=ERROR "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import mne

early = mne.Annotations([1.25, 2.0], [0.5, 0.25], ["AU1", "AU12"])
early.save("a-annot.csv", overwrite=True)
csv = mne.read_annotations("a-annot.csv").onset.tolist()
print("csv", csv)
late = mne.Annotations([3599.967633], [0.04], ["AU1"])
found = {}
for name in ("b-annot.fif", "b-annot.txt"):
    late.save(name, overwrite=True)
    (found[name],) = mne.read_annotations(name).onset.tolist()
print(found)
mne.Annotations([1.0, 2.0], [0, 0], ["left, weak", "AU1"]).save("c-annot.txt", overwrite=True)
try:
    mne.read_annotations("c-annot.txt")
    said = "read"
except ValueError as error:
    said = str(error)
print("comma:", said)
assert csv == [0.0, 0.75]
assert found["b-annot.txt"] == 3599.967633 and 1e-5 < 3599.967633 - found["b-annot.fif"] < 2e-4
assert "number of columns changed" in said
PYTHON
