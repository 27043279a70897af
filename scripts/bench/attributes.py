"""What a picture's total and its attributes cost in one pass, against the total alone and eleven separate passes.

    python -m scripts.bench.attributes --model runs/demo/scores/model --images dataset/demo/images

Prints the median seconds of several rounds over the same pictures, from prepared pictures and from files. Rounds of the
ways alternate, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

from artquant.data.images import list_pictures, load_image
from artquant.infer import Scorer
from artquant.texts.attributes import APDD_ATTRIBUTES


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--base", type=Path, help="base model folder, for a LoRA run")
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    scorer = Scorer.from_pretrained(arguments.model, arguments.base, arguments.device, dtype=arguments.dtype)
    names = scorer.loaded.attributes or tuple(attribute.name for attribute in APDD_ATTRIBUTES)
    prompt = scorer.loaded.prompt
    alone = [
        Scorer(replace(scorer.loaded, prompt=replace(prompt, answer_prefix=prompt.rating_prefix(name))), scorer.device)
        for name in names
    ]
    paths = list_pictures(arguments.images)[: arguments.pictures]
    images = [load_image(path) for path in paths]
    prepared = [scorer.processor.picture(image) for image in images]
    print(f"{len(paths)} pictures, {len(names)} attributes, median of {arguments.rounds} rounds\n")
    print("| batch | | total alone | total + attributes in one pass | ratio | separate passes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in arguments.batch_sizes:
        batches = [prepared[start : start + size] for start in range(0, len(prepared), size)]
        ways = {
            "prepared": (
                lambda batches=batches: [scorer.score_pictures(batch) for batch in batches],
                lambda batches=batches: [scorer.score_pictures(batch, names) for batch in batches],
                lambda batches=batches: [one.score_pictures(batch) for one in (scorer, *alone) for batch in batches],
            ),
            "from files": (
                lambda size=size: scorer([load_image(path) for path in paths], size),
                lambda size=size: scorer([load_image(path) for path in paths], size, names),
                lambda size=size: [one([load_image(path) for path in paths], size) for one in (scorer, *alone)],
            ),
        }
        for label, (total, together, separate) in ways.items():
            seconds = _medians((total, together, separate), arguments.rounds)
            cells = " | ".join(f"{1000 * value / len(paths):.2f} ms" for value in seconds[:2])
            print(
                f"| {size} | {label} | {cells} | {seconds[1] / seconds[0]:.2f} | "
                f"{1000 * seconds[2] / len(paths):.2f} ms |"
            )


def _medians(ways, rounds: int) -> list[float]:
    found = [[] for _ in ways]
    for round_ in range(rounds + 1):
        for way, seconds in zip(ways, found, strict=True):
            started = time.perf_counter()
            way()
            if round_:  # the first warms up
                seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in found]


if __name__ == "__main__":
    main()
