#!/bin/bash
# AUFormer on a SLURM cluster, in one of two ways. What is before the script's name is for sbatch, what is behind it for auformer.
#
# One training on several GPUs and nodes (DDP); rows are dealt out to the processes and scored once each:
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 experiments/slurm/slurm.sh fit --config experiments/configs/bp4d.yaml \
#       --data.train data/bp4d/manifest.csv --data.fold P1 --out runs/bp4d-p1
#
# A benchmark, several runs at a time, one GPU each: all tasks work in one folder, and each takes runs that no other one is at:
#   sbatch --ntasks=3 --gpus-per-task=1 experiments/slurm/slurm.sh benchmark suite experiments/suites/suite-within.yaml
#
# Submitted again, an interrupted job resumes: finished runs are kept, others continue from their last checkpoint.
#SBATCH --job-name=auformer
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=auformer-%j.log
set -euo pipefail

case "${1:-}" in
    fit | validate | test)
        srun auformer "$@" --trainer.accelerator gpu --trainer.devices "${SLURM_NTASKS_PER_NODE:-1}" \
            --trainer.num_nodes "${SLURM_NNODES:-1}" --trainer.strategy ddp
        ;;
    benchmark)
        # Each task is a program of its own: without these variables, Lightning does not take the tasks for ranks of one training.
        srun --kill-on-bad-exit=0 env -u SLURM_NTASKS -u SLURM_PROCID -u SLURM_LOCALID auformer "$@"
        ;;
    *)
        echo "Expected fit, validate, test or benchmark and its options, but got: $*" >&2
        exit 2
        ;;
esac
