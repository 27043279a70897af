"""Pair training (DeQA-Score) through the real command: the result does not depend on how a step is split."""

from pathlib import Path

import pytest
from PIL import Image

from artquant.files.json_files import read_json, read_json_lines, write_json

TERMS = ("loss", "loss_score_text", "loss_score_distribution", "loss_in_level", "loss_rank")
WEIGHTS = {"score_text": 0.1, "score_distribution": 1.0, "rank": 2.0, "in_level": 0.5}
LOSS = {"score_text": 0.1, "rank": 2.0, "score": {"score_distribution": 1.0, "in_level": 0.5}}
STEPS = 10  # of 8 samples: more than an epoch of 64


@pytest.fixture(scope="module")
def pair_stage(lab):
    """Makes the stage, split as asked."""

    def make(batch_size: int, accumulation: int, **settings):
        split = {"batch_size": batch_size, "accumulation": accumulation}
        usual = {"pairs": True, "loss": LOSS, "max_steps": STEPS, "trainable": lab.as_published}
        return lab.stage("pairs", {"score": 1}, **split, **usual | settings)

    return make


@pytest.fixture(scope="module")
def whole(lab, pair_stage, tmp_path_factory) -> Path:
    """The run to compare with: one process, a whole step of four pairs at a time."""
    return lab.train(tmp_path_factory.mktemp("whole"), pair_stage(8, 1))


def assert_same_losses(lab, run: Path, expected: Path) -> None:
    found, wanted = lab.history(run, "pairs"), lab.history(expected, "pairs")
    assert len(found) == len(wanted) == STEPS
    for line, other in zip(found, wanted, strict=True):
        assert {name for name in line if name.startswith("loss")} == set(TERMS)
        for term in TERMS:
            assert line[term] == pytest.approx(other[term], rel=1e-5), f"{term} at step {line['step']}"


def test_a_pair_at_a_time(lab, pair_stage, whole, tmp_path, recorded):
    run = lab.train(tmp_path, pair_stage(2, 4))
    assert_same_losses(lab, run, whole)
    assert [batch.scored.pairs.tolist() for batch in recorded] == [[[0, 1]]] * (4 * STEPS)
    assert all(batch.scored.truth[0, 0] != batch.scored.truth[1, 0] for batch in recorded)


def test_two_ranks(lab, pair_stage, whole, tmp_path):
    config = lab.write(tmp_path, pair_stage(4, 1))
    done = lab.launch("train", "--config", config, "--launcher", "torchrun", "--ranks", 2)
    assert done.returncode == 0 and "2 rank(s)" in done.stdout + done.stderr, done.stdout + done.stderr
    assert_same_losses(lab, tmp_path / "runs" / "run", whole)


def test_the_total_is_the_weighted_sum(lab, whole):
    for line in lab.history(whole, "pairs"):
        expected = sum(weight * line[f"loss_{term}"] for term, weight in WEIGHTS.items())
        assert line["loss"] == pytest.approx(expected, rel=1e-5)


def test_resumed_run_sees_the_same_pairs(lab, pair_stage, whole, tmp_path):
    """Ended in the middle of the first epoch, it goes on into the second as the run that never stopped."""
    file = lab.write(tmp_path, pair_stage(8, 1, save_steps=1))
    for steps in (3, STEPS):
        arguments = ("--accept-changes", f"stages.pairs.max_steps={steps}", "stages.pairs.optimizer.schedule=constant")
        assert lab.artquant("train", "--config", file, *arguments) == 0
        if steps < STEPS:
            (tmp_path / "runs" / "run" / "pairs" / "model").rename(tmp_path / "first")
    plain = lab.train(
        tmp_path / "plain",
        pair_stage(8, 1, optimizer={"learning_rate": 1e-3, "warmup_fraction": 0.0, "schedule": "constant"}),
    )
    assert_same_losses(lab, tmp_path / "runs" / "run", plain)


@pytest.mark.parametrize(
    "options",
    [
        {"rank_deviation": "predicted"},
        {"rank_target": "order", "rank_kind": "binary"},
    ],
)
def test_other_forms_with_descriptions_mixed_in(lab, tmp_path, recorded, options):
    stage = lab.stage(
        "pairs", {"score": 1, "descriptions_level_1": 0.5}, pairs=True, loss=LOSS | options, max_steps=21, batch_size=4
    )
    run = lab.train(tmp_path, stage)
    assert all("loss_rank" in line or line.get("loss_description") for line in lab.history(run, "pairs"))
    pairs = [len(batch.scored.pairs) for batch in recorded]
    assert sum(pairs) == 32 + sum(pairs[20:])  # an epoch: 64 scores, 16 descriptions
    assert sum(len(batch.scored) for batch in recorded[:20]) == 64


def test_rank_loss_falls(lab, tmp_path):
    stage = lab.stage(
        "pairs", {"score": 1}, pairs=True, loss=LOSS | {"rank_target": "order"}, max_steps=60, batch_size=16
    )
    ranks = [line["loss_rank"] for line in lab.history(lab.train(tmp_path, stage), "pairs")]
    assert sum(ranks[-10:]) < 0.9 * sum(ranks[:10])


def test_unreadable_picture_takes_its_pairs_along(lab, tmp_path, recorded):
    records = read_json(lab.records("score"))
    images = tmp_path / "images"
    images.mkdir()
    for record in records:
        Image.open(lab.images / record["image"]).save(images / record["image"])
    (images / records[5]["image"]).write_bytes(b"not a picture")
    write_json(tmp_path / "score.json", records)
    stage = lab.stage("pairs", {tmp_path / "score.json": 1}, pairs=True, loss=LOSS, unreadable="skip", max_steps=16)
    stage["data"][0]["images"] = str(images)
    run = lab.train(tmp_path, stage)
    assert len(list(read_json_lines(run / "pairs" / "skipped.jsonl"))) == 1
    lost = 0
    for batch in recorded:  # of four samples
        scored, pairs = len(batch.scored), batch.scored.pairs.tolist()
        assert len(pairs) >= 2 - (4 - scored)
        assert all(second == first + 1 for first, second in pairs)
        assert all(batch.scored.truth[first, 0] != batch.scored.truth[second, 0] for first, second in pairs)
        lost += 2 - len(pairs)
    assert lost >= 1


def test_no_pairs_can_be_made(lab, tmp_path, capsys):
    records = [record | {"gt_score": 5.0} for record in read_json(lab.records("score"))]
    write_json(tmp_path / "score.json", records)
    file = lab.write(tmp_path, lab.stage("pairs", {tmp_path / "score.json": 1}, pairs=True))
    assert lab.artquant("train", "--config", file) == 2
    assert "stage pairs: no pairs can be made" in capsys.readouterr().err


def test_odd_batches_are_refused_by_name(lab, tmp_path, capsys):
    file = lab.write(tmp_path, lab.stage("pairs", {"score": 1}, pairs=True, batch_size=3))
    assert lab.artquant("train", "--config", file) == 2
    assert "batch_size: must be even with pairs: true, got 3" in capsys.readouterr().err
