"""A small base model with random weights, in the same form as the published 7B one."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece
import torch
from torch import nn

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import write_json
from artquant.files.whole_folder import whole_folder
from artquant.models.mplug_owl2.abstractor import CrossAttention, grid_table
from artquant.models.mplug_owl2.configuration import MPLUGOwl2Config
from artquant.models.mplug_owl2.image_processing import MPLUGOwl2ImageProcessor
from artquant.models.mplug_owl2.modeling import MPLUGOwl2LlamaForCausalLM
from artquant.models.mplug_owl2.processing import MPLUGOwl2Processor
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig
from artquant.models.mplug_owl2.tokenization import TOKENIZER_MODEL
from artquant.models.mplug_owl2.vision import VisionEmbeddings
from artquant.models.no_bar import no_bar
from artquant.models.tiny_tokenizer import record_texts, require_words
from artquant.models.whole import DTYPES
from artquant.texts.prompt import SCORE_QUESTIONS, SMALL_PROMPTS, SUBJECT, get_prompt

logger = logging.getLogger(__name__)

SUBJECTS = ("painting", "image")
TOKENIZER_CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<unk>",
    "legacy": False,
    "padding_side": "right",
    "clean_up_tokenization_spaces": False,
}


def prompt_texts() -> Iterator[str]:
    """The words of every prompt, so that the tokenizer knows them."""
    for subject in SUBJECTS:
        for name in SMALL_PROMPTS:
            prompt = get_prompt(name, subject)
            for question in (*SCORE_QUESTIONS, *prompt.description_questions):
                system = f"{prompt.system} " if prompt.system else ""
                asked = question.replace(SUBJECT, subject)
                yield f"{system}USER: {f'{chr(10)}{asked}' if prompt.image_first else f'{asked}{chr(10)}'} ASSISTANT:"


def rating_texts(words: Iterable[str]) -> Iterator[str]:
    """Every answer to a scoring question."""
    for subject in SUBJECTS:
        for word in words:
            yield get_prompt("artquant", subject).rating_answer(word)


def train_tokenizer(texts: Iterable[str], vocabulary_size: int, words: Iterable[str]) -> bytes:
    """A sentencepiece model with LLaMA's settings (BPE, byte fallback, digits apart) trained on the texts.

    The rating words become single tokens by repetition: with enough texts each stands in about one line of ten.

    Raises:
        ArtQuantError: the texts hold too few different pieces for the vocabulary.
    """
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    count = len(lines)
    lines += list(prompt_texts()) * max(1, count // 200)
    lines += list(rating_texts(words)) * max(1, count // 20)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary_size,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ArtQuantError(f"tokenizer: {one_line(error)}; lower vocabulary_size or add texts") from error
    return model.getvalue()


def network_config(config: DemoModelConfig) -> MPLUGOwl2Config:
    """The network's configuration in the published form."""
    vision = {
        "hidden_size": config.vision.hidden,
        "intermediate_size": config.vision.mlp,
        "num_hidden_layers": config.vision.layers,
        "num_attention_heads": config.vision.heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "layer_norm_eps": 1e-6,
        "hidden_act": "quick_gelu",
    }
    abstractor = {
        "hidden_size": config.abstractor.hidden,
        "intermediate_size": config.abstractor.mlp,
        "num_hidden_layers": config.abstractor.layers,
        "num_attention_heads": config.abstractor.heads,
        "num_learnable_queries": config.abstractor.queries,
        "encoder_hidden_size": config.vision.hidden,
        "grid_size": config.image_size // config.patch_size,
        "layer_norm_eps": 1e-6,
    }
    return MPLUGOwl2Config(
        vocab_size=config.vocabulary_size,
        hidden_size=config.text.hidden,
        intermediate_size=config.text.mlp,
        num_hidden_layers=config.text.layers,
        num_attention_heads=config.text.heads,
        num_key_value_heads=config.text.key_value_heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=1e-5,
        initializer_range=config.initializer_range,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        visual_config={"visual_model": vision, "visual_abstractor": abstractor},
        multi_scale=config.multi_scale,
        multi_image=config.multi_image,
    )


def _tell_places_apart(network: nn.Module, spread: float) -> None:
    """Start values with which a small network finds out where things are; drawn ones hide it for hundreds of steps.

    Positions stand out beside the patches from the start, and the abstractor's attention is not nearly uniform. spread:
    standard deviation of the drawn weights; a norm follows, so what counts is positions beside patches.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, VisionEmbeddings):
                _, tokens, channels = module.position_embedding.shape
                table = torch.from_numpy(grid_table(math.isqrt(tokens - 1), channels))
                module.position_embedding.copy_(spread / 0.08 * table[None])
                module.patch_embed.weight.mul_(0.3)
            elif isinstance(module, CrossAttention):
                module.query.weight.mul_(2.0)
                module.key.weight.mul_(2.0)


def initialise_model(config: DemoModelConfig, out: Path, words: Sequence[str]) -> MPLUGOwl2LlamaForCausalLM:
    """Write a base model folder: tokenizer trained on the texts, random weights, preprocessor.

    Raises:
        ArtQuantError: the folder holds something already, the texts cannot be used, or a rating word did not become one
            token of the vocabulary.
    """
    with whole_folder(out) as partial:
        tokenizer = train_tokenizer(record_texts(config.texts), config.vocabulary_size, words)
        (partial / TOKENIZER_MODEL).write_bytes(tokenizer)
        write_json(partial / "tokenizer_config.json", TOKENIZER_CONFIG | {"model_max_length": config.max_positions})
        views = [config.image_size // 4, config.image_size // 2, config.image_size] if config.multi_image else None
        MPLUGOwl2ImageProcessor(size=config.image_size, view_sizes=views).save_pretrained(partial)
        torch.manual_seed(config.seed)
        network = network_config(config)
        model = MPLUGOwl2LlamaForCausalLM(network)
        _tell_places_apart(model, config.initializer_range)
        model.to(DTYPES[config.dtype])  # type: ignore[arg-type]  # transformers' wrapper hides what is bound
        with no_bar():
            model.save_pretrained(partial)
        processor = MPLUGOwl2Processor.from_pretrained(partial, config=network)
        processor.save_pretrained(partial)
        require_words(processor, words)
    return model
