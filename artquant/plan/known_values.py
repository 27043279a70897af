"""Values of the tensors that follow from a batch's token ids and grids alone, kept while everything else is fake.

Networks with tiles or grids ask how many positions a picture takes, where they are, and how large its grid is. Fake
tensors cannot say; so what depends on nothing but the inputs' integers is computed beside them, on small tensors.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# What fake tensors raise where a value is asked for that they do not have.
VALUES_ASKED = (DataDependentOutputException, DynamicOutputShapeException)
_LARGEST = 1 << 22  # numbers in a tensor that is computed


class KnownValues(TorchDispatchMode):
    """Entered inside a `FakeTensorMode`; operations on known tensors are computed, all others left to it."""

    def __init__(self, fake: FakeTensorMode):
        super().__init__()
        self._fake = fake
        # Real values, by where a fake tensor lies and how: autograd gives back other objects than it was given.
        self._values: dict[tuple[Any, ...], torch.Tensor] = {}

    def known(self, real: torch.Tensor) -> torch.Tensor:
        """A fake tensor with these values."""
        fake: torch.Tensor = self._fake.from_tensor(real)
        self._keep(fake, real)
        return fake

    def _keep(self, fake: torch.Tensor, real: torch.Tensor) -> None:
        key = _place(fake)
        if key not in self._values:
            weakref.finalize(fake.untyped_storage(), self._values.pop, key, None)
        self._values[key] = real

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        tensors = [value for value in tree_leaves((arguments, options)) if isinstance(value, torch.Tensor)]
        if tensors and all(map(self._is_known, tensors)):
            return self._computed(operation, arguments, options)
        if operation is torch.ops.aten.index.Tensor:
            arguments = (arguments[0], self._indices(arguments[1]))
        elif operation in (torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default):
            arguments = (arguments[0], self._indices(arguments[1]), *arguments[2:])
        result = operation(*arguments, **options)
        self._forget_written(operation, arguments)
        if not tensors:
            self._remember(operation, arguments, options, result)
        return result

    def _computed(self, operation: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """An operation on known tensors; one that changes a tensor changes its values."""
        given, named = tree_map(self._value, (arguments, options))
        changed = {id(self._value(value)): value for value in tree_leaves((arguments, options))}
        with unset_fake_temporarily(), torch.no_grad():
            result = operation(*given, **named)

        def as_fake(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            before = changed.get(id(value))
            return before if isinstance(before, FakeTensor) else self.known(value)

        return tree_map(as_fake, result)

    def _forget_written(self, operation: Any, arguments: tuple[Any, ...]) -> None:
        """Values of what an operation has written something unknown into, and of its views."""
        for declared, value in zip(operation._schema.arguments, arguments, strict=False):
            if declared.alias_info is not None and declared.alias_info.is_write and isinstance(value, FakeTensor):
                storage = value.untyped_storage()._cdata
                for place in [place for place in self._values if place[0] == storage]:
                    del self._values[place]

    def _is_known(self, value: Any) -> bool:
        """A constant, or a fake tensor whose values are kept."""
        return isinstance(value, torch.Tensor) and (not isinstance(value, FakeTensor) or _place(value) in self._values)

    def _value(self, value: Any) -> Any:
        """The real tensor of a known one; anything else as it is."""
        return self._values.get(_place(value), value) if isinstance(value, FakeTensor) else value

    def _indices(self, indices: Any) -> list[torch.Tensor | None]:
        """Indices of which masks, where they are known, became the places that they choose, along each dimension."""
        found: list[torch.Tensor | None] = []
        for index in indices:
            if index is None or index.dtype != torch.bool or not self._is_known(index):
                found.append(index)
                continue
            with unset_fake_temporarily():
                places = self._value(index).nonzero(as_tuple=True)
            found += [self.known(place) for place in places]
        return found

    def _remember(self, operation: Any, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        """Values of a small tensor that is made from nothing (a range, ones)."""
        filled = not operation.name().startswith("aten::empty")
        if filled and isinstance(result, FakeTensor) and result.numel() <= _LARGEST:
            with unset_fake_temporarily(), torch.no_grad():
                self._keep(result, operation(*arguments, **options))


def _place(fake: torch.Tensor) -> tuple[Any, ...]:
    layout = fake.storage_offset(), tuple(fake.shape), tuple(fake.stride()), fake.dtype
    return (fake.untyped_storage()._cdata, *layout)
