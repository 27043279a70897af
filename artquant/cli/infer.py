"""`artquant infer`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from artquant.cli.arguments import given_loading, named_prompt, range_of
from artquant.cli.collection_options import given_only
from artquant.cli.named_model import chosen_attributes, open_model, require_columns, require_learned
from artquant.cli.terminal import complain, say
from artquant.config.load import load_config
from artquant.config.run_paths import PREDICTIONS, final_model, run_folder, stage_model
from artquant.config.schema import InferConfig, Loading
from artquant.data.predictions import read_predictions
from artquant.errors import ArtQuantError
from artquant.files.json_files import json_text, read_json, write_text
from artquant.infer.batch_size import choose_batch_size
from artquant.infer.journal import origin_of
from artquant.infer.outputs import lines_file, write_output
from artquant.infer.score_files import LOOKED_THROUGH, InferenceSummary, run_inference
from artquant.infer.scorer import Scorer
from artquant.listing.collection import Collection
from artquant.listing.where import Where
from artquant.models.hub import is_fetched
from artquant.models.model_folder import ModelFolder


def run(arguments: argparse.Namespace) -> int:
    """Score the pictures of a run's configuration, or those named on the command line."""
    where = None if arguments.where is None else Where.parse(arguments.where)
    folder, settings, out = _settings(arguments)
    inputs = tuple(arguments.records or (settings.records,))
    if arguments.published is not None:
        _require_published(arguments.published, out, inputs)
    if arguments.devices is not None:
        from artquant.cli.infer_devices import run_on_each

        return run_on_each(arguments, folder, settings, out, inputs, where)
    lines = lines_file(out, where)
    collection = Collection(
        inputs, settings.images, columns=arguments.columns, only=given_only(arguments), draft_to=settings.draft_to
    )
    total = collection.count(LOOKED_THROUGH)  # what is wrong with it is said before a model is loaded
    strict = arguments.strict or (not arguments.skip_unreadable and collection.has_records())
    loading = {field.name: vars(settings)[field.name] for field in fields(Loading)}
    scorer = Scorer.from_pretrained(
        folder,
        device=settings.device,
        prompt=named_prompt(arguments),
        weights=arguments.weights,
        score_range=settings.score_range,
        **loading,
    )
    attributes = chosen_attributes(scorer, settings.attributes, folder.path)
    require_learned(scorer, ("score",), folder.path, attributes, arguments.anyway)
    if where is not None:
        require_columns(scorer, attributes, where)
    summary = run_inference(
        scorer,
        collection,
        lines,
        origin=origin_of(folder),
        attributes=attributes,
        batch_size=settings.batch_size or choose_batch_size(scorer, attributes),
        workers=settings.workers,
        skip_unreadable=not strict,
        progress=not arguments.quiet,
        total=total,
    )
    if arguments.published is not None:
        found = read_predictions(lines)
        listed = [{"image": one.id, "score": found[one.id].prediction.score} for one in collection if one.id in found]
        write_text(arguments.published, json_text(arguments.published, listed, indent=2))
    rows = write_output(out, lines, list(zip(summary.unread, summary.skipped, strict=True)), where)
    status = report(summary, out)
    if where is not None:
        say(f"{out}: {rows} ids where {where.text}")
    return status


def _require_published(file: Path, out: Path, inputs: Sequence[Path]) -> None:
    """Refuse to replace a file that is no list of published scores, or that is read or written otherwise."""
    if os.path.realpath(file) in map(os.path.realpath, (out, *inputs)):
        raise ArtQuantError(f"--published {file}: is the list or the predictions file; name another")
    if os.path.lexists(file) and not (file.is_file() and file.stat().st_size == 0):
        try:
            found = read_json(file)
        except ArtQuantError:
            found = None
        if not (
            isinstance(found, list) and all(isinstance(one, dict) and {*one} == {"image", "score"} for one in found)
        ):
            raise ArtQuantError(f"--published {file}: is there and holds something else; name another file")


def report(summary: InferenceSummary, out: Path) -> int:
    """Say what was done; status 1 where pictures were skipped."""
    for message in summary.skipped:
        complain(f"skipped: {message}")
    done = f", {summary.done_before} were there" if summary.done_before else ""
    skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
    say(f"{out}: {summary.scored} pictures scored{done}{skipped}")
    return 1 if summary.skipped else 0


def _settings(arguments: argparse.Namespace) -> tuple[ModelFolder, InferConfig, Path]:
    """Model, settings and output: from the configuration where there is one, the command line first."""
    given = given_loading(arguments) | {
        "records": arguments.records[0] if arguments.records else None,
        "images": arguments.images,
        "batch_size": arguments.batch_size,
        "draft_to": arguments.draft_to,
        "workers": arguments.workers,
        "device": arguments.device,
        "score_range": range_of(arguments.range, "--range"),
        "attributes": tuple(arguments.attribute) or ("trained" if arguments.attributes else None),
    }
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.config is None:
        for name in ("model", "records", "out"):
            if not vars(arguments)[name]:
                raise ArtQuantError(f"without --config, --{name} is needed")
        folder = open_model(arguments)
        return folder, InferConfig(**given), arguments.out

    config = load_config(arguments.config, arguments.overrides)
    model = arguments.model or final_model(config)
    settings = replace(config.infer, **given)
    trained = config.stages and model == stage_model(config, config.stages[-1])
    advice = f"train it first: artquant train --config {arguments.config}" if trained else "see ModelZoo/README.md"
    _require_there(arguments.config, model, advice, settings, not arguments.records)
    out = arguments.out or run_folder(config) / PREDICTIONS
    folder = open_model(arguments, model, config.base)
    return folder, settings, out


def _require_there(config: Path, model: Path, advice: str, settings: InferConfig, listed: bool) -> None:
    """Raise an ArtQuantError that names all that a run is to be scored with and on, and that is not there."""
    needed = [(model, advice)] * (not is_fetched(model))
    needed += [(settings.records, "dataset/README.md says how lists are made")] * listed
    needed += [(settings.images, "the pictures")] if settings.images is not None else []
    missing = [f"{path} ({advice})" for path, advice in needed if not path.exists()]
    if missing:
        raise ArtQuantError(f"{config}: not there: {', '.join(missing)}")
