"""What a run says of itself while it trains."""

import json
from types import SimpleNamespace

import pytest

from artquant.train.progress import HistoryWriter, Throughput, progress_line


def test_a_line_to_be_read():
    logs = {"loss": 0.25581, "grad_norm": 1.97, "learning_rate": 1.72e-4, "loss_score_text": 0.0127, "epoch": 3.7}
    logs |= {"images_per_second": 218.91, "tokens_per_second": 6500.0, "peak_memory_gib": 0.934, "seconds_left": 61.4}
    line = progress_line(180, 288, logs)
    assert line == (
        "step 180/288  loss 0.2558 (score text 0.0127)  gradient 1.97  rate 1.7e-04  218.9 images/s  0.93 GiB  "
        "0:01:01 left"
    )
    validation = {"eval_SRCC": 0.9061, "eval_loss_description": 1.5, "epoch": 1.0}
    assert progress_line(20, 40, validation) == "step 20/40  validation: SRCC 0.9061, loss description 1.5"


def test_speed_counts_all_ranks_and_starts_anew():
    throughput = Throughput(ranks=2)
    throughput.first_step = 10
    throughput.count(4, 100)
    throughput.count(4, 300)
    found = throughput.report(step=12, steps=20)
    assert found["images_per_second"] > 0
    assert found["tokens_per_second"] == pytest.approx(50 * found["images_per_second"], rel=1e-3)
    assert 0 <= found["seconds_left"] < 60 and found["peak_memory_gib"] > 0
    assert throughput.report(step=13, steps=20)["images_per_second"] == 0


def test_history_of_a_resumed_run(tmp_path):
    """What the resumed run will log again goes, and so do a half line and the summary of a run that was stopped."""
    file = tmp_path / "history.jsonl"
    lines = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 2.0},
        {"step": 2, "train_runtime": 1.0},
        {"step": 3, "loss": 1.0},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo')
    writer = HistoryWriter(file)
    writer.on_train_begin(None, SimpleNamespace(global_step=2), None)
    writer.on_log(None, SimpleNamespace(global_step=3), None, logs={"loss": float("nan"), "rate": 0.5})
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert found == [*lines[:2], {"step": 3, "loss": None, "rate": 0.5}]
