"""Options of `artquant serve`."""

from __future__ import annotations

from artquant.cli.arguments import DEVICES, AddCommand, Commands, add_loading, comma_names, path, text, whole
from artquant.config.requirements import LARGEST_BATCH, USUAL_BATCH


def add_serve(commands: Commands, command: AddCommand) -> None:
    """The command; `command` adds one: its name, module and help."""
    serve = command(commands, "serve", "serve", "answer with scores and descriptions over HTTP")
    add = serve.add_argument
    add("model", type=path, metavar="MODEL", help="folder, owner/name[@revision] or short name")
    add("--describe-model", type=path, metavar="MODEL", help="another model that describes")
    add("--test-predictions", type=path, metavar="FILE", help="the model's of test pictures: percentiles on the page")
    add("--test-records", type=path, metavar="FILE", help="true scores of these pictures")
    add("--base", type=path, metavar="MODEL", help="base model: of a LoRA run, or with a missing tokenizer")
    add("--allow-other-base", action="store_true", help="put a LoRA run over a base of other weights")
    add("--host", type=text, default="127.0.0.1", help="address to serve on (default %(default)s)")
    add("--port", type=whole(0, 65_535), default=8000, help="its port; 0: one that is free (default %(default)s)")
    add("--devices", type=comma_names, default=("auto",), metavar="N,N,...", help=DEVICES)
    add("--token-variable", type=text, metavar="NAME", help="environment variable of the token that requests must bear")
    add("--root", type=path, metavar="DIR", help="folder whose pictures requests may name by path (default: none)")
    add(
        "--batch",
        type=whole(1, LARGEST_BATCH),
        default=USUAL_BATCH,
        help="pictures scored at a time (default %(default)s)",
    )
    add("--waiting", type=whole(1), default=1024, help="pictures that may wait; beyond: 429 (default %(default)s)")
    add_loading(serve)
