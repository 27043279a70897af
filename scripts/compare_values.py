""".venv/bin/python scripts/compare_values.py [SEED ...] - a token as score, texts on attributes.

ArtiMuse's recipe in miniature. For every seed (default 0 1 2) a small InternVL is trained on descriptions and a
sentence on each attribute, then on scores: by value tokens with soft and with one-hot targets ("token as score"), by
rating words ("level as score") and by numbers in text ("text as score"), from the same described model on the same
pictures. Runs that are done are not repeated. Prints a Markdown table of SRCC on the held-out pictures with 95 %
bootstrap intervals, and what a reader of the drawn attributes finds in the described model's sentences about them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from compare_readouts import figures, print_table, trained

from artquant.config.run_paths import CONFIG_FILE, PREDICTIONS
from artquant.data.images import load_image
from artquant.data.predictions import Prediction, prediction_line
from artquant.data.records import read_image_records
from artquant.demo.attributes import panel_biases
from artquant.demo.dataset import make_picture
from artquant.demo.reader import Judgement, judge
from artquant.evaluate.metrics import Metrics
from artquant.files.json_files import read_json, write_json, write_json_lines
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.texts.descriptions import description_record
from artquant.texts.prompt import IMAGE_TOKEN, get_prompt

CONFIG = Path("configs/demo/values.yaml")
ONE_HOT = "readout={kind: value_tokens}"
WORDS = ("readout={kind: rating_levels}", "loss={description: 1.0, score_text: 0.05, score_distribution: 1.0}")


def artquant(*arguments: object) -> None:
    """Run a command."""
    subprocess.run([sys.executable, "-m", "artquant", *map(str, arguments)], check=True, stdout=sys.stderr)


def run_of(seed: int) -> tuple[str, Path]:
    """Pictures, base model, both stages and predictions of a seed; the run's name and its data's folder."""
    run = "demo-values" if seed == 0 else f"demo-values-{seed}"
    data = Path("dataset") / run
    artquant("demo-data", "--out", data, "--images", 1800, "--seed", seed, "--test-fraction", 0.15)
    base, meta = Path("ModelZoo") / run, data / "meta"
    if not base.exists():
        shape = CONFIG.with_name("internvl_values_model.yaml")
        texts = f"texts=[{meta / 'descriptions_level_3.json'}, {meta / 'score.json'}]"
        artquant("init-model", "--config", shape, "--out", base, f"seed={seed}", texts)
    sets = [*(f"descriptions_level_{level}" for level in (1, 2, 3)), "aspects"]
    settings = [f"run={run}", f"seed={seed}", f"base={base}"]
    settings += [f"infer.records={meta / 'test.json'}", f"infer.images={data / 'images'}"]
    for stage, names in (("descriptions", sets), ("scores", ["score"])):
        for place, records in enumerate(names):
            part = f"stages.{stage}.data.{place}"
            settings += [f"{part}.records={meta / records}.json", f"{part}.images={data / 'images'}"]
    artquant("train", "--config", CONFIG, *settings)
    artquant("infer", "--config", CONFIG, *settings)
    return run, data


def as_text(config: Path, run: str, data: Path) -> Path:
    """Scores as numbers of one decimal in answers that are generated and read; the new run's predictions.

    A text without a number counts as the middle of the scale, and is reported.
    """
    records = Path("runs") / f"{run}-text.json"
    told = []
    for record in read_json(data / "meta" / "score.json"):
        question = record["conversations"][0]["value"].replace(IMAGE_TOKEN, "").strip()
        answer = f"{get_prompt('artquant').rating_prefix()} {record['gt_score']:.1f}."
        told.append(description_record(record["id"], record["image"], question, answer, extra={}))
    write_json(records, told)
    out = trained(config, run, "text", [f"{records} 1"], "loss={description: 1.0}", predict=False)
    if not out.exists():
        scorer = Scorer.from_pretrained(f"runs/{run}-text/scores/model")
        listed = read_image_records(data / "meta" / "test.json", data / "images")
        answers = scorer.answer([load_image(one.image) for one in listed], max_new_tokens=20, batch_size=32)
        found = [re.search(r"\d+(\.\d+)?", answer.text) for answer in answers]
        print(f"{out}: {found.count(None)} of {len(found)} texts hold no number", file=sys.stderr)
        scores = [(APDD_SCALE.low + APDD_SCALE.high) / 2 if number is None else float(number[0]) for number in found]
        pairs = zip(listed, scores, strict=True)
        write_json_lines(out, [prediction_line(one.id, one.image.name, None, Prediction(s)) for one, s in pairs])
    return out


def sentences(run: str, data: Path, seed: int) -> Judgement:
    """What the described model says of every held-out picture, judged."""
    out = Path("runs") / run / "texts.jsonl"
    model, listed = f"runs/{run}/descriptions/model", data / "meta" / "test.json"
    options = ["--images", data / "images", "--out", out, "--max-new-tokens", 32, "--batch-size", 16]
    artquant("analyse", "--model", model, "--records", listed, *options)
    biases, told = panel_biases(seed), []
    for line in map(json.loads, out.read_text(encoding="utf-8").splitlines()):
        picture, _ = make_picture(seed, int(Path(line["image"]).stem), biases)
        told.append((picture.plan, picture.values, line["texts"]))
    return judge(told)


def main(seeds: list[int]) -> None:
    """Run what is missing and print."""
    rows: dict[str, list[tuple[Metrics, float | None]]] = {}
    judged = []
    for seed in seeds:
        run, data = run_of(seed)
        config, score = Path("runs") / run / CONFIG_FILE, [f"{data / 'meta' / 'score.json'} 1"]
        found = {
            "value tokens, soft targets": Path("runs") / run / PREDICTIONS,
            "value tokens, one-hot targets": trained(config, run, "one-hot", score, ONE_HOT),
            "rating words": trained(config, run, "words", score, *WORDS),
            "numbers in text": as_text(config, run, data),
        }
        for readout, predictions in found.items():
            rows.setdefault(readout, []).append(figures(predictions, data / "meta" / "test.json"))
        judged.append(sentences(run, data, seed))
    print_table(rows, seeds)
    print("\n| seed | sentences | of the vocabulary | right grade | at most one off | right names |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seed, one in zip((*seeds, "mean"), (*judged, None), strict=True):
        each = judged if one is None else [one]
        shares = [
            np.mean([getattr(each_one, name) for each_one in each]) for name in ("readable", "right", "near", "named")
        ]
        count = sum(each_one.sentences for each_one in each)
        print(f"| {seed} | {count} | {' | '.join(f'{share:.3f}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
