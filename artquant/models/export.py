"""A trained model in another form: one merged model of ours, or a form that published code reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.files.unwritten import Unwritten, errors_named
from artquant.files.whole_folder import whole_folder
from artquant.models.family import LoraForm, WeightsFormat, WholeForm
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_model, save_model
from artquant.texts.prompt import Prompt

MERGED = "merged"
OWN_FORM = (MERGED, "native")  # the names of our own form
HUB = "hub"  # our own with the code that reads it: `artquant.hub_folders`


@dataclass(frozen=True)
class WrittenFile:
    """A file of an export, with its size in bytes."""

    name: str
    size: int


def export_model(
    source: ModelFolder,
    form: str,
    out: Path,
    dtype: torch.dtype | None = None,
    weights_format: WeightsFormat | None = None,
    untested: bool = False,
) -> list[WrittenFile]:
    """Write a model folder in another form; it appears at once, when everything is in it.

    Args:
        source: a model folder; for a LoRA form what lies below need not be there.
        form: "merged" or "native": one self-describing model of ours, adapters merged into their base in float32, which
            transformers' own classes read. Or one of the family's published forms (`Family.forms`).
        out: folder to make.
        dtype: of the weights; default is float32 for whole models, and what is stored for LoRA.
        weights_format: default is what the form is published in; safetensors for ours.

    Raises:
        ArtQuantError: `out` is there already, the model cannot be read, or the form cannot hold it.
    """
    forms = source.family.forms
    if form not in (*OWN_FORM, *forms):
        known = ", ".join((*OWN_FORM, HUB, *forms))
        raise ArtQuantError(f"{source.path}: has no published form {form!r}; export it as {known}")
    writer = forms.get(form)
    if writer is not None and source.card is not None:
        _require_readable(source, form, writer, source.card)
    if isinstance(writer, LoraForm):
        _require_lora(source)
    with whole_folder(out) as partial:
        if isinstance(writer, LoraForm):
            writer.write(source.path, partial, dtype, weights_format or writer.weights_format)
        else:
            # Merged in float32, whatever is written: rounding comes last.
            loaded = load_model(source, Loading(untested=untested))
            model = loaded.network.plain
            model.to(dtype or torch.float32)  # type: ignore[arg-type]  # transformers' wrapper hides what is bound
            if writer is None:
                history = {"exported_from": str(source.path)} | ({} if source.card is None else source.card.history)
                card = write_own(loaded, partial, history)
                if weights_format == "bin":
                    _as_pickles(partial)
                    card.write(partial)  # it lists files
            else:
                _require_readable(source, form, writer, Card(loaded.prompt, loaded.readout))
                source.family.note_readout(model.config, loaded.processor, loaded.prompt, loaded.readout)
                kept = weights_format or writer.weights_format
                try:
                    writer.write(model, loaded.processor, loaded.prompt, partial, dtype or torch.float32, kept)
                except Unwritten:
                    raise
                except ArtQuantError as error:
                    raise ArtQuantError(f"{source.path}: {error}; export it as merged") from error
    return written_files(out)


def written_files(folder: Path) -> list[WrittenFile]:
    """What lies in a folder that was written, by name."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [WrittenFile(str(file.relative_to(folder)), file.stat().st_size) for file in files]


def write_own(loaded: LoadedModel, folder: Path, history: dict[str, Any]) -> Card:
    """Write a loaded model in our own form, in the number format that it is in; the card that was written."""
    model = loaded.network.plain
    model.config.dtype = model.dtype
    card = Card(loaded.prompt, loaded.readout, loaded.attributes, history)
    card = replace(card, one_text=loaded.one_text, learned=loaded.learned)
    head = loaded.network.readout_head.state_dict() if loaded.network.readout_head is not None else None
    save_model(folder, model, loaded.processor, loaded.family, card, readout_head=head)
    return card


def _as_pickles(folder: Path) -> None:
    """A model's weights as `pytorch_model.bin` or its shards, instead of `model.safetensors`."""
    renamed = {}
    for file in sorted(folder.glob("model*.safetensors")):
        renamed[file.name] = f"pytorch_{file.stem}.bin"
        with errors_named(folder / renamed[file.name], RuntimeError):
            torch.save(load_file(file), folder / renamed[file.name])
        file.unlink()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        values = read_json(index)
        values["weight_map"] = {name: renamed[file] for name, file in values["weight_map"].items()}
        write_json(folder / "pytorch_model.bin.index.json", values)
        index.unlink()


def _require_readable(source: ModelFolder, form: str, writer: WholeForm | LoraForm, card: Card) -> None:
    """Refuse a form whose code would read or ask otherwise."""
    said = card.readout.published() or {}
    if writer.says not in said:
        fitting = [name for name, other in source.family.forms.items() if other.says in said]
        raise ArtQuantError(
            f"{source.path}: reads scores by {card.readout.kind}, which the published form {form} cannot say; "
            f"export it as {' or '.join(('merged', *fitting))}"
        )
    asked = writer.prompts if isinstance(writer, WholeForm) else ()
    if asked and not any(_asks_alike(prompt, card.prompt) for prompt in asked):
        known = ", ".join(f"{prompt.name!r} ({prompt.subject})" for prompt in asked)
        raise ArtQuantError(
            f"{source.path}: was trained with the prompt {card.prompt.name!r} about a {card.prompt.subject}, but code "
            f"for the form {form} always asks with {known}; export it as merged"
        )


def _asks_alike(published: Prompt, own: Prompt) -> bool:
    """Whether both ask for the score in the same words; system sentences that a folder says go along with it."""
    system = own.system if published.own_system else published.system
    return replace(published, system=system).scoring() == own.scoring()


def _require_lora(source: ModelFolder) -> None:
    if not source.is_adapter:
        raise ArtQuantError(f"{source.path}: is a whole model, not a LoRA run; export it as merged or full")
    if source.is_bare:
        raise ArtQuantError(
            f"{source.path}: holds an adapter without the config.json that the form has; export it as merged"
        )
    base = None if source.card is None else source.card.base
    if base is not None and (base.base is not None or (base.folder / "adapter_config.json").is_file()):
        raise ArtQuantError(
            f"{source.path}: lies over another LoRA run, which the published form cannot say; export it as merged or "
            "full"
        )
