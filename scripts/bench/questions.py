""".venv/bin/python -m scripts.bench.questions MODEL PICTURE ... [--middle] - many questions, two ways.

MODEL is a folder of ArtiMuse's or UniPercept's class. Its full report (score and eight texts of 20 tokens) and its
three rewards are made of every picture as the published code does it - one question after the other, each with its
prompt tokenised again, the picture encoded again and logits of all positions - and as here, in turns, the best of three
each. Prints seconds a picture and their ratio; scores and texts must agree. --middle: a drawn network with a vision
encoder of InternViT-300M's shape and a small decoder, instead of the folder's.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import InternVLForConditionalGeneration

from artquant.batches.samples import encode_row
from artquant.data.images import load_image
from artquant.infer.answers import generate
from artquant.infer.scorer import Scorer
from artquant.models.scoring_network import ScoringNetwork
from artquant.readouts import Seen
from artquant.texts.prompt import UNIPERCEPT_TASKS, Exchange, other_prompt

TOKENS = 20
VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TEXT = {
    **{"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4, "num_attention_heads": 8},
    "layer_types": ["full_attention"] * 4,
}
REPEATS = 3


def middle(scorer: Scorer) -> Scorer:
    """A scorer with a larger drawn network."""
    config = copy.deepcopy(scorer.network.plain.config)
    for half, shape in ((config.vision_config, VISION), (config.text_config, TEXT)):
        for name, value in shape.items():
            setattr(half, name, value)
    torch.manual_seed(0)
    network = InternVLForConditionalGeneration(config).eval()
    for name, scale in network.named_parameters():
        if name.endswith(("lambda_1", "lambda_2")):
            torch.nn.init.constant_(scale, 0.1)
    scorer.network = ScoringNetwork(network, scorer.loaded.family.parts(network))
    scorer.loaded = type(scorer.loaded)(**(vars(scorer.loaded) | {"network": scorer.network}))
    scorer.network.precise()
    return scorer


@torch.inference_mode()
def asked_as_published(scorer: Scorer, asked: Exchange, picture: Any) -> float:
    """A score: one pass with logits of every position."""
    inputs = scorer.processor.inputs([encode_row(scorer.processor, asked)], [picture])
    outputs = scorer.network.plain(**inputs, output_hidden_states=True, use_cache=True)
    last = outputs.logits[0, -1:]
    return float(scorer.loaded.readout.read(Seen(last, last)).score[0])


def report_as_published(scorer: Scorer, picture: Any) -> tuple[list[float], list[str]]:
    """The score and eight texts."""
    prompt, texts = scorer.loaded.prompt, []
    for asked in prompt.analysing().values():
        row = encode_row(scorer.processor, asked)
        _, ids = generate(scorer.loaded, scorer.device, [row], [picture], TOKENS)
        texts.append(scorer.processor.decode(ids[0].tolist(), skip_special_tokens=True).strip())
    return [asked_as_published(scorer, prompt.scoring(), picture)], texts


def report(scorer: Scorer, picture: Any) -> tuple[list[float], list[str]]:
    """The same, as `artquant analyse` makes it."""
    [score], [texts] = scorer.score_pictures([picture]), scorer.analyse_pictures([picture], TOKENS)
    return [score.score], list(texts.values())


def rewards_as_published(scorer: Scorer, picture: Any) -> tuple[list[float], list[str]]:
    """Three scores."""
    prompts = (other_prompt(f"unipercept-{task}", scorer.loaded.prompt) for task in UNIPERCEPT_TASKS)
    return [asked_as_published(scorer, prompt.scoring(), picture) for prompt in prompts], []


def rewards(scorer: Scorer, picture: Any) -> tuple[list[float], list[str]]:
    """The same, as `artquant.infer.rewards` makes them."""
    [scores] = scorer.score_by([f"unipercept-{task}" for task in UNIPERCEPT_TASKS], [picture])
    return [score.score for score in scores], []


Way = Callable[[Scorer, Any], tuple[list[float], list[str]]]


def compare(what: str, scorer: Scorer, pictures: list[Any], ways: tuple[Way, Way]) -> None:
    """Time both ways in turns and print."""
    best, found = [float("inf")] * 2, [[], []]
    for _ in range(REPEATS):
        for place, way in enumerate(ways):
            started = time.perf_counter()
            found[place] = [way(scorer, picture) for picture in pictures]
            best[place] = min(best[place], (time.perf_counter() - started) / len(pictures))
    for (scores, texts), (others, other_texts) in zip(*found, strict=True):
        if texts != other_texts or max(abs(a - b) for a, b in zip(scores, others, strict=True)) > 1e-3:
            raise SystemExit(f"{what}: the two ways differ")
    print(f"{what}: {best[0]:.3f} s as published, {best[1]:.3f} s here: {best[0] / best[1]:.2f} times", flush=True)


if __name__ == "__main__":
    model, *paths = (Path(argument) for argument in sys.argv[1:] if argument != "--middle")
    chosen = Scorer.from_pretrained(model)
    chosen = middle(chosen) if "--middle" in sys.argv else chosen
    prepared = [chosen.processor.picture(load_image(path)) for path in paths]
    compare("full report", chosen, prepared, (report_as_published, report))
    compare("three rewards", chosen, prepared, (rewards_as_published, rewards))
