"""What a DeepSpeed file says about memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json

_BUCKET = 500_000_000  # DeepSpeed's default, in numbers
_LIVE = 1_000_000_000


@dataclass(frozen=True)
class ZeroSettings:
    """Memory settings of DeepSpeed; sizes in numbers, not bytes.

    stage: 0 keeps everything whole, 1 cuts up the optimizer states, 2 also the gradients, 3 also the weights.
    buckets: how many reduction buckets there are (two where communication overlaps the backward pass).
    """

    stage: int
    reduce_bucket: int = _BUCKET
    buckets: int = 1
    live_parameters: int = _LIVE
    persistence_threshold: int = 100_000
    offload_optimizer: bool = False
    offload_parameters: bool = False


def read_zero(path: Path, hidden_size: int) -> ZeroSettings:
    """The settings in a DeepSpeed file; "auto" is what transformers makes of it.

    Raises:
        ArtQuantError: the file cannot be read or is not a DeepSpeed file.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise ArtQuantError(f"{path}: not a DeepSpeed file, which holds keys and values; see configs/deepspeed")
    zero = values.get("zero_optimization", {})
    stage = zero.get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise ArtQuantError(f"{path}: zero_optimization.stage must be 0, 1, 2 or 3, got {stage!r}")

    def number(key: str, default: int, automatic: int) -> int:
        value = zero.get(key, default)
        if value == "auto":
            return automatic
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ArtQuantError(f"{path}: zero_optimization.{key} must be a number or auto, got {value!r}")
        return int(value)

    overlapping = zero.get("overlap_comm", stage == 3)
    return ZeroSettings(
        stage=stage,
        reduce_bucket=number("reduce_bucket_size", _BUCKET, hidden_size**2),
        buckets=2 if overlapping and stage in (1, 2) and zero.get("contiguous_gradients", True) else 1,
        live_parameters=number("stage3_max_live_parameters", _LIVE, _LIVE),
        persistence_threshold=number("stage3_param_persistence_threshold", 100_000, 10 * hidden_size),
        offload_optimizer=_offloaded(zero.get("offload_optimizer")),
        offload_parameters=_offloaded(zero.get("offload_param")),
    )


def _offloaded(settings: Any) -> bool:
    return isinstance(settings, dict) and settings.get("device", "none") != "none"
