"""transformers' bars and reports of loading, writing and generating, which nobody here asked for: our errors say it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled


@contextmanager
def no_bar() -> Iterator[None]:
    """Without them until the block ends; afterwards they are shown or not as before."""
    shown, reports = is_progress_bar_enabled(), logging.getLogger("transformers")
    before = reports.level
    disable_progress_bar()
    reports.setLevel(logging.ERROR)
    try:
        yield
    finally:
        reports.setLevel(before)
        if shown:
            enable_progress_bar()
