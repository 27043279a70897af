#!/bin/sh
# sh scripts/install.sh - make .venv with everything that training, evaluation and the tests need.
#
# Without a GPU the CPU build of torch is taken where the package index offers one; set TORCH to install another release.
# Nothing is done when .venv is there and up to date.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/installed
if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then exit 0; fi
started=$(date +%s)
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
# torch first, by itself: the version that was tested, so that nothing else draws in a newer one.
.venv/bin/python -m pip install --quiet --disable-pip-version-check "${TORCH:-$(grep '^torch==' constraints.txt)}"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,quant,eval,texts,tables,rad,serve,dev]"
touch "$stamp"
echo "environment: .venv installed in $(($(date +%s) - started)) s"
