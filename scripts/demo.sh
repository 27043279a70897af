#!/bin/sh
# sh scripts/demo.sh [--short | --long] [--network internvl | --from-scratch] [SEED] - everything on a fresh machine: the
# environment, then `artquant demo`, which draws pictures, trains both stages, scores, evaluates and says where to look.
#
# --short: few pictures and steps, to see that it runs; the figures mean nothing then.
# --long: scores three times as long, about 20 minutes; attributes of a picture then differ as people say (docs/results.md).
# --network internvl: transformers' own InternVL, with drawn weights, instead of mPLUG-Owl2 with those of ModelZoo/demo.
# --from-scratch: make that base anew first, from 40,000 captions (configs/demo/base.yaml): about 40 minutes.
# SEED (default 0) is that of the pictures and the training; each seed is a run of its own.
set -eu
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' scripts/demo.sh && exit ;; esac
sh scripts/install.sh
. scripts/environment.sh
exec "$PYTHON" -m artquant demo "$@"
