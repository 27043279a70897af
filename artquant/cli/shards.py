"""`artquant shard ACTION`: collections."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from artquant.cli.arguments import (
    LONGEST_TEXT,
    device_names,
    given_loading,
    named_prompt,
    range_of,
    refuse_given,
    require_extra,
)
from artquant.cli.terminal import say, say_json
from artquant.files.progress_bar import progress_bar
from artquant.shards.manifest import Run


def run(arguments: argparse.Namespace) -> int:
    """Run an action; its status."""
    actions = {"plan": _plan, "run": _run, "status": _status, "merge": _merge}
    return actions[arguments.action](arguments)


def _plan(arguments: argparse.Namespace) -> int:
    from artquant.cli.collection_options import given_only
    from artquant.cli.shard_plans import settled
    from artquant.listing.collection import Collection
    from artquant.shards.plan import write_plan
    from artquant.shards.scoring import How

    only = given_only(arguments)
    score_range = range_of(arguments.range, "--range")
    how = How(
        _absolute(arguments.model),
        None if arguments.base is None else _absolute(arguments.base),
        arguments.allow_other_base,
        named_prompt(arguments),
        arguments.weights,
        None if score_range is None else list(score_range),
        given_loading(arguments),
        columns=vars(arguments.columns),
        describe=arguments.describe,
        max_new_tokens=arguments.max_new_tokens or LONGEST_TEXT,
        draft_to=arguments.draft_to,
    )
    wanted = tuple(arguments.attribute) or ("trained" if arguments.attributes else ())
    how, origin = settled(how, arguments.device or "auto", wanted, arguments.anyway, arguments.batch_size)
    inputs, columns = tuple(arguments.inputs), arguments.columns
    listed = Collection(inputs, arguments.images, columns=columns, only=only).entries()
    manifest = write_plan(listed, arguments.out, arguments.size, origin, vars(how), not arguments.quiet)
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
    if arguments.ray is not None:
        refuse_given(arguments, ("model", "base", "workers"), "is for workers of this machine, not for --ray")
        require_extra("ray", {"ray": "ray"})
        from artquant.shards.on_ray import run_on_ray

        scored = run_on_ray(planned, arguments.ray, arguments.actors, arguments.lease)
    elif len(devices) > 1:
        status = _on_devices(planned, devices, arguments)
        if status:
            return status
        scored = None
    else:
        scored = _work(planned, devices[0], arguments)
    here = "" if scored is None else f", {scored} of them by this command"
    merge = f"put them together: artquant shard merge {planned.folder} --out all.parquet"
    say(f"{planned.folder}: all {planned.manifest.pictures} pictures are done{here}{_lacking(planned)}; {merge}")
    return 0


def _on_devices(planned: Run, devices: list[str], arguments: argparse.Namespace) -> int:
    from artquant.cli.shard_devices import run_on_devices

    others = [f"--lease={arguments.lease}"]
    others += [
        f"--{name}={vars(arguments)[name]}"
        for name in ("model", "base", "workers")
        if vars(arguments)[name] is not None
    ]
    return run_on_devices(planned, devices, arguments.worker, others, arguments.quiet)


def _work(planned: Run, device: str, arguments: argparse.Namespace) -> int:
    from artquant.shards.scoring import ShardScorer
    from artquant.shards.work import work

    score = ShardScorer(planned, device, arguments.model, arguments.base, arguments.workers)
    with progress_bar("scoring", "image", not arguments.quiet, planned.manifest.pictures) as bar:
        return work(planned, score, arguments.worker, arguments.lease, bar.update)


def _status(arguments: argparse.Namespace) -> int:
    from artquant.shards.status import status_of

    found = status_of(Run.open(arguments.folder), arguments.lease)
    if arguments.json:
        say_json(vars(found) | {"open": found.open})
        return 0
    dead = f"{found.expired} left by workers that died, {found.open} open"
    say(f"shards: {found.done} of {found.shards} done, {found.claimed} at work, {dead}")
    say(f"pictures: {found.pictures_done} of {found.pictures} done, {found.errors} of them without a score")
    if found.rate is not None:
        left = (found.pictures - found.pictures_done) / found.rate
        say(f"rate: {found.rate:.3g} pictures a second" + (f", {left / 3600:.3g} hours left" if left else ""))
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    from artquant.listing.where import Where
    from artquant.shards.merge import write_merged

    where = None if arguments.where is None else Where.parse(arguments.where)
    planned = Run.open(arguments.folder)
    count = write_merged(planned, arguments.out, where, not arguments.quiet)
    pictures = f"{count} pictures" if where is None else f"{count} ids of {planned.manifest.pictures} pictures"
    say(f"{arguments.out}: {pictures}, each once, in the order of the list{_lacking(planned)}")
    return 0


def _lacking(planned: Run) -> str:
    from artquant.shards.results import without_score

    count = without_score(planned)
    return f"; {count} have no score (column error)" if count else ""
