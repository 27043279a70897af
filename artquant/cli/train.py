"""`artquant train`: trains here, or starts the processes that do."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys

from artquant.config.load import load_config
from artquant.config.schema import RunConfig, StageConfig
from artquant.errors import ArtQuantError
from artquant.paths import stage_model
from artquant.train.stages import chosen_stages


def run(arguments: argparse.Namespace) -> int:
    """Train in this process, or each stage in processes of its own."""
    config = load_config(arguments.config, arguments.overrides)
    stages = chosen_stages(config, arguments.stage)
    launchers = {stage.name: _launcher(arguments, stage) for stage in stages}
    if "RANK" in os.environ or all(launcher == "none" for launcher in launchers.values()):
        return _train_here(config, stages)
    for stage in stages:
        status = subprocess.run(_command(arguments, stage, launchers[stage.name]), env=_environment()).returncode
        if status:
            return status
    return 0


def _train_here(config: RunConfig, stages: list[StageConfig]) -> int:
    from transformers.utils.logging import disable_progress_bar

    from artquant.train.run import run_training

    disable_progress_bar()  # of loading; training has its own
    run_training(config, [stage.name for stage in stages])
    if os.environ.get("RANK", "0") == "0":
        print(f"run {config.run}: model in {stage_model(config, stages[-1])}")
    return 0


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _ranks(arguments: argparse.Namespace) -> int:
    ranks = arguments.ranks or max(1, _gpus())
    if ranks < 1:
        raise ArtQuantError(f"--ranks must be at least 1, got {ranks}")
    return ranks


def _launcher(arguments: argparse.Namespace, stage: StageConfig) -> str:
    if arguments.launcher != "auto" or "RANK" in os.environ:
        return arguments.launcher if "RANK" not in os.environ else "none"
    if stage.deepspeed is not None:
        return "deepspeed"
    return "torchrun" if _ranks(arguments) > 1 else "none"


def _command(arguments: argparse.Namespace, stage: StageConfig, launcher: str) -> list[str]:
    inner = ["train", "--config", str(arguments.config), "--stage", stage.name, "--launcher", "none"]
    inner += arguments.overrides
    ranks = _ranks(arguments)
    if launcher == "torchrun":
        port = ["--master-port", str(_free_port())]
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks), *port, "-m", "artquant"]
    elif launcher == "deepspeed":
        port = ["--master_port", str(_free_port())]
        launch = ["-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks), *port, "--no_local_rank"]
        launch += ["--module", "artquant"]
    else:
        launch = ["-m", "artquant"]
    return [sys.executable, *launch, *inner]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _environment() -> dict[str, str]:
    """Without GPUs DeepSpeed has to be told so, and ranks on one CPU must not crowd each other out."""
    environment = dict(os.environ)
    if not _gpus():
        environment.setdefault("DS_ACCELERATOR", "cpu")
        environment.setdefault("OMP_NUM_THREADS", "1")
    return environment
