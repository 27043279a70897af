"""`artquant train`: trains here, or starts the processes that do."""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

from artquant.cli.runs import load_run
from artquant.cli.terminal import complain, say
from artquant.config.run_paths import run_folder, stage_model
from artquant.config.schema import RunConfig, StageConfig
from artquant.errors import ArtQuantError
from artquant.files.only_writer import only_writer
from artquant.models.hub import locate
from artquant.train.claim import begun_with, claim_run
from artquant.train.launch import Machines, launch_command, run_processes, tell_deepspeed
from artquant.train.preflight import require_inputs

_STOPPED = 128 + signal.SIGTERM  # what a shell reports of a process that this signal ended


def run(arguments: argparse.Namespace) -> int:
    """Train in this process, or each stage in processes of its own."""
    config = load_run(arguments.config, arguments.overrides)
    stages = config.chosen_stages(arguments.stage)
    require_inputs(arguments.config, config, stages)
    machines = _machines(arguments)
    launchers = {stage.name: _launcher(arguments, stage, machines) for stage in stages}
    _check_deepspeed(stages, launchers)
    config = replace(config, base=locate(config.base).name)  # a repository with its commit: a run stays with it
    finished = all(stage_model(config, stage).is_dir() for stage in stages)
    if config.model.gradient_checkpointing is None:
        config = _settled(arguments, config, machines)
        wanted = str(config.model.gradient_checkpointing).lower()
        arguments.overrides = [*arguments.overrides, f"model.gradient_checkpointing={wanted}"]  # of the ranks too
    done = f"run {config.run}: {'nothing is left to do; ' * finished}model in {stage_model(config, stages[-1])}"
    with ExitStack() as lock:
        if not arguments.node_rank and "RANK" not in os.environ:  # of several machines or ranks the first one
            lock.enter_context(only_writer(run_folder(config)))
        if all(launcher == "none" for launcher in launchers.values()):
            return _train_here(config, stages, arguments.accept_changes, done)
        if not arguments.node_rank:  # before processes that would say it each
            claim_run(config, arguments.accept_changes)
        if finished:
            say(done)
            return 0
        return _train_in_processes(arguments, config, launchers, machines)


def _settled(arguments: argparse.Namespace, config: RunConfig, machines: Machines) -> RunConfig:
    """With gradient checkpointing on or off: as the run began, else as its plan for this machine says."""
    from artquant.plan.checkpointing import memory_here, settle_checkpointing, with_checkpointing
    from artquant.plan.stage import Assumptions

    before = None if arguments.accept_changes else begun_with(config)
    if before is not None and before.model.gradient_checkpointing is not None:
        return with_checkpointing(config, before.model.gradient_checkpointing)
    if "RANK" in os.environ or machines.nodes > 1 or machines.hostfile is not None:
        return with_checkpointing(config, True)  # all ranks must do the same, and cannot ask each other yet
    memory, device = memory_here(machines.ranks)
    return settle_checkpointing(config, Assumptions(machines.ranks, memory, device=device))


def _train_in_processes(
    arguments: argparse.Namespace, config: RunConfig, launchers: Mapping[str, str], machines: Machines
) -> int:
    """Train the stages, each in processes of its own."""
    for name in launchers:
        stage = config.chosen_stages([name])[0]
        command = launch_command(launchers[stage.name], machines, _inner_arguments(arguments, stage))
        status, stopped = run_processes(command, on_gpu=_gpus() > 0)
        if stopped:
            complain(f"run {config.run}: stopped by SIGTERM; run the same command to go on")
            return _STOPPED
        if status:
            return status
    return 0


def _train_here(config: RunConfig, stages: list[StageConfig], accept_changes: bool, done: str) -> int:
    tell_deepspeed(os.environ, on_gpu=_gpus() > 0)
    from artquant.train.interruption import TrainingStopped
    from artquant.train.stage import leave_ranks, run_training

    first = os.environ.get("RANK", "0") == "0"
    try:
        run_training(config, [stage.name for stage in stages], accept_changes)
    except TrainingStopped as stopped:
        atexit.register(leave_ranks)
        if first:
            complain(f"run {config.run}: {stopped}")
        return _STOPPED
    atexit.register(leave_ranks)  # when the process ends: a caller may train again in it
    if first:
        say(done)
    return 0


def _inner_arguments(arguments: argparse.Namespace, stage: StageConfig) -> list[str]:
    inner = ["--quiet"] if arguments.quiet else []
    inner += ["train", "--config", str(arguments.config), "--stage", stage.name, "--launcher", "none"]
    inner += ["--accept-changes"] if arguments.accept_changes else []
    return inner + arguments.overrides


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _machines(arguments: argparse.Namespace) -> Machines:
    ranks = max(1, _gpus()) if arguments.ranks is None else arguments.ranks
    machines = Machines(ranks, arguments.nodes, arguments.node_rank, arguments.master, arguments.hostfile)
    if arguments.launcher == "none" and (arguments.ranks or 1) * machines.nodes > 1:
        raise ArtQuantError("several ranks or nodes need processes: name --launcher torchrun or deepspeed")
    if machines.hostfile is not None and arguments.launcher not in ("auto", "deepspeed"):
        raise ArtQuantError("--hostfile is for --launcher deepspeed; torchrun takes --nodes, --node-rank and --master")
    if machines.nodes > 1 and arguments.launcher == "deepspeed":
        raise ArtQuantError("--nodes is for --launcher torchrun; deepspeed takes --hostfile")
    return machines


def _launcher(arguments: argparse.Namespace, stage: StageConfig, machines: Machines) -> str:
    if "RANK" in os.environ:
        return "none"  # started by a launcher already
    if arguments.launcher != "auto":
        return arguments.launcher
    if machines.hostfile is not None:
        return "deepspeed"
    # torchrun for DeepSpeed's stages too: it waits while its ranks save what they have when they are asked to stop.
    several = machines.ranks * machines.nodes > 1
    return "torchrun" if several or stage.deepspeed is not None else "none"


def _check_deepspeed(stages: list[StageConfig], launchers: dict[str, str]) -> None:
    """Before processes are started, whose messages are hard to read."""
    for stage in stages:
        wanted = stage.deepspeed is not None or launchers[stage.name] == "deepspeed"
        if wanted and importlib.util.find_spec("deepspeed") is None:
            raise ArtQuantError(f"stage {stage.name}: DeepSpeed is not installed; pip install artquant[train]")
