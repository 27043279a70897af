"""`artquant rad ACTION`: descriptions collected from chat models."""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import TYPE_CHECKING

from artquant.cli import collecting, rad_demo
from artquant.cli.arguments import require_extra, secret_in
from artquant.cli.terminal import say

if TYPE_CHECKING:
    from artquant.rad.demo_server.server import Behaviour, DemoServer

_PACKAGES = {"aiohttp": "aiohttp", "pydantic": "pydantic"}


def run(arguments: argparse.Namespace) -> int:
    """Run an action; its status."""
    require_extra("rad", _PACKAGES)
    actions = {
        "run": collecting.collect,
        "status": collecting.status,
        "show": collecting.show,
        "export": collecting.export,
        "report": collecting.report,
        "batch": collecting.batch,
        "serve-demo": _serve_demo,
        "demo": rad_demo.run,
    }
    return actions[arguments.action](arguments)


def _serve_demo(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from artquant.rad.demo_server.answers import Answers
    from artquant.rad.demo_server.log import RequestLog
    from artquant.rad.demo_server.pictures import DemoPictures
    from artquant.rad.demo_server.server import DemoServer

    behaviour = _behaviour(arguments)
    answers = Answers(DemoPictures(arguments.data), arguments.seed, arguments.mistakes, arguments.judge_errors)
    with RequestLog(arguments.log) as log:
        asyncio.run(_until_stopped(DemoServer(answers, behaviour, log), arguments.host, arguments.port))
    return 0


def _behaviour(arguments: argparse.Namespace) -> Behaviour:
    from artquant.rad.demo_server.faults import parse_faults
    from artquant.rad.demo_server.server import Behaviour

    return Behaviour(
        faults=parse_faults(arguments.faults, arguments.seed),
        rate_limit=arguments.rate_limit,
        retry_after=arguments.retry_after,
        retry_seconds=arguments.retry_seconds,
        latency=arguments.latency,
        slow_seconds=arguments.slow_seconds,
        structure=arguments.structure,
        vision=not arguments.no_vision,
        key=secret_in(arguments.key_variable, "--key-variable"),
    )


async def _until_stopped(server: DemoServer, host: str, port: int) -> None:
    from artquant.rad.demo_server.server import serving

    stopped = asyncio.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, stopped.set)
    async with serving(server, host, port) as url:
        say(f"serving on {url}; stop it with Ctrl-C", flush=True)
        await stopped.wait()
