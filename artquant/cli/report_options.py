"""Options of `artquant report`."""

from __future__ import annotations

from artquant.cli.arguments import AddCommand, Commands, add_config, comma_numbers, path, whole
from artquant.config.requirements import LARGEST_SEED


def add_report(commands: Commands, command: AddCommand) -> None:
    """The command; `command` adds one: its name, module and help."""
    report = command(commands, "report", "report", "write one HTML page on a run or on predictions, with the pictures")
    add = report.add_argument
    add_config(report, required=False)
    help = "instead of a run: predictions files, the first one in full"
    add("--predictions", type=path, nargs="+", action="extend", default=[], metavar="FILE", help=help)
    add("--truth", type=path, metavar="FILE", help="records with gt_score (default: as the predictions say)")
    add("--images", type=path, metavar="DIR", help="folder of the pictures (default: the configuration's)")
    add("--no-pictures", action="store_true", help="figures and names alone")
    add("--descriptions", type=path, metavar="FILE", help="texts on the pictures, as artquant describe --json writes")
    add("--out", type=path, metavar="HTML", help="page to write (default: report.html beside metrics or predictions)")
    add("--allow-missing", action="store_true", help="pictures without a prediction are left out")
    add("--allow-extra", action="store_true", help="predictions without a truth are left out")
    add("--score-range", type=comma_numbers, metavar="LO,HI", help="range of valid scores")
    help = "of the predictions, to be mapped onto --score-range"
    add("--predicted-range", type=comma_numbers, metavar="LO,HI", help=help)
    add("--bootstrap", type=whole(0), default=1000, help="resamples for the intervals (default %(default)s)")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of the resamples (default %(default)s)")
    add("--examples", type=whole(1, 100), default=12, help="pictures on a contact sheet (default %(default)s)")
    help = "most small pictures in the list of all (default: as many as leave the page under 30 MB)"
    add("--small-pictures", type=whole(0), metavar="N", help=help)
