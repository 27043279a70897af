"""A run's stages: set up, trained, resumed and written."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.integrations import TensorBoardCallback

from artquant.config.load import load_config, resolve, save_config
from artquant.config.schema import DataConfig, RunConfig, StageConfig
from artquant.data.dataset import ArtDataset, Collator, EpochSampler, weighted_indices
from artquant.data.pairs import PairSampler
from artquant.data.record_file import RecordFile, RecordSets
from artquant.data.records import check_images_exist, read_image_records
from artquant.errors import ArtQuantError
from artquant.jsonio import read_json, read_json_lines, write_json_lines
from artquant.models.adapters import is_adapter
from artquant.models.card import has_base
from artquant.models.checkpoints import DTYPES, LoadedModel, trained_attributes
from artquant.models.export import export_model
from artquant.paths import CONFIG_FILE, run_folder, stage_model, start_folder
from artquant.prompts import Prompt, get_prompt
from artquant.readouts.rating_levels import RatingLevels
from artquant.train.card import describe_stage
from artquant.train.checkpointing import CheckpointStore, read_manifest
from artquant.train.interruption import StopRequest, TrainingStopped
from artquant.train.network import (
    TrainableNetwork,
    count_parameters,
    prepare_network,
    trainable_in_float32,
    write_trained_model,
)
from artquant.train.objective import Objective
from artquant.train.progress import HISTORY, HistoryWriter
from artquant.train.stages import chosen_stages
from artquant.train.trainer import TRAINABLE_WEIGHTS, ArtTrainer, Safeguards
from artquant.train.validation import EarlyStopping, Validation

logger = logging.getLogger(__name__)


# Settings of a stage that change neither what is learned nor what is written.
_FREE_STAGE_SETTINGS = ("workers", "cache_pictures", "log_steps", "save_steps", "save_total")


def claim_run(config: RunConfig, accept_changes: bool = False) -> None:
    """Make the run's folder and keep the configuration in it.

    Args:
        accept_changes: go on with another configuration than the run was started with.

    Raises:
        ArtQuantError: the folder holds a run that was trained with another configuration.
    """
    file = run_folder(config) / CONFIG_FILE
    if file.is_file() and not accept_changes:
        changed = _changes(_training_part(load_config(file)), _training_part(config))
        if changed:
            raise ArtQuantError(
                f"{file}: this run was started with another configuration ({'; '.join(changed[:5])}); choose another "
                f"run name (run=NAME), delete {run_folder(config)}, or go on all the same (--accept-changes)"
            )
    save_config(config, file)


def _training_part(config: RunConfig) -> dict:
    values = resolve(config)
    for stage in values["stages"]:
        for name in _FREE_STAGE_SETTINGS:
            del stage[name]
    return {name: value for name, value in values.items() if name not in ("infer", "evaluate", "output")}


def _changes(before, after, key: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(set(before) | set(after))
        return [line for name in names for line in _changes(before.get(name), after.get(name), f"{key}.{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, pair in pairs for line in _changes(*pair, f"{key}.{index}")]
    return [] if before == after else [f"{key.lstrip('.')} was {before}, is {after}"]


def open_records(config: RunConfig, sets: Sequence[DataConfig]) -> RecordSets:
    """The records of several data sets, checked, with their pictures there."""
    scale = (min(config.levels.weights), max(config.levels.weights))
    levels = len(config.levels.words)
    return RecordSets([RecordFile(data.records, data.images, levels, scale, check_images=True) for data in sets])


def training_arguments(config: RunConfig, stage: StageConfig, folder: Path) -> TrainingArguments:
    """The trainer's arguments; what is not named here is transformers' default."""
    rates = stage.optimizer
    on_gpu = torch.cuda.is_available()
    checkpoints = folder / "checkpoints"
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulation,
        num_train_epochs=stage.epochs,
        max_steps=stage.max_steps,
        learning_rate=rates.learning_rate,
        lr_scheduler_type={"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}[rates.schedule],
        warmup_steps=rates.warmup_fraction,
        weight_decay=rates.weight_decay,
        adam_beta1=rates.betas[0],
        adam_beta2=rates.betas[1],
        max_grad_norm=rates.max_grad_norm,
        logging_steps=stage.log_steps,
        logging_nan_inf_filter=False,  # what is not finite is met by the trainer, not averaged away
        save_strategy="epoch" if stage.save_steps is None else "steps",
        save_steps=stage.save_steps or 500,
        eval_strategy=_validation_strategy(stage),
        eval_steps=stage.validation and stage.validation.steps,
        seed=config.seed,
        data_seed=config.seed,
        bf16=config.model.dtype == "bfloat16",
        use_cpu=not on_gpu,
        dataloader_num_workers=stage.workers,
        dataloader_persistent_workers=stage.workers > 0,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        deepspeed=str(stage.deepspeed) if stage.deepspeed else None,
        report_to=[],
    )


def _validation_strategy(stage: StageConfig) -> str:
    if stage.validation is None:
        return "no"
    return "epoch" if stage.validation.steps is None else "steps"


def run_stage(config: RunConfig, stage: StageConfig) -> None:
    """Train one stage, from its last complete checkpoint if there is one; nothing if it is done."""
    folder = run_folder(config) / stage.name
    target = stage_model(config, stage)
    if target.is_dir():
        logger.info("stage %s is done: %s", stage.name, target)
        return
    start = start_folder(config, stage)
    if uses_zero3(stage) and is_adapter(start):
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
    trained = prepare_network(start, config.base, config.model, stage.trainable)
    if config.model.dtype == "bfloat16" and stage.deepspeed is None:
        trainable_in_float32(trained.model)
    prompt = get_prompt(config.prompt, config.subject)
    readout = RatingLevels.from_encoder(
        trained.processor,
        prompt,
        config.levels.words,
        config.levels.weights,
        closed_loss=stage.loss.closed_set,
    )
    with StopRequest() as stop:
        trainer = _build_trainer(config, stage, arguments, trained, prompt, readout, _safeguards(stage, folder, stop))
        _train(trainer, stage)
    _write_result(config, stage, trainer, trained)


def uses_zero3(stage: StageConfig) -> bool:
    """Whether a stage's DeepSpeed file cuts the weights up as they are loaded."""
    if stage.deepspeed is None:
        return False
    return read_json(stage.deepspeed).get("zero_optimization", {}).get("stage") == 3


