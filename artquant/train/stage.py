"""A run's stages: set up, trained, resumed and written."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments, set_seed

from artquant.config.run_paths import run_folder, stage_model, start_folder
from artquant.config.schema import RunConfig, StageConfig
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, read_json_lines, write_json_lines
from artquant.files.only_writer import only_writer
from artquant.files.unwritten import errors_named
from artquant.models.adapters import TRAINABLE_WEIGHTS
from artquant.models.export import MERGED, export_model
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.whole import DTYPES
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt
from artquant.train.build import build_trainer, stage_safeguards, training_arguments
from artquant.train.checkpointing import read_manifest
from artquant.train.claim import claim_run
from artquant.train.interruption import StopRequest, TrainingStopped
from artquant.train.network import (
    TrainableNetwork,
    describe_checkpoint,
    prepare_network,
    trainable_in_float32,
    write_trained_model,
)
from artquant.train.trainer import ArtTrainer
from artquant.train.weights import stored_name

logger = logging.getLogger(__name__)


def run_stage(config: RunConfig, stage: StageConfig) -> None:
    """Train one stage, from its last complete checkpoint if there is one; nothing if it is done."""
    folder = run_folder(config) / stage.name
    target = stage_model(config, stage)
    if target.is_dir():
        logger.info("stage %s is done: %s", stage.name, target)
        return
    start = ModelFolder.open(start_folder(config, stage), fallback=config.base)
    if uses_zero3(stage) and start.is_partial:
        start = merged_start(config, start, folder)
    set_seed(config.seed)
    arguments = training_arguments(config, stage, folder)  # first: under ZeRO-3 it decides how weights are loaded
    if arguments.n_gpu > 1:
        raise ArtQuantError(
            f"stage {stage.name}: one process sees {arguments.n_gpu} GPUs; start one process per GPU "
            "(--launcher torchrun) or show it one of them (CUDA_VISIBLE_DEVICES=0)"
        )
    if stage.deepspeed is not None:
        _join_ranks(arguments)
    unbound = readout_of(config.readout, config.levels.scale)
    trained = prepare_network(start, config.base, config.model, stage.trainable, unbound)
    arguments.ddp_find_unused_parameters = trained.family.idle_parameters
    if config.model.dtype == "bfloat16" and stage.deepspeed is None:
        trainable_in_float32(trained.model)
    prompt = get_prompt(config.prompt, config.subject)
    readout = unbound.bound(trained.processor, prompt)
    with StopRequest() as stop:
        safeguards = stage_safeguards(stage, folder, stop)
        checkpoint = safeguards.checkpoints.last()
        if checkpoint is not None:
            arguments.gradient_accumulation_steps = accumulation_to_go_on(checkpoint, stage, arguments.world_size)
        trainer = build_trainer(config, stage, arguments, trained, prompt, readout, safeguards)

        def describe(place: Path) -> None:
            card = _card(config, stage, start, trainer, trained.over or start, trainer.state.global_step)
            describe_checkpoint(place, trained, card, DTYPES[config.model.dtype])

        trainer.describe = describe
        _train(trainer, stage, checkpoint)
    _write_result(config, stage, start, trainer, trained)


def uses_zero3(stage: StageConfig) -> bool:
    """Whether a stage's DeepSpeed file cuts the weights up as they are loaded."""
    if stage.deepspeed is None:
        return False
    return read_json(stage.deepspeed).get("zero_optimization", {}).get("stage") == 3


def merged_start(config: RunConfig, start: ModelFolder, folder: Path) -> ModelFolder:
    """The adapter form that a ZeRO-3 stage starts from, as one whole model: the base of the stage's own adapter.

    An adapter cannot be read into weights that are cut up. The first rank writes; the others, which cannot talk to it
    yet, wait until the folder is there.
    """
    merged = folder / "start"
    if int(os.environ.get("RANK", "0")) == 0 and not merged.is_dir():
        export_model(start, MERGED, merged, DTYPES[config.model.dtype], untested=config.model.untested)
    while not merged.is_dir():
        time.sleep(1)
    return ModelFolder.open(merged)


