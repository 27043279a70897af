#!/bin/sh
# sh scripts/demo.sh [--short] [--network internvl | --from-scratch] [SEED] - everything on a fresh machine: the environment, then
# `artquant demo`, which draws pictures, trains both stages, scores, evaluates and says where to look (--help: its options).
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh
. scripts/environment.sh
exec "$PYTHON" -m artquant demo "$@"
