"""Networks with drawn weights for tests, and what the published code computes on two of them.

tests/fixtures/golden_model_single_scale.npz and golden_model_multi_scale.npz hold arrays of the golden files
`model_*.npz`, value for value: all of them except `desc_logits`, the `*_mplug_owl2_*` conversations, `level_prefix` and
`score_prompt_text`. What the arrays mean and how weights are drawn stands in the README of the golden values.
"""

import functools
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from artquant.batches.dataset import TASKS, Collator, EncodedSample
from artquant.config.schema import LossConfig
from artquant.files.json_files import write_json
from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, MPLUGOwl2Processor
from artquant.models.mplug_owl2.tiny import initialise_model
from artquant.models.mplug_owl2.tiny_settings import (
    DemoAbstractorConfig,
    DemoModelConfig,
    DemoTextConfig,
    DemoVisionConfig,
)
from artquant.readouts import RatingLevels
from artquant.train.objective import Objective

FIXTURES = Path(__file__).parent / "fixtures"
SCALES = ("single_scale", "multi_scale")
ATTENTIONS = ("eager", "sdpa")
WORDS = ("excellent", "good", "fair", "poor", "bad")
WEIGHTS = (10.0, 7.5, 5.0, 3.5, 1.0)
TEXTS = (
    "Warm light falls across a quiet harbour; the boats lie still.",
    "The composition is calm, and its colours speak of evening.",
)


@torch.no_grad()
def draw_weights(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Fill every parameter as the golden README says: drawn by seed and name, so that none is zero or constant."""
    for name, parameter in network.named_parameters():
        x = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(parameter.shape)
        if x.ndim == 1:
            x = 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
        else:
            x = x * 0.6 / np.sqrt(parameter.shape[-1])
        parameter.copy_(torch.from_numpy(x.astype(np.float32)))
    return network.eval()


def small_network(attention: str = "sdpa", **options) -> MPLUGOwl2LlamaForCausalLM:
    """Two layers of everything, 40 tokens, pictures of 28 x 28 pixels, 4 positions per picture (and branch)."""
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    abstractor = {"hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
    visual_config = {
        "visual_model": vision | {"image_size": 28},
        "visual_abstractor": abstractor | {"num_learnable_queries": 3, "encoder_hidden_size": 16, "grid_size": 2},
    }
    text = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0}
    config = MPLUGOwl2Config(visual_config=visual_config, **text | options)
    config._attn_implementation = attention
    return draw_weights(MPLUGOwl2LlamaForCausalLM(config), seed=1)


def write_base(folder: Path, **options) -> Path:
    """A base model folder in the form of the published one, with drawn weights and pictures of 28 x 28 pixels."""
    texts = folder.parent / "texts.json"
    write_json(texts, [{"conversations": [{"from": "gpt", "value": text}]} for text in TEXTS])
    config = DemoModelConfig(
        texts=(texts,),
        vocabulary_size=600,
        image_size=28,
        vision=DemoVisionConfig(hidden=16, layers=2, heads=2, mlp=24),
        abstractor=DemoAbstractorConfig(hidden=16, layers=2, heads=2, mlp=20, queries=3),
        text=DemoTextConfig(hidden=16, layers=2, heads=4, key_value_heads=4, mlp=24),
        max_positions=256,
        **options,
    )
    draw_weights(initialise_model(config, folder, WORDS), seed=2).save_pretrained(folder)
    return folder


class GoldenProcessor:
    """The parts of the processor that need no tokenizer: the golden conversations are stored as ids."""

    expand = MPLUGOwl2Processor.expand
    pad = MPLUGOwl2Processor.pad
    pad_token_id = 0

    def __init__(self, image_sequence_length: int):
        self.image_sequence_length = image_sequence_length


@dataclass(frozen=True)
class GoldenModel:
    """One golden file with its network."""

    seed: int
    arrays: dict[str, np.ndarray]
    network: MPLUGOwl2LlamaForCausalLM
    processor: GoldenProcessor
    readout: RatingLevels

    def pictures(self, *indices: int) -> torch.Tensor:
        """pixel_values [I, 3, S, S] of some of the four pictures."""
        return torch.from_numpy(self.arrays["pixel_values"])[list(indices)]

    def items(self, name: str, pictures: tuple[int, int], level_probs: str | None = None) -> list[dict]:
        """The two conversations of that name as the data set gives them; `level_probs` names the array of a score's."""
        probs = None if level_probs is None else self.arrays[level_probs]
        return [
            {"sample": self._sample(ids, labels, target), "pixel_values": self.pictures(picture)[0], "source": name}
            for ids, labels, target, picture in zip(
                self.arrays[f"{name}_input_ids"],
                self.arrays[f"{name}_labels"],
                [None, None] if probs is None else [tuple(row) for row in probs.tolist()],
                pictures,
                strict=True,
            )
        ]

    def _sample(self, ids: np.ndarray, labels: np.ndarray, target: tuple[float, ...] | None) -> EncodedSample:
        ids, labels = ids[ids != 0].tolist(), labels[ids != 0].tolist()
        answer_start = next(index for index, label in enumerate(labels) if label != -100)
        assert labels[answer_start:] == ids[answer_start:] and ids.count(IMAGE_TOKEN_ID) == 1
        grown = self.processor.image_sequence_length - 1
        rating_index = None
        if target is not None:
            [rating_index] = [index + grown for index, label in enumerate(labels) if label in self.readout.token_ids]
        return EncodedSample(self.processor.expand(ids), answer_start + grown, rating_index, target)

    def scores(self) -> list[dict]:
        """The two score conversations."""
        return self.items("score_v1", (0, 1), "level_probs")

    def descriptions(self) -> list[dict]:
        """The two descriptions."""
        return self.items("desc_v1", (2, 3))

    def forward(self, items: list[dict]) -> tuple[torch.Tensor, dict]:
        """Logits [M, V] at the batch's positions, and the batch."""
        batch = Collator(self.processor)(items)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        return self.network(**inputs, logits_positions=batch["positions"], use_cache=False).logits, batch

    def rating_logits(self, items: list[dict]) -> torch.Tensor:
        """Logits [R, V] at the positions that predict the rating words."""
        logits, batch = self.forward(items)
        return logits[-batch["counts"][-1] :]

    def loss(self, items: list[dict], **weights: float) -> torch.Tensor:
        """The objective of one batch as a step of its own, with these weights (others 0)."""
        config = LossConfig(**dict.fromkeys(TASKS, 0.0) | weights)
        objective = Objective(self.readout, config)
        logits, batch = self.forward(items)
        sums = objective.term_sums(logits, batch)
        counts = objective.counts([batch])
        return objective.total({term: value / max(counts[term], 1) for term, value in sums.items()})


@functools.cache
def golden_model(scale: str, attention: str = "sdpa") -> GoldenModel:
    """The golden network of that scale (`single_scale`, `multi_scale`) and its arrays; made once per test run."""
    with np.load(FIXTURES / f"golden_model_{scale}.npz") as file:
        arrays = dict(file)
    spec = json.loads(str(arrays["spec"]))
    visual_config = {"visual_model": spec["vision"], "visual_abstractor": spec["abstractor"]}
    config = MPLUGOwl2Config(visual_config=visual_config, **spec["text"], **spec.get("extra", {}))
    config._attn_implementation = attention
    network = draw_weights(MPLUGOwl2LlamaForCausalLM(config), spec["seed"])
    processor = GoldenProcessor(config.image_sequence_length)
    readout = RatingLevels(WORDS, WEIGHTS, arrays["level_ids"].tolist())
    return GoldenModel(spec["seed"], arrays, network, processor, readout)
