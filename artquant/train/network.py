"""What trains: start weights, adapters, new rows and frozen parts of a stage."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from artquant.config.schema import LoraConfig, ModelConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.files.whole_folder import whole_folder
from artquant.models.adapter_config import changed_settings, read_adapter_config
from artquant.models.adapters import (
    STORED_BESIDE,
    attach_adapter,
    save_adapter,
    save_adapter_config,
    save_whole_parts,
    stored_parts,
)
from artquant.models.family import HEAD_PREFIX, Family, Part, Parts, Processor, bare_name
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.patterns import pattern_fault
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import add_new_words, new_rows
from artquant.models.weights import READOUT_HEAD, load_network, save_model, stored_head
from artquant.models.zero3 import whole_size
from artquant.readouts import Readout

logger = logging.getLogger(__name__)

# What a stage's settings say of an adapter; one with others is merged, and a new one laid over it.
_OF_A_STAGE = {"r", "lora_alpha", "lora_dropout", "target_modules", "trainable_token_indices"}


@dataclass(frozen=True)
class TrainableNetwork:
    """A network in which exactly the parameters that a stage trains require gradients.

    over: what the adapter, if there is one, lies over. whole: the parts that are stored beside an adapter. earlier:
    those of them that an earlier stage has stored beside the adapter that goes on.
    """

    model: ScoringNetwork
    processor: Processor
    family: Family
    over: ModelFolder | None = None
    whole: frozenset[Part] = frozenset()
    earlier: frozenset[Part] = frozenset()


def prepare_network(
    start: ModelFolder, base: Path, model: ModelConfig, trainable: TrainableConfig, readout: Readout
) -> TrainableNetwork:
    """Load a stage's start weights and set up what trains.

    A stage with LoRA that starts from a LoRA run over the same base with the same settings goes on training that
    adapter; otherwise a fresh adapter is laid over the start's weights.

    Args:
        start: model folder to start from.
        base: the run's base model.
        readout: not yet bound; its new words get rows, its head is made or read.

    Raises:
        ArtQuantError: the start cannot be used, was trained with another readout, or the settings do not fit it.
    """
    words = readout.new_words
    _require_same_readout(start, readout)
    if words and trainable.lora is None and "decoder" not in trainable.parts():
        raise ArtQuantError(
            f"readout {readout.kind} adds words, whose rows train with lora or decoder; set one of them"
        )
    lora = trainable.lora
    over = start.below if lora is not None and continues(start, base, lora, words) else None
    if over is None and model.quantize is not None and start.is_partial:
        raise ArtQuantError(
            f"{start.path}: an adapter with other settings, or over another base, cannot be built on with quantize: "
            f"{model.quantize}; merge it first (artquant export {start.path} --to merged --out DIR) and start from that"
        )
    loaded = load_network(start if over is None else over, model)
    add_new_words(loaded.model, loaded.processor, words)
    parts = loaded.family.parts(loaded.model)
    adapted: PreTrainedModel | PeftModel = loaded.model
    if lora is not None and over is not None:
        adapted = attach_adapter(loaded.model, start.path, parts, True, lora.dropout)
        logger.info("going on with the adapter of %s over %s", start.path, over.path)
    elif lora is not None:
        rows = new_rows(loaded.model, loaded.processor, words)
        adapted, over = with_new_adapter(loaded.model, lora, loaded.family, parts, rows), start
        logger.info("a new adapter over %s", start.path)
        if any(folder.is_checkpoint for folder in start.chain()):
            logger.warning("%s: a checkpoint, which training deletes as it goes on; the adapter needs it", start.path)
    network = ScoringNetwork(adapted, parts, stored_head(start.spoken_for, readout, loaded.model))
    choose_parameters(network, trainable)
    if model.gradient_checkpointing:
        recompute_activations(loaded.model)
    earlier = stored_parts(start.path, parts) if start.is_adapter else set()
    head: set[Part] = {"head"} if "head" in trainable.parts() else set()
    whole = frozenset(earlier | head | {*STORED_BESIDE})
    gone_on = frozenset(earlier if over is not None and over is start.below else ())
    return TrainableNetwork(network, loaded.processor, loaded.family, over, whole, gone_on)


def _require_same_readout(start: ModelFolder, readout: Readout) -> None:
    """Words that another readout has added are not to be learned anew, or left behind."""
    if start.new_words and start.new_words != readout.new_words:
        raise ArtQuantError(
            f"{start.path}: was trained with a readout that added {len(start.new_words)} words, this run's is "
            f"{readout.kind} ({len(readout.new_words)}); start from another model, or set readout"
        )


def continues(start: ModelFolder, base: Path, lora: LoraConfig, words: Sequence[str] = ()) -> bool:
    """Whether a stage goes on training the adapter that it starts from: same settings and words, over the same base."""
    card, over = start.card, start.below
    if over is None or card is None or card.base is None or not start.is_adapter or is_deepspeed_zero3_enabled():
        return False  # ZeRO-3 has cut the parameters up before an adapter could be read into them
    if not changed_settings(start.path) <= _OF_A_STAGE:
        return False
    stored = read_adapter_config(start.path)
    targets = stored.target_modules if isinstance(stored.target_modules, str) else set(stored.target_modules or ())
    wanted = lora.target_modules
    if wanted is None:
        same_targets = targets == over.family.lora_targets(over.family.parts(_skeleton(over)))
    else:
        same_targets = targets == (wanted if isinstance(wanted, str) else set(wanted))
    same = (stored.r, stored.lora_alpha) == (lora.r, lora.alpha) and same_targets
    here = over.name == base or over.path.resolve() == base.resolve()
    return same and here and card.readout.new_words == tuple(words)


def _skeleton(folder: ModelFolder) -> PreTrainedModel:
    """A network without weights, to look at its names."""
    with torch.device("meta"):
        return folder.family.empty(folder.family.config(folder.whole.path, untested=True))


def with_new_adapter(
    network: PreTrainedModel,
    lora: LoraConfig,
    family: Family,
    parts: Parts,
    rows: Mapping[str, list[int]] | None = None,
) -> PeftModel:
    """Lay a fresh adapter over a network.

    Args:
        rows: of the token table and the head that train beside it, by module name.

    Raises:
        ArtQuantError: its modules are not linear layers that can be adapted.
    """
    targets = family.lora_targets(parts) if lora.target_modules is None else lora.target_modules
    require_targets(network, targets, family)
    config = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft computes with fractions too
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=targets if isinstance(targets, str) else list(targets),
        trainable_token_indices=dict(rows) if rows else None,
        task_type="CAUSAL_LM",
    )
    if not is_deepspeed_zero3_enabled():
        return get_peft_model(network, config)
    with _rows_of_cut_up_tables():
        # ZeRO-3 takes one number format only, and keeps float32 copies itself.
        return get_peft_model(network, config, autocast_adapter_dtype=False)


@contextmanager
def _rows_of_cut_up_tables() -> Iterator[None]:
    """Lets peft take rows of a token table that ZeRO-3 has cut up, on any device; by itself it knows CUDA only."""
    from deepspeed import zero

    def rows_of(self: TrainableTokensLayer, weight: nn.Parameter, rows: list[int], width: int) -> torch.Tensor:
        with zero.GatheredParameters([weight]):
            return weight[rows].detach().clone()

    peft_has = TrainableTokensLayer._collect_token_weights
    TrainableTokensLayer._collect_token_weights = rows_of  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        TrainableTokensLayer._collect_token_weights = peft_has  # type: ignore[method-assign]


def require_targets(network: nn.Module, targets: str | Sequence[str], family: Family) -> None:
    """Every target names modules of the network, and all of them can get an adapter.

    Args:
        targets: a regular expression over whole module names, or names, each of one module or the end of several.

    Raises:
        ArtQuantError: a target that names no module, or one that cannot be adapted.
    """
    modules = dict(network.named_modules())
    fault = pattern_fault([targets] if isinstance(targets, str) else [], list(modules))
    if fault is not None:
        raise ArtQuantError(f"lora.target_modules {targets!r}: {fault}")
    for target in [targets] if isinstance(targets, str) else targets:
        if isinstance(targets, str):
            found = [name for name in modules if re.fullmatch(target, name)]
        else:
            found = [name for name in modules if f".{name}".endswith(f".{target}")]
        if not found:
            raise ArtQuantError(f"lora.target_modules {target!r}: no such module in the network")
        for name in found:
            fault = family.target_fault(name, modules[name])
            if fault is not None:
                raise ArtQuantError(f"lora.target_modules {target!r}: {fault}")


def choose_parameters(network: ScoringNetwork, trainable: TrainableConfig) -> None:
    """Let the chosen parts, the adapters and what a readout has added require gradients, and nothing else.

    Raises:
        ArtQuantError: a part that is to train has no parameters of its own.
    """
    chosen: Collection[str] = {*trainable.parts(), "adapters", "new_rows", "readout"}
    found = set()
    for name, parameter in network.named_parameters():
        part = network.parts.of(name)
        found.add(part)
        parameter.requires_grad_(part in chosen)
    if trainable.head and "head" not in found:
        raise ArtQuantError("trainable.head: the output head is the token table; set decoder: true instead")


def recompute_activations(network: PreTrainedModel) -> None:
    """Keep of each layer its input alone, and compute the rest again in the backward pass."""
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # The other way of checkpointing needs embeddings with gradients; here those of frozen parts would be for nothing.
    network.disable_input_require_grads()


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
    folder: Path, trained: TrainableNetwork, state_dict: dict[str, torch.Tensor], card: Card, dtype: torch.dtype
) -> None:
    """Write a stage's result: of a LoRA run the adapter form with its tokenizer, otherwise one whole model.

    The folder appears at once, when everything is in it.

    Args:
        state_dict: the weights by the names that they have inside `ScoringNetwork`.
    """
    head = {name.removeprefix(HEAD_PREFIX): v for name, v in state_dict.items() if name.startswith(HEAD_PREFIX)}
    inner = {name.removeprefix("network."): v for name, v in state_dict.items() if name.startswith("network.")}
    network, plain = trained.model.network, trained.model.plain
    with whole_folder(folder) as partial:
        if isinstance(network, PeftModel):
            trained.family.note_readout(plain.config, trained.processor, card.prompt, card.readout)
            save_adapter(partial, network, inner, trained.model.parts, trained.whole)
            trained.processor.save_pretrained(partial)
            if head:
                save_file(head, partial / READOUT_HEAD)
            card.write(partial)
            return
        with torch.device("meta"):
            skeleton = trained.family.empty(plain.config)  # the trained one may be wrapped or cut up
        skeleton.config.dtype = dtype
        skeleton.generation_config = plain.generation_config  # where descriptions end
        weights = {bare_name(name): value.to(dtype).contiguous() for name, value in inner.items()}
        save_model(partial, skeleton, trained.processor, trained.family, card, weights, head)


def describe_checkpoint(folder: Path, trained: TrainableNetwork, card: Card, dtype: torch.dtype) -> None:
    """Make a checkpoint's folder, which holds what trains, a model folder: all but those weights.

    Args:
        dtype: of the stage's result where it holds all weights.
    """
    network, plain, parts = trained.model.network, trained.model.plain, trained.model.parts
    trained.family.note_readout(plain.config, trained.processor, card.prompt, card.readout)
    if isinstance(network, PeftModel):
        save_adapter_config(folder, network)
        moving = {parts.of(name) for name, parameter in network.named_parameters() if parameter.requires_grad}
        if trained.earlier - moving:
            save_whole_parts(folder, network, network.state_dict(), parts, trained.earlier - moving)
    else:
        config = copy.deepcopy(plain.config)
        config.dtype = dtype
        config.save_pretrained(folder)
    trained.processor.save_pretrained(folder)
    card.write(folder)
