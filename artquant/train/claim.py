"""A run's folder belongs to one configuration."""

from __future__ import annotations

from artquant.config.load import load_config, resolve, save_config
from artquant.config.run_paths import CONFIG_FILE, run_folder
from artquant.config.schema import RunConfig
from artquant.errors import ArtQuantError

# Settings of a stage that change neither what is learned nor what is written.
_FREE_STAGE_SETTINGS = ("workers", "cache_pictures", "log_steps", "save_steps", "save_total")


def claim_run(config: RunConfig, accept_changes: bool = False) -> None:
    """Make the run's folder and keep the configuration in it.

    Args:
        accept_changes: go on with another configuration than the run was started with.

    Raises:
        ArtQuantError: the folder holds a run of which something was trained with another configuration.
    """
    file = run_folder(config) / CONFIG_FILE
    if file.is_file() and not accept_changes:
        before = load_config(file)
        changed = _changes(_training_part(before), _training_part(config))
        if changed and _begun(before):
            raise ArtQuantError(
                f"{file}: this run was started with another configuration ({'; '.join(changed[:5])}); choose another "
                f"run name (run=NAME), delete {run_folder(config)}, or go on all the same (--accept-changes)"
            )
    save_config(config, file)


def begun_with(config: RunConfig) -> RunConfig | None:
    """The configuration that the run was started with, if something of it was trained."""
    file = run_folder(config) / CONFIG_FILE
    before = load_config(file) if file.is_file() else None
    return before if before is not None and _begun(before) else None


def _begun(config: RunConfig) -> bool:
    """Whether a run has anything to go on with: a model, a checkpoint or what they rest on."""
    folders = [run_folder(config) / stage.name for stage in config.stages]
    kept = ("model", "start", "checkpoints/checkpoint-*", "best/*")
    return any(True for folder in folders for pattern in kept for _ in folder.glob(pattern))


def _training_part(config: RunConfig) -> dict:
    values = resolve(config)
    for stage in values["stages"]:
        for name in _FREE_STAGE_SETTINGS:
            del stage[name]
    return {name: value for name, value in values.items() if name not in ("infer", "evaluate", "output")}


def _changes(before: object, after: object, key: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(set(before) | set(after))
        return [line for name in names for line in _changes(before.get(name), after.get(name), f"{key}.{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, pair in pairs for line in _changes(*pair, f"{key}.{index}")]
    return [] if before == after else [f"{key.lstrip('.')} was {before}, is {after}"]
