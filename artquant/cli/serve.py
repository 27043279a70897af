"""`artquant serve`."""

from __future__ import annotations

import argparse
import resource
from contextlib import suppress

from artquant.cli.arguments import device_names, given_loading, require_extra, secret_in
from artquant.cli.terminal import complain, say
from artquant.errors import ArtQuantError

_PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
_FILES = 8192  # open at a time: each connection is one
_LOCAL = ("127.0.0.1", "::1", "localhost")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    require_extra("serve", _PACKAGES)
    from artquant.serve.server import listening, serve
    from artquant.serve.settings import Chosen, Limits, Settings

    if arguments.root is not None and not arguments.root.is_dir():
        raise ArtQuantError(f"--root {arguments.root}: is no folder; name one that holds pictures")
    tested = (arguments.test_predictions, arguments.test_records)
    if (tested[0] is None) != (tested[1] is None):
        raise ArtQuantError("--test-predictions and --test-records belong together; name both or neither")
    devices, token = device_names(arguments.devices), secret_in(arguments.token_variable, "--token-variable")
    chosen = Chosen(
        arguments.model,
        arguments.base,
        arguments.allow_other_base,
        arguments.describe_model,
        None if tested[0] is None else tested,
        given_loading(arguments),
        batch=arguments.batch,
    )
    settings = Settings(token, arguments.root, limits=Limits(waiting=arguments.waiting))
    _raise_open_files()
    if token is None and arguments.host not in _LOCAL:
        complain("artquant serve: warning: whoever reaches this address may use it; name a token (--token-variable)")
    with listening(arguments.host, arguments.port) as bound:
        host, port = bound.getsockname()[:2]
        say(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}; stop it with Ctrl-C", flush=True)
        serve(chosen, devices, settings, [bound])
    return 0


def _raise_open_files() -> None:
    """Two thousand connections are more files than many systems let a process open at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
