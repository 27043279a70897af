#!/bin/sh
# sh scripts/demo.sh [--short] [--internvl] [SEED] - everything on a fresh machine: environment, drawn pictures, base
# model, both training stages, inference, evaluation, and where to look. A few minutes on two CPU cores.
#
# --short: few pictures and steps, to see that it runs; the figures mean nothing then.
# --internvl: transformers' own InternVL instead of mPLUG-Owl2.
# SEED (default 0) is that of the pictures, the weights and the training; each seed is a run of its own.
set -eu
cd "$(dirname "$0")/.."
sh scripts/install.sh
. scripts/environment.sh

run=demo images=1800 steps= shape=configs/demo/model.yaml config=configs/demo/demo.yaml
if [ "${1:-}" = --short ]; then
    run=demo-short images=120
    steps="stages.descriptions.max_steps=6 stages.scores.max_steps=6"
    shift
fi
backbone=
if [ "${1:-}" = --internvl ]; then
    backbone=-internvl shape=configs/demo/internvl_model.yaml config=configs/demo/internvl.yaml
    shift
fi
seed=${1:-0}
[ "$seed" = 0 ] || run=$run-$seed
data=dataset/$run
run=$run$backbone
model=ModelZoo/$run
started=$(date +%s)

"$PYTHON" -m artquant demo-data --out "$data" --images $images --seed "$seed" --test-fraction 0.15
if [ ! -f "$model/config.json" ]; then
    "$PYTHON" -m artquant init-model --config "$shape" --out "$model" "seed=$seed" \
        "texts=[$data/meta/descriptions_level_3.json, $data/meta/score.json]"
fi
# The configuration's own settings, but for the names that go with the run.
set -- "run=$run" "seed=$seed" "base=$model" "infer.records=$data/meta/test.json" "infer.images=$data/images" $steps
for level in 1 2 3; do
    part=stages.descriptions.data.$((level - 1))
    set -- "$@" "$part.records=$data/meta/descriptions_level_$level.json" "$part.images=$data/images"
done
set -- "$@" "stages.scores.data.0.records=$data/meta/score.json" "stages.scores.data.0.images=$data/images"
sh train.sh "$config" "$@"
sh infer.sh cpu "$config" "$@"
sh eval.sh "$config" "$@"

picture=$(ls "$data/images" | head -n 1)
echo
"$PYTHON" -m artquant score "$data/images/$picture" --model "runs/$run/scores/model"
"$PYTHON" -m artquant describe "$data/images/$picture" --model "runs/$run/descriptions/model"
cat <<END

Done in $(($(date +%s) - started)) s, the environment not counted. Look at
  $data/images                the pictures
  runs/$run/evaluation        metrics.json and the scatter plot
  runs/$run/predictions.jsonl a score for each held-out picture
  runs/$run/scores/model      the model: artquant score IMAGE --model runs/$run/scores/model
END
