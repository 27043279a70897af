"""What settings are held to, with the error about one that is not."""

from __future__ import annotations

import re

from artquant.errors import ArtQuantError

_FOLDER_NAME = re.compile(r"\w[\w.+=-]*")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")
LARGEST = 1e9  # of scores and other numbers that are computed with
LARGEST_BATCH = 65_536
DRAFT_SIDES = 8, 65_536  # pixels, of the smallest picture that is read and of the largest JPEG
USUAL_BATCH = 16  # pictures of a forward pass, where nothing speaks for another number
LARGEST_SEED = 2**32 - 1


class ConfigError(ArtQuantError):
    """A setting that cannot be used. ``key`` is the dotted name, ``reason`` the rest of the message.

    ``hidden``: the value may be a secret, which no message shows.
    """

    def __init__(self, key: str, reason: str, hidden: bool = False) -> None:
        super().__init__(f"{key}: {reason}" if key else reason)
        self.key = key
        self.reason = reason
        self.hidden = hidden


def require(condition: bool, key: str, reason: str) -> None:
    """Raise a ConfigError about the setting unless the condition holds."""
    if not condition:
        raise ConfigError(key, reason)


def require_at_least(minimum: int, most: int = 10**9, **settings: int) -> None:
    """Each setting is `minimum` or more, and no more than a number that nobody means."""
    for key, value in settings.items():
        require(value >= minimum, key, f"must be at least {minimum}, got {value}")
        require(value <= most, key, f"must be at most {most}, got {str(value)[:40]}")


def require_device(name: str) -> None:
    """It names a device, there or not."""
    known = _DEVICE.fullmatch(name) is not None
    require(known, "device", f"must be auto, cpu, cuda, cuda:N or mps, got {name[:60]!r}")


def require_not_negative(**settings: float) -> None:
    """Each setting is 0 or more, and no more than a number that nobody means."""
    for key, value in settings.items():
        require(0 <= value <= LARGEST, key, f"must be 0 or more and at most {LARGEST:g}, got {value}")


def require_positive(**settings: float | None) -> None:
    """Each setting is above 0, and no more than a number that nobody means, or None."""
    for key, value in settings.items():
        require(value is None or 0 < value <= LARGEST, key, f"must be above 0 and at most {LARGEST:g}, got {value}")


def require_folder_name(**settings: str) -> None:
    """Each setting can name a folder."""
    for key, value in settings.items():
        reason = f"names a folder: use letters, digits and . _ + = - and start with a letter or digit, got {value!r}"
        require(_FOLDER_NAME.fullmatch(value) is not None, key, reason)
        require(len(value.encode()) <= 100, key, f"names a folder: use at most 100 letters, got {len(value)}")
