"""`artquant plan` against real training: python -m scripts.bench.memory [CASE ...] [--markdown FILE]

Each case trains a network with random weights for two optimizer steps through artquant's own trainer, in a process (or
two ranks) of its own on the CPU. Measured is the second step: the bytes of all tensors when it begins, and on top of
them what torch's CPU allocator hands out, as its profiler reports it, scratch memory inside operations included. The
process's resident memory is printed for reference; it holds Python, the libraries and the allocator's slack as well.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
LORA = {"lora": {"r": 32, "alpha": 64.0}}  # with the vision encoder and the abstractor, as published
FULL = {"lora": None, "vision": True, "projector": True, "decoder": True}
DECODER = {"lora": None, "vision": False, "projector": False, "decoder": True}


@dataclass(frozen=True)
class Size:
    """Widths and depths of a network."""

    text: tuple[int, int, int]  # hidden, layers, mlp
    vision: tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """What is trained. ranks above 1 need a DeepSpeed file."""

    size: str
    trainable: dict[str, Any]
    dtype: str = "float32"
    checkpointing: bool = False
    attention: str = "sdpa"
    batch: int = 2
    accumulation: int = 1
    words: int = 120
    deepspeed: str | None = None
    ranks: int = 1
    quantize: str | None = None


SIZES = {
    "small": Size((384, 6, 1024), (256, 6, 1024)),
    "medium": Size((768, 10, 2048), (512, 8, 2048)),
    "large": Size((1024, 16, 2816), (512, 12, 2048)),
}
CASES = {
    "small, full": Case("small", FULL, batch=8),
    "small, full, eager attention": Case("small", FULL, batch=8, attention="eager"),
    "small, LoRA, checkpointing": Case("small", LORA, batch=8, checkpointing=True),
    "medium, full": Case("medium", FULL, accumulation=2),
    "medium, full, bfloat16, checkpointing": Case("medium", FULL, "bfloat16", True, batch=8),
    "medium, LoRA, bfloat16": Case("medium", LORA, "bfloat16", batch=8),
    "medium, LoRA, long texts": Case("medium", LORA, batch=2, words=500),
    "large, LoRA, bfloat16, checkpointing, nf4": Case("large", LORA, "bfloat16", True, batch=8, quantize="nf4"),
    "large, decoder, checkpointing": Case("large", DECODER, checkpointing=True),
    "large, LoRA, bfloat16, checkpointing": Case("large", LORA, "bfloat16", True, batch=8),
    "medium, full, bfloat16, ZeRO-1": Case("medium", FULL, "bfloat16", accumulation=2, deepspeed="zero1", ranks=2),
    "medium, LoRA, bfloat16, ZeRO-2": Case("medium", LORA, "bfloat16", batch=4, deepspeed="zero2", ranks=2),
    "medium, full, float32, ZeRO-2": Case("medium", FULL, accumulation=2, deepspeed="zero2", ranks=2),
    "medium, full, bfloat16, ZeRO-0": Case("medium", FULL, "bfloat16", batch=2, deepspeed="zero0", ranks=2),
}


def _records(folder: Path, case: Case, words: list[str]) -> list[dict[str, Any]]:
    """Descriptions to be trained on, whose pictures are written into the folder."""
    from PIL import Image

    count = case.batch * case.accumulation * case.ranks * 2
    records = []
    for index in range(count):
        Image.new("RGB", (112, 112), (index % 256, 90, 30)).save(folder / f"{index}.png")
        text = " ".join([*words[: case.words], *["da"] * (index % 2)])  # of two lengths, so that there is padding
        turns = [("human", "<|image|>Describe this painting."), ("gpt", text + ".")]
        conversations = [{"from": speaker, "value": value} for speaker, value in turns]
        record = {"id": f"{index}", "image": f"{index}.png", "task_type": "description"}
        records.append(record | {"conversations": conversations})
    return records


def prepare(folder: Path, case: Case) -> Path:
    """Pictures, records, a base model and the run's YAML; returns the latter."""
    import yaml

    from artquant.config.load import load_config
    from artquant.labels.rating_scale import APDD_SCALE
    from artquant.models.mplug_owl2.tiny import initialise_model
    from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig

    draw = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(6000)]
    (folder / "records.json").write_text(json.dumps(_records(folder, case, words)))
    corpus = [{"conversations": [{"from": "gpt", "value": " ".join(draw.choices(words, k=40))}]} for _ in range(800)]
    (folder / "corpus.json").write_text(json.dumps(corpus))
    size = SIZES[case.size]
    model = {
        "texts": [str(folder / "corpus.json")],
        "vocabulary_size": 4000,
        "image_size": 112,
        "patch_size": 14,
        "max_positions": 4096,
        "vision": dict(zip(("hidden", "layers", "mlp"), size.vision, strict=True)) | {"heads": 8},
        "abstractor": {"hidden": size.vision[0], "layers": 2, "heads": 8, "mlp": 2 * size.vision[0]},
        "text": dict(zip(("hidden", "layers", "mlp"), size.text, strict=True)) | {"heads": 8, "key_value_heads": 8},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(model))
    initialise_model(load_config(folder / "model.yaml", (), DemoModelConfig), folder / "base", APDD_SCALE.words)
    stage = {
        "name": "measured",
        "data": [{"records": str(folder / "records.json"), "images": str(folder)}],
        "trainable": case.trainable,
        "batch_size": case.batch,
        "accumulation": case.accumulation,
        "max_length": 4096,
        "max_steps": 2,
        "workers": 0,
        "save_steps": 1000,
    }
    if case.deepspeed:
        stage["deepspeed"] = str(REPOSITORY / "configs" / "deepspeed" / f"{case.deepspeed}.json")
    run = {
        "run": "run",
        "base": str(folder / "base"),
        "output": str(folder / "runs"),
        "model": {"dtype": case.dtype, "gradient_checkpointing": case.checkpointing, "attention": case.attention}
        | {"quantize": case.quantize},
        "stages": [stage],
        "infer": {"records": str(folder / "records.json")},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder / "run.yaml"


def measure(folder: Path) -> None:
    """Train, and write what this rank needed in its second step to `measured-RANK.json`."""
    import torch
    from transformers import TrainerCallback

    from artquant.config.load import load_config
    from artquant.train import build
    from artquant.train import stage as training

    found: dict[str, Any] = {"resident_before": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)

    class Measurement(TrainerCallback):
        """Of the second step."""

        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 1:
                found["begin"] = live_bytes()
                profiler.start()

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                profiler.stop()
                found["peak"] = found["begin"] + highest(profiler)

    class MeasuredTrainer(build.ArtTrainer):
        """Notes the shape of the batches."""

        def __init__(self, **options):
            super().__init__(**options)
            self.add_callback(Measurement())

        def compute_loss(self, model, inputs, *arguments, **options):
            samples, length = inputs.inputs["input_ids"].shape
            learned = (len(inputs.text.positions) + len(inputs.scored)) / samples
            found["length"] = max(found.get("length", 0), length)
            found["learned"] = max(found.get("learned", 0), learned)
            return super().compute_loss(model, inputs, *arguments, **options)

    build.ArtTrainer = MeasuredTrainer
    training.write_trained_model = lambda *arguments, **options: None
    training.run_training(load_config(folder / "run.yaml"))
    found["resident"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (folder / f"measured-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(found))


def live_bytes() -> int:
    """Bytes of every tensor that Python knows, shared storages once."""
    import torch

    gc.collect()
    storages = {}
    for value in gc.get_objects():
        if issubclass(type(value), torch.Tensor) and value.device.type == "cpu":
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            if value.grad is not None:
                storage = value.grad.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def highest(profiler) -> int:
    """Most bytes that the allocator had handed out at once since the profiler began."""
    from torch._C._profiler import _EventType

    allocations = []
    pending = list(profiler.profiler.kineto_results.experimental_event_tree())
    while pending:
        event = pending.pop()
        pending.extend(event.children)
        if event.tag == _EventType.Allocation:
            allocations.append((event.start_time_ns, event.extra_fields.alloc_size))
    live = most = 0
    for _, size in sorted(allocations, key=lambda entry: entry[0]):
        live += size
        most = max(most, live)
    return most


def planned(folder: Path, case: Case, length: int, learned: float):
    """The plan of the same run, on the CPU."""
    from artquant.config.load import load_config
    from artquant.plan.stage import Assumptions, plan_stage

    config = load_config(folder / "run.yaml")
    assumptions = Assumptions(case.ranks, 2**40, length, max(1, round(learned) - 1), device="cpu")
    return plan_stage(config, config.stages[0], assumptions)


def run_case(case: Case) -> tuple[Any, dict[str, Any]]:
    """Plan and measurement (of the rank that needed most)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, case)
        command = [sys.executable, *(["-m", "torch.distributed.run", "--nproc-per-node", "2"] * (case.ranks > 1))]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        command += [__file__, "--measure", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        ranks = [json.loads(file.read_text()) for file in folder.glob("measured-*.json")]
        found = max(ranks, key=lambda rank: rank["peak"])
        return planned(folder, case, found["length"], found["learned"]), found


def main() -> int:
    """Print a table; status 1 if a plan is more than 10 % off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of: {'; '.join(CASES)} (default: all)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return 0
    worst = 0.0
    print("| run | parameters | batch x positions | planned MiB | measured MiB | off by | peak in | resident MiB |")
    print("| --- | ---: | --- | ---: | ---: | ---: | --- | ---: |")
    for name in arguments.cases or CASES:
        case = CASES[name]
        plan, found = run_case(case)
        off = plan.tensors / found["peak"] - 1
        worst = max(worst, abs(off))
        resident = (found["resident"] - found["resident_before"]) / 2**20
        print(
            f"| {name} | {plan.parameters[1] / 1e6:.0f} M | {case.batch} x {found['length']} | "
            f"{plan.tensors / 2**20:.0f} | {found['peak'] / 2**20:.0f} | {off:+.1%} | {plan.phase} | {resident:.0f} |",
            flush=True,
        )
    print(f"\nlargest difference: {worst:.1%}")
    return int(worst > 0.1)


if __name__ == "__main__":
    raise SystemExit(main())
