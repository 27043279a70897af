#!/bin/sh
# sh scripts/conformance.sh [pytest arguments] - transformers' own common tests on our networks and processors.
#
# The tests come from the source archive of the installed release and are laid out in .conformance; HF_SUITE names
# another folder, for example a checkout, whose generation and export tests run too.
set -eu
cd "$(dirname "$0")/.."

sh scripts/install.sh
version=$(.venv/bin/python -c 'import transformers; print(transformers.__version__)')
suite=.conformance
if [ -z "${HF_SUITE:-}" ] && [ "$(cat "$suite/version" 2>/dev/null)" != "$version" ]; then
    rm -rf "$suite"
    mkdir -p "$suite/archive"
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary transformers \
        --dest "$suite/archive" "transformers==$version"
    tar -xzf "$suite"/archive/*.tar.gz --strip-components 1 -C "$suite"
    rm -r "$suite/archive" "$suite/src"
    printf '%s' "$version" >"$suite/version"
fi
exec .venv/bin/python -m pytest tests/conformance "$@"
