"""`artquant shard ACTION`: collections."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from artquant.cli.arguments import device_names, given_loading, named_prompt, range_of
from artquant.cli.terminal import complain, say, say_json
from artquant.files.progress_bar import progress_bar
from artquant.shards.manifest import Run


def run(arguments: argparse.Namespace) -> int:
    """Run an action; its status."""
    actions = {"plan": _plan, "run": _run, "status": _status, "merge": _merge}
    return actions[arguments.action](arguments)


def _plan(arguments: argparse.Namespace) -> int:
    from artquant.cli.infer import chosen_attributes, require_learned
    from artquant.listing.entries import entries
    from artquant.shards.plan import write_plan
    from artquant.shards.scoring import How

    score_range = range_of(arguments.range, "--range")
    how = How(
        _absolute(arguments.model),
        None if arguments.base is None else _absolute(arguments.base),
        arguments.allow_other_base,
        named_prompt(arguments),
        arguments.weights,
        None if score_range is None else list(score_range),
        given_loading(arguments),
        batch_size=arguments.batch_size,
    )
    scorer, folder = how.load(arguments.device or "auto")
    wanted = tuple(arguments.attribute) or ("trained" if arguments.attributes else ())
    how.attributes.extend(chosen_attributes(scorer, wanted, folder.path))
    require_learned(scorer, ("score",), arguments, folder.path, how.attributes)
    origin = how.origin(scorer, folder)
    del scorer
    found = entries(arguments.inputs, images=arguments.images, unique=False)
    manifest = write_plan(found, arguments.out, arguments.size, origin, vars(how), not arguments.quiet)
    say(
        f"{arguments.out}: {manifest.pictures} pictures in {len(manifest.lists)} shards; "
        f"score them: artquant shard run {arguments.out}"
    )
    return 0


def _absolute(named: Path) -> str:
    """A folder wherever a worker is started; a name on the hub as it is."""
    return os.path.abspath(named) if named.exists() else str(named)


def _run(arguments: argparse.Namespace) -> int:
    planned = Run.open(arguments.folder)
    devices = device_names(arguments.devices)
    return _work(planned, devices[0], arguments)


def _work(planned: Run, device: str, arguments: argparse.Namespace) -> int:
    from artquant.shards.scoring import ShardScorer
    from artquant.shards.work import work

    score = ShardScorer(planned, device, arguments.model, arguments.base)
    with progress_bar("scoring", "image", not arguments.quiet, planned.manifest.pictures) as bar:
        scored = work(planned, score, arguments.worker, arguments.lease, bar.update)
    say(f"{planned.folder}: all {planned.manifest.pictures} pictures are done, {scored} of them here")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    return 0
