"""`artquant export`: a trained model in another form."""

from __future__ import annotations

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Write the model and list what was written."""
    from transformers.utils.logging import disable_progress_bar

    from artquant.models.export import export_model
    from artquant.models.model_folder import ModelFolder
    from artquant.models.whole import DTYPES

    disable_progress_bar()
    dtype = None if arguments.dtype is None else DTYPES[arguments.dtype]
    # A LoRA run in its own form needs no base.
    folder = ModelFolder.open(
        arguments.model, arguments.base, allow_other_base=arguments.allow_other_base, alone=arguments.to == "lora"
    )
    written = export_model(folder, arguments.to, arguments.out, dtype, arguments.format, arguments.untested)
    width = max(len(file.name) for file in written)
    for file in written:
        print(f"{file.name.ljust(width)}  {_size(file.size):>10}")
    print(f"{arguments.out}: {arguments.to} form, {_size(sum(file.size for file in written))}")
    if arguments.to != "merged":
        print("the published code asks with its own prompts: scores may differ from those of the model's own")
    return 0


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
