"""ZeRO stages x adapters or everything x number formats, on two ranks: each trains, saves, is stopped, resumes, scores.

All combinations share two processes, since starting DeepSpeed takes longer than training the tiny network.
"""

import json
import socket
from itertools import product
from pathlib import Path

import pytest
import torch

pytest.importorskip("deepspeed")
DEEPSPEED = Path(__file__).resolve().parents[2] / "configs" / "deepspeed"
# In float32 every pair of them, in bfloat16 every ZeRO stage once: stage and number format do not depend on each other.
COMBINATIONS = (
    *product((0, 1, 2, 3), ("adapters", "everything"), ("float32",)),
    *((zero, ("adapters", "everything")[zero % 2], "bfloat16") for zero in range(4)),
)

# Runs every configuration of a plan: undisturbed, then stopped after step 2, then resumed. Prints what happened.
RANK = """
import gc, json, os, sys
from pathlib import Path

from accelerate.state import AcceleratorState

import deepspeed

from artquant.cli import main
from artquant.train.trainer import _StepEvents

gc.freeze()  # what is imported; collecting below is for the rest
on_step_end, on_train_begin = _StepEvents.on_step_end, _StepEvents.on_train_begin
stop_after, seen = 0, []


def ask_to_stop(self, args, state, control, **rest):
    self.trainer.interrupted = state.global_step == stop_after
    return on_step_end(self, args, state, control, **rest)


def look(self, args, state, control, **rest):
    seen.append([self.trainer.model_wrapped.zero_optimization_stage(), args.world_size, state.global_step])
    return on_train_begin(self, args, state, control, **rest)


_StepEvents.on_step_end, _StepEvents.on_train_begin = ask_to_stop, look
for name, whole, config in json.loads(Path(sys.argv[1]).read_text()):
    seen.clear()
    statuses = []
    for file, stop_after in ((whole, 0), (config, 2), (config, 0)):
        statuses.append(main(["--quiet", "train", "--config", file, "--launcher", "none"]))
        gc.collect()  # the DeepSpeed configuration is known as long as someone holds it
        AcceleratorState._reset_state()
    if os.environ["RANK"] == "0":
        print("RESULT", json.dumps([name, statuses, seen]), flush=True)
os._exit(0)  # as the command's process ends: taken apart, a rank is aborted now and then
"""


def name_of(zero: int, trains: str, dtype: str) -> str:
    return f"zero{zero}-{trains}-{dtype}"


@pytest.fixture(scope="module")
def matrix(lab, tmp_path_factory) -> tuple[Path, dict[str, list]]:
    """Folder of all runs, and what the first rank saw of each."""
    folder = tmp_path_factory.mktemp("matrix")
    plan = []
    for zero, trains, dtype in COMBINATIONS:
        stage = lab.scores(
            trainable=lab.as_published if trains == "adapters" else lab.everything,
            deepspeed=str(DEEPSPEED / f"zero{zero}.json"),
            max_steps=4,
            batch_size=2,
        )
        name = name_of(zero, trains, dtype)
        files = [lab.write(folder / name / kind, stage, model={"dtype": dtype}) for kind in ("whole", "resumed")]
        plan.append([name, *map(str, files)])
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "rank.py").write_text(RANK)
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", port)
    done = lab.run(*launch, folder / "rank.py", folder / "plan.json")
    assert done.returncode == 0, done.stderr[-5000:]
    results = [json.loads(line.removeprefix("RESULT ")) for line in done.stdout.splitlines() if line[:6] == "RESULT"]
    return folder, {name: rest for name, *rest in results}


@pytest.mark.parametrize(("zero", "trains", "dtype"), COMBINATIONS, ids=lambda value: str(value))
def test_trains_saves_resumes_and_scores(lab, matrix, zero, trains, dtype):
    folder, results = matrix
    name = name_of(zero, trains, dtype)
    statuses, seen = results[name]
    assert statuses == [0, 143, 0]
    assert seen == [[zero, 2, 0], [zero, 2, 0], [zero, 2, 2]]  # ZeRO stage, ranks, step at the start
    whole, resumed = (folder / name / kind / "runs" / "run" for kind in ("whole", "resumed"))
    assert lab.history(whole, "scores") == lab.history(resumed, "scores")
    assert [line["step"] for line in lab.history(resumed, "scores")] == [1, 2, 3, 4]
    before, after = (lab.weights(run / "scores" / "model") for run in (whole, resumed))
    assert all(before[tensor].equal(after[tensor]) for tensor in before)
    start = lab.weights(lab.base)
    moved = {tensor for tensor in start if not start[tensor].equal(after[tensor].to(start[tensor].dtype))}
    assert any("vision_model" in tensor for tensor in moved) and any("visual_abstractor" in tensor for tensor in moved)
    assert any("q_proj" in tensor for tensor in moved) and all(value.isfinite().all() for value in after.values())
    config = folder / name / "resumed" / "run.yaml"
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    assert len((resumed / "predictions.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("trains", ["adapters", "everything"])
def test_zero_stages_agree(lab, matrix, trains):
    """In float32 all four stages compute the same."""
    folder, _ = matrix
    runs = [folder / name_of(zero, trains, "float32") / "whole" / "runs" / "run" for zero in range(4)]
    first, *others = (lab.weights(run / "scores" / "model") for run in runs)
    for other in others:
        for tensor in first:
            torch.testing.assert_close(first[tensor], other[tensor], rtol=0, atol=2e-5)
