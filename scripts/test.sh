#!/bin/sh
# sh scripts/test.sh [pytest arguments] - install into .venv if need be, check style and types, run the tests.
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
.venv/bin/python -m mypy
exec .venv/bin/python -m pytest "$@"
