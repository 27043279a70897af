"""InternVL's configuration and names in the form of its authors' class, there and back."""

import pytest
import torch
from transformers import InternVLConfig, InternVLForConditionalGeneration

from artquant.errors import ArtQuantError
from artquant.models.auto.tiny_settings import TESTED
from artquant.models.families import FAMILIES, family_of
from artquant.models.family import CheckpointError
from artquant.models.internvl.configuration import native_config, published_config, system_text
from artquant.models.internvl.naming import own_names, published_names
from artquant.texts.prompt import CHAT_SYSTEM

SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = SMALL | {"image_size": [56, 56], "patch_size": [14, 14], "use_mean_pooling": True, "attention_bias": True}
TEXT = SMALL | {"model_type": "qwen2", "num_key_value_heads": 2, "vocab_size": 300, "eos_token_id": 7}


def config(vision=None, text=None, **top):
    parts = {"vision_config": VISION | (vision or {}), "text_config": TEXT | (text or {})}
    return InternVLConfig(**parts, **({"image_token_id": 9, "image_seq_length": 4, "tie_word_embeddings": False} | top))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"tie_word_embeddings": True},
        {"vision": {"use_qk_norm": True, "attention_bias": False, "norm_type": "rms_norm"}},
        {"text": {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}},
        {"downsample_ratio": 0.25, "image_seq_length": 1},
    ],
)
def test_there_and_back(changed):
    given = config(**changed)
    again = native_config(published_config(given, "Look."), 9, 7).to_dict()
    assert again == given.to_dict()


@pytest.mark.parametrize(("system", "written"), [("None", None), (CHAT_SYSTEM, CHAT_SYSTEM), ("Look.", "Look.")])
def test_system_text(system, written):
    values = published_config(config(), system)
    assert values["system_message"] == written and system_text(values) == system


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vision": {"use_mean_pooling": False}}, "vision_config.use_mean_pooling False, only True"),
        ({"vision": {"image_size": [56, 84]}, "image_seq_length": 6}, r"vision_config.image_size \[56, 84\]"),
        ({"vision": {"use_mask_token": True}}, "vision_config.use_mask_token True"),
        ({"text": {"model_type": "llama"}}, "cannot say internvl_vision with llama"),
        (
            {"text": {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 8}},
            "text_config.use_sliding_window True",
        ),
        ({"text": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}}}, "rope_parameters"),
        ({"projector_hidden_act": "relu"}, "projector_hidden_act 'relu', only 'gelu'"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy 'full'"),
        ({"image_seq_length": 16}, "image_seq_length 16, only 4"),
    ],
)
def test_what_the_class_cannot_compute(changed, message):
    with pytest.raises(ArtQuantError, match=message):
        published_config(config(**changed), "Look.")


def test_no_system_text():
    with pytest.raises(ArtQuantError, match="always puts one"):
        published_config(config(), "")


@pytest.mark.parametrize("vision", [{}, {"use_qk_norm": True}, {"attention_bias": False}])
def test_names(vision):
    tensors = InternVLForConditionalGeneration(config(vision)).state_dict()
    published = published_names(tensors)
    fused = published["vision_model.encoder.layers.1.attn.qkv.weight"]
    first = tensors["model.vision_tower.encoder.layer.1.attention.q_proj.weight"]
    assert fused.shape == (192, 64) and torch.equal(fused[:64], first)
    assert not any(name.startswith(("model.", "lm_head.")) for name in published)
    again = own_names(published)
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_names_that_no_published_network_has():
    with pytest.raises(CheckpointError, match=r"layernorm\.weight has no place in the published InternVL class"):
        published_names({"model.vision_tower.layernorm.weight": torch.zeros(1)})
    name = "model.vision_tower.encoder.layer.0.attention.{}_proj.weight"
    with pytest.raises(CheckpointError, match=r"layers\.0\.attn\.qkv\.weight cannot be put together: only"):
        published_names({name.format(part): torch.zeros(1) for part in "qv"})


def test_every_tested_type_has_a_family():
    assert set(TESTED) <= FAMILIES.keys()
    assert {kind for kind in FAMILIES if "internvl_chat" in family_of(kind).forms} == {"internvl", "internvl_chat"}
