"""`artquant plan`: does a training run fit into memory."""

from __future__ import annotations

import argparse

from artquant.cli.runs import load_run
from artquant.cli.terminal import say, say_json
from artquant.errors import ArtQuantError


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; status 1 if a stage does not fit."""
    gpus, memory = _machine(arguments.gpus, arguments.memory)
    config = load_run(arguments.config, arguments.overrides)

    from artquant.plan.advice import plan_run
    from artquant.plan.report import plain, report_lines
    from artquant.plan.stage import Assumptions

    assumptions = Assumptions(gpus, memory, arguments.length, arguments.learned)
    plans = plan_run(config, config.chosen_stages(arguments.stage), assumptions)
    if arguments.json:
        say_json(plain(plans, assumptions), indent=2)
    else:
        say(*report_lines(plans, assumptions))
    return 0 if all(plan.fits for plan in plans) else 1


def _machine(gpus: int | None, memory: str | None) -> tuple[int, int]:
    """GPUs and the bytes of each: as given, else as this machine has them."""
    import torch

    from artquant.plan.sizes import parse_memory

    here = torch.cuda.device_count()
    if memory is None and here == 0:
        raise ArtQuantError("this machine has no GPU to ask; name the memory of yours (--memory 24GiB)")
    size = torch.cuda.get_device_properties(0).total_memory if memory is None else parse_memory(memory)
    return gpus if gpus is not None else max(1, here), size
