"""The result does not depend on how an optimizer step is split: micro-batches, ranks, launcher, ZeRO stage."""

import re
from pathlib import Path

import pytest
import torch

DEEPSPEED = Path(__file__).resolve().parents[2] / "configs" / "deepspeed"
# Mixed tasks, texts of unequal length, 48 samples an epoch, two epochs in steps of 8 samples. Every part has a learning
# rate of its own, so that a launcher that loses one shows.
SETS = {"score": 1, "descriptions_level_3": 0.5}
SETTINGS = {
    "optimizer": {
        "learning_rate": 1e-3,
        "vision_learning_rate": 5e-4,
        "projector_learning_rate": 2e-3,
        "weight_decay": 0.1,
        "warmup_fraction": 0.2,
        "schedule": "linear",
    },
    "loss": {"description": 1.0, "score_text": 0.5, "score": {"score_distribution": 2.0}},
    "max_steps": 12,
    "save_steps": 4,
}


@pytest.fixture(scope="module")
def split_stage(lab):
    """Makes the stage, split as asked."""

    def make(batch_size: int, accumulation: int, **settings):
        split = {"batch_size": batch_size, "accumulation": accumulation, "trainable": lab.as_published}
        return lab.stage("joint", SETS, **SETTINGS, **split, **settings)

    return make


@pytest.fixture(scope="module")
def whole(lab, split_stage, tmp_path_factory) -> Path:
    """The run to compare with: one process, a whole step at a time."""
    return lab.train(tmp_path_factory.mktemp("whole"), split_stage(8, 1))


def launch(lab, config: Path, launcher: str) -> tuple[Path, str]:
    """Train on two ranks; returns the run's folder and what was printed."""
    done = lab.launch("train", "--config", config, "--launcher", launcher, "--ranks", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    return config.parent / "runs" / "run", done.stdout + done.stderr


@pytest.fixture(scope="module")
def two_ranks(lab, split_stage, tmp_path_factory) -> tuple[Path, str]:
    """The run on two ranks under torchrun, and what was printed."""
    return launch(lab, lab.write(tmp_path_factory.mktemp("two_ranks"), split_stage(4, 1)), "torchrun")


def assert_same_run(lab, run: Path, expected: Path, tolerance: float = 1e-5) -> None:
    """Every logged loss and learning rate, and what was learned."""
    found, wanted = lab.history(run, "joint"), lab.history(expected, "joint")
    assert len(found) == len(wanted) == 12
    for line, other in zip(found, wanted, strict=True):
        tasks = {key for key in other if key.startswith("loss")}
        assert {key for key in line if key.startswith("loss")} == tasks
        for key in sorted(tasks):
            assert line[key] == pytest.approx(other[key], rel=tolerance), f"{key} at step {line['step']}"
        assert line["learning_rate"] == other["learning_rate"]
    assert_same_weights(lab, run, expected)


def assert_same_weights(lab, run: Path, expected: Path, tolerance: float = 2e-5) -> None:
    """Measured: 2e-7; AdamW may turn rounding in a gradient near zero into a part of a step of 2e-3."""
    before = lab.weights(lab.base)
    found, wanted = (lab.weights(folder / "joint" / "model") for folder in (run, expected))
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
    apart = torch.cat([(found[name] - wanted[name]).flatten() for name in wanted]).norm()
    learned = torch.cat([(wanted[name] - before[name]).flatten() for name in wanted]).norm()
    assert apart < 1e-2 * learned
    assert lab.moved(run / "joint" / "model") == lab.moved(expected / "joint" / "model")


def test_reference_moves_what_it_should(lab, whole):
    changed, _ = lab.moved(whole / "joint" / "model")
    trains = re.compile(r".*(vision_model|visual_abstractor|self_attn\.(q_proj|v_proj\.multiway\.1)\.weight).*")
    assert changed == {name for name in lab.weights(lab.base) if trains.fullmatch(name)} - lab.fixed


def test_one_sample_at_a_time(lab, split_stage, whole, tmp_path):
    assert_same_run(lab, lab.train(tmp_path, split_stage(1, 8)), whole)


def test_accumulation(lab, split_stage, whole, tmp_path, recorded):
    run = lab.train(tmp_path, split_stage(4, 2))
    assert_same_run(lab, run, whole)
    counts = [(batch.text.counts[0], len(batch.scored)) for batch in recorded]
    lacking = [index for index, (description, ratings) in enumerate(counts) if not description or not ratings]
    assert lacking, "the data should hold a micro-batch without one of the tasks"
    pairs = [(counts[index], counts[index ^ 1]) for index in lacking]
    assert any(one[0] + other[0] and one[1] + other[1] for one, other in pairs)  # which the step has, though
    assert len({batch.inputs["input_ids"].shape[1] for batch in recorded}) > 3


def test_two_ranks_under_torchrun(lab, two_ranks, whole):
    run, printed = two_ranks
    assert "2 rank(s)" in printed
    assert (run / "joint" / "checkpoints" / "checkpoint-12" / "rng_state_1.pth").is_file()
    assert_same_run(lab, run, whole)


def test_two_ranks_under_deepspeed(lab, split_stage, whole, tmp_path):
    pytest.importorskip("deepspeed")
    stage = split_stage(4, 1, deepspeed=str(DEEPSPEED / "zero2.json"))
    run, printed = launch(lab, lab.write(tmp_path, stage), "deepspeed")
    assert "2 rank(s)" in printed
    states = run / "joint" / "checkpoints" / "checkpoint-12" / "global_step12"
    assert len(list(states.glob("zero_pp_rank_*_optim_states.pt"))) == 2
    assert_same_run(lab, run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero0", "zero1", "zero3", "zero2_offload", "zero3_offload"])
def test_other_zero_stages(lab, split_stage, whole, tmp_path, name):
    pytest.importorskip("deepspeed")
    stage = split_stage(4, 1, deepspeed=str(DEEPSPEED / f"{name}.json"))
    run, printed = launch(lab, lab.write(tmp_path, stage), "deepspeed")
    assert "2 rank(s)" in printed
    assert_same_run(lab, run, whole)


@pytest.mark.slow
def test_adapters_go_on_under_zero3(lab, tmp_path):
    """The second stage starts from the first's adapter, merged first, since it cannot be read into weights cut up."""
    pytest.importorskip("deepspeed")
    settings = {"trainable": lab.as_published, "deepspeed": str(DEEPSPEED / "zero3.json"), "batch_size": 2}
    gentle = {"optimizer": {"learning_rate": 1e-9, "warmup_fraction": 0.0}}
    stages = lab.descriptions(**settings), lab.scores(**settings | gentle)
    run, _ = launch(lab, lab.write(tmp_path, *stages), "torchrun")
    first, second = (lab.weights(run / stage / "model") for stage in ("descriptions", "scores"))
    assert max((first[name] - second[name]).abs().max().item() for name in first) < 1e-6
    assert lab.moved(run / "descriptions" / "model")[0]
    in_the_middle = lab.weights(run / "scores" / "checkpoints" / "checkpoint-6")
    assert all(in_the_middle[name].equal(second[name]) for name in second)  # the last one, but whole like each of them
    assert {path.name for path in (run / "scores").iterdir()} == {"checkpoints", "history.jsonl", "model", "start"}
