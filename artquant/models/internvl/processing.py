"""A published InternVL folder's tokenizer as a processor of transformers, and back: one tile, its chat form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLProcessor, Qwen2Tokenizer

from artquant.errors import ArtQuantError
from artquant.files.json_files import write_json
from artquant.models.auto.processing import AutoChatProcessor, assembled

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
IMAGE_TOKEN = "<IMG_CONTEXT>"
END = "<|im_end|>"  # of a turn
# What transformers' processor asks for by name; published folders do not say it. Videos are not read.
_NAMED = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": IMAGE_TOKEN,
    "video_token": "<|video_pad|>",
}
# ChatML with nothing behind its last line break. A question that goes right on behind the picture says so.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}<IMG_CONTEXT>{%- if not message.adjoining -%}{{ '\\n' }}{%- endif -%}"
    "{%- else -%}{{ part.text }}{%- endif -%}"
    "{%- endfor -%}<|im_end|>{{ '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}{%- endif -%}"
)


def published_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """The folder's tokenizer; its own code is not asked for. Raises whatever transformers' reader raises."""
    return Qwen2Tokenizer.from_pretrained(folder, local_files_only=True, extra_special_tokens=_NAMED)


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """A tokenizer's files as published, for the release of transformers that the published class runs with.

    Raises:
        ArtQuantError: it is of another kind than Qwen2's.
    """
    if not isinstance(tokenizer, Qwen2Tokenizer):
        raise ArtQuantError(f"its tokenizer is a {type(tokenizer).__name__}, but the published form has Qwen2's")
    tokenizer.backend_tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    added = tokenizer.added_tokens_decoder
    write_json(folder / "added_tokens.json", {token.content: place for place, token in added.items()})
    special = {
        "additional_special_tokens": list(tokenizer.extra_special_tokens),
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
    }
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        special
        | {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(place): {
                    "content": token.content,
                    "lstrip": token.lstrip,
                    "normalized": token.normalized,
                    "rstrip": token.rstrip,
                    "single_word": token.single_word,
                    "special": token.special,
                }
                for place, token in added.items()
            },
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "model_max_length": tokenizer.model_max_length,
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def published_processor(folder: Path, config: InternVLConfig) -> AutoChatProcessor:
    """The processor of a published folder, with one square tile for each picture whatever its shape."""
    vision: Any = config.vision_config
    text: Any = config.text_config
    side = vision.image_size[0]
    images = GotOcr2ImageProcessorPil(  # one tile at most: the processor would cut up to thirteen
        size={"height": side, "width": side}, max_patches=1, image_mean=MEAN, image_std=STD
    )
    parts = {"image_processor": images, "tokenizer": published_tokenizer(folder), "video_processor": None}
    facts = {"image_seq_length": config.image_seq_length, "chat_template": CHAT_TEMPLATE}
    processor = assembled(InternVLProcessor, parts, facts)
    return AutoChatProcessor(processor, text.max_position_embeddings)
