"""How long training records take to open, and how much memory they keep: 10,000 and 100,000, short and long.

    python -m scripts.bench.records [MODEL]

Also how many samples a second are read and encoded, without pictures, by one process and by two workers. MODEL
(default ModelZoo/demo, which scripts/demo.sh makes) gives the tokenizer. Writes the files into a temporary folder
(200 MB) and prints a Markdown table.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

COUNTS = (10_000, 100_000)
WORDS = (
    "the",
    "light",
    "from",
    "left",
    "casts",
    "clear",
    "shadows",
    "over",
    "painted",
    "hills",
    "and",
    "quiet",
    "water",
)


def write_records(file: Path, count: int, kind: str) -> None:
    """Score records, or descriptions of 260 words (1.5 kB)."""
    draw = random.Random(0)
    with file.open("w") as stream:
        for number in range(count):
            record = {"id": f"p{number}", "image": f"{number % 50}.png", "task_type": kind}
            if kind == "score":
                question, answer = "Rate the quality of this painting.", "The quality of the painting is good."
                record |= {"gt_score": 1 + 9 * draw.random(), "level_probs": [0.1, 0.2, 0.4, 0.2, 0.1]}
            else:
                question, answer = "Describe this painting.", " ".join(draw.choices(WORDS, k=260))
            turns = [{"from": "human", "value": f"{question}\n<|image|>"}, {"from": "gpt", "value": answer}]
            stream.write(("[\n" if number == 0 else ",\n") + json.dumps(record | {"conversations": turns}))
        stream.write("\n]\n")


class Texts:
    """Records as token ids, read and encoded when asked for."""

    def __init__(self, records, processor):
        from artquant.texts.prompt import get_prompt

        self.records, self.processor, self.prompt = records, processor, get_prompt("artquant")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> list[int]:
        from artquant.batches.samples import encode_description

        record = self.records[index]
        encoded = encode_description(self.processor, self.prompt, record.question, record.answer)
        return list(encoded.row.token_ids)


def encoded_a_second(texts: Texts, indices: list[int], workers: int) -> float:
    """Samples a second in batches of 32; starting the workers is not counted."""
    from torch.utils.data import DataLoader

    loader = iter(DataLoader(texts, 32, sampler=indices, num_workers=workers, collate_fn=len))
    next(loader)
    started = time.perf_counter()
    return sum(loader) / (time.perf_counter() - started)


def measure(file: Path, model: str, results) -> None:
    """One row's numbers, in a fresh process.

    Seconds to open, memory kept and at the peak while opening (MB), records read a second, memory kept after that (MB),
    samples encoded a second without workers and with two.
    """
    import resource

    import numpy as np

    from artquant.data.record_file import RecordFile

    def memory() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    before = memory()
    started = time.perf_counter()
    records = RecordFile(file, file.parent, check_images=True)
    opened = time.perf_counter() - started
    kept, peak = memory() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before
    chosen = np.random.default_rng(0).integers(0, len(records), 20_000).tolist()
    started = time.perf_counter()
    for index in chosen:
        records[index]
    speed, after = len(chosen) / (time.perf_counter() - started), memory() - before

    from artquant.models.mplug_owl2 import MPLUGOwl2Processor

    texts = Texts(records, MPLUGOwl2Processor.from_pretrained(model))
    encoded = [encoded_a_second(texts, chosen[:10_000], workers) for workers in (0, 2)]
    results.put((opened, kept, peak, speed, after, *encoded))


def main() -> None:
    """Measure and print the table."""
    model = sys.argv[1] if len(sys.argv) > 1 else "ModelZoo/demo"
    if not Path(model).is_dir():
        sys.exit(f"{model}: no such folder; name a model, or make the demo's with scripts/demo.sh")
    context = multiprocessing.get_context("spawn")
    print(
        "| records | file | to open | kept | peak while opening | read at random | kept after reading | "
        "encoded | with 2 workers |"
    )
    print("| --- " * 9 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(50):
            Image.new("RGB", (20, 20)).save(Path(folder) / f"{number}.png")
        for kind in ("score", "description"):
            for count in COUNTS:
                file = Path(folder) / f"{kind}-{count}.json"
                write_records(file, count, kind)
                results = context.Queue()
                process = context.Process(target=measure, args=(file, model, results))
                process.start()
                opened, kept, peak, speed, after, alone, with_workers = results.get()
                process.join()
                print(
                    f"| {count:,} {kind}s | {file.stat().st_size / 1e6:.0f} MB | {opened:.1f} s | {kept:.0f} MB | "
                    f"{peak:.0f} MB | {speed:,.0f} a second | {after:.0f} MB | "
                    f"{alone:,.0f} a second | {with_workers:,.0f} a second |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
