"""`artquant report`, and the page that `artquant eval` writes on a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artquant.cli.arguments import range_of
from artquant.cli.terminal import complain, say
from artquant.config.load import load_config
from artquant.config.run_paths import EVALUATION, PREDICTIONS, final_model, run_folder
from artquant.config.schema import RunConfig
from artquant.errors import ArtQuantError, visible

if TYPE_CHECKING:
    from artquant.evaluate.report import Evaluation
    from artquant.report.write import Written

_OF_EVAL = 2_000  # small pictures in the list of the page that `artquant eval` writes
_NAMED = 3  # missing pictures


def run(arguments: argparse.Namespace) -> int:
    """Write a page on a run, or on predictions."""
    from artquant.report.judged import read_judged
    from artquant.report.write import PAGE, Wanted, require_replaceable, write_report

    config = None if arguments.config is None else load_config(arguments.config, arguments.overrides)
    predictions, truth = list(arguments.predictions), arguments.truth
    if config is not None:
        scored, truth = scored_pair(config, arguments.config)
        predictions = [scored]
    if not predictions:
        raise ArtQuantError("name a run's configuration, or --predictions")
    beside = predictions[0].parent if config is None else run_folder(config) / EVALUATION
    out = arguments.out or beside / PAGE
    require_replaceable(out, predictions)
    evaluation = {
        "score_range": range_of(arguments.score_range, "--score-range"),
        "predicted_range": range_of(arguments.predicted_range, "--predicted-range"),
        "allow_missing": arguments.allow_missing,
        "allow_extra": arguments.allow_extra,
    }
    if config is not None and evaluation["score_range"] is None:
        evaluation["score_range"] = config.infer.score_range or (config.levels.scale.low, config.levels.scale.high)
    judged = read_judged(predictions, truth, evaluation, arguments.bootstrap, arguments.seed)
    images = arguments.images or (None if config is None else images_of(config))
    wanted = Wanted(
        images=None if arguments.no_pictures else images,
        descriptions=arguments.descriptions,
        facts={} if config is None else facts_of(config),
        of_sheet=arguments.examples,
        small=arguments.small_pictures,
    )
    title = config.run if config is not None else " and ".join(one.name for one in judged)
    _say(write_report(f"Report: {title}", judged, out, wanted, progress=not arguments.quiet))
    return 0


def report_of_run(config: RunConfig, evaluations: Sequence[Evaluation], out: Path, quiet: bool) -> None:
    """The page on a run that was just evaluated, beside its metrics."""
    from artquant.report.judged import evaluated
    from artquant.report.write import PAGE, Wanted, write_report

    wanted = Wanted(images_of(config), facts=facts_of(config), small=_OF_EVAL)
    _say(write_report(f"Report: {config.run}", evaluated(evaluations), out / PAGE, wanted, progress=not quiet))


def scored_pair(config: RunConfig, file: Path) -> tuple[Path, Path]:
    """A run's predictions and true scores. Raises ArtQuantError: its pictures have not been scored."""
    predictions = run_folder(config) / PREDICTIONS
    if not predictions.exists():
        raise ArtQuantError(f"{predictions}: not there; score the run's pictures first: artquant infer --config {file}")
    return predictions, Path(config.evaluate.truth or config.infer.records)


def images_of(config: RunConfig) -> Path:
    """The folder of the pictures that a run scores."""
    records = Path(config.infer.records)
    return config.infer.images or (records if records.is_dir() else records.parent)


def facts_of(config: RunConfig) -> dict[str, str]:
    """What the card of a run's model says of how it came to be; nothing where there is no model, or none of ours."""
    from artquant.models.model_card import Card

    try:
        card = Card.read(final_model(config))
    except ArtQuantError as error:  # predictions can be looked at, whatever became of the model
        return {"Model's card": str(error)}
    history = {} if card is None else card.history
    data = history.get("data")
    sets = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    said = {
        "Run and stage": ", ".join(str(history[key]) for key in ("run", "stage") if key in history),
        "Base": str(history.get("base", "")),
        "Trained on": "; ".join(f"{one.get('records')} ({one.get('count')} records)" for one in sets),
        "Steps": str(history.get("steps", "")),
        "Seed": str(history.get("seed", "")),
        "Pictures": str(images_of(config)),
    }
    return {name: text for name, text in said.items() if text}


def _say(written: Written) -> None:
    say(f"Report: {visible(written.out)}, {written.pictures:,} pictures")
    if written.missing:
        first = list(written.missing.values())[:_NAMED]
        more = "" if len(written.missing) == len(first) else f" (the first {len(first)} of them)"
        complain(f"{len(written.missing):,} pictures could not be shown{more}: {'; '.join(first)}")
