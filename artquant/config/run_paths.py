"""Where a run's files lie.

runs/RUN/config.yaml            the configuration, resolved
runs/RUN/STAGE/checkpoints/     checkpoint-STEP folders, each a model folder too, and TensorBoard files
runs/RUN/STAGE/history.jsonl    losses, learning rates, validations and speed, a line for each time they are logged
runs/RUN/STAGE/best/            what trains, as it was at the best validation
runs/RUN/STAGE/start/           under ZeRO-3: the earlier stage's adapter merged, which this stage's adapter lies over
runs/RUN/STAGE/skipped.jsonl    pictures that could not be read, where the stage goes on without them
runs/RUN/STAGE/model/           the result: one self-describing model folder; its presence means the stage is done
runs/RUN/predictions.jsonl      scores of the configuration's pictures, by the last stage's model
runs/RUN/evaluation/            metrics.json, scatter plots and report.html
"""

from __future__ import annotations

from pathlib import Path

from artquant.config.schema import RunConfig, StageConfig

CONFIG_FILE = "config.yaml"
MODEL_FOLDER = "model"
PREDICTIONS = "predictions.jsonl"
EVALUATION = "evaluation"


def run_folder(config: RunConfig) -> Path:
    """Folder of a run."""
    return config.output / config.run


def stage_model(config: RunConfig, stage: StageConfig) -> Path:
    """Model folder that a stage writes."""
    return run_folder(config) / stage.name / MODEL_FOLDER


def final_model(config: RunConfig) -> Path:
    """Model folder that a run is scored with: the one named, else the last stage's, else the base."""
    if config.infer.model is not None:
        return config.infer.model
    return stage_model(config, config.stages[-1]) if config.stages else config.base


def start_folder(config: RunConfig, stage: StageConfig) -> Path:
    """Model folder that a stage starts from."""
    position = config.stages.index(stage)
    if stage.start is not None:
        return stage.start
    return stage_model(config, config.stages[position - 1]) if position else config.base
