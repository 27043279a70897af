"""How `artquant train` starts processes: commands, machines, signals."""

import importlib
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from artquant.cli import main
from artquant.train.launch import run_processes

RUN = """
run: two
base: base
infer: {records: test.json}
stages:
  - {name: first, data: [{records: a.json, images: images}]}
  - {name: second, data: [{records: b.json, images: images}], deepspeed: zero2.json}
"""


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """`artquant train` on a run of two stages with its launchers replaced; returns status and commands."""
    from artquant.cli import train

    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("base", "images"):
        (tmp_path / name).mkdir()
    for name in ("a.json", "b.json", "zero2.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    config = tmp_path / "run.yaml"
    config.write_text(RUN, encoding="utf-8")

    def run(*options: str, gpus: int = 0, statuses: tuple[int, ...] = (0, 0), before: tuple[str, ...] = ()):
        calls = []

        def start(command, on_gpu):
            calls.append(SimpleNamespace(command=command, on_gpu=on_gpu))
            return statuses[len(calls) - 1], False

        monkeypatch.setattr(train, "_gpus", lambda: gpus)
        monkeypatch.setattr(train, "run_processes", start)
        monkeypatch.setattr(
            train, "_train_here", lambda config, stages, *_: calls.append([s.name for s in stages]) or 0
        )
        return main([*before, "train", "--config", str(config), *options]), calls

    return run


def joined(call) -> str:
    return " ".join(call.command)


def test_deepspeed_takes_the_gpus_that_were_chosen(launched, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    _, (_, second) = launched("--ranks", "2", "--launcher", "deepspeed", gpus=3)
    assert "--include localhost:2,5 " in joined(second) and "--num_gpus" not in joined(second)


def test_each_stage_gets_its_launcher(launched):
    status, (first, second) = launched("seed=3", gpus=2)
    assert status == 0
    assert "torch.distributed.run --nproc-per-node 2" in joined(first) and "torch.distributed.run" in joined(second)
    for call, stage in ((first, "first"), (second, "second")):
        assert call.command[0] == sys.executable
        assert joined(call).endswith(f"--stage {stage} --launcher none seed=3")


def test_deepspeeds_launcher_by_request(launched):
    _, (first, second) = launched("--launcher", "deepspeed", gpus=2)
    for call in (first, second):
        assert "deepspeed.launcher.runner --num_gpus 2" in joined(call) and "--no_local_rank" in joined(call)


def test_several_machines(launched, tmp_path):
    _, (call, _) = launched("--nodes", "3", "--node-rank", "1", "--master", "first:29500", "--ranks", "2")
    command = joined(call)
    assert "--nproc-per-node 2 --nnodes 3 --node-rank 1 --master-addr first --master-port 29500" in command
    hosts = tmp_path / "hosts"
    hosts.write_text("first slots=2\nsecond slots=2\n", encoding="utf-8")
    _, (call, _) = launched("--hostfile", str(hosts))
    assert f"deepspeed.launcher.runner --hostfile {hosts} --master_port" in joined(call)
    _, (call, _) = launched("--hostfile", str(hosts), "--node-rank", "1", "--master", "first:29500")
    assert f"--hostfile {hosts} --master_addr first --no_ssh --node_rank 1 --master_port 29500" in joined(call)


@pytest.mark.parametrize("machines", [("--nodes", "2", "--node-rank", "1", "--master", "first:29500"), ("--hostfile",)])
def test_several_machines_recompute_activations_where_each_would_decide_by_itself(launched, tmp_path, machines):
    hosts = tmp_path / "hosts"
    hosts.write_text("first slots=2\nsecond slots=2\n", encoding="utf-8")
    named = (str(hosts),) if machines == ("--hostfile",) else ()
    status, calls = launched(*machines, *named, "model.gradient_checkpointing=null")
    assert status == 0
    assert all(joined(call).endswith("model.gradient_checkpointing=true") for call in calls)


def test_settings_may_stand_between_options(launched):
    _, (call, _) = launched("seed=3", "--ranks", "2", "stages.first.epochs=1", "--launcher", "torchrun")
    assert joined(call).endswith("--launcher none seed=3 stages.first.epochs=1")


def test_without_gpus_processes_are_told_so(monkeypatch):
    show = [sys.executable, "-c", "import os, sys; sys.exit(3 * (os.environ.get('DS_ACCELERATOR') == 'cpu'))"]
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    assert run_processes(show, on_gpu=False) == (3, False)
    assert run_processes(show, on_gpu=True) == (0, False)


def test_threads_are_the_users_choice(monkeypatch):
    show = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['OMP_NUM_THREADS']))"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run_processes(show, on_gpu=False) == (1, False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run_processes(show, on_gpu=False) == (3, False)


