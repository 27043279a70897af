"""Loading and saving models, whatever their family and form.

Pickles are read with weights-only loading: nothing in a checkpoint is executed. A tensor that is missing or not known
is an error that names it. Adapters themselves are read in `artquant.models.adapters`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from artquant.config.schema import Loading
from artquant.errors import one_line
from artquant.files.json_files import read_json
from artquant.models.adapters import TRAINABLE_WEIGHTS, attach_adapter, load_trained, merged, require_tables
from artquant.models.familiar import Familiar
from artquant.models.family import HEAD_PREFIX, CheckpointError, Family, Processor
from artquant.models.hub import locate
from artquant.models.model_card import CARD_MARK, Card
from artquant.models.model_folder import ModelFolder
from artquant.models.no_bar import no_bar
from artquant.models.plausible import require_plausible, require_size
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.tensors import read_weights
from artquant.models.vocabulary import add_new_words, token_rows
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt, other_prompt

logger = logging.getLogger(__name__)

READOUT_HEAD = "readout_head.safetensors"


@dataclass(frozen=True)
class Network:
    """A network with its processor."""

    model: PreTrainedModel
    processor: Processor
    family: Family


@dataclass(frozen=True)
class LoadedModel:
    """Everything that scoring and describing need."""

    network: ScoringNetwork
    processor: Processor
    family: Family
    prompt: Prompt
    readout: Readout
    attributes: tuple[str, ...] = ()  # that it was trained to score
    one_text: bool = False  # whether their scores stand in one answer
    quantize: str | None = None  # as `Loading.quantize`
    learned: tuple[str, ...] | None = None  # tasks that it was trained on; None: not known
    familiar: Familiar | None = None  # what its training pictures look like; None: not learned
    name: str = "the model"  # its folder

    @property
    def stays(self) -> bool:
        """Whether the weights stay where the library has put them: in 8 bits it does not move them."""
        return self.quantize == "int8"


def load_network(folder: ModelFolder, loading: Loading) -> Network:
    """Network and processor of a model folder; adapters are merged into their base.

    With `quantize` an adapter stays beside the base's narrow weights, unmerged.

    Raises:
        CheckpointError: a file is missing or unreadable, a tensor is missing or unexpected.
    """
    whole, adapters = folder.whole, list(folder.adapters)
    if loading.narrow_weights is not None and (
        len(adapters) > 1 or not all(adapter.is_adapter for adapter in adapters)
    ):
        lies = "lies over another LoRA run" if len(adapters) > 1 else "holds weights of the base itself"
        raise CheckpointError(
            f"{folder.path}: {lies}, so its base cannot be held in {loading.narrow_weights}; "
            f"merge it first (artquant export {folder.path} --to merged --out DIR)"
        )
    logger.info("loading %s", " over ".join(str(one.name) for one in folder.chain()))
    config = _plausible_config(whole, loading)
    with no_bar():
        model = whole.family.load(whole.path, config, loading)
    for own in (CARD_MARK, "auto_map"):  # what is saved from here has a card and code of its own, or none
        model.config.__dict__.pop(own, None)
    processor = whole.family.processor(_processor_holder(folder), config)
    processor.add_words(whole.new_words)  # the base's files, where it is taken from there, do not know them
    for adapter in adapters:
        if add_new_words(model, processor, adapter.new_words) and adapter.card is None:
            require_tables(adapter.path, model)  # the new rows are the run's
        parts = whole.family.parts(model)
        if not adapter.is_adapter:
            load_trained(model, adapter.path, parts)
            continue
        adapted = attach_adapter(model, adapter.path, parts, trainable=False)
        if not loading.narrow_weights:  # otherwise the layers of the adapter stay in the model
            model = merged(adapted, adapter.path)
    return Network(model, processor, whole.family)


def _plausible_config(whole: ModelFolder, loading: Loading) -> PretrainedConfig:
    """The configuration of a folder that holds all weights, of a network that can be built and lie in them."""
    if whole.card is not None and whole.card.files is not None:
        return whole.family.config(whole.path, loading.untested)  # as it was written, with these weights
    file = whole.path / "config.json"
    require_plausible(file, read_json(file))
    config = whole.family.config(whole.path, loading.untested)
    try:
        with torch.device("meta"):
            skeleton = whole.family.empty(config)
    except Exception as error:  # every network has errors of its own; all mean that it cannot be built
        raise CheckpointError(f"{file}: no network can be built by it: {one_line(error)}") from error
    require_size(whole.path, skeleton)
    return config


def _processor_holder(folder: ModelFolder) -> Path:
    """Where the processor lies: in the folder itself, in what it lies over, or in the named base."""
    own = (one.path for one in folder.chain())
    named = (locate(base).folder for base in (folder.named_base,) if base is not None)  # fetched where it is needed
    found = next((place for place in chain(own, named) if folder.family.holds_processor(place)), None)
    if found is None:
        raise CheckpointError(
            f"{folder.path}: holds no tokenizer or no preprocessor; name the base model's folder, which has both "
            "(--base DIR)"
        )
    return found


def load_model(
    folder: ModelFolder, loading: Loading, prompt: str | None = None, values: Sequence[float] | None = None
) -> LoadedModel:
    """A trained model, ready to score.

    Args:
        prompt: name of the prompt; default is the one stored with the model, for published models their own.
        values: the rating words' scores, best first; default are those stored with the model.

    Raises:
        ArtQuantError: see `load_network`; or the folder does not say how its scores are read.
    """
    loaded = load_network(folder, loading)
    card = folder.card
    if card is None:
        try:
            published = loaded.family.published_card(folder.spoken_for, loaded.processor, values)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise CheckpointError(
                f"{folder.spoken_for / 'config.json'}: does not say how scores are read ({one_line(error)}); take the "
                "published file"
            ) from error
        card = Card(*published, one_text=published[1].several)
    rows = token_rows(loaded.model)
    if card.readout.new_words and loaded.processor.vocabulary_size > rows:
        raise CheckpointError(
            f"{folder.path}: its tokenizer knows {loaded.processor.vocabulary_size} tokens with the readout's words, "
            f"the network {rows}; copy the model's own files"
        )
    strange = next((one for one in (*card.readout.token_ids, *card.readout.place_ids) if one not in range(rows)), None)
    if strange is not None:
        raise CheckpointError(
            f"{folder.path}: its scores are to be read at token {strange!r}, but the network has {rows} tokens; copy "
            "the model's own files"
        )
    readout = card.readout if values is None else card.readout.with_values(values)
    chosen = card.prompt if prompt is None else other_prompt(prompt, card.prompt)
    parts = loaded.family.parts(loaded.model)
    head = stored_head(folder.spoken_for, readout, loaded.model)
    if head is not None and any(True for _ in head.parameters()) and _head_tensors(folder.spoken_for) is None:
        raise CheckpointError(
            f"{folder.path}: readout {readout.kind} has weights of its own, but there is no {READOUT_HEAD}; copy the "
            "folder again"
        )
    network = ScoringNetwork(loaded.model, parts, head)
    return LoadedModel(
        network.eval(),
        loaded.processor,
        loaded.family,
        chosen,
        readout,
        attributes=card.attributes,
        one_text=card.one_text,
        quantize=loading.quantize,
        learned=card.learned,
        familiar=Familiar.read(folder.path),
        name=str(folder.name),
    )


def stored_head(folder: Path, readout: Readout, model: PreTrainedModel) -> nn.Module | None:
    """The readout's own head, with the weights that lie in a folder (where there are none: new ones)."""
    head = readout.head(model.config.get_text_config().hidden_size)
    found = None if head is None else _head_tensors(folder)
    if head is not None and found is not None:
        file, tensors = found
        try:
            head.load_state_dict(tensors)
        except RuntimeError as error:
            raise CheckpointError(f"{file}: is not of readout {readout.kind}: {one_line(error)}") from error
    return head


