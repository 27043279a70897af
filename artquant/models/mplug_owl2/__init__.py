"""mPLUG-Owl2, the network of ArtQuant (arXiv 2311.04257), known to transformers' Auto classes as `mplug_owl2`."""

from artquant.models.mplug_owl2.configuration import IMAGE_TOKEN_ID, MPLUGOwl2Config
from artquant.models.mplug_owl2.modeling import MPLUGOwl2LlamaForCausalLM, MPLUGOwl2LlamaModel
from artquant.models.mplug_owl2.processing import MPLUGOwl2ImageProcessor, MPLUGOwl2Processor

__all__ = [
    "IMAGE_TOKEN_ID",
    "MPLUGOwl2Config",
    "MPLUGOwl2ImageProcessor",
    "MPLUGOwl2LlamaForCausalLM",
    "MPLUGOwl2LlamaModel",
    "MPLUGOwl2Processor",
    "register_auto_classes",
]


def register_auto_classes() -> None:
    """Make `mplug_owl2` known to transformers' Auto classes; calling it again changes nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

    AutoConfig.register("mplug_owl2", MPLUGOwl2Config, exist_ok=True)
    AutoModelForImageTextToText.register(MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, exist_ok=True)
    AutoModelForCausalLM.register(MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, exist_ok=True)
    AutoProcessor.register(MPLUGOwl2Config, MPLUGOwl2Processor, exist_ok=True)
