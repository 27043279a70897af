# Sourced by the other scripts: PYTHON is the interpreter to use, the project's own environment where there is one.
if [ -z "${PYTHON:-}" ]; then
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; else PYTHON=python3; fi
fi
