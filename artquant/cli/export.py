"""`artquant export`: a trained model in another form."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

import torch

from artquant.cli.arguments import refuse_given
from artquant.cli.named_model import open_model
from artquant.cli.terminal import say
from artquant.models.export import HUB, WrittenFile, export_model
from artquant.models.family import LoraForm, WholeForm
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.whole import DTYPES
from artquant.train.launch import tell_deepspeed


def run(arguments: argparse.Namespace) -> int:
    """Write the model and list what was written."""
    tell_deepspeed(os.environ, on_gpu=torch.cuda.device_count() > 0)
    dtype = None if arguments.dtype is None else DTYPES[arguments.dtype]
    # A LoRA run in its own form needs no base.
    folder = open_model(arguments, alone=arguments.to == "lora")
    if arguments.to == HUB:
        return _to_hub(arguments, folder, dtype)
    refuse_given(arguments, ("push", "licence", "metrics"), f"goes with --to {HUB}")
    written = export_model(folder, arguments.to, arguments.out, dtype, arguments.format, arguments.untested)
    _list(arguments, written)
    form = folder.family.forms.get(arguments.to)
    for note in () if form is None else _notes(form, folder.card):
        say(note)
    return 0


def _to_hub(arguments: argparse.Namespace, folder: ModelFolder, dtype: torch.dtype | None) -> int:
    refuse_given(arguments, ("format",), f"has no choice with --to {HUB}: it holds safetensors; leave it out")
    from artquant.hub_folders.push import push_folder
    from artquant.hub_folders.write import write_hub_folder

    about = {"licence": arguments.licence, "metrics": arguments.metrics, "name": arguments.push}
    made = write_hub_folder(folder, arguments.out, dtype, arguments.untested, **about)
    _list(arguments, made.files)
    say(f"tried with transformers alone: its scores of three pictures differ by at most {made.difference:.1g}")
    if arguments.push is not None:
        say(push_folder(arguments.out, arguments.push))
    return 0


def _list(arguments: argparse.Namespace, written: Sequence[WrittenFile]) -> None:
    width = max(len(file.name) for file in written)
    for file in written:
        say(f"{file.name.ljust(width)}  {_size(file.size):>10}")
    say(f"{arguments.out}: {arguments.to} form, {_size(sum(file.size for file in written))}")


def _notes(form: WholeForm | LoraForm, card: Card | None) -> Iterator[str]:
    """What the published code will do otherwise than we. card: None of a published folder."""
    if not isinstance(form, WholeForm) or not form.prompts:
        yield "the published code asks with its own prompts: scores may differ from those of the model's own"
        return
    if card is None:
        return
    own = (card.readout.low, card.readout.high)
    if form.scale not in (None, own):
        said, ours = (f"{low:g} to {high:g}" for low, high in (form.scale, own))
        yield f"the published code says the same scores on {said}; the model's own are on {ours}"
    if card.prompt.name != form.prompts[0].name:
        yield f"the folder does not say how it is asked: score it with --prompt {card.prompt.name}"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
