"""A plan as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from artquant.plan.advice import LARGEST
from artquant.plan.sizes import shown
from artquant.plan.stage import CHANNELS, CONTEXT, FRAGMENTATION, PROMPT_TOKENS, Assumptions, StagePlan


def report_lines(plans: list[StagePlan], assumptions: Assumptions) -> Iterator[str]:
    """The plans for people."""
    for plan in plans:
        yield from _stage_lines(plan, assumptions)
        yield ""
    yield "Assumed:"
    for line in assumption_lines(plans[0], assumptions):
        yield f"- {line}"


def _stage_lines(plan: StagePlan, assumptions: Assumptions) -> Iterator[str]:
    trainable, parameters = plan.parameters
    batch, recomputed = plan.batch, "on" if plan.checkpointing else "off"
    yield f"stage {plan.stage}: {trainable:,} of {parameters:,} parameters train"
    yield (
        f"  a micro-batch of {batch.size} samples of {batch.length} positions, {batch.learned} of them learned; "
        f"{assumptions.gpus} GPU(s) of {shown(plan.memory)}; gradient checkpointing {recomputed}"
    )
    yield f"  needed on each GPU at the peak ({plan.phase}):"
    for name, size in plan.needs.items():
        yield f"    {name:<28} {shown(size):>12}"
    yield f"    {'in all':<28} {shown(plan.total):>12}"
    yield "  peaks of tensors: " + ", ".join(f"{name} {shown(size)}" for name, size in plan.peaks.items())
    if plan.host:
        listed = ", ".join(f"{name} {shown(size)}" for name, size in plan.host.items())
        yield f"  main memory for each rank: {listed}"
    if plan.largest_batch is not None:  # it fits
        more = " or more" if plan.largest_batch >= LARGEST else ""
        yield f"  fits, {shown(plan.margin)} to spare; largest batch_size that fits: {plan.largest_batch}{more}"
        return
    yield f"  does not fit: {shown(-plan.margin)} too much"
    if not plan.suggestions:
        yield "  no single change makes it fit"
        return
    yield "  it fits with one of:"
    for suggestion in plan.suggestions:
        remark = f" ({suggestion.remark})" if suggestion.remark else ""
        yield f"    {' '.join(suggestion.settings)}: {shown(suggestion.margin)} to spare{remark}"


def assumption_lines(plan: StagePlan, assumptions: Assumptions) -> Iterator[str]:
    """What a plan rests on."""
    if plan.published_shape:
        yield "the base folder is not there: the shape is that of the published 7B model"
    if assumptions.length is None:
        yield "every sample is as long as max_length allows (--length: the longest of yours)"
    if assumptions.learned is None:
        yield f"every position but the picture's and {PROMPT_TOKENS} of the prompt is learned (--learned)"
    yield "tensors are exact: the network, the loss and the backward pass are run with fake tensors at full depth"
    yield "a step that is not the first, with its optimizer states; scratch memory inside an operation is not counted"
    yield "all micro-batches of a step are on the GPU when it begins; FlashAttention is planned as sdpa"
    yield "ZeRO-3 holds as many whole weights as stage3_max_live_parameters allows"
    if assumptions.device == "cuda":
        channels = f" and {shown(CHANNELS)} for communication" if assumptions.gpus > 1 else ""
        yield f"allowances: {shown(CONTEXT)} for the GPU's context{channels}"
        yield f"allowance for memory in unusable pieces: {FRAGMENTATION:.0%} of what comes and goes"
    yield "loading, validation and writing the result are not planned"


def plain(plans: list[StagePlan], assumptions: Assumptions) -> dict[str, Any]:
    """The plans for JSON, sizes in bytes."""
    return {
        "gpus": assumptions.gpus,
        "memory": assumptions.memory,
        "fits": all(plan.fits for plan in plans),
        "stages": [asdict(plan) | {"total": plan.total, "margin": plan.margin, "fits": plan.fits} for plan in plans],
        "assumptions": list(assumption_lines(plans[0], assumptions)),
    }
