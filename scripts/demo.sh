#!/bin/sh
# sh scripts/demo.sh [--short] [--internvl | --from-scratch] [SEED] - everything on a fresh machine: environment, drawn
# pictures, both training stages from a small base, inference, evaluation, and where to look. Minutes on two CPU cores.
#
# --short: few pictures and steps, to see that it runs; the figures mean nothing then.
# --internvl: transformers' own InternVL, with drawn weights, instead of mPLUG-Owl2 with those of ModelZoo/demo.
# --from-scratch: make that base anew first, from 40,000 captions (configs/demo/base.yaml): about 40 minutes.
# SEED (default 0) is that of the pictures and the training; each seed is a run of its own.
set -eu
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' scripts/demo.sh && exit ;; esac
sh scripts/install.sh
. scripts/environment.sh

run=demo images=5400 held_out=0.05 captions=40000 steps= base_steps= config=configs/demo/demo.yaml
if [ "${1:-}" = --short ]; then
    run=demo-short images=120 held_out=0.15 captions=60 base_steps=stages.captions.max_steps=4
    steps="stages.descriptions.max_steps=6 stages.scores.max_steps=6"
    shift
fi
kind=
case "${1:-}" in --internvl | --from-scratch) kind=${1#--} && shift ;; esac
seed=${1:-0}
[ "$seed" = 0 ] || run=$run-$seed
# Those of --internvl are fewer, as its figures in the README are of.
if [ "$kind" = internvl ]; then
    run=$run-internvl
    [ "$images" = 120 ] || { images=1800 held_out=0.15; }
fi
data=dataset/$run
model=ModelZoo/demo started=$(date +%s)

# The configuration's own settings, but for the names that go with a run: of its data sets, stage by stage.
sets() {
    stage=$1 place=0
    shift
    for name in "$@"; do
        part=stages.$stage.data.$place
        echo "$part.records=$data/meta/$name.json $part.images=$data/images"
        place=$((place + 1))
    done
}

case $kind in
internvl)
    model=ModelZoo/$run config=configs/demo/internvl.yaml
    learned="$(sets descriptions descriptions_level_1 descriptions_level_2 descriptions_level_3) $(sets scores score)"
    ;;
*)
    levels="descriptions_level_1 descriptions_level_2 descriptions_level_3"
    learned="$(sets descriptions $levels captions) $(sets scores score $levels)"
    ;;
esac
"$PYTHON" -m artquant demo-data --out "$data" --images $images --seed "$seed" --test-fraction $held_out
if [ "$kind" = internvl ] && [ ! -f "$model/config.json" ]; then
    "$PYTHON" -m artquant init-model --config configs/demo/internvl_model.yaml --out "$model" "seed=$seed" \
        "texts=[$data/meta/descriptions_level_3.json, $data/meta/score.json]"
fi
if [ "$kind" = from-scratch ]; then
    run=$run-from-scratch
    model=ModelZoo/$run
    sh scripts/demo_base.sh "$model" $captions $base_steps
fi
# shellcheck disable=SC2086  # settings have no blanks
set -- "run=$run" "seed=$seed" "base=$model" "infer.records=$data/meta/test.json" "infer.images=$data/images" \
    $learned $steps
sh train.sh "$config" "$@"
trained=runs/$run/scores/model out=runs/$run/evaluation
"$PYTHON" -m artquant --quiet familiar --model "$trained" --records "$data/meta/score.json" --images "$data/images" \
    --pictures 500
sh infer.sh cpu "$config" "$@"
sh eval.sh "$config" "$@"

[ "$kind" != internvl ] || trained=runs/$run/descriptions/model
"$PYTHON" scripts/demo_report.py "$data" "$trained" "runs/$run/predictions.jsonl" "$out"
cat <<END

Done in $(($(date +%s) - started)) s, the environment not counted. Look at
  $data/images                the pictures
  $out        metrics.json, the scatter plots, what is said of held-out pictures (contact_sheet.png)
  runs/$run/predictions.jsonl a score for each held-out picture
  runs/$run/scores/model      the model: artquant score IMAGE --model runs/$run/scores/model, or describe
END
