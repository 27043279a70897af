"""Options of `artquant rad ACTION`: descriptions collected from chat models."""

from __future__ import annotations

import argparse
from typing import get_args

from artquant.cli.arguments import AddCommand, Commands, add_config, fraction, number, path, text, whole
from artquant.config.requirements import LARGEST_SEED
from artquant.rad.demo_server.faults import FAULTS, RetryAfter
from artquant.rad.settings import STRUCTURES


def add_rad(commands: Commands, command: AddCommand) -> None:
    """The command and its actions; `command` adds one: its name, module and help."""
    rad = command(commands, "rad", "rad", "collect descriptions of scored pictures from chat models")
    actions = rad.add_subparsers(dest="action", metavar="ACTION", required=True, help="what to do")
    _demo(actions, command)
    _collection(actions, command)
    _serve_demo(actions, command)


def _demo(actions: Commands, command: AddCommand) -> None:
    demo = command(actions, "demo", "rad", "all of it in minutes: draw, collect, export, train, compare")
    add = demo.add_argument
    add("--images", type=whole(20), default=1500, help="pictures to draw (default %(default)s)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of pictures and training (default %(default)s)")
    add("--short", action="store_true", help="few steps of training, to see that it runs: its figures mean nothing")


def _collection(actions: Commands, command: AddCommand) -> None:
    run = command(actions, "run", "rad", "collect until every picture has an outcome; goes on where it was")
    run.add_argument("--yes", action="store_true", help="also where it is estimated to cost more than `confirm`")
    run.add_argument("--retry", action="store_true", help="failed and unreadable pictures once more")
    status = command(actions, "status", "rad", "how far a collection is")
    show = command(actions, "show", "rad", "all that was written of a picture, by whom it was rejected and why")
    show.add_argument("image", type=text, metavar="IMAGE", help="as the records name it")
    export = command(actions, "export", "rad", "write what was kept as training files")
    export.add_argument("--out", type=path, required=True, metavar="DIR", help="folder to write")
    export.add_argument("--subject", type=text, default="painting", help="noun in questions (default %(default)s)")
    export.add_argument(
        "--leave-out",
        choices=("leaks", "near-duplicates"),
        action="append",
        default=[],
        help="pictures of which these are found (may be repeated; they are listed in any case)",
    )
    report = command(actions, "report", "rad", "write what came of it as one HTML file")
    report.add_argument("--out", type=path, metavar="FILE", help="(default: report.html in the collection's folder)")
    report.add_argument(
        "--beside",
        type=path,
        action="append",
        default=[],
        metavar="FILE",
        help="another set of descriptions to compare: structured, or of level 3 (may be repeated)",
    )
    report.add_argument("--examples", type=whole(0, 1000), default=12, help="of each kind (default %(default)s)")
    for one in (status, show, report):
        one.add_argument("--json", action="store_true", help="as JSON")
    _batch(actions, command)
    for one in (run, status, show, export, report):
        add_config(one, required=True)


def _batch(actions: Commands, command: AddCommand) -> None:
    batch = command(actions, "batch", "rad", "collect through batch files: read results, write the next requests")
    add = batch.add_argument
    add("--results", type=path, action="append", default=[], metavar="FILE", help="of requests (may be repeated)")
    add("--out", type=path, metavar="DIR", help="new folder for the next requests")
    add("--abandon", action="store_true", help="requests whose results were not read are made anew")
    add_config(batch, required=True)


def _serve_demo(actions: Commands, command: AddCommand) -> None:
    serve = command(actions, "serve-demo", "rad", "answer as chat models do, for the demo's pictures, on this machine")
    add = serve.add_argument
    add("--data", type=path, required=True, metavar="DIR", help="what artquant demo-data wrote")
    add("--host", type=text, default="127.0.0.1", help="address to serve on (default %(default)s)")
    add("--port", type=whole(0, 65_535), default=0, help="its port (default: one that is free; it is printed)")
    add("--log", type=path, metavar="FILE", help="JSON lines, one for each request: what became of it (appended)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of mistakes and faults (default %(default)s)")
    add("--mistakes", type=fraction, default=0.3, help="share of texts written with a mistake (default %(default)s)")
    add("--judge-errors", type=fraction, default=0.0, help="share of judgements that are wrong (default %(default)s)")
    _misbehaviour(serve)


def _misbehaviour(serve: argparse.ArgumentParser) -> None:
    add = serve.add_argument_group("as endpoints are").add_argument
    add(
        "--faults",
        type=text,
        default="0",
        metavar="SHARE[,KIND,...]",
        help=f"share of requests with a fault, of each kind: {', '.join(FAULTS)} (default: all of them)",
    )
    add("--slow-seconds", type=_seconds, default=30.0, help="that a slow answer takes more (default %(default)g)")
    add("--latency", type=_seconds, default=0.0, metavar="SECONDS", help="of each answer (default %(default)g)")
    add("--rate-limit", type=_rate, metavar="N", help="requests a minute; above it: 429")
    add(
        "--retry-after",
        choices=get_args(RetryAfter),
        default="mixed",
        help="what a 429 says of it (default %(default)s)",
    )
    add("--retry-seconds", type=_seconds, default=1.0, help="it says so of the fault refused_429 (default %(default)g)")
    add(
        "--structure",
        choices=STRUCTURES,
        default="json_schema",
        help="strictest response_format that is taken (default %(default)s)",
    )
    add("--no-vision", action="store_true", help="refuse pictures")
    add("--key-variable", type=text, metavar="NAME", help="environment variable of the key that requests have to bear")


def _seconds(said: str) -> float:
    return number(said, 0, 86_400)


def _rate(said: str) -> float:
    return number(said, 0.01, 1e9)
