"""Whether all that a run reads is there and of its scale: looked at before anything is loaded, started or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from artquant.config.run_paths import stage_model, start_folder
from artquant.config.schema import RunConfig, StageConfig
from artquant.data.prepared import require_levels
from artquant.errors import ArtQuantError
from artquant.models.hub import is_fetched


def require_inputs(name: Path, config: RunConfig, stages: Sequence[StageConfig]) -> None:
    """Refuse a run of which something is missing, naming all of it and where to get it; or prepared for other levels.

    Files of stages that are done are not needed any more.

    Args:
        name: of the configuration's file.

    Raises:
        ArtQuantError: models, records, folders of pictures or DeepSpeed files are not there; records do not fit.
    """
    open_stages = [stage for stage in stages if not stage_model(config, stage).is_dir()]
    models = _absent(dict.fromkeys(path for stage in open_stages for path in _models(config, stage, stages)))
    data = _absent(dict.fromkeys(path for stage in open_stages for path in _data(stage)))
    deepspeed = _absent(dict.fromkeys(stage.deepspeed for stage in open_stages if stage.deepspeed is not None))
    groups = [
        (models, "models: ModelZoo/README.md says where they come from; that of a stage: train it first"),
        (data, "data: dataset/README.md says how they are made, records by artquant prepare"),
        (deepspeed, "DeepSpeed files: some are in configs/deepspeed"),
    ]
    missing = [f"{', '.join(map(str, paths))} ({advice})" for paths, advice in groups if paths]
    if missing:
        raise ArtQuantError(f"{name}: not there: {'; '.join(missing)}; nothing was started")
    for records in dict.fromkeys(data.records for stage in open_stages for data in stage.data):
        require_levels(records, config.levels.scale)


def _absent(paths: dict[Path, None]) -> list[Path]:
    return [path for path in paths if not path.exists()]


def _models(config: RunConfig, stage: StageConfig, stages: Sequence[StageConfig]) -> Iterator[Path]:
    """Models that a stage begins with, but for those of the hub and those that the run will write before."""
    written = [stage_model(config, one) for one in stages[: stages.index(stage)]]
    for model in (config.base, start_folder(config, stage)):
        if model not in written and not is_fetched(model):
            yield model


def _data(stage: StageConfig) -> Iterator[Path]:
    validation = stage.validation
    for data in (*stage.data, *(() if validation is None else validation.losses)):
        yield from (data.records, data.images)
    if validation is not None and validation.records is not None:
        yield validation.records
        if validation.images is not None:
            yield validation.images
