"""`artquant plan`: does a training run fit into memory."""

from __future__ import annotations

import argparse
import json

from artquant.cli.runs import load_run


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; status 1 if a stage does not fit."""
    from artquant.plan.sizes import parse_memory

    memory = parse_memory(arguments.memory)
    config = load_run(arguments.config, arguments.overrides)

    from artquant.plan.advice import plan_run
    from artquant.plan.report import plain, report_lines
    from artquant.plan.stage import Assumptions

    assumptions = Assumptions(arguments.gpus, memory, arguments.length, arguments.learned)
    plans = plan_run(config, config.chosen_stages(arguments.stage), assumptions)
    if arguments.json:
        print(json.dumps(plain(plans, assumptions), indent=2))
    else:
        print("\n".join(report_lines(plans, assumptions)))
    return 0 if all(plan.fits for plan in plans) else 1
