"""Tensors of a file, read without executing anything in it, and the errors about those that do not fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from artquant.errors import one_line
from artquant.models.family import CheckpointError

_COMPILED = re.compile(r"(^|\.)_orig_mod\.")  # what `torch.compile` puts into the names of a network's tensors


# As safetensors and torch name them.
_WEIGHT_DTYPES = {*("F64", "F32", "F16", "BF16"), *("float64", "float32", "float16", "bfloat16")}


def read_weights(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """As `read_tensors`, of a file that holds weights alone.

    Raises:
        CheckpointError: it cannot be read, or a tensor holds other than finite floating-point numbers.
    """
    file, tensors = read_tensors(folder, stem)
    require_numbers(file, dtypes_of(tensors))
    odd = next((name for name, value in tensors.items() if not is_finite(value)), None)
    if odd is not None:
        raise CheckpointError(f"{file}: tensor {odd} is not finite (NaN or infinite); take weights from before that")
    return file, tensors


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all of its numbers are: by their sum, which reads them once and keeps nothing."""
    return bool(torch.isfinite(tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)))


def require_numbers(place: Path, dtypes: Mapping[str, str], buffers: Collection[str] = ()) -> None:
    """Raise a CheckpointError about tensors that are no weights by their number format.

    Args:
        buffers: last words of the names of those that may be, such as position_ids.
    """
    for name, dtype in dtypes.items():
        if dtype not in _WEIGHT_DTYPES and name.rsplit(".", 1)[-1] not in buffers:
            raise CheckpointError(
                f"{place}: tensor {name} holds {dtype}, which is no number format of weights; save them in float32, "
                "bfloat16, float16 or float64"
            )


def stored_dtypes(file: Path) -> dict[str, str]:
    """Names of a weights file's tensors and of their number formats; the tensors themselves are not read.

    Raises:
        CheckpointError: it cannot be read.
    """
    if file.suffix != ".safetensors":
        return dtypes_of(_read(file, mmap=is_zipfile(file)))
    try:
        with safe_open(file, "pt") as stored:
            return {name: stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118  # no dictionary
    except Exception as error:  # as below
        raise CheckpointError(f"{file}: cannot be read as tensors ({one_line(error)})") from error


def stored_tensors(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of one weights file; of safetensors each is read when its turn comes.

    Raises:
        CheckpointError: it cannot be read.
    """
    if file.suffix != ".safetensors":
        yield from _read(file, mmap=is_zipfile(file)).items()
        return
    try:
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118  # no dictionary
                yield name, stored.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: cannot be read as tensors ({one_line(error)})") from error


def dtypes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Names of tensors' number formats."""
    return {name: str(value.dtype).removeprefix("torch.") for name, value in tensors.items()}


def read_tensors(folder: Path, stem: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Tensors of `STEM.safetensors` or, read weights-only, of `STEM.bin`; names as before `torch.compile`.

    Raises:
        CheckpointError: neither is there, or it cannot be read.
    """
    safe, pickled = folder / f"{stem}.safetensors", folder / f"{stem}.bin"
    file = safe if safe.is_file() else pickled
    if not file.is_file():
        raise CheckpointError(f"{folder}: neither {safe.name} nor {pickled.name} is there; copy the folder again")
    tensors = _read(file)
    plain = {_COMPILED.sub(r"\1", name): value for name, value in tensors.items()}
    if len(plain) < len(tensors):
        double = next(name for name in tensors if is_compiled(name) and _COMPILED.sub(r"\1", name) in tensors)
        raise CheckpointError(f"{file}: tensor {double} is there without _orig_mod too; keep the one that counts")
    return file, plain


def _read(file: Path, mmap: bool = False) -> dict[str, torch.Tensor]:
    """mmap: leave a pickle's tensors in the file until they are looked at."""
    try:
        if file.suffix == ".safetensors":
            tensors = load_file(file)
        else:
            tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
    except UnpicklingError as error:  # what it says advises to execute it
        raise CheckpointError(f"{file}: {_other_contents(file)}; get the weights as safetensors") from error
    except Exception as error:  # every reader has errors of its own; all mean the file cannot be used
        raise CheckpointError(f"{file}: cannot be read as tensors ({one_line(error)})") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CheckpointError(f"{file}: expected a dictionary of tensors")
    return tensors


def _other_contents(file: Path) -> str:
    """Why a pickle is not read as tensors; its programs are listed, not run."""
    try:
        programs = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # no archive of torch's
        programs = []
    if programs:
        return f"holds more than tensors ({', '.join(programs)}), which would be executed, so it is not read"
    return "holds no tensors of torch's, or is damaged"


def is_compiled(name: str) -> bool:
    """Whether a tensor's name is one that `torch.compile` has changed."""
    return _COMPILED.search(name) is not None


def check_tensors(
    file: Path,
    found: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    allowed: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Raise a CheckpointError unless a file holds the wanted tensors, in their shapes.

    Args:
        allowed: what it may hold, with the wanted ones; default is those alone.
    """
    known = wanted if allowed is None else allowed
    complain_empty(file, [name for name, value in found.items() if value.numel() == 0])
    complain(file, "is missing", set(wanted) - set(found))
    complain(file, "is not known", set(found) - set(known))
    complain(file, "has another shape", [name for name in found if found[name].shape != known[name].shape])


def complain(place: Path, kind: str, tensors: Iterable[str]) -> None:
    """Raise a CheckpointError about tensors, if there are any."""
    tensors = sorted(tensors)
    if tensors:
        raise CheckpointError(f"{place}: {_first(tensors)} {kind}; is this the folder for this base model?")


def complain_empty(place: Path, tensors: Collection[str]) -> None:
    """Raise a CheckpointError about tensors without a number in them, if there are any."""
    if tensors:
        raise CheckpointError(
            f"{place}: {_first(sorted(tensors))} is empty, as DeepSpeed's ZeRO-3 saves it where it is not put together "
            "first; save it again with stage3_gather_16bit_weights_on_model_save, or make it whole by zero_to_fp32.py"
        )


def _first(tensors: list[str]) -> str:
    more = f" (and {len(tensors) - 1} more)" if len(tensors) > 1 else ""
    return f"tensor {tensors[0]}{more}"
