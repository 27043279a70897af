"""`artquant export`: a trained model in another form."""

from __future__ import annotations

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Write the model and list what was written."""
    from transformers.utils.logging import disable_progress_bar

    from artquant.models.checkpoints import DTYPES
    from artquant.models.export import export_model

    disable_progress_bar()
    written = export_model(
        arguments.model,
        arguments.to,
        arguments.out,
        arguments.base,
        None if arguments.dtype is None else DTYPES[arguments.dtype],
        arguments.format,
        arguments.allow_other_base,
    )
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