def accumulation_to_go_on(checkpoint: Path, stage: StageConfig, ranks: int) -> int:
    """Micro-batches of a step on this number of ranks, so that steps hold the samples that they held before.

    Where the stage's own split was changed since, with consent, it is what is configured now.

    Raises:
        ArtQuantError: this number of ranks cannot go on.
    """
    manifest, micro = read_manifest(checkpoint), stage.batch_size * ranks
    before, split = manifest["ranks"], manifest.get("split")
    configured = {"batch_size": stage.batch_size, "accumulation": stage.accumulation}
    if split is None:  # of an earlier version, which went on with as many only
        split = configured | {"samples": stage.batch_size * stage.accumulation * before}
    samples = split["samples"]
    changed = configured != {name: split[name] for name in configured}
    fault = None
    if ranks != before and stage.deepspeed is not None:
        fault = f"DeepSpeed has cut its state up for {before} rank(s), this run has {ranks}"
    elif (checkpoint / "optimizer.pt").is_file() != (stage.deepspeed is None):
        fault = f"written {'with' if stage.deepspeed is None else 'without'} DeepSpeed, which this stage has otherwise"
    elif not changed and samples % micro:
        fault = f"its steps hold {samples} samples, which {ranks} rank(s) with batch_size {stage.batch_size} cannot"
    if fault is not None:
        raise ArtQuantError(
            f"{checkpoint}: {fault}; start as many as before (--ranks {before}), or begin a new run with its weights "
            f"(start: {checkpoint})"
        )
    if ranks != before:
        logger.info("%s was written by %d rank(s), %d go on; dropout draws differ", checkpoint, before, ranks)
    return stage.accumulation if changed else samples // micro


def _train(trainer: ArtTrainer, stage: StageConfig, checkpoint: Path | None) -> None:
    """Train to the end, from a checkpoint if there is one."""
    safeguards = trainer.safeguards
    trainer.accelerator.wait_for_everyone()  # every rank has looked before the first one tidies up
    if trainer.is_world_process_zero():
        step = 0 if checkpoint is None else read_manifest(checkpoint)["step"]
        for store in (safeguards.checkpoints, safeguards.best):
            store.discard_partial()
            store.discard_after(step)
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
        trainer.resume(checkpoint)
    else:
        trainer.train()
    state = trainer.state
    if trainer.interrupted and state.global_step < state.max_steps:
        raise TrainingStopped(
            f"stage {stage.name}: stopped on request after step {state.global_step} of {state.max_steps}, with a "
            "checkpoint; run the same command to go on"
        )


def _write_result(
    config: RunConfig, stage: StageConfig, start: ModelFolder, trainer: ArtTrainer, trained: TrainableNetwork
) -> None:
    """Write the stage's model, from the last weights or the best."""
    target = stage_model(config, stage)
    wrapped = trainer.model_wrapped if trainer.args.deepspeed else trained.model
    state_dict = trainer.accelerator.get_state_dict(wrapped)
    if trainer.is_world_process_zero():
        step = trainer.state.global_step
        best = trainer.safeguards.best.last() if stage.validation and stage.validation.keep == "best" else None
        if best is not None:
            names = {stored_name(name): name for name in state_dict}
            state_dict |= {names[name]: value for name, value in load_file(best / TRAINABLE_WEIGHTS).items()}
            step = read_manifest(best)["step"]
            logger.info("stage %s: the best validation's weights are taken, of step %d", stage.name, step)
        card = _card(config, stage, start, trainer, trained.over, step)
        write_trained_model(target, trained, state_dict, card, DTYPES[config.model.dtype])
        logger.info("stage %s: model written to %s", stage.name, target)
        _report_skipped(stage, target.parent)
    trainer.accelerator.wait_for_everyone()