def merged_start(config: RunConfig, start: Path, folder: Path) -> Path:
    """The adapter form that a ZeRO-3 stage starts from, as one whole model: the base of the stage's own adapter.

    An adapter cannot be read into weights that are cut up. The first rank writes; the others, which cannot talk to it
    yet, wait until the folder is there.
    """
    merged = folder / "start"
    if int(os.environ.get("RANK", "0")) == 0 and not merged.is_dir():
        base = None if has_base(start) else config.base
        export_model(start, "merged", merged, base, DTYPES[config.model.dtype])
    while not merged.is_dir():
        time.sleep(1)
    return merged


def _safeguards(stage: StageConfig, folder: Path, stop: StopRequest) -> Safeguards:
    return Safeguards(
        checkpoints=CheckpointStore(folder / "checkpoints", stage.save_total),
        best=CheckpointStore(folder / "best", 1),
        stop=stop,
        skipped=folder / f"skipped-{os.environ.get('RANK', '0')}.jsonl",
        bad_steps=stage.bad_steps,
        skip_unreadable=stage.unreadable == "skip",
    )


def _train(trainer: ArtTrainer, stage: StageConfig) -> None:
    """Train to the end, from the last whole checkpoint if there is one."""
    safeguards = trainer.safeguards
    checkpoint = safeguards.checkpoints.last()
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


def _write_result(config: RunConfig, stage: StageConfig, trainer: ArtTrainer, trained: TrainableNetwork) -> None:
    """Write the stage's model, from the last weights or the best."""
    target = stage_model(config, stage)
    start = start_folder(config, stage)
    wrapped = trainer.model_wrapped if trainer.args.deepspeed else trained.model
    state_dict = trainer.accelerator.get_state_dict(wrapped)
    if trainer.is_world_process_zero():
        history = _history(config, stage, start) | {"steps": trainer.state.global_step}
        history |= {name: trainer.safeguards.card[name] for name in ("data", "versions")}
        best = trainer.safeguards.best.last() if stage.validation and stage.validation.keep == "best" else None
        if best is not None:
            state_dict = state_dict | load_file(best / TRAINABLE_WEIGHTS)
            history["steps"] = read_manifest(best)["step"]
            logger.info("stage %s: the best validation's weights are taken, of step %d", stage.name, history["steps"])
        attributes = tuple(dict.fromkeys((*trained_attributes(start), *trainer.train_dataset.attributes)))
        shutil.rmtree(target.with_name(target.name + ".partial"), ignore_errors=True)
        write_trained_model(
            target,
            trained,
            state_dict,
            trainer.prompt,
            trainer.objective.readout,
            history,
            DTYPES[config.model.dtype],
            attributes,
        )
        logger.info("stage %s: model written to %s", stage.name, target)
        _report_skipped(stage, target.parent)
    trainer.accelerator.wait_for_everyone()


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


def _history(config: RunConfig, stage: StageConfig, start: Path) -> dict:
    """Where a stage's model comes from."""
    return {
        "run": config.run,
        "stage": stage.name,
        "start": str(start),
        "base": str(config.base),
        "seed": config.seed,
    }


def _join_ranks(arguments: TrainingArguments) -> None:
    """Let DeepSpeed know the other ranks before weights are loaded: ZeRO-3 cuts them up as they come."""
    from deepspeed import init_distributed

    logger.debug("rank %d of %d on %s", arguments.process_index, arguments.world_size, arguments.device)
    init_distributed()  # on a GPU asking for the device above has done so, on a CPU not


