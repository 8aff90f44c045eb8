#!/bin/bash
# All of `ablations.yaml` on one GPU, several runs at a time, then the larger grid: five seeds, 8,000 images, 20 epochs.
#   experiments/ablations/gpu_ablations.sh [RUNS AT A TIME] [OTHER OPTIONS OF auformer benchmark suite]
# A demo ViT leaves most of a GPU idle, so runs share it. The same call resumes an interrupted grid.
set -euo pipefail
cd "$(dirname "$0")/../.."

jobs="${1:-8}"
shift || true
for suite in ablations ablations-large; do
    auformer benchmark suite "experiments/suites/${suite}.yaml" --jobs "${jobs}" "$@"
done
