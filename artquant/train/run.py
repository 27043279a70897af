"""A run's stages: set up, trained, resumed and written."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import TrainingArguments, set_seed
from transformers.integrations import TensorBoardCallback

from artquant.config.load import load_config, resolve, save_config
from artquant.config.schema import RunConfig, StageConfig
from artquant.data.dataset import ArtDataset, Collator, EpochSampler, weighted_indices
from artquant.data.records import TrainingRecord, check_images_exist, read_training_records
from artquant.errors import ArtQuantError
from artquant.jsonio import write_json
from artquant.models.checkpoints import DTYPES, trained_attributes
from artquant.paths import CONFIG_FILE, run_folder, stage_model, start_folder
from artquant.prompts import get_prompt
from artquant.readouts.rating_levels import RatingLevels
from artquant.train.network import (
    TrainableNetwork,
    count_parameters,
    prepare_network,
    trainable_in_float32,
    write_trained_model,
)
from artquant.train.objective import Objective
from artquant.train.stages import chosen_stages
from artquant.train.trainer import TRAINABLE_WEIGHTS, ArtTrainer

logger = logging.getLogger(__name__)


def claim_run(config: RunConfig) -> None:
    """Make the run's folder and keep the configuration in it.

    Raises:
        ArtQuantError: the folder holds a run that was trained with another configuration.
    """
    file = run_folder(config) / CONFIG_FILE
    if file.is_file():
        changed = _changes(_training_part(load_config(file)), _training_part(config))
        if changed:
            raise ArtQuantError(
                f"{file}: this run was started with another configuration ({'; '.join(changed[:5])}); choose another "
                f"run name (run=NAME) or delete {run_folder(config)}"
            )
    save_config(config, file)


def _training_part(config: RunConfig) -> dict:
    values = resolve(config)
    return {name: value for name, value in values.items() if name not in ("infer", "evaluate", "output")}


def _changes(before, after, key: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(set(before) | set(after))
        return [line for name in names for line in _changes(before.get(name), after.get(name), f"{key}.{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, pair in pairs for line in _changes(*pair, f"{key}.{index}")]
    return [] if before == after else [f"{key.lstrip('.')} was {before}, is {after}"]


def read_parts(config: RunConfig, stage: StageConfig) -> list[list[TrainingRecord]]:
    """The records of each of a stage's data sets, checked."""
    scale = (min(config.levels.weights), max(config.levels.weights))
    parts = []
    for data in stage.data:
        records = read_training_records(data.records, data.images, len(config.levels.words), scale)
        if not records:
            raise ArtQuantError(f"{data.records}: holds no records")
        check_images_exist(records)
        parts.append(records)
    return parts


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
        save_strategy="epoch" if stage.save_steps is None else "steps",
        save_steps=stage.save_steps or 500,
        save_total_limit=stage.save_total,
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


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a stage whose writing was finished; the trainer's state is written last."""
    checkpoints = [
        path
        for path in (folder / "checkpoints").glob("checkpoint-*")
        if (path / "trainer_state.json").is_file() and (path / TRAINABLE_WEIGHTS).is_file()
    ]
    return max(checkpoints, key=lambda path: int(path.name.split("-")[1]), default=None)


def run_stage(config: RunConfig, stage: StageConfig) -> None:
    """Train one stage, from its last complete checkpoint if there is one; nothing if it is done."""
    folder = run_folder(config) / stage.name
    target = stage_model(config, stage)
    if target.is_dir():
        logger.info("stage %s is done: %s", stage.name, target)
        return
    start = start_folder(config, stage)
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
    trainer = _build_trainer(config, stage, arguments, trained, prompt, readout)
    checkpoint = last_complete_checkpoint(folder)
    if checkpoint is not None:
        logger.info("going on from %s", checkpoint)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    wrapped = trainer.model_wrapped if arguments.deepspeed else trained.model
    state_dict = trainer.accelerator.get_state_dict(wrapped)
    if trainer.is_world_process_zero():
        write_json(folder / "history.json", trainer.state.log_history)
        history = _history(config, stage, start, trained) | {"steps": trainer.state.global_step}
        shutil.rmtree(target.with_name(target.name + ".partial"), ignore_errors=True)
        attributes = tuple(dict.fromkeys((*trained_attributes(start), *trainer.train_dataset.attributes)))
        write_trained_model(
            target, trained, state_dict, prompt, readout, history, DTYPES[config.model.dtype], attributes
        )
        logger.info("stage %s: model written to %s", stage.name, target)
    trainer.accelerator.wait_for_everyone()


def _history(config: RunConfig, stage: StageConfig, start: Path, trained: TrainableNetwork) -> dict:
    """Where a stage's model comes from."""
    return {
        "run": config.run,
        "stage": stage.name,
        "start": str(start),
        "base": str(config.base),
        "adapter_over": None if trained.adapter_over is None else str(trained.adapter_over),
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
    prompt,
    readout: RatingLevels,
) -> ArtTrainer:
    parts = read_parts(config, stage)
    records = [record for part in parts for record in part]
    dataset = ArtDataset(records, trained.processor, prompt, readout, stage.max_length, stage.cache_pictures)
    indices, offset = [], 0
    for part, data in zip(parts, stage.data, strict=True):
        indices.append(weighted_indices(offset, len(part), data.weight, config.seed))
        offset += len(part)
    sampler = EpochSampler(
        indices,
        config.seed,
        in_order=stage.order == "in_order",
        lengths=dataset.lengths() if stage.group_by_length else None,
        group_size=stage.batch_size * arguments.world_size,
    )
    trains, parameters = count_parameters(trained.model)
    logger.info(
        "stage %s: %d records, %d samples an epoch, %d of %d parameters train, %d rank(s)",
        stage.name,
        len(records),
        len(sampler),
        trains,
        parameters,
        arguments.world_size,
    )
    return ArtTrainer(
        model=trained.model,
        args=arguments,
        train_dataset=dataset,
        data_collator=Collator(trained.processor),
        objective=Objective(readout, stage.loss),
        optimizer_config=stage.optimizer,
        sampler=sampler,
        callbacks=_reporters(arguments),
    )


def _reporters(arguments: TrainingArguments) -> list[TensorBoardCallback]:
    """TensorBoard curves beside the checkpoints, where tensorboard is installed."""
    if arguments.process_index != 0 or importlib.util.find_spec("tensorboard") is None:
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(log_dir=arguments.output_dir))]


def _require_no_launcher(stages: Sequence[StageConfig]) -> None:
    for stage in stages:
        if stage.deepspeed is not None:
            raise ArtQuantError(
                f"stage {stage.name}: {stage.deepspeed} needs processes that a launcher starts; train with "
                "--launcher deepspeed, or set deepspeed: null"
            )


def run_training(config: RunConfig, stages: Sequence[str] = ()) -> None:
    """Train the named stages of a run, or all of them, in order."""
    chosen = chosen_stages(config, stages)
    if "RANK" not in os.environ:
        _require_no_launcher(chosen)
    if int(os.environ.get("RANK", "0")) == 0:
        claim_run(config)
    for stage in chosen:
        run_stage(config, stage)
