#!/bin/sh
# sh train.sh [CONFIG] [key=value ...] [--ranks N] - train a run's stages; run again, it resumes.
#
# On a machine with GPUs one process per GPU is started (torchrun; with --hostfile DeepSpeed's launcher).
set -eu
cd "$(dirname "$0")"
. scripts/environment.sh
case "${1:-}" in *.yaml | *.yml) config=$1; shift ;; *) config=configs/demo/demo.yaml ;; esac
exec "$PYTHON" -m artquant train --config "$config" "$@"
