"""A training step in one state of the code, in a process of its own; run by `measure.Worker` as `worker.py` is.

Modes: "checkpointing", "kept" (activations), and "published", as that code is described: eager attention,
checkpointing, logits of all words at every position in float32, picture positions searched for.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from artquant.batches.batch import Batch
from artquant.batches.dataset import ArtDataset, Collator
from artquant.config.schema import LevelsConfig, LoraConfig, LossConfig, ModelConfig, TrainableConfig
from artquant.data.records import TrainingRecord
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.readouts import Seen, readout_of
from artquant.texts.prompt import get_prompt
from artquant.train.network import prepare_network
from artquant.train.objective import Objective

_LORA = LoraConfig(dropout=0.0)  # rank 128 as published; without draws, so that modes can be compared
_WORDS = "a painting of hills with a house and trees in evening light drawn well"


def records(pictures: list[Path], words: int) -> list[TrainingRecord]:
    """Descriptions of so many words and of half as many, and two scores."""
    text, rest = _WORDS.split() * words, (None, None, None, "bench")
    answers = [" ".join(text[:count]) for count in (words, words // 2)]
    said = [
        TrainingRecord(
            f"d{index}", pictures[index], "description", "Describe this painting.", answer, None, None, *rest
        )
        for index, answer in enumerate(answers)
    ]
    question = "How would you rate the quality of this image?"
    return said + [
        TrainingRecord(f"s{index}", pictures[index], "score", question, "", score, 1.0, *rest)
        for index, score in enumerate((3.5, 7.25))
    ]


class Training:
    """A network with what trains, one batch, and an optimizer."""

    def __init__(self, arguments: dict[str, Any]):
        self.published = arguments["mode"] == "published"
        kept = arguments["mode"] == "kept"
        settings = ModelConfig(
            attention="eager" if self.published else "sdpa", dtype=arguments["dtype"], gradient_checkpointing=not kept
        )
        folder, levels = Path(arguments["model"]), LevelsConfig()
        unbound, prompt = readout_of({}, levels.scale), get_prompt("published-train", "image")
        torch.manual_seed(0)
        trained = prepare_network(ModelFolder.open(folder), folder, settings, TrainableConfig(lora=_LORA), unbound)
        self.network: ScoringNetwork = trained.model.train()
        readout = unbound.bound(trained.processor, prompt)
        self.objective = Objective(readout, LossConfig())
        given = records([Path(file) for file in arguments["pictures"]], arguments["words"])
        dataset = ArtDataset(given, trained.processor, prompt, readout, levels.weights, 2048)
        self.batch: Batch = Collator(trained.processor, 2048)([dataset[index] for index in range(len(given))])
        self.trains = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        draw = torch.Generator().manual_seed(0)
        for name, value in self.trains.items():
            if "lora_B" in name:  # begins as zeros, which would let no gradient through
                value.data = torch.randn(value.shape, generator=draw) * 0.01
        # As transformers has it. It does its work, and every step finds the same weights.
        self.optimizer = torch.optim.AdamW(self.trains.values(), lr=0.0, fused=True)
        for value in self.trains.values():  # moments are there from the beginning, as in all steps but the first
            value.grad = torch.zeros_like(value)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def sums(self) -> dict[str, torch.Tensor]:
        """The terms of the loss."""
        if not self.published:
            return self.objective.sums(self.network, self.batch)
        text, scored = self.batch.text, self.batch.scored
        inputs = {name: value for name, value in self.batch.inputs.items() if name != "image_mask"}
        logits = self.network.plain(**inputs, use_cache=False).logits.float().flatten(0, 1)
        labels = torch.full((len(logits),), -100).index_copy(0, text.positions, text.token_ids)
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")[text.positions]
        return self.objective.term_sums(losses, Seen(logits[scored.positions], logits[:0]), self.batch)

    def step(self, gradients: str = "") -> dict[str, float]:
        """One optimizer step; its terms, what it learned from, and the peak so far. gradients: a file for them."""
        sums = self.sums()
        counts = self.objective.counts([self.batch])
        terms = {term: value / max(counts[term], 1) for term, value in sums.items()}
        self.objective.total(terms).backward()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if gradients:
            save_file({name: value.grad for name, value in self.trains.items() if value.grad is not None}, gradients)
        torch.nn.utils.clip_grad_norm_(self.trains.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        shape = {
            "learned": counts["description"] + counts["score_text"],
            "positions": self.batch.positions,
            "peak": peak,
        }
        return {term: float(value.detach()) for term, value in terms.items()} | shape


def main() -> None:
    """Answer until standard input ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    arguments = json.loads(sys.stdin.readline())
    with suppress(ImportError):  # trees of before have none
        from artquant.cli.memory import keep_freed_memory

        keep_freed_memory()
    torch.set_num_threads(arguments["threads"])
    training = Training(arguments)
    print(json.dumps({"ready": True}), file=told)
    for line in sys.stdin:
        asked = json.loads(line)
        started, began = time.perf_counter(), time.process_time()
        result = training.step(**asked)
        seconds, busy = time.perf_counter() - started, time.process_time() - began
        print(json.dumps({"seconds": seconds, "busy": busy, "result": result}), file=told)


if __name__ == "__main__":
    main()
