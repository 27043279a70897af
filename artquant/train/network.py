"""What trains: start weights, adapters and frozen parts of a stage."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from artquant.config.schema import LoraConfig, ModelConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.models.adapters import attach_adapter, is_adapter, save_adapter
from artquant.models.checkpoints import DTYPES, describe_scale, load_network, save_model
from artquant.models.model_card import Base, Card, adapter_chain, has_base
from artquant.models.mplug_owl2 import MPLUGOwl2LlamaForCausalLM, MPLUGOwl2Processor
from artquant.models.mplug_owl2.decoder import Multiway
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import Prompt
from artquant.train.checkpointing import force_to_disk
from artquant.train.weights import whole_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainableNetwork:
    """A network in which exactly the parameters that a stage trains require gradients."""

    model: MPLUGOwl2LlamaForCausalLM | PeftModel
    processor: MPLUGOwl2Processor
    adapter_over: tuple[Path, ...] = ()  # model folders that the adapter, if there is one, lies over, nearest first

    @property
    def network(self) -> MPLUGOwl2LlamaForCausalLM:
        """The network inside the adapter wrapper, or itself."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model


def prepare_network(start: Path, base: Path, model: ModelConfig, trainable: TrainableConfig) -> TrainableNetwork:
    """Load a stage's start weights and set up what trains.

    A stage with LoRA that starts from a LoRA run over the same base with the same settings goes on training that
    adapter; otherwise a fresh adapter is laid over the start's weights.

    Args:
        start: model folder to start from.
        base: the run's base model.

    Raises:
        CheckpointError: the start cannot be used, or is an adapter whose base is not as it was.
    """
    dtype = DTYPES[model.dtype]
    folders = adapter_chain(start, None if has_base(start) else base)  # raises if a base is not the one trained over
    over: tuple[Path, ...] = ()
    if trainable.lora is not None and continues(start, base, trainable.lora):
        network, processor = _loaded(base, None, dtype, model)
        adapted, over = attach_adapter(network, start, True, trainable.lora.dropout), (base, *folders[2:])
        logger.info("going on with the adapter of %s over %s", start, base)
    else:
        if model.quantize is not None and is_adapter(start):
            raise ArtQuantError(
                f"{start}: an adapter with other settings, or over another base, cannot be built on with quantize: "
                f"{model.quantize}; merge it first (artquant merge {start} --out DIR) and start from that"
            )
        network, processor = _loaded(start, None if has_base(start) else base, dtype, model)
        adapted = network
        if trainable.lora is not None:
            adapted, over = with_new_adapter(network, trainable.lora), tuple(folders)
            logger.info("a new adapter over %s", start)
    choose_parameters(network, trainable)
    if model.gradient_checkpointing:
        network.gradient_checkpointing_enable()
    return TrainableNetwork(adapted, processor, over)


def _loaded(folder: Path, base: Path | None, dtype: torch.dtype, model: ModelConfig):
    network = load_network(folder, base, dtype, model.attention, model.quantize)
    return network.model, network.processor


def continues(start: Path, base: Path, lora: LoraConfig) -> bool:
    """Whether a stage goes on training the adapter that it starts from: same settings, over the same base."""
    if not is_adapter(start) or is_deepspeed_zero3_enabled():
        return False  # ZeRO-3 has cut the parameters up before an adapter could be read into them
    stored = PeftLoraConfig.from_pretrained(str(start))
    card = Card.read(start)
    targets = stored.target_modules if isinstance(stored.target_modules, str) else set(stored.target_modules)
    wanted = lora.target_modules if isinstance(lora.target_modules, str) else set(lora.target_modules)
    same = (stored.r, stored.lora_alpha, targets) == (lora.r, lora.alpha, wanted)
    return same and card is not None and card.base is not None and card.base.folder.resolve() == base.resolve()


def with_new_adapter(network: MPLUGOwl2LlamaForCausalLM, lora: LoraConfig) -> PeftModel:
    """Lay a fresh adapter over a network; raises ArtQuantError if its modules are not linear layers of the decoder."""
    require_targets(network, lora.target_modules)
    config = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    uniform = is_deepspeed_zero3_enabled()  # takes one number format only, and keeps float32 copies itself
    return get_peft_model(network, config, autocast_adapter_dtype=not uniform)


def require_targets(network: nn.Module, targets: str | Sequence[str]) -> None:
    """Every target names modules of the network, and all of them are linear layers of the decoder.

    Args:
        targets: a regular expression over whole module names, or names, each of one module or the end of several.

    Raises:
        ArtQuantError: a target that names no module, or one that cannot be adapted.
    """
    modules = dict(network.named_modules())
    for target in [targets] if isinstance(targets, str) else targets:
        if isinstance(targets, str):
            found = [name for name in modules if re.fullmatch(target, name)]
        else:
            found = [name for name in modules if f".{name}".endswith(f".{target}")]
        if not found:
            raise ArtQuantError(f"lora.target_modules {target!r}: no such module in the network")
        for name in found:
            if isinstance(modules[name], Multiway):
                raise ArtQuantError(
                    f"lora.target_modules {target!r}: {name} has a branch for text and one for pictures; name them "
                    f"({name.rsplit('.', 1)[-1]}.multiway.0, .multiway.1)"
                )
            # Adapted elsewhere, a layer would be neither stored nor read as the published form has it.
            if not (name.startswith("model.layers.") and isinstance(modules[name], nn.Linear)):
                raise ArtQuantError(
                    f"lora.target_modules {target!r}: {name} is no linear layer of the decoder; name those only"
                )


def choose_parameters(network: nn.Module, trainable: TrainableConfig) -> None:
    """Let the chosen parts and the adapters require gradients, and nothing else."""
    visual = (network.model.vision_model, network.model.visual_abstractor)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name or trainable.decoder)
    for part, wanted in zip(visual, (trainable.vision_encoder, trainable.abstractor), strict=True):
        part.requires_grad_(wanted)


def trainable_in_float32(network: nn.Module) -> None:
    """Keep what trains in float32 beside a frozen bfloat16 base; bfloat16 would swallow small updates."""
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Trainable and all parameters; under ZeRO-3 of the whole, not of this rank's share."""
    sizes = [(whole_size(parameter), parameter.requires_grad) for parameter in network.parameters()]
    return sum(count for count, trains in sizes if trains), sum(count for count, _ in sizes)


def write_trained_model(
    folder: Path,
    trained: TrainableNetwork,
    state_dict: dict[str, torch.Tensor],
    prompt: Prompt,
    readout: RatingLevels,
    history: dict,
    dtype: torch.dtype,
    attributes: Sequence[str] = (),
) -> None:
    """Write a stage's result: of a LoRA run the adapter form with its tokenizer, otherwise one whole model.

    The folder appears at once, when everything is in it.
    """
    partial = folder.with_name(folder.name + ".partial")
    if isinstance(trained.model, PeftModel):
        describe_scale(trained.network.config, trained.processor, prompt, readout)
        save_adapter(partial, trained.model, state_dict)
        trained.processor.save_pretrained(partial)
        Card(prompt, readout, tuple(attributes), history, Base.of(trained.adapter_over)).write(partial)
    else:
        with torch.device("meta"):
            skeleton = MPLUGOwl2LlamaForCausalLM(trained.network.config)  # the trained one may be wrapped or cut up
        skeleton.config.dtype = dtype
        weights = {name: value.to(dtype).contiguous() for name, value in state_dict.items()}
        save_model(partial, skeleton, trained.processor, prompt, readout, history, weights, attributes)
    for file in partial.rglob("*"):
        force_to_disk(file)
    partial.rename(folder)
