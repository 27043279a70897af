"""mPLUG-Owl2, the network of ArtQuant (arXiv 2311.04257), known to transformers' Auto classes as `mplug_owl2`."""

from artquant.models.mplug_owl2.configuration import IMAGE_TOKEN_ID, MPLUGOwl2Config
from artquant.models.mplug_owl2.image_processing import MPLUGOwl2ImageProcessor
from artquant.models.mplug_owl2.modeling import MPLUGOwl2LlamaForCausalLM, MPLUGOwl2LlamaModel
from artquant.models.mplug_owl2.processing import MPLUGOwl2Processor
from artquant.models.mplug_owl2.tokenization import MPLUGOwl2Tokenizer

__all__ = [
    "IMAGE_TOKEN_ID",
    "MPLUGOwl2Config",
    "MPLUGOwl2ImageProcessor",
    "MPLUGOwl2LlamaForCausalLM",
    "MPLUGOwl2LlamaModel",
    "MPLUGOwl2Processor",
    "MPLUGOwl2Tokenizer",
    "register_auto_classes",
]


def register_auto_classes() -> None:
    """Make `mplug_owl2` known to transformers' Auto classes; calling it again changes nothing."""
    import transformers
    from transformers.models.auto import image_processing_auto, tokenization_auto

    transformers.AutoConfig.register("mplug_owl2", MPLUGOwl2Config, exist_ok=True)
    transformers.AutoModel.register(MPLUGOwl2Config, MPLUGOwl2LlamaModel, exist_ok=True)
    for auto in (
        transformers.AutoModelForImageTextToText,
        transformers.AutoModelForMultimodalLM,
        transformers.AutoModelForCausalLM,
    ):
        auto.register(MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM, exist_ok=True)
    transformers.AutoTokenizer.register(MPLUGOwl2Config, MPLUGOwl2Tokenizer, exist_ok=True)
    # Published folders name LLaMA's, which splits prompts otherwise and knows no picture.
    tokenization_auto.TOKENIZER_MAPPING_NAMES[MPLUGOwl2Config.model_type] = MPLUGOwl2Tokenizer.__name__
    tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add(MPLUGOwl2Config.model_type)
    # By its module: without torchvision some releases have something else under the name.
    image_processing_auto.AutoImageProcessor.register(
        MPLUGOwl2Config, image_processor_classes={"pil": MPLUGOwl2ImageProcessor}, exist_ok=True
    )
    transformers.AutoProcessor.register(MPLUGOwl2Config, MPLUGOwl2Processor, exist_ok=True)


register_auto_classes()
