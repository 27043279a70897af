"""Where a model computes."""

from __future__ import annotations

import torch

from artquant.errors import ArtQuantError


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is the first GPU, else the CPU.

    Raises:
        ArtQuantError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArtQuantError(f"device {name!r} is not known; name auto, cpu, cuda, cuda:N or mps") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ArtQuantError(f"device {name!r} is not one that was tried; name auto, cpu, cuda, cuda:N or mps")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ArtQuantError(f"device {name}: this machine or this torch has no Metal; name auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArtQuantError(f"device {name}: this machine has {torch.cuda.device_count()} GPU(s); name another or cpu")
    return device