def _head_tensors(folder: Path) -> tuple[Path, dict[str, torch.Tensor]] | None:
    """Weights of a readout's own head, in a file of their own or among what trains; None: there are none."""
    if (folder / READOUT_HEAD).is_file():
        return read_weights(folder, Path(READOUT_HEAD).stem)
    if not (folder / TRAINABLE_WEIGHTS).is_file():
        return None
    file, tensors = read_weights(folder, Path(TRAINABLE_WEIGHTS).stem)
    head = {name.removeprefix(HEAD_PREFIX): value for name, value in tensors.items() if name.startswith(HEAD_PREFIX)}
    return (file, head) if head else None


def save_model(
    folder: Path,
    model: PreTrainedModel,
    processor: Processor,
    family: Family,
    card: Card,
    state_dict: dict[str, torch.Tensor] | None = None,
    readout_head: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write one self-describing folder that `load_model` and `from_pretrained` take.

    Args:
        model: the whole network, without adapters.
        state_dict: the weights, where they are not in the model (ZeRO-3).
        readout_head: those of the readout's own head.
    """
    family.note_readout(model.config, processor, card.prompt, card.readout)
    with no_bar():
        model.save_pretrained(folder, state_dict=state_dict)
    processor.save_pretrained(folder)
    if readout_head:
        save_file(readout_head, folder / READOUT_HEAD)
    card.write(Path(folder))
