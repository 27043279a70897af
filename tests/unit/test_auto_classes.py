"""mPLUG-Owl2 through transformers' Auto classes, once that is asked for."""

import subprocess
import sys

import torch
from PIL import Image

from artquant.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, register_auto_classes


def test_import_registers_nothing():
    code = (
        "from transformers import CONFIG_MAPPING\n"
        "import artquant.models.mplug_owl2, artquant.models.weights\n"
        "raise SystemExit('mplug_owl2' in CONFIG_MAPPING)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


def test_after_registration(tiny_base):
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

    register_auto_classes()
    register_auto_classes()
    assert isinstance(AutoConfig.from_pretrained(tiny_base), MPLUGOwl2Config)
    processor = AutoProcessor.from_pretrained(tiny_base)
    batch = processor(Image.new("RGB", (30, 50)), "USER: <|image|>\nDescribe this painting. ASSISTANT:")
    expected = MPLUGOwl2LlamaForCausalLM.from_pretrained(tiny_base)
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        network = auto.from_pretrained(tiny_base)
        assert type(network) is MPLUGOwl2LlamaForCausalLM
        with torch.no_grad():
            assert torch.equal(network(**batch).logits, expected(**batch).logits)
    generated = network.generate(**batch, max_new_tokens=4, do_sample=False)
    [text] = processor.batch_decode(generated, skip_special_tokens=True)
    assert text.replace("  ", " ").startswith("USER:")
