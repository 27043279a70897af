"""Small networks of every tested model type, with drawn weights and a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerFast as FastTokenizer
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from artquant.files.json_files import write_json
from artquant.files.whole_folder import whole_folder
from artquant.models.auto.processing import PROCESSOR_FILES, AutoChatProcessor, load_processor
from artquant.models.auto.tiny_settings import QWEN, TinySettings
from artquant.models.no_bar import no_bar
from artquant.models.tiny_tokenizer import byte_level_tokenizer, require_words
from artquant.models.whole import DTYPES

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}PICTURE{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BEGIN, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"


@dataclass(frozen=True)
class Form:
    """Special tokens of a model type.

    picture: what stands for one in the chat form. named: those that the processor asks for by name. others: the rest.
    """

    picture: str
    named: Mapping[str, str]
    others: tuple[str, ...] = ()


_QWEN = Form(
    "<|vision_start|><|image_pad|><|vision_end|>",
    {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    ("<|vision_start|>", "<|vision_end|>"),
)
_INTERN = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
_GEMMA = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
_IMAGE = {"image_token": "<image>"}
_OVIS = ("<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
_TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
FORMS = {
    "llava": Form("<image>\n", _IMAGE),
    "internvl": Form("<IMG_CONTEXT>\n", _INTERN | {"video_token": "<video>"}),
    "gemma3": Form("<start_of_image>", _GEMMA),
    "idefics3": Form("<image>", _IMAGE, ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *_TILES)),
    "ovis2": Form("<image>\n", _IMAGE, ("<IMG_ATOM>", *_OVIS)),
} | dict.fromkeys(QWEN, _QWEN)


def write_tiny(settings: TinySettings, out: Path, words: Sequence[str]) -> PreTrainedModel:
    """Write a model folder: tokenizer trained on the texts, image processor, chat template, drawn weights.

    Raises:
        ArtQuantError: the folder holds something already, the texts cannot be used, or a rating word did not become one
            token of the vocabulary.
    """
    words = (*words, *settings.words)
    with whole_folder(out) as partial:
        tokenizer = _tokenizer(settings, words)
        tokenizer.save_pretrained(partial)
        facts = _processor_facts(settings)
        write_json(partial / PROCESSOR_FILES[0], facts)
        write_json(partial / PROCESSOR_FILES[1], facts["image_processor"])
        config = network_config(settings, tokenizer)
        torch.manual_seed(settings.seed)
        model = AutoModelForImageTextToText.from_config(config).to(DTYPES[settings.dtype])
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():  # Gemma's projector, which would show no picture
                torch.nn.init.normal_(parameter, std=settings.initializer_range)
        with no_bar():
            model.save_pretrained(partial)
        processor = AutoChatProcessor(load_processor(partial, config), settings.max_positions)
        processor.save_pretrained(partial)
        require_words(processor, words)
    return model


def _tokenizer(settings: TinySettings, words: Sequence[str]) -> FastTokenizer:
    form = FORMS[settings.model_type]
    special = list(dict.fromkeys((PAD, BEGIN, END, *form.others, *form.named.values())))
    inner = byte_level_tokenizer(settings.texts, words, settings.vocabulary_size, special)
    made = FastTokenizer(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=dict(form.named),
        model_max_length=settings.max_positions,
    )
    made.chat_template = TEMPLATE.replace("PICTURE", form.picture)
    return made


def _processor_facts(settings: TinySettings) -> dict[str, Any]:
    """`processor_config.json` as transformers writes it."""
    kind, side, patch = settings.model_type, settings.image_size, settings.patch_size
    square = {"height": side, "width": side}
    image: dict[str, Any] = {"size": square}
    facts: dict[str, Any] = {}
    count = (side // patch) ** 2
    if kind == "llava":
        image |= {"size": {"shortest_edge": side}, "crop_size": square}
        facts = {"patch_size": patch, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    elif kind == "idefics3":
        image |= {"size": {"longest_edge": 2 * side}, "max_image_size": {"longest_edge": side}}
        facts = {"image_seq_len": count // 4}
    elif kind in ("internvl", "ovis2"):
        image |= {"crop_to_patches": settings.tiles > 1, "min_patches": 1, "max_patches": settings.tiles}
        facts = {"image_seq_length": count // 4 if kind == "internvl" else count}
    elif kind == "gemma3":
        facts = {"image_seq_length": count // 4}
    else:
        image |= {"size": {"shortest_edge": (2 * patch) ** 2, "longest_edge": side**2}, "patch_size": patch}
    image["image_processor_type"] = IMAGE_PROCESSOR_MAPPING_NAMES[kind]["pil"].removesuffix("Pil")
    return facts | {"image_processor": image, "processor_class": PROCESSOR_MAPPING_NAMES[kind]}


def network_config(settings: TinySettings, tokenizer: FastTokenizer) -> PretrainedConfig:
    """The network's configuration in transformers' form."""
    kind, vision, text = settings.model_type, settings.vision, settings.text
    drawn = {"initializer_range": settings.initializer_range}
    sees: dict[str, Any] = drawn | {
        "hidden_size": vision.hidden,
        "intermediate_size": vision.mlp,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "image_size": settings.image_size,
        "patch_size": settings.patch_size,
    }
    reads: dict[str, Any] = drawn | {
        "hidden_size": text.hidden,
        "intermediate_size": text.mlp,
        "num_hidden_layers": text.layers,
        "num_attention_heads": text.heads,
        "num_key_value_heads": text.heads,
        "head_dim": text.hidden // text.heads,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": settings.max_positions,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }
    own = _own(settings, tokenizer, sees, reads)
    return AutoConfig.for_model(kind, **drawn, tie_word_embeddings=True, vision_config=sees, text_config=reads, **own)


def _own(settings: TinySettings, tokenizer: FastTokenizer, sees: dict, reads: dict) -> dict[str, Any]:
    """What only this model type has; its halves are changed in place."""
    kind, count = settings.model_type, (settings.image_size // settings.patch_size) ** 2
    ids = tokenizer.convert_tokens_to_ids
    if kind == "llava":
        sees["model_type"] = "clip_vision_model"
        return {"image_token_index": ids("<image>"), "image_seq_length": count}
    if kind == "internvl":
        for name in ("image_size", "patch_size"):
            sees[name] = [sees[name]] * 2
        return {"image_token_id": ids("<IMG_CONTEXT>"), "image_seq_length": count // 4}
    if kind == "gemma3":
        sees["vision_use_head"] = False
        reads["query_pre_attn_scalar"] = reads["head_dim"]
        return {f"{name}_index": ids(token) for name, token in _GEMMA.items()} | {"mm_tokens_per_image": count // 4}
    if kind == "idefics3":
        return {"image_token_id": ids("<image>"), "scale_factor": 2}
    if kind == "ovis2":
        sees["vocab_size"] = 64  # visual words
        return {
            "image_token_id": ids("<IMG_ATOM>"),
            "visual_indicator_token_ids": ids(list(_OVIS)),
            "hidden_size": reads["hidden_size"],
            "vocab_size": reads["vocab_size"],
        }
    share = 0.25 if kind == "qwen3_5" else 1.0
    pairs = int(reads["head_dim"] * share) // 2  # of channels that turn, in three sections
    reads["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": share,
        "mrope_section": [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3],
    }
    del sees["image_size"]
    sees |= {"depth": sees.pop("num_hidden_layers"), "num_heads": sees.pop("num_attention_heads")}
    sees |= {"out_hidden_size": reads["hidden_size"], "temporal_patch_size": 2, "spatial_merge_size": 2}
    if kind == "qwen2_vl":
        ratio = round(sees.pop("intermediate_size") / sees["hidden_size"])  # it takes whole ones
        sees |= {"embed_dim": sees["hidden_size"], "hidden_size": sees.pop("out_hidden_size"), "mlp_ratio": ratio}
    elif kind == "qwen2_5_vl":
        sees |= {"fullatt_block_indexes": [settings.vision.layers - 1], "window_size": 4 * settings.patch_size}
    else:
        sees["num_position_embeddings"] = count
        reads["rope_parameters"]["mrope_interleaved"] = True
    if kind == "qwen3_vl":
        sees["deepstack_visual_indexes"] = [0]
    if kind == "qwen3_5":
        reads["layer_types"] = ["linear_attention"] * (settings.text.layers - 1) + ["full_attention"]
        linear = {"num_key_heads": 2, "num_value_heads": 2, "key_head_dim": 16, "value_head_dim": 16}
        reads |= {f"linear_{name}": value for name, value in linear.items()}
    return {f"{name}_token_id": ids(f"<|{name}_pad|>") for name in ("image", "video")} | {
        f"vision_{name}_token_id": ids(f"<|vision_{name}|>") for name in ("start", "end")
    }
