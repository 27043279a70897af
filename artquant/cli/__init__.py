"""The command line: `artquant COMMAND` or `python -m artquant COMMAND`.

Each command's module is imported when the command runs, so that the help answers at once.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from artquant import __version__
from artquant.cli import terminal
from artquant.cli.arguments import path, settle_config
from artquant.cli.idle import refuse_idle
from artquant.cli.memory import keep_freed_memory
from artquant.cli.parser import build_parser
from artquant.errors import ArtQuantError

__all__ = ["main"]

_NUMBERS = re.compile(r"-[\d.][-+\d.,eE]*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 done with something to report, 2 error, 130 interrupted."""
    terminal.set_up_streams()
    name = "artquant"
    try:
        arguments = _parse(argv)
        name += f" {arguments.command}"
        _set_up_logging(arguments)
        if "needs_config" in arguments:
            settle_config(arguments)
        refuse_idle(arguments)
        keep_freed_memory()
        command = importlib.import_module(f"artquant.cli.{arguments.module}")
        _collect_from_here()
        status = command.run(arguments) or 0
        terminal.finish()
        return status
    except (terminal.OutputClosed, BrokenPipeError):
        return 128 + signal.SIGPIPE
    except ArtQuantError as error:
        terminal.complain(f"{name}: error: {error}")
        return 2
    except OSError as error:  # of any file that was not there, not to be written, or lay on a full disk
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        terminal.complain(
            f"{name}: error: {where}{error.strerror or error}; check the path, permissions and free space"
        )
        return 2
    except KeyboardInterrupt:
        terminal.complain(f"{name}: interrupted")
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parsed arguments; settings (key=value) and files may stand in several places between the options."""
    parser = build_parser(__version__)
    arguments, rest = parser.parse_known_args(_joined(sys.argv[1:] if argv is None else list(argv)))
    for argument in rest:
        if not argument.startswith("-") and "files" in arguments:
            arguments.files.append(_path(parser, argument))
        elif not argument.startswith("-") and "overrides" in arguments:
            arguments.overrides.append(argument)
        else:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.command_line = shlex.join(["artquant", *(sys.argv[1:] if argv is None else argv)])
    return arguments


def _path(parser: argparse.ArgumentParser, argument: str) -> Path:
    try:
        return path(argument)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))


def _joined(argv: Sequence[str]) -> list[str]:
    """Numbers that begin with a minus, joined with their option: argparse takes "-1,1" for an option of its own."""
    joined: list[str] = []
    for argument in argv:
        if joined and _NUMBERS.fullmatch(argument) and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _collect_from_here() -> None:
    """In a process that began without the garbage collector: from now on with it, but for what is there already."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _set_up_logging(arguments: argparse.Namespace) -> None:
    """Our messages from the first rank; of the libraries only warnings."""
    first = os.environ.get("RANK", "0") == "0"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(terminal.VisibleFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING if first else logging.ERROR, handlers=[handler])
    logging.getLogger("artquant").setLevel(logging.INFO if first and not arguments.quiet else logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels that it would download
    warnings.simplefilter("ignore", FutureWarning)  # what one library does that another will no longer take
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.utils\.data")  # more workers than cores
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when transformers is imported
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if arguments.quiet:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when the hub's library is imported
