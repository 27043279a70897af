"""The command line: `artquant COMMAND` or `python -m artquant COMMAND`.

Each command's module is imported when the command runs, so that the help answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from artquant import __version__
from artquant.cli.arguments import settle_config
from artquant.cli.parser import build_parser
from artquant.errors import ArtQuantError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 done with something to report, 2 error, 130 interrupted."""
    arguments = _parse(argv)
    _set_up_logging(arguments)
    try:
        if "needs_config" in arguments:
            settle_config(arguments)
        command = importlib.import_module(f"artquant.cli.{arguments.module}")
        status = command.run(arguments) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be written at the end
        return 128 + signal.SIGPIPE
    except ArtQuantError as error:
        print(f"artquant {arguments.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"artquant {arguments.command}: interrupted", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parsed arguments; settings (key=value) and files may stand in several places between the options."""
    parser = build_parser(__version__)
    arguments, rest = parser.parse_known_args(argv)
    for argument in rest:
        if not argument.startswith("-") and "files" in arguments:
            arguments.files.append(Path(argument))
        elif not argument.startswith("-") and "overrides" in arguments:
            arguments.overrides.append(argument)
        else:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.command_line = shlex.join(["artquant", *(sys.argv[1:] if argv is None else argv)])
    return arguments


def _set_up_logging(arguments: argparse.Namespace) -> None:
    """Our messages from the first rank; of the libraries only warnings."""
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.WARNING if first else logging.ERROR, format="%(message)s", stream=sys.stderr)
    logging.getLogger("artquant").setLevel(logging.INFO if first and not arguments.quiet else logging.WARNING)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels that it would download
    warnings.simplefilter("ignore", FutureWarning)  # what one library does that another will no longer take
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when transformers is imported
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
