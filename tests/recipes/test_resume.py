"""A run that is killed and started again ends as if nothing had happened."""

import shutil
import signal
import socket
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# `artquant`, except that the last rank ends itself without warning when step 7 has been logged; checkpoints are written
# after steps 3 and 6.
KILLER = """
import os, signal, sys

from artquant.cli import main
from artquant.train.trainer import ArtTrainer

log = ArtTrainer.log


def log_and_die(self, logs, *rest):
    log(self, logs, *rest)
    if self.state.global_step == 7 and self.args.process_index == self.args.world_size - 1:
        os.kill(os.getpid(), signal.SIGKILL)


ArtTrainer.log = log_and_die
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    file = tmp_path_factory.mktemp("killer") / "killer.py"
    file.write_text(KILLER, encoding="utf-8")
    return file


def stage(lab, batch_size: int, **settings):
    """Nine steps, four an epoch: both checkpoints and the kill fall inside the second epoch."""
    adapter = {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.1}}
    optimizer = {"learning_rate": 1e-3, "warmup_fraction": 0.2}
    shared = {"trainable": adapter, "optimizer": optimizer, "max_steps": 9, "save_steps": 3, "accumulation": 2}
    return lab.stage("scores", {"score": 1}, batch_size=batch_size, **shared, **settings)


def assert_same(lab, run, expected):
    found, wanted = lab.history(run, "scores"), lab.history(expected, "scores")
    assert [line["step"] for line in found] == list(range(1, 10))
    assert found == wanted
    before, after = lab.weights(expected / "scores" / "model"), lab.weights(run / "scores" / "model")
    assert all(before[name].equal(after[name]) for name in before)


def test_killed_run_goes_on_from_its_last_checkpoint(lab, killer, tmp_path, caplog):
    unbroken = lab.train(tmp_path / "unbroken", stage(lab, 4))
    config = lab.write(tmp_path / "killed", stage(lab, 4))
    run = tmp_path / "killed" / "runs" / "run"
    killed = lab.run(killer, "train", "--config", config)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checkpoints = run / "scores" / "checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-3", "checkpoint-6"}
    assert not (run / "scores" / "model").exists()
    # a kill may come while a checkpoint or the result is being written
    half = checkpoints / ".partial" / "checkpoint-7"
    shutil.copytree(checkpoints / "checkpoint-6", half)
    (half / "trainer_state.json").unlink()
    damaged = checkpoints / "checkpoint-8"
    shutil.copytree(checkpoints / "checkpoint-6", damaged)
    (damaged / "optimizer.pt").write_bytes((damaged / "optimizer.pt").read_bytes()[:-100])
    (run / "scores" / ".model.partial").mkdir()
    (run / "scores" / ".model.partial" / "config.json").write_text("{", encoding="utf-8")
    caplog.clear()
    assert lab.artquant("train", "--config", config) == 0
    assert f"{damaged} is passed over: optimizer.pt has " in caplog.text
    assert f"going on from {checkpoints / 'checkpoint-6'}" in caplog.text
    assert not half.exists()
    assert not (run / "scores" / ".model.partial").exists()
    assert_same(lab, run, unbroken)


def test_killed_stage_keeps_the_stages_before_it(lab, killer, tmp_path):
    config = lab.write(tmp_path, lab.descriptions(max_steps=2), stage(lab, 4))
    run = tmp_path / "runs" / "run"
    assert lab.run(killer, "train", "--config", config).returncode == -signal.SIGKILL
    file = run / "descriptions" / "model" / "model.safetensors"
    written = file.stat().st_mtime_ns
    assert lab.artquant("train", "--config", config) == 0
    assert file.stat().st_mtime_ns == written
    assert [line["step"] for line in lab.history(run, "scores")] == list(range(1, 10))


@pytest.mark.parametrize("stops_early", [False, True])
def test_run_killed_before_its_model_was_written_takes_no_further_step(lab, tmp_path, stops_early):
    settings = {"max_steps": 2, "save_steps": 1, "optimizer": {"learning_rate": 1e-3, "schedule": "constant"}}
    if stops_early:
        validation = {"records": str(lab.records("test")), "images": str(lab.images), "steps": 1, "patience": 1}
        settings |= {"max_steps": 9, "validation": validation | {"minimum_gain": 3.0}}
    stage = lab.scores(**settings)
    run = lab.train(tmp_path, stage)
    written, moved, history = run / "scores" / "model", tmp_path / "unbroken", lab.history(run, "scores")
    checkpoints = sorted(path.name for path in (run / "scores" / "checkpoints").glob("checkpoint-*"))
    assert checkpoints[-1] == "checkpoint-2", checkpoints
    written.rename(moved)
    lab.train(tmp_path, stage)
    assert (written / "model.safetensors").read_bytes() == (moved / "model.safetensors").read_bytes()
    assert lab.history(run, "scores") == history
    assert sorted(path.name for path in (run / "scores" / "checkpoints").glob("checkpoint-*")) == checkpoints


def train_on_two_ranks(lab, config, launcher: str) -> str:
    done = lab.launch("train", "--config", config, "--launcher", launcher, "--ranks", 2)
    assert done.returncode == 0, done.stderr
    assert "2 rank(s)" in done.stderr
    return done.stderr


def kill_one_of_two_ranks(lab, killer, folder, launcher: str, *stages, **settings) -> None:
    """Compare a run that lost a rank and was started again with one that did not."""
    unbroken = lab.write(folder / "unbroken", *stages, **settings)
    train_on_two_ranks(lab, unbroken, launcher)
    config = lab.write(folder / "killed", *stages, **settings)
    run = folder / "killed" / "runs" / "run"
    launch = {
        "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port()),
        "deepspeed": (
            "-m",
            "deepspeed.launcher.runner",
            "--num_gpus",
            2,
            "--no_local_rank",
            "--master_port",
            free_port(),
        ),
    }[launcher]
    killed = lab.run(*launch, killer, "train", "--config", config, "--launcher", "none")
    assert killed.returncode != 0
    checkpoint = run / "scores" / "checkpoints" / "checkpoint-6"
    assert (checkpoint / "trainer_state.json").is_file()
    assert not (run / "scores" / "model").exists()
    assert f"going on from {checkpoint}" in train_on_two_ranks(lab, config, launcher)
    assert_same(lab, run, folder / "unbroken" / "runs" / "run")


def test_run_that_lost_one_of_two_ranks_goes_on(lab, killer, tmp_path):
    kill_one_of_two_ranks(lab, killer, tmp_path, "torchrun", stage(lab, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), [("zero1", "bfloat16"), ("zero2", "float32"), ("zero3", "bfloat16")])
def test_deepspeed_run_that_lost_a_rank_goes_on(lab, killer, tmp_path, name, dtype):
    pytest.importorskip("deepspeed")
    deepspeed = str(REPOSITORY / "configs" / "deepspeed" / f"{name}.json")
    stages = stage(lab, 2, deepspeed=deepspeed)
    kill_one_of_two_ranks(lab, killer, tmp_path, "deepspeed", stages, model={"dtype": dtype})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
