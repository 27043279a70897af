"""mPLUG-Owl2 through transformers' Auto classes, which know it once `artquant.models` was imported."""

import subprocess
import sys

import pytest
import torch
import transformers
from PIL import Image

from artquant.models.mplug_owl2 import (
    MPLUGOwl2Config,
    MPLUGOwl2ImageProcessor,
    MPLUGOwl2LlamaForCausalLM,
    MPLUGOwl2LlamaModel,
    MPLUGOwl2Tokenizer,
    register_auto_classes,
)


@pytest.mark.parametrize("imported", ["artquant.models", "artquant.models.mplug_owl2"])
def test_importing_registers(tiny_base, imported):
    code = f"import sys, {imported}, transformers as t; print(t.AutoConfig.from_pretrained(sys.argv[1]).model_type)"
    run = subprocess.run([sys.executable, "-c", code, tiny_base], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip().endswith("mplug_owl2"), run.stderr


@pytest.mark.parametrize(
    ("auto", "kind"),
    [
        ("AutoConfig", MPLUGOwl2Config),
        ("AutoModel", MPLUGOwl2LlamaModel),
        ("AutoModelForImageTextToText", MPLUGOwl2LlamaForCausalLM),
        ("AutoModelForMultimodalLM", MPLUGOwl2LlamaForCausalLM),
        ("AutoModelForCausalLM", MPLUGOwl2LlamaForCausalLM),
        ("AutoTokenizer", MPLUGOwl2Tokenizer),
        ("AutoImageProcessor", MPLUGOwl2ImageProcessor),
    ],
)
def test_every_auto_class(tiny_base, auto, kind):
    register_auto_classes()  # again: nothing changes
    assert type(getattr(transformers, auto).from_pretrained(tiny_base)) is kind


def test_network_and_processor(tiny_base):
    processor = transformers.AutoProcessor.from_pretrained(tiny_base)
    asked = {"images": Image.new("RGB", (30, 50)), "text": "USER: <|image|>\nDescribe this painting. ASSISTANT:"}
    batch = processor(**asked, return_tensors="pt")
    expected = MPLUGOwl2LlamaForCausalLM.from_pretrained(tiny_base)
    network = transformers.AutoModelForImageTextToText.from_pretrained(tiny_base)
    with torch.no_grad():
        assert torch.equal(network(**batch).logits, expected(**batch).logits)


def test_a_published_folder_that_names_llamas_tokenizer(tiny_base, tmp_path):
    for file in ("config.json", "preprocessor_config.json", "tokenizer.model"):
        (tmp_path / file).write_bytes((tiny_base / file).read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": false}')
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    text = "USER: <|image|>\nRate it. ASSISTANT:"
    assert tokenizer(text).input_ids == processor.tokenize(text)
