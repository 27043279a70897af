"""Single changes that make a stage fit, each planned anew, and the largest batch that does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from artquant.config.schema import RunConfig, StageConfig
from artquant.errors import ArtQuantError
from artquant.plan.checkpointing import settle_checkpointing
from artquant.plan.stage import Assumptions, StagePlan, plan_stage, with_batch
from artquant.plan.zero import read_zero

logger = logging.getLogger(__name__)

Change = tuple[tuple[str, ...], str, RunConfig, StageConfig]  # settings, remark, and what they make of the two
LARGEST = 256  # batches beyond are not looked at
_LOWEST_RANK = 8  # of adapters, that is proposed
_FILES = ("zero1.json", "zero2.json", "zero3.json", "zero2_offload.json", "zero3_offload.json")


@dataclass(frozen=True)
class Suggestion:
    """A change as `key=value` settings, what the stage then needs and how that is to be seen."""

    settings: tuple[str, ...]
    total: int
    margin: int
    remark: str = ""


def advise(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> StagePlan:
    """The stage's plan, with changes that make it fit if it does not, or the largest batch if it does."""
    plan = plan_stage(config, stage, assumptions)
    if plan.fits:
        return replace(plan, largest_batch=_largest_batch(config, stage, assumptions))
    halvings = _first_fitting(_smaller_batches(config, stage), assumptions)
    found = [halvings, *(_first_fitting([change], assumptions) for change in _changes(config, stage, assumptions))]
    return replace(plan, suggestions=tuple(filter(None, found)))


def _first_fitting(changes: Iterable[Change], assumptions: Assumptions) -> Suggestion | None:
    for settings, remark, config, stage in changes:
        needed = plan_stage(config, stage, assumptions)
        if needed.fits:
            return Suggestion(settings, needed.total, needed.margin, remark)
    return None


def _largest_batch(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> int:
    unit = _unit(stage)

    def fits(units: int) -> bool:
        return plan_stage(config, with_batch(stage, units * unit), assumptions).fits

    good, bad = stage.batch_size // unit, None
    while bad is None and good * unit < LARGEST:
        size = min(2 * good, LARGEST // unit)
        good, bad = (size, None) if fits(size) else (good, size)
    while bad is not None and bad - good > 1:
        size = (good + bad) // 2
        good, bad = (size, bad) if fits(size) else (good, size)
    return good * unit


def _unit(stage: StageConfig) -> int:
    """What a batch is a multiple of: pairs stay together."""
    return 2 if stage.pairs else 1


def _smaller_batches(config: RunConfig, stage: StageConfig) -> Iterator[Change]:
    """The batch halved, and halved again, with as many samples in a step as before."""
    size, accumulation = stage.batch_size, stage.accumulation
    while size % (2 * _unit(stage)) == 0:
        size, accumulation = size // 2, accumulation * 2
        key = f"stages.{stage.name}"
        settings = (f"{key}.batch_size={size}", f"{key}.accumulation={accumulation}")
        yield settings, "same step, slower", config, with_batch(stage, size, accumulation)


def _changes(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> Iterator[Change]:
    """Other single changes; those that leave alone what is learned come first."""
    key, model = f"stages.{stage.name}", config.model
    if not model.gradient_checkpointing:
        changed = replace(config, model=replace(model, gradient_checkpointing=True))
        yield ("model.gradient_checkpointing=true",), "slower", changed, stage
    if model.attention == "eager":
        yield ("model.attention=sdpa",), "", replace(config, model=replace(model, attention="sdpa")), stage
    if model.quantize is None:
        yield from _deepspeed_changes(config, stage, assumptions)
        yield from _quantized(config, stage)
    yield from _lower_rank(config, stage, assumptions)
    if model.dtype == "float32":
        changed = replace(config, model=replace(model, dtype="bfloat16"))
        yield ("model.dtype=bfloat16",), "less exact", changed, stage
    if assumptions.length is None and stage.max_length >= 512:
        shorter = stage.max_length // 2
        remark = "only if no sample is longer; `artquant check` tells"
        yield (f"{key}.max_length={shorter}",), remark, config, replace(stage, max_length=shorter)


def _lower_rank(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> Iterator[Change]:
    """The highest lower rank of the adapters that makes the stage fit, if one does; their scale stays."""
    lora, key = stage.trainable.lora, f"stages.{stage.name}.trainable.lora"
    while lora is not None and lora.r % 2 == 0 and lora.r > _LOWEST_RANK:
        lora = replace(lora, r=lora.r // 2, alpha=lora.alpha / 2)
        changed = replace(stage, trainable=replace(stage.trainable, lora=lora))
        if plan_stage(config, changed, assumptions).fits:
            yield (f"{key}.r={lora.r}", f"{key}.alpha={lora.alpha}"), "the adapters hold less", config, changed
            return


def _deepspeed_changes(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> Iterator[Change]:
    """DeepSpeed files beside the stage's, or in configs/deepspeed, that cut up or offload more than now."""
    folder = stage.deepspeed.parent if stage.deepspeed else Path("configs/deepspeed")
    now = _rank(stage.deepspeed) if stage.deepspeed else (0, False)
    for name in _FILES:
        file = folder / name
        if not file.is_file():
            continue
        wanted = _rank(file)
        further = wanted[0] >= now[0] and wanted != now and wanted[1] >= now[1]
        if further and (assumptions.gpus > 1 or wanted[1]):
            remark = "slower; needs main memory" if wanted[1] else "slower" if wanted[0] == 3 else ""
            settings: tuple[str, ...] = (f"stages.{stage.name}.deepspeed={file}",)
            if stage.bad_steps:  # DeepSpeed steps by itself
                settings += (f"stages.{stage.name}.bad_steps=0",)
            yield settings, remark, config, replace(stage, deepspeed=file, bad_steps=0)


def _quantized(config: RunConfig, stage: StageConfig) -> Iterator[Change]:
    """The frozen decoder in 8 or 4 bits, which goes without DeepSpeed, in all stages of the run."""
    if stage.trainable.lora is None or any(one.trainable.decoder for one in config.stages):
        return
    without = tuple(f"stages.{one.name}.deepspeed=null" for one in config.stages if one.deepspeed is not None)
    stages = tuple(replace(one, deepspeed=None) for one in config.stages)
    kinds: tuple[Literal["int8", "nf4"], ...] = ("int8", "nf4")
    for kind in kinds:
        changed = replace(config, model=replace(config.model, quantize=kind), stages=stages)
        remark = "the base less exact; needs bitsandbytes"
        yield (*without, f"model.quantize={kind}"), remark, changed, replace(stage, deepspeed=None)


def _rank(file: Path) -> tuple[int, bool]:
    zero = read_zero(file, hidden_size=1)
    return zero.stage, zero.offload_optimizer


def plan_run(config: RunConfig, stages: list[StageConfig], assumptions: Assumptions) -> list[StagePlan]:
    """Plans of several stages.

    Raises:
        ArtQuantError: as `plan_stage`, or samples longer than every stage allows.
    """
    allowed = max(stage.max_length for stage in stages)
    if assumptions.length is not None and assumptions.length > allowed:
        raise ArtQuantError(
            f"--length {assumptions.length}: training refuses samples of more than max_length, {allowed}; raise that"
        )
    config = settle_checkpointing(config, assumptions)
    plans = []
    for stage in stages:
        logger.info("planning stage %s (a 7B network takes minutes)", stage.name)
        plans.append(advise(config, stage, assumptions))
    return plans
