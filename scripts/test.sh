#!/bin/sh
# sh scripts/test.sh [pytest arguments] - install into .venv if need be, check style and types, run the tests.
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
# Two processes run the tests; more threads would only get in their way.
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec .venv/bin/python -m pytest "$@"
