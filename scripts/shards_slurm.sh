#!/bin/sh
# sbatch --array=1-16 scripts/shards_slurm.sh RUN [option ...] - score a planned run with an array of jobs, a GPU each.
#
# Plan it first: artquant shard plan INPUT ... --model MODEL --out RUN, in a folder that all nodes see. Jobs may start, end
# and be killed at any time; submit the same line again for what is left, then: artquant shard merge RUN --out all.parquet
#SBATCH --job-name=artquant
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
set -eu
cd "${SLURM_SUBMIT_DIR:-.}"
. scripts/environment.sh
worker=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))
exec "$PYTHON" -m artquant --quiet shard run "$@" --worker "$worker/$SLURM_ARRAY_TASK_COUNT"
