#!/bin/sh
# sh infer.sh [GPU] [CONFIG] [key=value ...] - score the run's pictures; run again, it resumes.
#
# GPU is a number, or cpu; left out, the first GPU is taken, else the CPU.
set -eu
cd "$(dirname "$0")"
. scripts/environment.sh
device=auto
case "${1:-}" in
    cpu) device=cpu; shift ;;
    [0-9] | [0-9][0-9]) device=cuda:$1; shift ;;
    [0-9]*,*)
        echo "infer.sh: one GPU at a time, not $1; several share a planned run: artquant shard plan INPUT --model MODEL" \
            "--out RUN, then artquant shard run RUN --devices $1 (docs/collections.md)" >&2
        exit 2
        ;;
esac
case "${1:-}" in *.yaml | *.yml) config=$1; shift ;; *) config=configs/demo/demo.yaml ;; esac
exec "$PYTHON" -m artquant infer --config "$config" --device "$device" "$@"
