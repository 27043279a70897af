"""transformers' common tests of networks, on mPLUG-Owl2 in its forms."""

import importlib
import unittest
from unittest.mock import patch

import pytest
import torch
from suite import mixin

from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, MPLUGOwl2LlamaModel

ModelTesterMixin = mixin("test_modeling_common", "ModelTesterMixin")
GenerationTesterMixin = mixin("test_modeling_common", "GenerationTesterMixin")


NAMES = importlib.import_module("transformers.models.auto.modeling_auto")  # by class name the suite tells kinds apart


@pytest.fixture(scope="module", autouse=True)
def as_if_in_the_library():
    with (
        patch.dict(NAMES.MODEL_MAPPING_NAMES, mplug_owl2=MPLUGOwl2LlamaModel.__name__),
        patch.dict(NAMES.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, mplug_owl2=MPLUGOwl2LlamaForCausalLM.__name__),
    ):
        yield


class Tester:
    """What the mixins ask for: a small configuration and inputs that fit it."""

    batch_size, num_hidden_layers, num_attention_heads, hidden_size, vocab_size = 7, 2, 4, 32, 99
    is_training = True

    def __init__(self, parent: unittest.TestCase, image_token_id: int, multi_scale: bool):
        self.parent, self.image_token_id, self.multi_scale = parent, image_token_id, multi_scale
        self.text_positions = 7
        self.image_size, self.patch_size = 28, 14
        self.seq_length = self.text_positions + self.get_config().image_sequence_length
        self.encoder_seq_length = self.key_length = self.seq_length

    def get_config(self) -> MPLUGOwl2Config:
        vision = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
        abstractor = vision | {"num_learnable_queries": 3, "encoder_hidden_size": 32, "grid_size": 2}
        return MPLUGOwl2Config(
            visual_config={"visual_model": vision | {"image_size": 28}, "visual_abstractor": abstractor},
            image_token_index=self.image_token_id,
            multi_scale=self.multi_scale,
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=37,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_attention_heads,
            max_position_embeddings=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[MPLUGOwl2Config, dict[str, torch.Tensor]]:
        config = self.get_config()
        torch.manual_seed(0)
        input_ids = torch.randint(6, self.vocab_size, (self.batch_size, self.seq_length))
        input_ids[:, 1 : 1 + config.image_sequence_length] = config.image_token_index
        pixel_values = torch.randn(self.batch_size, 3, 28, 28)
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "pixel_values": pixel_values}
        return config, inputs


class OutsideTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    """The picture's id as published, outside of the vocabulary."""

    all_model_classes = (MPLUGOwl2LlamaModel, MPLUGOwl2LlamaForCausalLM)
    additional_model_inputs = ("pixel_values",)  # ids of pictures without pictures are refused
    image_token_id = IMAGE_TOKEN_ID
    multi_scale = False

    def setUp(self):
        self.model_tester = Tester(self, self.image_token_id, self.multi_scale)


class InsideTest(OutsideTest):
    """The picture's id within the vocabulary."""

    image_token_id = 5
    additional_model_inputs = ()


class MultiScaleTest(OutsideTest):
    """Three abstractors over one vision encoder."""

    multi_scale = True
