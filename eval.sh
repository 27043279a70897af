#!/bin/sh
# sh eval.sh [CONFIG] [key=value ...]                    - evaluate a run's predictions, and say where its report lies
# sh eval.sh --predictions FILE --truth FILE [options]   - evaluate any predictions
set -eu
cd "$(dirname "$0")"
. scripts/environment.sh
case "${1:-}" in
    --*) exec "$PYTHON" -m artquant eval "$@" ;;
    *.yaml | *.yml) config=$1; shift ;;
    *) config=configs/demo/demo.yaml ;;
esac
exec "$PYTHON" -m artquant eval --config "$config" "$@"
