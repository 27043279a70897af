"""The networks that are measured: mPLUG-Owl2 in three sizes, drawn weights, a tokenizer of a few hundred words."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from artquant.config.schema import LevelsConfig, Loading
from artquant.files.json_files import read_json, write_json
from artquant.models.model_card import CARD, CARD_MARK, Card
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.modeling import MPLUGOwl2LlamaForCausalLM
from artquant.models.mplug_owl2.tiny import initialise_model, network_config
from artquant.models.mplug_owl2.tiny_settings import (
    DemoAbstractorConfig,
    DemoModelConfig,
    DemoTextConfig,
    DemoVisionConfig,
)
from artquant.models.weights import load_network, save_model
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt

_WORDS = "a painting of hills with a house and trees in evening light, drawn well; colours are warm, forms plain"
_TOKENS = 600  # of the tokenizer: too few texts for more


@dataclass(frozen=True)
class Size:
    """Widths and depths; hidden, layers, heads, mlp."""

    vision: tuple[int, int, int, int]
    abstractor: tuple[int, int, int, int]
    text: tuple[int, int, int, int]
    queries: int
    image_size: int
    vocabulary: int


SIZES = {
    "demo": Size((128, 4, 4, 512), (128, 2, 4, 256), (128, 4, 4, 344), 16, 112, 1000),
    "middle": Size((1024, 6, 16, 4096), (1024, 2, 16, 2816), (1024, 8, 8, 2752), 64, 448, 32_000),
    "7b": Size((1024, 24, 16, 4096), (1024, 6, 16, 2816), (4096, 32, 32, 11_008), 64, 448, 32_000),
}


def flops(size: Size, text: int) -> float:
    """Floating-point operations of a forward pass over one picture and so many text positions, a product being two."""
    patches = (size.image_size // 14) ** 2
    seen, asked = patches + 1, size.queries + 1 + text
    wide, layers, _, mlp = size.vision
    total = 2 * 3 * 14 * 14 * wide * patches
    total += layers * (2 * seen * wide * (4 * wide + 2 * mlp) + 4 * seen * seen * wide)
    wide, layers, _, mlp = size.abstractor
    total += layers * (2 * (2 * size.queries + 2 * (size.queries + seen)) * wide * wide)
    total += layers * (6 * size.queries * wide * mlp + 4 * size.queries * (size.queries + seen) * wide)
    total += 2 * size.queries * wide * size.text[0]
    wide, layers, _, mlp = size.text
    return total + layers * (2 * asked * wide * (4 * wide + 3 * mlp) + 4 * asked * asked * wide)


def build(name: str, out: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model folder of that size that scores; one that is there stays. Its weights are the same every time."""
    if (out / "config.json").is_file():
        return out
    size, scale = SIZES[name], LevelsConfig().scale
    with tempfile.TemporaryDirectory() as folder:
        texts, narrow = Path(folder) / "texts.json", Path(folder) / "narrow"
        words = _WORDS.split()
        lines = [" ".join([*words[place:], *words[:place]]) for place in range(len(words))]
        write_json(texts, [{"conversations": [{"from": "gpt", "value": line}]} for line in lines * 20])
        initialise_model(_narrow(size, texts), narrow, scale.words)
        small = load_network(ModelFolder.open(narrow), Loading())
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            network = MPLUGOwl2LlamaForCausalLM(_shape(size, texts)).to(dtype)
        prompt = get_prompt("published-train", "image")
        readout = readout_of({}, scale).bound(small.processor, prompt)
        save_model(out, network, small.processor, small.family, Card(prompt, readout))
    (out / CARD).unlink()  # as published: a state before reads no card of today's
    settings = read_json(out / "config.json")
    write_json(out / "config.json", {name: value for name, value in settings.items() if name != CARD_MARK})
    return out


def _narrow(size: Size, texts: Path) -> DemoModelConfig:
    """A small network whose tokenizer and preprocessor are those of the size."""
    abstractor = DemoAbstractorConfig(queries=size.queries)
    sizes = {"image_size": size.image_size, "vocabulary_size": _TOKENS, "max_positions": 2048}
    return DemoModelConfig(texts=(texts,), abstractor=abstractor, **sizes)


def _shape(size: Size, texts: Path) -> MPLUGOwl2Config:
    return network_config(
        DemoModelConfig(
            texts=(texts,),
            vocabulary_size=size.vocabulary,
            image_size=size.image_size,
            vision=DemoVisionConfig(*size.vision),
            abstractor=DemoAbstractorConfig(*size.abstractor, queries=size.queries),
            text=DemoTextConfig(*size.text, key_value_heads=size.text[2]),
            max_positions=2048,
        )
    )
