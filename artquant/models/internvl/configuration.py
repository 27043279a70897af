"""The published InternVL configuration (`internvl_chat`) as transformers' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import InternVLConfig

from artquant.errors import ArtQuantError
from artquant.texts.prompt import CHAT_SYSTEM

MODEL_TYPE = "internvl_chat"
TEMPLATE = "internvl2_5"
_VISION = (
    *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_channels"),
    *("layer_norm_eps", "hidden_act", "norm_type", "initializer_range"),
)
_TEXT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps"),
    *("rope_theta", "attention_dropout"),
)


def native_config(values: Mapping[str, Any], image_token_id: int, eos_token_id: int) -> InternVLConfig:
    """Transformers' configuration of the same network.

    Args:
        values: of the published `config.json`. image_token_id, eos_token_id: of `<IMG_CONTEXT>` and of what ends a
            turn, by the tokenizer; the file says neither.

    Raises:
        ArtQuantError: it asks for what transformers' classes do not compute, or does not say something.
    """
    try:
        vision, text = values["vision_config"], values["llm_config"]
        decoder, side = text["architectures"][0], int(values["force_image_size"] or vision["image_size"])
        patch, ratio = vision["patch_size"], values["downsample_ratio"]
        own_vision = {name: vision[name] for name in _VISION}
        own_text = {name: text[name] for name in _TEXT}
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ArtQuantError(f"does not say {error}; take the published folder's own") from error
    known = {"ps_version": "v2", "select_layer": -1, "template": TEMPLATE}
    for name, wanted in known.items():
        if values.get(name) != wanted:
            raise ArtQuantError(f"{name} is {values.get(name)!r}, but only {wanted!r} can be computed")
    if decoder != "Qwen2ForCausalLM":
        raise ArtQuantError(f"its decoder is {decoder}, but only Qwen2ForCausalLM is known")
    return InternVLConfig(
        vision_config=own_vision
        | {
            "attention_bias": bool(vision.get("qkv_bias")),
            "use_qk_norm": bool(vision.get("qk_normalization")),
            "image_size": [side, side],
            "patch_size": [patch, patch],
            "use_mean_pooling": True,  # no norm behind the last layer
        },
        text_config=own_text
        | {
            "model_type": "qwen2",
            "rope_scaling": None,  # the published dynamic scaling changes nothing below the longest sequence
            "use_sliding_window": False,
            "bos_token_id": text.get("bos_token_id"),
            "eos_token_id": eos_token_id,
        },
        tie_word_embeddings=bool(values.get("tie_word_embeddings")),
        image_token_id=image_token_id,
        image_seq_length=int((side // patch) ** 2 * ratio**2),
        downsample_ratio=ratio,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )


def system_text(values: Mapping[str, Any]) -> str:
    """What the published class puts before a conversation: the key's text (None for null), else its own sentence."""
    return str(values["system_message"]) if "system_message" in values else CHAT_SYSTEM
