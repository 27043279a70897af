#!/bin/sh
# sh scripts/demo_base.sh OUT [CAPTIONS] [key=value ...] - make the demo's small base: a drawn network learns to say what
# is there from CAPTIONS (default 40000) drawn pictures (configs/demo/base.yaml); about 40 minutes on two idle cores.
set -eu
cd "$(dirname "$0")/.."
. scripts/environment.sh
out=$1 captions=${2:-40000}
shift "$(($# < 2 ? $# : 2))"
data=dataset/demo-base-$captions drawn=ModelZoo/demo-drawn-$captions run=demo-base-$captions
# Another seed than any demo's, so that no picture of theirs is among these.
"$PYTHON" -m artquant demo-data --out "$data" --images "$captions" --seed 1000000 --test-fraction 0.0075
if [ ! -f "$drawn/config.json" ]; then
    "$PYTHON" -m artquant init-model --config configs/demo/model.yaml --out "$drawn" \
        "texts=[$data/meta/descriptions_level_3.json, $data/meta/captions.json, $data/meta/score.json]"
fi
sh train.sh configs/demo/base.yaml "run=$run" "base=$drawn" "infer.records=$data/meta/test.json" \
    "infer.images=$data/images" "stages.captions.data.0.records=$data/meta/captions.json" \
    "stages.captions.data.0.images=$data/images" "$@"
[ -d "$out" ] || "$PYTHON" -m artquant export "runs/$run/captions/model" --to merged --dtype bfloat16 --out "$out"
