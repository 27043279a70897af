"""Options of `artquant shard ACTION`: collections."""

from __future__ import annotations

import argparse

from artquant.cli.arguments import (
    DEVICES,
    LONGEST_TEXT,
    AddCommand,
    Commands,
    add_attributes,
    add_model,
    comma_names,
    number,
    path,
    text,
    whole,
)
from artquant.cli.collection_options import BATCH_SIZE, INPUTS, add_columns, add_draft, add_only
from artquant.config.requirements import LARGEST_BATCH, LARGEST_SEED
from artquant.shards.claims import LEASE

SIZE = 4096  # pictures of a shard: seconds on a GPU, so that little is lost with a worker
LARGEST_SIZE = 100_000


def add_shard(commands: Commands, command: AddCommand) -> None:
    """The command and its actions; `command` adds one: its name, module and help."""
    shard = command(commands, "shard", "shards", "score a collection of any size with any number of workers")
    actions = shard.add_subparsers(dest="action", metavar="ACTION", required=True, help="what to do")
    _plan(actions, command)
    run = _run(actions, command)
    status = command(actions, "status", "shards", "how far a run is")
    status.add_argument("--json", action="store_true", help="as JSON")
    merge = command(actions, "merge", "shards", "put the results together, in the order of the list")
    merge.add_argument("--out", type=path, required=True, metavar="FILE", help="table to write: .jsonl, .csv, .parquet")
    help = "write the ids alone where it holds, such as 'score > 7' (.txt, .csv, .parquet)"
    merge.add_argument("--where", type=text, metavar="CONDITION", help=help)
    _cascade(actions, command)
    for one in (run, status, merge):
        one.add_argument("folder", type=path, metavar="RUN", help="folder of a planned run")
    for one in (run, status):
        help = "after which a worker without a sign of life is dead (default %(default)g)"
        one.add_argument("--lease", type=_lease, default=LEASE, metavar="SECONDS", help=help)


def _plan(actions: Commands, command: AddCommand) -> None:
    plan = command(actions, "plan", "shards", "cut a list of pictures into shards")
    plan.add_argument("inputs", nargs="+", type=text, metavar="INPUT", help=INPUTS)
    add_columns(plan)
    add_only(plan)
    add_draft(plan)
    add_model(plan, required=True)
    add_attributes(plan)
    add = plan.add_argument
    add("--out", type=path, required=True, metavar="RUN", help="new folder, which all workers must see")
    add("--size", type=whole(1, LARGEST_SIZE), default=SIZE, help="pictures of a shard (default %(default)s)")
    add("--images", type=path, metavar="DIR", help="folder that a list's names begin at (default: the list's)")
    add("--describe", type=int, choices=(1, 2, 3), metavar="LEVEL", help="also a column of descriptions: 1, 2, 3")
    add("--max-new-tokens", type=whole(1, 100_000), help=f"with --describe: longest text (default {LONGEST_TEXT})")
    add("--batch-size", type=whole(1, LARGEST_BATCH), help=BATCH_SIZE)


def _run(actions: Commands, command: AddCommand) -> argparse.ArgumentParser:
    run = command(actions, "run", "shards", "score shards until all are done; start as many as there are machines")
    add = run.add_argument
    add("--worker", type=_worker, default=(1, 1), metavar="K/N", help="begin with the K-th of N shares, from 1")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--devices", type=comma_names, default=("auto",), metavar="N,N,...", help=DEVICES)
    where.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="with Ray: a cluster's address, or this machine"
    )
    add("--actors", type=whole(1, 100_000), help="with --ray: at most so many (default: one for each free GPU or CPU)")
    add("--model", type=path, metavar="MODEL", help="where the model lies on this machine (default: as planned)")
    add("--base", type=path, metavar="MODEL", help="where its base lies (default: as planned)")
    add("--workers", type=whole(0, 1024), help="processes that read pictures, of each device")
    return run


def _cascade(actions: Commands, command: AddCommand) -> None:
    cascade = command(actions, "cascade", "cascade", "what a first pass by another model has cost")
    add = cascade.add_argument
    add("first", type=path, metavar="FIRST", help="table of all pictures by the first model: .jsonl, .csv, .parquet")
    add("second", type=path, metavar="SECOND", help="table of the second: the survivors, and a --sample of the others")
    add("--only", type=path, required=True, metavar="IDS", help="the survivors, as the second pass was planned with")
    add("--truth", type=path, metavar="RECORDS", help="also say how well either order follows true scores")
    add("--bootstrap", type=whole(0), default=1000, metavar="N", help="resamples (default %(default)s)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of the resamples (default %(default)s)")
    add("--json", action="store_true", help="as JSON")


def _worker(said: str) -> tuple[int, int]:
    first, slash, last = said.partition("/")
    count = whole(1, 1_000_000)(last if slash else "")
    return whole(1, count)(first), count


def _lease(said: str) -> float:
    return number(said, 0.1, 86_400)