def _card(
    config: RunConfig,
    stage: StageConfig,
    start: ModelFolder,
    trainer: ArtTrainer,
    over: ModelFolder | None,
    step: int,
) -> Card:
    """The card of a stage's weights as they were at a step. over: what they lie over."""
    history = _history(config, stage, start) | {"steps": step}
    history |= {name: trainer.safeguards.card[name] for name in ("data", "versions")}
    before = () if start.card is None else start.card.attributes
    attributes = tuple(dict.fromkeys((*before, *trainer.dataset.attributes)))
    columns = trainer.dataset.columns
    one_text = columns.one_text if columns.attributes else start.card is not None and start.card.one_text
    base, learned = None if over is None else over.as_base(), _learned(start, columns.is_scored)
    return Card(trainer.prompt, trainer.objective.readout, attributes, history, base, one_text, learned)


def _learned(start: ModelFolder, is_scored: np.ndarray) -> tuple[str, ...] | None:
    """The tasks that the model has been trained on, with those of the stages before; None: not known of these."""
    before = () if start.card is None else start.card.learned
    if before is None:
        return None
    now = {"description": not is_scored.all(), "score": bool(is_scored.any())}
    return tuple(task for task, learned in now.items() if learned or task in before)


def _report_skipped(stage: StageConfig, folder: Path) -> None:
    """Tell how many pictures could not be read, and where they are listed."""
    files = sorted(folder.glob("skipped-*.jsonl"))
    errors = dict.fromkeys(line["error"] for file in files for _, line in read_json_lines(file))
    if errors:
        write_json_lines(folder / "skipped.jsonl", ({"error": error} for error in errors))
        logger.warning(
            "stage %s: %d pictures could not be read and were left out; see %s",
            stage.name,
            len(errors),
            folder / "skipped.jsonl",
        )
    for file in files:
        file.unlink()


def _history(config: RunConfig, stage: StageConfig, start: ModelFolder) -> dict:
    """Where a stage's model comes from."""
    return {
        "run": config.run,
        "stage": stage.name,
        "start": str(start.name),
        "base": str(config.base),
        "seed": config.seed,
    }


def _join_ranks(arguments: TrainingArguments) -> None:
    """Let DeepSpeed know the other ranks before weights are loaded: ZeRO-3 cuts them up as they come."""
    from deepspeed import init_distributed

    logger.debug("rank %d of %d on %s", arguments.process_index, arguments.world_size, arguments.device)
    init_distributed()  # on a GPU asking for the device above has done so, on a CPU not


def leave_ranks() -> None:
    """Take leave of the other ranks, where there are any, at a process's end; nothing can be trained in it afterwards.

    One that ends while gloo's threads still run is aborted now and then, and its launcher reports a failed run.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run_training(config: RunConfig, stages: Sequence[str] = (), accept_changes: bool = False) -> None:
    """Train the named stages of a run, or all of them, in order.

    Args:
        accept_changes: as in `claim_run`.

    Raises:
        TrainingStopped: it was asked to stop; what is done is saved.
        ArtQuantError: whatever is wrong with configuration, data or weights.
    """
    chosen = config.chosen_stages(stages)
    alone = next((stage for stage in chosen if stage.deepspeed is not None and "RANK" not in os.environ), None)
    if alone is not None:
        raise ArtQuantError(
            f"stage {alone.name}: {alone.deepspeed} needs processes that a launcher starts; train with "
            "--launcher deepspeed, or set deepspeed: null"
        )
    with ExitStack() as locks:
        if int(os.environ.get("RANK", "0")) == 0:
            for stage in chosen:  # not the run: the command that started the ranks may have that
                locks.enter_context(only_writer(run_folder(config) / stage.name))
            claim_run(config, accept_changes)
        for stage in chosen:
            with errors_named(run_folder(config) / stage.name):  # of TensorBoard, where its folder was deleted
                run_stage(config, stage)
