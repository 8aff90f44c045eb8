#!/usr/bin/env bash
# bids-validator-deno 3.0.2: the rows of `_physio.tsv.gz` are not looked at. A header line, words and NaN pass without an
# error, although BIDS allows numbers and n/a only and no header; NaN as an onset in `_events.tsv` is an error.
# Seen: errors of the physio table [], of the events table ['TSV_VALUE_INCORRECT_TYPE'].
# What to do: check the continuous table oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet bids-validator-deno==3.0.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" - <<'PYTHON'
import gzip
import json
import pathlib
import subprocess

base = pathlib.Path("data/sub-01/beh/sub-01_task-talk")
base.parent.mkdir(parents=True)
about = {"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
pathlib.Path("data/dataset_description.json").write_text(json.dumps(about))
pathlib.Path("data/README").write_text("A made-up data set that shows what the validator does with continuous tables.\n")
side = {"SamplingFrequency": 25.0, "StartTime": 0.0, "Columns": ["AU1_prob", "AU12_prob"], "PhysioType": "generic"}
pathlib.Path(f"{base}_physio.json").write_text(json.dumps(side))
with gzip.open(f"{base}_physio.tsv.gz", "wt") as file:
    file.write("AU1_prob\tAU12_prob\n0.5\tNaN\nhello\t0.2\n")


def errors() -> list[str]:
    done = subprocess.run(["bids-validator-deno", "data", "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return sorted({issue["code"] for issue in issues if issue["severity"] == "error"})


physio = errors()
print("physio", physio)
pathlib.Path(f"{base}_events.tsv").write_text("onset\tduration\nNaN\t1\n")
events = errors()
print("events", events)
assert physio == [] and events == ["TSV_VALUE_INCORRECT_TYPE"]
PYTHON
