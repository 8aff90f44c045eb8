#!/bin/bash
# AUFormer's speed on the GPU of this machine: checks that it gives the same numbers as the plain form, times every
# variant, and prints one table, which it also writes to experiments/results/speed_gpu.md with the GPU's name.
#   experiments/speed/gpu_speed.sh [OPTIONS OF experiments.speed.bench_speed]
# It makes .venv if there is none and installs the package there; PYTHON=/path/to/python uses that one as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -n "${PYTHON:-}" ]; then
    python="${PYTHON}"
else
    [ -x .venv/bin/python ] || python3 -m venv .venv
    python=.venv/bin/python
    "${python}" -m pip install --quiet -e ".[test]"
fi

"${python}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "Expected a GPU that torch can use, but got none: run nvidia-smi, install a torch built for its driver" >&2
    exit 1
}
# The package's own tests of parity; the same comparison on the GPU is the first part of what follows, and ends it where
# numbers differ.
"${python}" -m pytest -q -p no:cacheprovider tests/models
"${python}" -m experiments.speed.bench_speed --device cuda "$@"
