"""Bytes of live tensors while code runs, whether the tensors hold numbers or are fake."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ELSEWHERE = "elsewhere"  # category of tensors that stand for memory which a rank does not hold


@dataclass
class Peak:
    """The most bytes that were live at once in a phase, by category."""

    total: int = 0
    by_category: Counter[str] = field(default_factory=Counter)


class LiveMemory(TorchDispatchMode):
    """Counts every storage from the operation that makes it until nothing refers to it any more.

    Storages are counted once however many tensors share them, under the category that is current when they are made.
    Scratch memory inside an operation is not seen.

    category: of new storages. phase: which peak is being looked for. peaks: of each phase.
    """

    def __init__(self) -> None:
        super().__init__()
        self.category = "activations"
        self.phase = "start"
        self.peaks: dict[str, Peak] = {}
        self._live: Counter[str] = Counter()
        self._known: dict[int, tuple[str, int]] = {}

    @property
    def total(self) -> int:
        """Bytes live now, without those elsewhere."""
        return sum(self._live.values()) - self._live[ELSEWHERE]

    def live(self, category: str) -> int:
        """Bytes of a category live now."""
        return self._live[category]

    def count(self, tensor: torch.Tensor, category: str | None = None) -> None:
        """Count a tensor's storage, under another category than before if one is given."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._known.get(key)
        if known is not None:
            if category is not None and category != known[0]:
                self._live[known[0]] -= known[1]
                self._live[category] += known[1]
                self._known[key] = (category, known[1])
            return
        size = storage.nbytes()
        self._known[key] = (category or self.category, size)
        self._live[category or self.category] += size
        weakref.finalize(storage, self._drop, key)
        self._note()

    @contextmanager
    def during(self, phase: str, category: str) -> Iterator[None]:
        """A phase, and what its storages are."""
        before = self.phase, self.category
        self.phase, self.category = phase, category
        self._note()
        yield
        self.phase, self.category = before

    def _drop(self, key: int) -> None:
        category, size = self._known.pop(key)
        self._live[category] -= size

    def _note(self) -> None:
        peak = self.peaks.setdefault(self.phase, Peak())
        total = self.total
        if total > peak.total:
            present = {name: size for name, size in self._live.items() if size and name != ELSEWHERE}
            peak.total, peak.by_category = total, Counter(present)

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*arguments, **(options or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.count(value)
        return result
