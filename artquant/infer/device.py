"""Where a model computes."""

from __future__ import annotations

import torch

from artquant.config.requirements import ConfigError, require_device
from artquant.errors import ArtQuantError


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is the first GPU, else the CPU.

    Raises:
        ArtQuantError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        require_device(name)
    except ConfigError as error:
        raise ArtQuantError(str(error)) from None
    kind, _, number = name.partition(":")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ArtQuantError(f"device {name}: this machine or this torch has no Metal; name auto or cpu")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ArtQuantError(f"device {name}: this machine has {torch.cuda.device_count()} GPU(s); name another or cpu")
    return torch.device(name)
