"""Small networks of the generic family, for tests."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from artquant.config.schema import Loading
from artquant.models.auto import AutoFamily
from artquant.models.auto.processing import AutoChatProcessor
from artquant.models.auto.tiny_settings import TinySettings, Transformer
from artquant.models.family import Row
from artquant.texts.prompt import Exchange

WORDS = ("excellent", "good", "fair", "poor", "bad")
QUESTION = "How would you rate the quality of this painting?"
PREFIX = "The quality of the painting is"
SIZES = ((40, 40), (80, 40), (40, 90))
FAMILY = AutoFamily()
SMALL = Transformer(32, 2, 2, 64)


def settings(kind, **others):
    tiles = {"tiles": 4} if kind in ("internvl", "ovis2") else {}
    values = {"vocabulary_size": 500, "image_size": 32, "patch_size": 8, "max_positions": 256, **tiles, **others}
    return TinySettings(model_type=kind, vision=SMALL, text=SMALL, **values)


@dataclass
class Made:
    folder: Path
    drawn: dict
    config: object
    network: object
    processor: AutoChatProcessor


def make(kind, folder):
    drawn = FAMILY.write_tiny(settings(kind), folder, WORDS).state_dict()
    config = FAMILY.config(folder)
    network = FAMILY.load(folder, config, Loading()).eval()
    return Made(folder, drawn, config, network, FAMILY.processor(folder, config))


def pictures():
    return [Image.effect_noise(size, 80).convert("RGB") for size in SIZES]


def row(processor, answer=PREFIX, **others):
    text = processor.conversation(Exchange(QUESTION, answer, **others))
    return Row(text, tuple(processor.tokenize(text)))


def word_ids(processor):
    before = row(processor).token_ids
    rows = [row(processor, f"{PREFIX} {word}").token_ids for word in WORDS]
    assert all(ids[:-1] == before for ids in rows)
    return [ids[-1] for ids in rows]
