#!/bin/bash
# Predict many videos as a job array: every job takes its share of the files and writes one table per video; the last step joins them.
#
#   sbatch --array=1-8 experiments/slurm/slurm_predict.sh videos/ runs/videos --checkpoint runs/demo/adapter.safetensors
#   auformer predict --merge runs/videos        # when all jobs are done
#
# Files are shared out by a hash of their names, so jobs need not know of each other. A job that was killed is submitted again with the same
# words (--array=3 for the third, and --export=ALL,SHARDS=8) and resumes. Every job must get the same words.
#SBATCH --job-name=auformer-predict
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --output=auformer-predict-%A-%a.log

set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: sbatch --array=1-N $0 SOURCE OUT [options of auformer predict]" >&2
    exit 2
fi
source_="$1"
out="$2"
shift 2
shards="${SHARDS:-${SLURM_ARRAY_TASK_COUNT:-1}}"
exec auformer predict "$source_" --out "$out" --shard "${SLURM_ARRAY_TASK_ID:-1}/$shards" "$@"
