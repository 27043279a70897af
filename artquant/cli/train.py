"""`artquant train`: trains here, or starts the processes that do."""

from __future__ import annotations

import argparse
import importlib.util
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
    ranks = _ranks(arguments)
    launchers = {stage.name: _launcher(arguments, stage, ranks) for stage in stages}
    _check_deepspeed(stages, launchers)
    if all(launcher == "none" for launcher in launchers.values()):
        return _train_here(config, stages)
    for stage in stages:
        command = _command(arguments, stage, launchers[stage.name], ranks)
        status = subprocess.run(command, env=_environment()).returncode
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
    if arguments.ranks is None:
        return max(1, _gpus())
    if arguments.ranks < 1:
        raise ArtQuantError(f"--ranks must be at least 1, got {arguments.ranks}")
    if arguments.ranks > 1 and arguments.launcher == "none":
        raise ArtQuantError(f"--ranks {arguments.ranks} needs processes: name --launcher torchrun or deepspeed")
    return arguments.ranks


def _launcher(arguments: argparse.Namespace, stage: StageConfig, ranks: int) -> str:
    if "RANK" in os.environ:
        return "none"  # started by a launcher already
    if arguments.launcher != "auto":
        return arguments.launcher
    if stage.deepspeed is not None:
        return "deepspeed"
    return "torchrun" if ranks > 1 else "none"


def _check_deepspeed(stages: list[StageConfig], launchers: dict[str, str]) -> None:
    """Before processes are started, whose messages are hard to read."""
    for stage in stages:
        if stage.deepspeed is not None and not stage.deepspeed.is_file():
            raise ArtQuantError(f"stage {stage.name}: no DeepSpeed file {stage.deepspeed}; see configs/deepspeed")
        wanted = stage.deepspeed is not None or launchers[stage.name] == "deepspeed"
        if wanted and importlib.util.find_spec("deepspeed") is None:
            raise ArtQuantError(f"stage {stage.name}: DeepSpeed is not installed; pip install artquant[train]")


def _command(arguments: argparse.Namespace, stage: StageConfig, launcher: str, ranks: int) -> list[str]:
    inner = ["--quiet"] if arguments.quiet else []
    inner += ["train", "--config", str(arguments.config), "--stage", stage.name, "--launcher", "none"]
    inner += arguments.overrides
    if launcher == "torchrun":
        port = ["--master-port", str(_free_port())]
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks), *port, "-m", "artquant"]
    elif launcher == "deepspeed":
        port = ["--master_port", str(_free_port())]
        launch = ["-m", "deepspeed.launcher.runner", *_chosen_devices(ranks), *port, "--no_local_rank"]
        launch += ["--module", "artquant"]
    else:
        launch = ["-m", "artquant"]
    return [sys.executable, *launch, *inner]


def _chosen_devices(ranks: int) -> list[str]:
    """DeepSpeed's launcher heeds CUDA_VISIBLE_DEVICES only in this form; with a number it takes the first GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return ["--num_gpus", str(ranks)]
    return ["--include", "localhost:" + ",".join(visible.split(",")[:ranks])]


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
