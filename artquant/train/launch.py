"""Starting the processes of a stage: one command line per launcher, and signals passed on.

Light on imports: the processes that train load torch themselves.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.json_files import read_text

# Ranks that were asked to stop are given so long to write a checkpoint before they are killed.
_SECONDS_TO_SAVE = 600
_ADDRESS = re.compile(r"\S+:[0-9]{1,5}")
_HOST = re.compile(r"\S+\s+slots=[0-9]{1,4}")


@dataclass(frozen=True)
class Machines:
    """Which processes to start where.

    ranks: on this machine. nodes, node_rank, master: several machines, started one by one, and where rank 0 listens
    ("host:port"; None: a free port here). hostfile: DeepSpeed's list of machines, which its launcher starts through
    ssh, unless a node_rank says that each is started by hand.
    """

    ranks: int
    nodes: int = 1
    node_rank: int | None = None
    master: str | None = None
    hostfile: Path | None = None

    def __post_init__(self) -> None:
        if self.ranks < 1 or self.nodes < 1:
            raise ArtQuantError(f"--ranks and --nodes must be at least 1, got {self.ranks} and {self.nodes}")
        several = self.nodes > 1 or self.hostfile is not None
        if self.nodes > 1 and (self.node_rank is None or self.master is None):
            raise ArtQuantError("--nodes needs --node-rank (0 on the first machine) and --master HOST:PORT, on each")
        if self.node_rank is not None and not (several and self.node_rank >= 0):
            raise ArtQuantError("--node-rank counts the machines from 0 and needs --nodes or --hostfile")
        if self.node_rank is not None and self.hostfile is None and self.node_rank >= self.nodes:
            raise ArtQuantError(f"--node-rank must be below --nodes {self.nodes}, got {self.node_rank}")
        if self.master is not None and not _ADDRESS.fullmatch(self.master):
            raise ArtQuantError(f"--master must be HOST:PORT, got {self.master!r}")
        if self.hostfile is not None:
            _check_hostfile(self.hostfile)

    def address(self) -> tuple[str, str]:
        """Host and port of rank 0."""
        if self.master is not None:
            host, _, port = self.master.rpartition(":")
            return host, port
        return "127.0.0.1", str(_free_port())


def _check_hostfile(path: Path) -> None:
    """Refuse what DeepSpeed's launcher would stumble over."""
    if not path.is_file():
        raise ArtQuantError(f"--hostfile {path}: no such file; a line in it is HOST slots=GPUS")
    for number, line in enumerate(read_text(path, 1 << 20).splitlines(), start=1):
        said = line.split("#")[0].strip()
        if said and not _HOST.fullmatch(said):
            raise ArtQuantError(f"--hostfile {path} line {number}: {said[:60]!r} is not HOST slots=GPUS; correct it")


def launch_command(launcher: str, machines: Machines, arguments: Sequence[str]) -> list[str]:
    """The command line that runs `artquant ARGUMENTS` in every process."""
    if launcher == "none":
        return [sys.executable, "-m", "artquant", *arguments]
    host, port = machines.address()
    if launcher == "torchrun":
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(machines.ranks)]
        launch += ["--nnodes", str(machines.nodes), "--node-rank", str(machines.node_rank or 0)]
        launch += ["--master-addr", host, "--master-port", port, "-m", "artquant"]
    else:
        launch = ["-m", "deepspeed.launcher.runner", *_deepspeed_machines(machines), "--master_port", port]
        launch += ["--no_local_rank", "--module", "artquant"]
    return [sys.executable, *launch, *arguments]


def _deepspeed_machines(machines: Machines) -> list[str]:
    if machines.hostfile is not None:
        chosen = ["--hostfile", str(machines.hostfile)]
        if machines.master is not None:
            chosen += ["--master_addr", machines.address()[0]]
        return chosen if machines.node_rank is None else [*chosen, "--no_ssh", "--node_rank", str(machines.node_rank)]
    # DeepSpeed's launcher heeds CUDA_VISIBLE_DEVICES only in this form; with a number it takes the first GPUs.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return ["--num_gpus", str(machines.ranks)]
    return ["--include", "localhost:" + ",".join(visible.split(",")[: machines.ranks])]


def tell_deepspeed(environment: MutableMapping[str, str], on_gpu: bool) -> None:
    """Name the CPU to DeepSpeed where there is no GPU, or it wonders on stdout.

    accelerate loads it, where it is installed, to train and to write networks.
    """
    if not on_gpu:
        environment.setdefault("DS_ACCELERATOR", "cpu")


def run_processes(command: Sequence[str], on_gpu: bool) -> tuple[int, bool]:
    """Run a launcher to its end; SIGTERM is passed on, so that training can save what it has.

    Returns:
        Exit status, and whether SIGTERM came.
    """
    environment = dict(os.environ)
    environment.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    tell_deepspeed(environment, on_gpu)
    if not on_gpu:  # ranks on one CPU must not crowd each other out
        environment.setdefault("OMP_NUM_THREADS", "1")
    stopped = False

    def pass_on(signum: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(signum)

    process = subprocess.Popen(command, env=environment)
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        return process.wait(), stopped
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
