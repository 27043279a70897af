"""A published InternVL folder's tokenizer as a processor of transformers: one tile of a picture, its chat form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLProcessor, Qwen2Tokenizer

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