def test_a_request_to_stop_is_passed_on():
    """The process gets SIGTERM, has time to finish, and the caller learns of both."""
    code = "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); "
    code += "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    assert run_processes([sys.executable, "-c", code], on_gpu=False) == (5, True)


def test_one_process_needs_no_launcher(launched):
    assert launched("--stage", "first") == (0, [["first"]])
    assert launched("--launcher", "none") == (0, [["first", "second"]])


def test_a_failed_stage_ends_the_run(launched):
    status, calls = launched("--launcher", "torchrun", statuses=(7,))
    assert (status, len(calls)) == (7, 1)


def test_quiet_reaches_the_processes(launched):
    for before in ((), ("--quiet",)):
        _, calls = launched("--launcher", "torchrun", before=before)
        assert [("artquant --quiet train" in joined(call)) for call in calls] == [bool(before)] * 2


def test_started_by_a_launcher(launched, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    (tmp_path / "runs" / "two" / "first" / "model").mkdir(parents=True)
    assert launched("--stage", "second", gpus=4) == (0, [["second"]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ranks", "2", "--launcher", "none"), "several ranks or nodes need processes"),
        (("--nodes", "2"), "--nodes needs --node-rank (0 on the first machine) and --master HOST:PORT"),
        (("--nodes", "2", "--node-rank", "2", "--master", "a:1"), "--node-rank must be below --nodes 2, got 2"),
        (("--nodes", "2", "--node-rank", "0", "--master", "a"), "--master must be HOST:PORT, got 'a'"),
        (("--node-rank", "1"), "--node-rank counts the machines from 0 and needs --nodes or --hostfile"),
        (("--hostfile", "nowhere"), "--hostfile nowhere: no such file"),
        (("--stage", "third", "--launcher", "torchrun"), "no stage 'third'; known are first, second"),
        (("stages.second.deepspeed=zero9.json",), "not there: zero9.json (DeepSpeed files: some are in configs/deep"),
    ],
)
def test_launcher_errors(launched, capsys, options, message):
    assert launched(*options) == (2, [])
    assert message in capsys.readouterr().err


def test_all_that_is_missing_is_named_before_anything_is_started_or_written(launched, capsys, tmp_path):
    changes = ("base=no/where/base", "stages.first.data.0.records=c.json", "stages.second.data.0.images=pictures")
    changes += ("stages.second.validation={records: v.json}", "stages.second.start=runs/earlier/model")
    assert launched(*changes, "stages.second.deepspeed=zero9.json", gpus=2) == (2, [])
    [line] = capsys.readouterr().err.splitlines()
    assert "not there: no/where/base, runs/earlier/model (models: ModelZoo/README.md says" in line
    assert "; c.json, pictures, v.json (data: dataset/README.md says" in line and "; zero9.json (DeepSpeed" in line
    assert line.endswith("; nothing was started") and not (tmp_path / "runs").exists()


def test_a_run_of_which_nothing_was_trained_takes_another_configuration(launched, capsys, tmp_path):
    assert launched("seed=1", gpus=2)[0] == 0
    assert launched("seed=2", gpus=2)[0] == 0
    (tmp_path / "runs" / "two" / "first" / "checkpoints" / "checkpoint-5").mkdir(parents=True)
    assert launched("seed=3", gpus=2) == (2, [])
    assert "seed was 2, is 3" in capsys.readouterr().err


def test_a_finished_run_starts_nothing_and_says_where_it_lies(launched, capsys, tmp_path):
    for stage in ("first", "second"):
        (tmp_path / "runs" / "two" / stage / "model").mkdir(parents=True)
    (tmp_path / "a.json").unlink()  # what a stage that is done has learned from
    assert launched(gpus=2) == (0, [])
    assert capsys.readouterr().out == "run two: nothing is left to do; model in runs/two/second/model\n"


def test_deepspeed_is_not_installed(launched, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert launched() == (2, [])
    assert "stage second: DeepSpeed is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--version"], 0, "artquant "),
        (["--no-such"], 2, "error: "),
        (["train", "--config", "none.yaml"], 2, "error: "),
    ],
)
def test_a_rank_ends_with_its_status(arguments, status, said):
    """Whatever the libraries' threads do then; everything it has said arrives."""
    command = [sys.executable, "-m", "artquant", *arguments]
    done = subprocess.run(command, env=os.environ | {"RANK": "0"}, capture_output=True, text=True)
    assert done.returncode == status and said in done.stdout + done.stderr


def test_ranks_take_leave(tmp_path):
    """Left alone, gloo's threads now and then abort a process that is done."""
    from torch import distributed

    from artquant.train.stage import leave_ranks

    leave_ranks()  # alone: nothing to leave
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    leave_ranks()
    assert not distributed.is_initialized()
