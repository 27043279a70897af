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

from artquant.batches.batch import TEXT_TASKS, Batch
from artquant.batches.dataset import Collator, Item
from artquant.batches.samples import Conversation, Sample
from artquant.config.schema import LossConfig
from artquant.files.json_files import write_json
from artquant.models.family import Row
from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, MPLUGOwl2Processor
from artquant.models.mplug_owl2.family import MPLUGOwl2Family
from artquant.models.mplug_owl2.tiny import initialise_model
from artquant.models.mplug_owl2.tiny_settings import (
    DemoAbstractorConfig,
    DemoModelConfig,
    DemoTextConfig,
    DemoVisionConfig,
)
from artquant.models.scoring_network import ScoringNetwork
from artquant.readouts import Seen
from artquant.readouts.rating_levels import RatingLevels
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
    inputs = MPLUGOwl2Processor.inputs
    pad_token_id = 0
    image_token_id = IMAGE_TOKEN_ID

    def __init__(self, image_sequence_length: int):
        self.image_sequence_length = self.picture_positions = image_sequence_length


def scoring_network(network: torch.nn.Module, readout_head: torch.nn.Module | None = None) -> ScoringNetwork:
    """The one forward around an mPLUG-Owl2 network."""
    return ScoringNetwork(network, MPLUGOwl2Family().parts(network), readout_head)


def seen_logits(logits: torch.Tensor) -> Seen:
    """Logits [M, V] as readouts of the vocabulary see them; without hidden states."""
    return Seen(logits, logits.new_zeros(len(logits), 0))


def see_batch(network: ScoringNetwork, batch: Batch) -> tuple[torch.Tensor, Seen]:
    """What the objective takes of a batch: losses of the learned tokens [L], and what is read at the scores."""
    outputs = network(batch.text.positions, batch.text.token_ids, batch.scored.positions, **batch.inputs)
    return outputs.pop("text_losses"), Seen(**outputs)


def loss_weights(**weights: float) -> LossConfig:
    """Weights of the texts' and the rating words' terms; those that are not named are 0."""
    texts = {task: weights.pop(task, 0.0) for task in TEXT_TASKS}
    return LossConfig(**texts, score={"score_distribution": 0.0} | weights)


def normalised_terms(network: ScoringNetwork, objective: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    """Each term of a batch that is an optimizer step of its own."""
    counts = objective.counts([batch])
    sums = objective.term_sums(*see_batch(network, batch), batch)
    return {term: value / max(counts[term], 1) for term, value in sums.items()}


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

    def items(self, name: str, pictures: tuple[int, int], level_probs: str | None = None) -> list[Item]:
        """The two conversations of that name as the data set gives them; `level_probs` names the array of a score's."""
        probs = None if level_probs is None else self.arrays[level_probs]
        return [
            Item(self._sample(ids, labels, target), self.pictures(picture)[0], name)
            for ids, labels, target, picture in zip(
                self.arrays[f"{name}_input_ids"],
                self.arrays[f"{name}_labels"],
                [None, None] if probs is None else probs[:, None, :],
                pictures,
                strict=True,
            )
        ]

    def _sample(self, ids: np.ndarray, labels: np.ndarray, targets: np.ndarray | None) -> Sample:
        """targets: [1, K] of a score."""
        ids, labels = ids[ids != 0].tolist(), labels[ids != 0].tolist()
        answer_start = next(index for index, label in enumerate(labels) if label != -100)
        assert labels[answer_start:] == ids[answer_start:] and ids.count(IMAGE_TOKEN_ID) == 1
        row, answers = Row("", tuple(ids)), ((answer_start, len(ids)),)
        if targets is None:
            return Sample(Conversation(row, answers))
        [place] = [index for index, label in enumerate(labels) if label in self.readout.token_ids]
        conversation = Conversation(row, answers, (place,))
        return Sample(conversation, self.readout.learns_word, targets, self.readout.moments(targets))

    def scores(self) -> list[Item]:
        """The two score conversations."""
        return self.items("score_v1", (0, 1), "level_probs")

    def descriptions(self) -> list[Item]:
        """The two descriptions."""
        return self.items("desc_v1", (2, 3))

    def batch(self, items: list[Item]) -> Batch:
        """Items in one batch."""
        return Collator(self.processor, 2048)(items)

    def seen(self, items: list[Item]) -> Seen:
        """What is read at the positions that predict the rating words, logits [M, V] among it."""
        return see_batch(scoring_network(self.network), self.batch(items))[1]

    def loss(self, items: list[Item], config: LossConfig) -> torch.Tensor:
        """The objective of one batch as a step of its own."""
        objective = Objective(self.readout, config)
        return objective.total(normalised_terms(scoring_network(self.network), objective, self.batch(items)))


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