def _build_trainer(
    config: RunConfig,
    stage: StageConfig,
    arguments: TrainingArguments,
    trained: TrainableNetwork,
    prompt: Prompt,
    readout: RatingLevels,
    safeguards: Safeguards,
) -> ArtTrainer:
    records = open_records(config, stage.data)
    if arguments.process_index == 0:
        safeguards = replace(safeguards, card=describe_stage(config, stage, records.parts))
    dataset = ArtDataset(records, trained.processor, prompt, readout, stage.max_length, stage.cache_pictures)
    sampler = _sampler(config, stage, records, dataset, arguments.world_size)
    objective = Objective(readout, stage.loss)
    validation = _validation(config, stage, trained, prompt, objective)
    wanted = stage.validation
    trainer = ArtTrainer(
        model=trained.model,
        args=arguments,
        train_dataset=dataset,
        data_collator=Collator(trained.processor),
        objective=objective,
        prompt=prompt,
        optimizer_config=stage.optimizer,
        sampler=sampler,
        safeguards=safeguards,
        validation=validation,
        early_stopping=wanted and EarlyStopping(wanted.patience, wanted.minimum_gain),
        callbacks=_reporters(arguments, run_folder(config) / stage.name / HISTORY),
    )
    _announce(stage, trainer, len(records), len(sampler))
    return trainer


def _sampler(
    config: RunConfig, stage: StageConfig, records: RecordSets, dataset: ArtDataset, ranks: int
) -> EpochSampler:
    """The order of a stage's samples."""
    indices, offset = [], 0
    for part, data in zip(records.parts, stage.data, strict=True):
        indices.append(weighted_indices(offset, len(part), data.weight, config.seed))
        offset += len(part)
    if stage.pairs:
        columns = records.columns
        try:
            return PairSampler(indices, config.seed, dataset.truth[:, 0], columns.pictures, columns.attribute)
        except ArtQuantError as error:
            raise ArtQuantError(f"stage {stage.name}: {error}") from error
    return EpochSampler(
        indices,
        config.seed,
        in_order=stage.order == "in_order",
        lengths=dataset.lengths() if stage.group_by_length else None,
        group_size=stage.batch_size * ranks,
    )


def _announce(stage: StageConfig, trainer: ArtTrainer, records: int, samples: int) -> None:
    """What is about to be trained, on what, and at which rates."""
    trains, parameters = count_parameters(trainer.model)
    ranks = trainer.args.world_size
    logger.info("stage %s: %d records, %d samples an epoch, %d rank(s)", stage.name, records, samples, ranks)
    logger.info("%d of %d parameters train", trains, parameters)
    for part, (count, rate) in trainer.rates_by_part().items():
        logger.info("  %-14s %13d parameters, learning rate %g", part, count, rate)


def _validation(
    config: RunConfig, stage: StageConfig, trained: TrainableNetwork, prompt: Prompt, objective: Objective
) -> Validation | None:
    wanted = stage.validation
    if wanted is None:
        return None
    scored, held_out = [], None
    if wanted.records is not None:
        scale = (min(config.levels.weights), max(config.levels.weights))
        scored = read_image_records(wanted.records, wanted.images, scale)
        unrated = next((record for record in scored if record.gt_score is None), None)
        if unrated is not None:
            raise ArtQuantError(f"{unrated.source} (id {unrated.id!r}): no gt_score, so it cannot validate; add it")
        check_images_exist(scored)
    if wanted.losses:
        records = open_records(config, wanted.losses)
        held_out = ArtDataset(records, trained.processor, prompt, objective.readout, stage.max_length)
    model = LoadedModel(trained.network, trained.processor, prompt, objective.readout, quantize=config.model.quantize)
    return Validation(model, scored, held_out, objective, wanted.batch_size, stage.workers)


def _reporters(arguments: TrainingArguments, history: Path) -> list[TrainerCallback]:
    """The history file, and TensorBoard curves beside the checkpoints where tensorboard is installed."""
    if arguments.process_index != 0:
        return []
    reporters: list[TrainerCallback] = [HistoryWriter(history)]
    if importlib.util.find_spec("tensorboard") is not None:
        from torch.utils.tensorboard import SummaryWriter

        reporters.append(TensorBoardCallback(SummaryWriter(log_dir=arguments.output_dir)))
    return reporters


def _require_no_launcher(stages: Sequence[StageConfig]) -> None:
    for stage in stages:
        if stage.deepspeed is not None:
            raise ArtQuantError(
                f"stage {stage.name}: {stage.deepspeed} needs processes that a launcher starts; train with "
                "--launcher deepspeed, or set deepspeed: null"
            )


def run_training(config: RunConfig, stages: Sequence[str] = (), accept_changes: bool = False) -> None:
    """Train the named stages of a run, or all of them, in order.

    Args:
        accept_changes: as in `claim_run`.

    Raises:
        TrainingStopped: it was asked to stop; what is done is saved.
        ArtQuantError: whatever is wrong with configuration, data or weights.
    """
    chosen = chosen_stages(config, stages)
    if "RANK" not in os.environ:
        _require_no_launcher(chosen)
    if int(os.environ.get("RANK", "0")) == 0:
        claim_run(config, accept_changes)
    for stage in chosen:
        run_stage(config, stage)
