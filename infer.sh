#!/bin/sh
# sh infer.sh [GPU[,GPU ...]] [CONFIG] [key=value ...] - score the run's pictures; run again, it resumes.
#
# GPU is a number, or cpu; of several each gets a process of its own. Left out, the first GPU is taken, else the CPU.
set -eu
cd "$(dirname "$0")"
. scripts/environment.sh
on=--device=auto
case "${1:-}" in
    *=* | *.yaml | *.yml) ;;
    cpu) on=--device=cpu; shift ;;
    [0-9] | [0-9][0-9]) on=--device=cuda:$1; shift ;;
    *,*) on=--devices=$1; shift ;;
esac
case "${1:-}" in *.yaml | *.yml) config=$1; shift ;; *) config=configs/demo/demo.yaml ;; esac
exec "$PYTHON" -m artquant infer --config "$config" "$on" "$@"
