"""`artquant rad run|status|show|export|report|batch`: a collection of descriptions, as its configuration names it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from artquant.cli.terminal import say, say_json
from artquant.config.load import load_config
from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    from artquant.rad.outcome import Outcome
    from artquant.rad.settings import RadConfig
    from artquant.rad.store import Store


def config_of(arguments: argparse.Namespace) -> RadConfig:
    """The configuration that the command names."""
    from artquant.rad.settings import RadConfig

    return load_config(arguments.config, arguments.overrides, RadConfig)


@contextmanager
def _stored(config: RadConfig) -> Iterator[Store]:
    from artquant.rad.collection import store_path
    from artquant.rad.store import open_store

    with open_store(store_path(config), read_only=True) as store:
        yield store


def collect(arguments: argparse.Namespace) -> int:
    """Collect until all pictures have an outcome."""
    from artquant.rad.collection import open_collection
    from artquant.rad.estimate import estimate
    from artquant.rad.run import collect

    config = config_of(arguments)
    with open_collection(config) as collection:
        if in_files := sum(1 for _ in collection.store.in_batches()):
            raise ArtQuantError(
                f"{collection.store.path}: {in_files:,} requests are in batch files and would be paid twice; "
                "read their results first (artquant rad batch --results), or give them up (--abandon)"
            )
        if arguments.retry:
            say(f"{collection.store.reopen('failed', 'unreadable')} pictures are tried again")
        expected = estimate(collection)
        if expected.pictures:
            say(expected.line, flush=True)
            if expected.cost > config.confirm and not arguments.yes:
                raise ArtQuantError(f"that is more than confirm: {config.confirm:g}; add --yes to begin, or raise it")
            try:
                collect(collection, progress=not arguments.quiet)
            finally:
                _say_state(collection.store)
        else:
            _say_state(collection.store)
    return 0


def status(arguments: argparse.Namespace) -> int:
    """How far a collection is."""
    config = config_of(arguments)
    with _stored(config) as store:
        if arguments.json:
            by_role = {role: totals._asdict() for role, totals in store.totals("role").items()}
            say_json({"pictures": store.states(), "calls": by_role}, indent=1)
        else:
            _say_state(store)
    return 0


def _say_state(store: Store) -> None:
    states = store.states()
    named = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items(), key=lambda item: -item[1]))
    say(f"{store.path}: {sum(states.values()):,} pictures: {named}")
    for role, totals in store.totals("role").items():
        again = f", {totals.attempts - totals.calls:,} sent again" if totals.attempts > totals.calls else ""
        open_ = f", {totals.unanswered:,} without a reply yet" if totals.unanswered else ""
        tokens = f"{totals.input:,} + {totals.output:,} tokens"
        say(
            f"  {role}: {totals.calls:,} calls{again}{open_}, {tokens}"
            + (f", {totals.cost:.2f}" if totals.cost else "")
        )


def show(arguments: argparse.Namespace) -> int:
    """All that was written of one picture, by whom it was rejected and why."""
    with _stored(config_of(arguments)) as store:
        entry, outcome = store.entry(arguments.image), store.outcome(arguments.image)
        if entry is None or outcome is None:
            raise ArtQuantError(f"{store.path}: no picture {arguments.image!r}; name one as the records do")
        if arguments.json:
            drafts = [draft.__dict__ for draft in outcome.drafts]
            say_json({"entry": entry.__dict__, "state": outcome.state, "reason": outcome.reason, "drafts": drafts}, 1)
        else:
            said = f", people gave {entry.score:g}"
            read = "" if outcome.score_read is None else f", the texts tell of {outcome.score_read:g}"
            say(f"{entry.image}: {outcome.state}{said}{read}" + (f" ({outcome.reason})" if outcome.reason else ""))
            _say_drafts(outcome)
    return 0


def _say_drafts(outcome: Outcome) -> None:
    for draft in outcome.drafts:
        mark = "" if draft.mark is None else f", mark {draft.mark:g}"
        say(f"\nround {draft.round}, {draft.part}{mark}{', kept' if draft.kept else ''}", f"  {draft.text}")
        for who, why in draft.objections:
            say(f"  - {who}: {why}")


def export(arguments: argparse.Namespace) -> int:
    """Training files of what was kept."""
    from artquant.cli.descriptions import levels_line
    from artquant.rad.export import export_descriptions

    config = config_of(arguments)
    with _stored(config) as store:
        done = export_descriptions(store, arguments.out, arguments.subject, config.seed, arguments.leave_out)
    say(f"{arguments.out}: {levels_line(done.levels)}")
    for doubt, images in done.doubts.items():
        if images:
            names = ", ".join(images[:5]) + (", ..." if len(images) > 5 else "")
            left = "left out" if doubt in arguments.leave_out else f"kept (--leave-out {doubt})"
            say(f"  {doubt}: {len(images):,} pictures, {left}: {names}")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """One HTML file of all that came of it."""
    from artquant.rad.report import report_lines, write_report

    config = config_of(arguments)
    with _stored(config) as store:
        out = arguments.out or store.path.parent / "report.html"
        summary = write_report(store, config.source.images, out, arguments.beside, arguments.examples)
    if arguments.json:
        say_json(summary.to_dict(), indent=1)
    else:
        say(*report_lines(summary))
    return 0


def batch(arguments: argparse.Namespace) -> int:
    """Requests to hand in as files, and their results."""
    if not (arguments.results or arguments.out or arguments.abandon):
        raise ArtQuantError("name results to read (--results), a folder for the next requests (--out), or --abandon")
    from artquant.rad.batch import read_batch, write_batch
    from artquant.rad.collection import open_collection

    with open_collection(config_of(arguments)) as collection:
        if arguments.abandon:
            say(f"{collection.store.again():,} requests in batch files will be made anew")
        for file in arguments.results:
            read = read_batch(collection, file)
            say(
                f"{file}: {read.answered:,} replies, {read.refused:,} refused, {read.failed:,} to be asked again, "
                f"{read.strange:,} of no request that waits"
            )
        if arguments.out is not None:
            done = write_batch(collection, arguments.out, progress=not arguments.quiet)
            files = f"{done.requests:,} requests in {done.files} files"
            say(f"{arguments.out}: {files}; {done.finished:,} pictures finished")
            if done.is_cut:
                raise ArtQuantError("budget: does not suffice for more requests; raise it, or read the results first")
        _say_state(collection.store)
    return 0
