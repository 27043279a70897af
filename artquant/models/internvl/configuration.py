"""The published InternVL configuration (`internvl_chat`) as transformers' own, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import InternVLConfig, PretrainedConfig

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
_COMPUTED: dict[str, Any] = {"ps_version": "v2", "select_layer": -1}  # of what the class can compute
# What no output of a trained network depends on, or what is said elsewhere.
_IDLE = {
    *("vision_config.layer_scale_init_value", "vision_config.hidden_dropout_prob", "vision_config.projection_dropout"),
    *("vision_config.attention_dropout", "text_config.pad_token_id", "text_config.use_cache"),
    *("text_config.max_window_layers", "text_config.rope_parameters", "text_config.tie_word_embeddings"),
}


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
    for name, wanted in {**_COMPUTED, "template": TEMPLATE}.items():
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


def published_config(config: InternVLConfig, system: str) -> dict[str, Any]:
    """The published `config.json` of the same network; the reverse of `native_config` and `system_text`.

    Args:
        system: what is put before a conversation, whatever the question.

    Raises:
        ArtQuantError: the published class does not compute this network, or cannot leave the system text out.
    """
    own = config.to_dict()
    vision, text = own["vision_config"], own["text_config"]
    if (vision["model_type"], text["model_type"]) != ("internvl_vision", "qwen2"):
        raise ArtQuantError(f"{MODEL_TYPE} cannot say {vision['model_type']} with {text['model_type']}")
    if not system:
        raise ArtQuantError(f"is asked without a system text, but {MODEL_TYPE} always puts one")
    rope = text["rope_parameters"]
    if rope["rope_type"] not in ("default", "dynamic"):  # the latter as above
        raise ArtQuantError(f"{MODEL_TYPE} cannot say text_config.rope_parameters {rope}")
    side, patch = vision["image_size"][0], vision["patch_size"][0]
    values: dict[str, Any] = {
        "architectures": ["InternVLChatModel"],
        "auto_map": {
            "AutoConfig": "configuration_internvl_chat.InternVLChatConfig",
            "AutoModel": "modeling_internvl_chat.InternVLChatModel",
            "AutoModelForCausalLM": "modeling_internvl_chat.InternVLChatModel",
        },
        "model_type": MODEL_TYPE,
        **{"template": TEMPLATE, "system_message": None if system == str(None) else system},
        **{"force_image_size": side, "downsample_ratio": own["downsample_ratio"]},
        **_COMPUTED,
        **{"dynamic_image_size": False, "use_thumbnail": False, "min_dynamic_patch": 1, "max_dynamic_patch": 1},
        **{"use_backbone_lora": 0, "use_llm_lora": 0, "pad2square": False},
        **{"hidden_size": text["hidden_size"], "tie_word_embeddings": own["tie_word_embeddings"]},
        "vision_config": {name: vision[name] for name in _VISION}
        | {"architectures": ["InternVisionModel"], "model_type": "intern_vit_6b"}
        | {"qkv_bias": vision["attention_bias"], "qk_normalization": vision["use_qk_norm"]}
        | {"image_size": side, "patch_size": patch},
        "llm_config": {name: text[name] for name in _TEXT if name in text}
        | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
        | {"rope_theta": rope["rope_theta"], "rope_scaling": None, "use_sliding_window": False, "use_cache": True}
        | {name: text[name] for name in ("bos_token_id", "eos_token_id")}
        | {"tie_word_embeddings": own["tie_word_embeddings"]},
    }
    again = _computing(native_config(values, own["image_token_id"], text["eos_token_id"]))
    given = _computing(config)
    for name, value in again.items():
        if given[name] != value:
            raise ArtQuantError(f"{MODEL_TYPE} cannot say {name} {given[name]!r}, only {value!r}")
    return values


def _computing(config: InternVLConfig) -> dict[str, Any]:
    """What a network computes by, under dotted names."""
    own, of_all = config.to_dict(), PretrainedConfig().to_dict()
    parts = {f"{part}.": own.pop(part) for part in ("vision_config", "text_config")}
    return {
        f"{prefix}{name}": value
        for prefix, values in {**parts, "": own}.items()
        for name, value in values.items()
        if name not in of_all and f"{prefix}{name}" not in _IDLE
    }


def system_text(values: Mapping[str, Any]) -> str:
    """What the published class puts before a conversation: the key's text (None for null), else its own sentence."""
    return str(values["system_message"]) if "system_message" in values else CHAT_SYSTEM
