"""A stage's trainer: its data, order, validation, reports and safeguards, from the configuration."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback

from artquant.batches.dataset import ArtDataset, Collator
from artquant.batches.order import EpochSampler, weighted_indices
from artquant.batches.packed import MASKING_ATTENTIONS
from artquant.batches.pairs import PairSampler
from artquant.config.run_paths import run_folder
from artquant.config.schema import DataConfig, RunConfig, StageConfig
from artquant.data.missing_pictures import check_images_exist
from artquant.data.record_file import RecordFile, RecordSets
from artquant.data.records import read_image_records
from artquant.errors import ArtQuantError
from artquant.evaluate.join import read_truth
from artquant.models.weights import LoadedModel
from artquant.readouts import Readout
from artquant.texts.prompt import Prompt
from artquant.train.checkpointing import CheckpointStore
from artquant.train.interruption import StopRequest
from artquant.train.network import TrainableNetwork, count_parameters
from artquant.train.objective import Objective
from artquant.train.progress import HISTORY, HistoryWriter
from artquant.train.provenance import describe_stage
from artquant.train.rates import rates_by_part
from artquant.train.trainer import ArtTrainer, Safeguards
from artquant.train.validation import EarlyStopping, Validation

logger = logging.getLogger(__name__)


def open_records(config: RunConfig, sets: Sequence[DataConfig]) -> RecordSets:
    """The records of several data sets, checked, with their pictures there."""
    scale = config.levels.scale
    limits = (scale.low, scale.high)
    return RecordSets(
        [RecordFile(data.records, data.images, len(scale.words), limits, True, data.attributes) for data in sets]
    )


def training_arguments(config: RunConfig, stage: StageConfig, folder: Path) -> TrainingArguments:
    """The trainer's arguments; what is not named here is transformers' default."""
    rates, validation = stage.optimizer, stage.validation
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
        eval_strategy="no" if validation is None else "epoch" if validation.steps is None else "steps",
        eval_steps=None if validation is None else validation.steps,
        seed=config.seed,
        data_seed=config.seed,
        bf16=config.model.dtype == "bfloat16",
        use_cpu=not on_gpu,
        dataloader_num_workers=stage.workers,
        dataloader_persistent_workers=stage.workers > 0,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        use_cache=True,  # written into the configuration; training itself never caches
        deepspeed=str(stage.deepspeed) if stage.deepspeed else None,
        report_to=[],
    )


def stage_safeguards(stage: StageConfig, folder: Path, stop: StopRequest) -> Safeguards:
    """Where a stage keeps its checkpoints, and how it meets what goes wrong."""
    return Safeguards(
        checkpoints=CheckpointStore(folder / "checkpoints", stage.save_total),
        best=CheckpointStore(folder / "best", 1, weights_only=True),
        stop=stop,
        skipped=folder / f"skipped-{os.environ.get('RANK', '0')}.jsonl",
        split={"batch_size": stage.batch_size, "accumulation": stage.accumulation},
        bad_steps=stage.bad_steps,
        skip_unreadable=stage.unreadable == "skip",
    )


def build_trainer(
    config: RunConfig,
    stage: StageConfig,
    arguments: TrainingArguments,
    trained: TrainableNetwork,
    prompt: Prompt,
    readout: Readout,
    safeguards: Safeguards,
) -> ArtTrainer:
    """Everything that a stage trains with.

    Raises:
        ArtQuantError: records, pictures or texts are not as they should be.
    """
    records = open_records(config, stage.data)
    if arguments.process_index == 0:
        safeguards = replace(safeguards, card=describe_stage(config, stage, records.parts))
    dataset = ArtDataset(
        records, trained.processor, prompt, readout, config.levels.weights, stage.max_length, stage.cache_pictures
    )
    _check_packing(stage, config.model.attention, trained.family.packs)
    if stage.loss.centred > 0 and not dataset.attributes:
        raise ArtQuantError(f"stage {stage.name}: loss.centred has no effect without attributes; set attributes: true")
    # Of a stage that goes on with fewer or more: as many as it began with.
    ranks = arguments.world_size * arguments.gradient_accumulation_steps // stage.accumulation
    sampler = _sampler(config, stage, records, dataset, ranks)
    try:
        objective = Objective(readout, stage.loss)
    except ArtQuantError as error:
        raise ArtQuantError(f"stage {stage.name}: {error}") from None
    # Those of one text are not scored each by itself.
    attributes = () if dataset.columns.one_text else dataset.attributes
    validation = _validation(config, stage, trained, prompt, objective, attributes)
    wanted = stage.validation
    trainer = ArtTrainer(
        model=trained.model,
        args=arguments,
        dataset=dataset,
        data_collator=Collator(trained.processor, stage.max_length),
        objective=objective,
        prompt=prompt,
        optimizer_config=stage.optimizer,
        sampler=sampler,
        safeguards=safeguards,
        validation=validation,
        early_stopping=None if wanted is None else EarlyStopping(wanted.patience, wanted.minimum_gain),
        callbacks=_reporters(arguments, run_folder(config) / stage.name / HISTORY),
    )
    _announce(stage, trainer, len(records), len(sampler))
    return trainer


def _check_packing(stage: StageConfig, attention: str, packs: bool) -> None:
    """Whether total and attributes can be read in one sequence, where they are to be."""
    held_out = () if stage.validation is None else stage.validation.losses
    together = next((data for data in (*stage.data, *held_out) if data.attributes), None)
    reason = "this family of networks" if not packs else f"attention {attention}"
    if together is not None and not (packs and attention in MASKING_ATTENTIONS):
        raise ArtQuantError(
            f"stage {stage.name}: {together.records}: {reason} cannot read several answers in one sequence; set "
            "attributes: false and add a file of attribute records"
            + ("" if not packs else f", or set model.attention to {' or '.join(MASKING_ATTENTIONS)}")
        )


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
    trains, parameters = count_parameters(trainer.network)
    ranks = trainer.args.world_size
    logger.info("stage %s: %d records, %d samples an epoch, %d rank(s)", stage.name, records, samples, ranks)
    logger.info("%d of %d parameters train", trains, parameters)
    for part, (count, rate) in rates_by_part(trainer.network, stage.optimizer).items():
        logger.info("  %-14s %13d parameters, learning rate %g", part, count, rate)


def _validation(
    config: RunConfig,
    stage: StageConfig,
    trained: TrainableNetwork,
    prompt: Prompt,
    objective: Objective,
    attributes: tuple[str, ...],
) -> Validation | None:
    wanted = stage.validation
    if wanted is None:
        return None
    scored, held_out, rated = [], None, None
    if wanted.records is not None:
        scale = config.levels.scale
        scored = read_image_records(wanted.records, wanted.images, (scale.low, scale.high))
        unrated = next((record for record in scored if record.gt_score is None), None)
        if unrated is not None:
            raise ArtQuantError(f"{unrated.source} (id {unrated.id!r}): no gt_score, so it cannot validate; add it")
        check_images_exist(scored)
        # Each takes a pass of its own where several cannot be read in one.
        attributes = attributes if trained.family.packs and config.model.attention in MASKING_ATTENTIONS else ()
        known = read_truth(wanted.records) if attributes else {}
        rows = [[known[one.id].attributes.get(name, math.nan) for name in attributes] for one in scored if attributes]
        rated = np.array(rows) if rows else None
    if wanted.losses:
        records = open_records(config, wanted.losses)
        held_out = ArtDataset(
            records, trained.processor, prompt, objective.readout, config.levels.weights, stage.max_length
        )
    quantize = config.model.quantize
    model = LoadedModel(trained.model, trained.processor, trained.family, prompt, objective.readout, quantize=quantize)
    return Validation(
        model,
        scored,
        held_out,
        objective,
        wanted.batch_size,
        stage.max_length,
        stage.workers,
        attributes if rated is not None else (),
        rated,
    )


def _reporters(arguments: TrainingArguments, history: Path) -> list[TrainerCallback]:
    """The history file, and TensorBoard curves beside the checkpoints where tensorboard is installed."""
    if arguments.process_index != 0:
        return []
    reporters: list[TrainerCallback] = [HistoryWriter(history)]
    if importlib.util.find_spec("tensorboard") is not None:
        from torch.utils.tensorboard import SummaryWriter

        reporters.append(TensorBoardCallback(SummaryWriter(log_dir=arguments.output_dir)))
        logger.info("  curves: tensorboard --logdir %s", history.parents[1])
    return reporters
