"""What goes wrong in a long run, and what the run does then."""

import errno
import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from artquant.config.load import load_config
from artquant.errors import ArtQuantError
from artquant.files.file_list import sealed
from artquant.files.json_files import write_json
from artquant.train.checkpointing import CheckpointStore
from artquant.train.stage import accumulation_to_go_on
from artquant.train.trainer import ArtTrainer

REPOSITORY = Path(__file__).resolve().parents[2]


def damaged_records(lab, folder, *lost: int):
    """The score records, some of whose pictures cannot be read."""
    records = json.loads(lab.records("score").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for number in lost:
        picture = folder / f"lost-{number}.png"
        picture.write_bytes((lab.images / records[number]["image"]).read_bytes()[:900])
        records[number]["image"] = str(picture)
    file = folder / "damaged.json"
    file.write_text(json.dumps(records))
    return file


class TestPictures:
    def test_unreadable_picture_stops_the_run(self, lab, tmp_path, capsys):
        file = damaged_records(lab, tmp_path, 3)
        config = lab.write(tmp_path, lab.stage("scores", {file: 1}, max_steps=-1, epochs=1))
        assert lab.artquant("train", "--config", config) == 2
        assert "lost-3.png" in capsys.readouterr().err

    @pytest.mark.parametrize(("batch_size", "workers"), [(4, 0), (1, 1)])
    def test_or_is_left_out_and_listed(self, lab, tmp_path, caplog, batch_size, workers):
        file = damaged_records(lab, tmp_path, 3, 17)
        settings = {"max_steps": -1, "epochs": 2, "unreadable": "skip", "batch_size": batch_size, "workers": workers}
        run = lab.train(tmp_path, lab.stage("scores", {file: 1}, **settings))
        listed = [json.loads(line)["error"] for line in (run / "scores" / "skipped.jsonl").read_text().splitlines()]
        assert len(listed) == 2 and all(any(f"lost-{n}.png" in line for line in listed) for n in (3, 17))
        assert "2 pictures could not be read and were left out" in caplog.text
        assert lab.steps(run)[-1] == 64 // batch_size
        assert all(np.isfinite(line["loss"]) for line in lab.history(run, "scores"))


@pytest.mark.parametrize("workers", [0, 1])
def test_record_found_too_long_only_in_training_stops_the_run(lab, tmp_path, capsys, monkeypatch, workers):
    """Beyond the longest texts that are encoded before; from a worker process it arrives as an error, too."""
    monkeypatch.setattr("artquant.batches.dataset._LONGEST", 0)
    records = json.loads(lab.records("descriptions_level_1").read_text())
    records = [record | {"id": str(number)} for number, record in enumerate([records[0]] * 6)]
    turns = records[4]["conversations"]
    records[4] = records[4] | {"conversations": [turns[0], turns[1] | {"value": "calm " * 3000}]}
    file = tmp_path / "long.json"
    file.write_text(json.dumps(records))
    config = lab.write(tmp_path, lab.stage("texts", {file: 1}, max_steps=-1, epochs=1, workers=workers))
    assert lab.artquant("train", "--config", config) == 2
    error = capsys.readouterr().err
    assert "long.json record 5 (id '4')" in error and "more than max_length" in error


@pytest.fixture
def one_bad_loss(monkeypatch):
    """Makes the loss of the fourth micro-batch infinite or its gradient not a number."""

    def spoil(what: str) -> None:
        compute_loss, calls = ArtTrainer.compute_loss, []

        def spoiled(self, model, inputs, **options):
            calls.append(1)
            if len(calls) != 4:
                return compute_loss(self, model, inputs, **options)
            if what == "gradient":
                next(p for p in model.parameters() if p.requires_grad).register_hook(lambda grad: grad * float("nan"))
                return compute_loss(self, model, inputs, **options)
            total = self.objective.total
            self.objective.__dict__["total"] = lambda terms: total(terms) * float("inf")
            try:
                return compute_loss(self, model, inputs, **options)
            finally:
                del self.objective.__dict__["total"]

        monkeypatch.setattr(ArtTrainer, "compute_loss", spoiled)

    return spoil


class TestBadSteps:
    def test_loss_that_is_not_finite_stops_the_run_and_names_its_records(self, lab, tmp_path, capsys, one_bad_loss):
        one_bad_loss("loss")
        config = lab.write(tmp_path, lab.scores(save_steps=2))
        assert lab.artquant("train", "--config", config) == 2
        error = capsys.readouterr().err
        assert "step 4: the loss is not finite; its batch: " in error and error.count("score.json record") == 4
        assert not (tmp_path / "runs" / "run" / "scores" / "model").exists()
        store = CheckpointStore(tmp_path / "runs" / "run" / "scores" / "checkpoints", 2)
        assert store.last() == store.path(2)

    def test_gradient_that_is_not_finite(self, lab, tmp_path, capsys, one_bad_loss):
        one_bad_loss("gradient")
        assert lab.artquant("train", "--config", lab.write(tmp_path, lab.scores())) == 2
        assert "step 4: the gradient is not finite; its batch: " in capsys.readouterr().err

    def test_a_stated_number_is_left_out(self, lab, tmp_path, one_bad_loss, caplog):
        one_bad_loss("loss")
        run = lab.train(tmp_path, lab.scores(bad_steps=1, optimizer=lab.constant))
        assert "step 4: the loss" not in caplog.text and "step 4: the gradient is not finite" in caplog.text
        history = lab.history(run, "scores")
        assert [line.get("steps_left_out", 0) for line in history] == [0, 0, 0, 1, 1, 1]
        assert [line["loss"] is None for line in history] == [False, False, False, True, False, False]
        assert all(value.isfinite().all() for value in lab.weights(run / "scores" / "model").values())

    def test_a_step_left_out_moves_nothing(self, lab, tmp_path, one_bad_loss):
        one_bad_loss("loss")
        left_out = lab.train(tmp_path / "left_out", lab.scores(bad_steps=1, max_steps=4, optimizer=lab.constant))
        three = lab.train(tmp_path / "three", lab.scores(max_steps=3, optimizer=lab.constant))
        assert lab.same_weights(left_out, three)

    def test_one_more_than_stated(self, lab, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("artquant.train.objective.Objective.total", lambda self, terms: terms["score_text"] / 0)
        assert lab.artquant("train", "--config", lab.write(tmp_path, lab.scores(bad_steps=2))) == 2
        assert "step 3" in (error := capsys.readouterr().err) and "2 steps were left out before" in error


class TestStopRequests:
    def test_sigterm_saves_and_the_same_command_goes_on(self, lab, tmp_path):
        unbroken = lab.train(tmp_path / "unbroken", lab.scores(max_steps=100, workers=1))
        config = lab.write(tmp_path / "stopped", lab.scores(max_steps=100, workers=1))
        run = tmp_path / "stopped" / "runs" / "run"
        process = lab.start(["-m", "artquant", "train", "--config", config])
        wait_for_step(process, run, 5)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 143, err
        assert "stopped on request after step" in err and "run the same command to go on" in err
        assert not (run / "scores" / "model").exists()
        stopped_at = lab.steps(run)[-1]
        assert (run / "scores" / "checkpoints" / f"checkpoint-{stopped_at}").is_dir()
        assert lab.artquant("train", "--config", config) == 0
        assert lab.history(run, "scores") == lab.history(unbroken, "scores")
        assert lab.same_weights(run, unbroken)

    def test_two_ranks_stop_together(self, lab, tmp_path):
        config = lab.write(tmp_path, lab.scores(max_steps=2000, batch_size=2))
        run = tmp_path / "runs" / "run"
        process = lab.start(["-m", "artquant", "train", "--config", config, "--ranks", 2])
        wait_for_step(process, run, 20)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 143, err
        assert "stopped by SIGTERM; run the same command to go on" in err
        store = CheckpointStore(run / "scores" / "checkpoints", 2)
        assert store.last() == store.path(lab.steps(run)[-1])


def wait_for_step(process: subprocess.Popen, run, step: int) -> None:
    history = run / "scores" / "history.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if history.is_file() and len(history.read_text().splitlines()) >= step:
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"step {step} was not reached: {process.communicate()[1]}")


class TestFullDisk:
    @pytest.mark.parametrize("writer", ["safetensors", "optimizer", "manifest"])
    def test_last_good_checkpoint_stays(self, lab, tmp_path, capsys, monkeypatch, writer, plain):
        """Whichever writer meets the full disk, at the second of three checkpoints."""
        full = OSError(errno.ENOSPC, "No space left on device")
        where = {
            "safetensors": "artquant.train.trainer.save_file",
            "optimizer": "torch.save",
            "manifest": "artquant.train.checkpointing.write_json",
        }[writer]
        module, name = where.rsplit(".", 1)
        original = getattr(__import__(module, fromlist=[name]), name)

        def fails_at_four(*arguments, **options):
            if any("checkpoint-4" in str(argument) for argument in arguments):
                raise full
            return original(*arguments, **options)

        config = lab.write(tmp_path, lab.scores(save_steps=2))
        with monkeypatch.context() as patch:
            patch.setattr(where, fails_at_four)
            assert lab.artquant("train", "--config", config) == 2
        error = capsys.readouterr().err
        store = CheckpointStore(tmp_path / "runs" / "run" / "scores" / "checkpoints", 2)
        assert "checkpoint-4: the checkpoint could not be written" in error and "No space left" in error
        assert f"the last whole one is {store.path(2)}" in error and store.last() == store.path(2)
        assert lab.artquant("train", "--config", config) == 0
        assert lab.same_weights(tmp_path / "runs" / "run", plain)


class TestChangedConfiguration:
    def test_is_refused_with_the_difference(self, lab, tmp_path, capsys):
        lab.train(tmp_path, lab.scores())
        config = lab.write(tmp_path, lab.scores(batch_size=8))
        assert lab.artquant("train", "--config", config) == 2
        assert "stages.0.batch_size was 4, is 8" in (error := capsys.readouterr().err) and "--accept-changes" in error
        assert lab.artquant("train", "--config", config, "--accept-changes") == 0

    def test_what_changes_no_result_may_change(self, lab, tmp_path):
        lab.train(tmp_path, lab.scores())
        config = lab.write(tmp_path, lab.scores(workers=1, log_steps=3, save_total=5, cache_pictures=True))
        assert lab.artquant("train", "--config", config) == 0


class TestAnotherNumberOfRanks:
    """A stage of six steps on two ranks, of which three are done."""

    @pytest.fixture(scope="class")
    def settings(self, lab):
        grouped = {"group_by_length": True, "epochs": 2, "max_steps": 6}
        return {"save_steps": 1, "save_total": 6, "batch_size": 2, "optimizer": lab.constant, **grouped}

    @pytest.fixture(scope="class")
    def two_ranks(self, lab, settings, tmp_path_factory):
        folder = tmp_path_factory.mktemp("two_ranks")
        done = lab.launch("train", "--config", lab.write(folder, lab.scores(**settings)), "--ranks", 2)
        assert done.returncode == 0, done.stderr
        return folder / "runs" / "run"

    @pytest.fixture
    def stopped(self, two_ranks, tmp_path):
        """The run as it was after three steps, and its checkpoint."""
        run = shutil.copytree(two_ranks, tmp_path / "runs" / "run")
        (run / "scores" / "history.jsonl").unlink()
        for name in ("model", *(f"checkpoints/checkpoint-{step}" for step in (4, 5, 6))):
            shutil.rmtree(run / "scores" / name)
        file = run / "config.yaml"
        file.write_text(file.read_text().replace(str(two_ranks.parents[1]), str(tmp_path)))
        return run, run / "scores" / "checkpoints" / "checkpoint-3"

    def test_one_goes_on_for_two(self, lab, settings, two_ranks, stopped, tmp_path, caplog):
        """With steps of the same samples; stopped once more it still knows how many those are."""
        run, checkpoint = stopped
        config = lab.write(tmp_path, lab.scores(**settings))
        assert lab.artquant("train", "--config", config) == 0
        assert f"{checkpoint} was written by 2 rank(s), 1 go on" in caplog.text
        assert_near(lab, run, two_ranks)
        shutil.rmtree(run / "scores" / "model")
        shutil.rmtree(run / "scores" / "checkpoints" / "checkpoint-6")
        (run / "scores" / "history.jsonl").unlink()
        assert lab.artquant("train", "--config", config) == 0
        assert_near(lab, run, two_ranks, steps=[6])

    def test_one_that_cannot_is_told_how_a_model_comes_of_it(self, lab, settings, stopped, tmp_path, capsys):
        """Steps that cannot be split so, or DeepSpeed, whose state is cut up."""
        _, checkpoint = stopped
        file = checkpoint / "checkpoint.json"
        manifest = json.loads(file.read_text())
        write_json(file, sealed(manifest | {"split": manifest["split"] | {"samples": 3}}))
        config = lab.write(tmp_path, lab.scores(**settings))
        assert lab.artquant("train", "--config", config) == 2
        error = capsys.readouterr().err
        assert f"{checkpoint}: its steps hold 3 samples, which 1 rank(s) with batch_size 2 cannot" in error
        assert (
            f"start as many as before (--ranks 2), or begin a new run with its weights (start: {checkpoint})" in error
        )
        cut_up = load_config(config, ["stages.scores.deepspeed=configs/deepspeed/zero2.json"]).stages[0]
        for ranks, message in ((1, "has cut its state up for 2 rank(s), this run has 1"), (2, "without DeepSpeed")):
            with pytest.raises(ArtQuantError, match=re.escape(message)):
                accumulation_to_go_on(checkpoint, cut_up, ranks)
        anew = lab.write(tmp_path / "anew", lab.scores(start=str(checkpoint), max_steps=1))
        assert lab.artquant("train", "--config", anew) == 0


def assert_near(lab, run, expected, steps=(4, 5, 6)) -> None:
    """Measured: 1e-7 of a loss, 1e-6 of a weight."""
    found = {line["step"]: line["loss"] for line in lab.history(run, "scores")}
    wanted = {line["step"]: line["loss"] for line in lab.history(expected, "scores")}
    assert list(found) == list(steps)
    assert found == pytest.approx({step: wanted[step] for step in steps}, rel=1e-5)
    weights, other = (lab.weights(place / "scores" / "model") for place in (run, expected))
    assert max((weights[name] - other[name]).abs().max() for name in other) < 2e-5


def test_checkpoints_and_model_say_what_they_are(lab, plain):
    manifest = json.loads((plain / "scores" / "checkpoints" / "checkpoint-6" / "checkpoint.json").read_text())
    card = manifest["run"]
    assert (card["stage"], card["base"], card["prompt"]) == ("scores", str(lab.base), "artquant")
    assert card["levels"]["weights"] == [10.0, 7.5, 5.0, 3.5, 1.0]
    content = lab.records("score").read_bytes()
    expected = {"records": str(lab.records("score")), "count": 32, "sha256": hashlib.sha256(content).hexdigest()}
    assert card["data"] == [expected]
    assert torch.__version__.startswith(card["versions"]["torch"].partition("+")[0])
    history = json.loads((plain / "scores" / "model" / "artquant.json").read_text())["history"]
    assert history["data"] == card["data"] and history["versions"] == card["versions"]


def test_rates_and_counts_are_shown(lab, tmp_path, caplog):
    rates = {"learning_rate": 1e-3, "vision_learning_rate": 5e-4, "adapter_learning_rate": 2e-3}
    lab.train(tmp_path, lab.scores(trainable=lab.as_published, optimizer=rates, max_steps=1))
    shown = " ".join(caplog.text.split())
    for part, rate in (("vision", "0.0005"), ("projector", "0.001"), ("adapters", "0.002")):
        assert any(f"{part} {count} parameters, learning rate {rate}" in shown for count in numbers(shown))
    stored = torch.load(next(tmp_path.rglob("optimizer.pt")), weights_only=True)
    found = {group["name"]: group["initial_lr"] for group in stored["param_groups"]}
    assert found == {"vision": 5e-4, "projector": 1e-3, "adapters": 2e-3}


def numbers(text: str) -> set[str]:
    return {word for word in text.split() if word.isdecimal()}


def test_speed_memory_and_time_left(lab, plain):
    lines = [json.loads(line) for line in (plain / "scores" / "history.jsonl").read_text().splitlines()]
    for line in lines[:-1]:
        assert line["images_per_second"] > 0 and line["tokens_per_second"] > 10 * line["images_per_second"]
        assert line["peak_memory_gib"] > 0.05
    left = [line["seconds_left"] for line in lines[:-1]]
    assert left[-1] == 0 and all(earlier >= 0 for earlier in left)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_launchers_on_one_machine(lab, tmp_path, launcher):
    """Two nodes of one rank each give what two ranks give."""
    settings = {"batch_size": 2}
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        master = f"127.0.0.1:{listener.getsockname()[1]}"
    options = ["--ranks", 1, "--nodes", 2, "--master", master]
    if launcher == "deepspeed":
        pytest.importorskip("deepspeed")
        settings["deepspeed"] = str(REPOSITORY / "configs" / "deepspeed" / "zero2.json")
        (tmp_path / "hosts").write_text("localhost slots=1\n127.0.0.1 slots=1\n")
        options = ["--hostfile", tmp_path / "hosts", "--master", master]
    together = lab.write(tmp_path / "together", lab.scores(**settings))
    done = lab.launch("train", "--config", together, "--ranks", 2)
    assert done.returncode == 0, done.stderr
    config = lab.write(tmp_path / "apart", lab.scores(**settings))
    nodes = [
        lab.start(["-m", "artquant", "train", "--config", config, *options, "--node-rank", number])
        for number in range(2)
    ]
    for node in nodes:
        _, err = node.communicate(timeout=240)
        assert node.returncode == 0, err
    one, other = (tmp_path / folder / "runs" / "run" for folder in ("together", "apart"))
    assert lab.history(one, "scores") == lab.history(other, "scores")
    assert lab.same_weights(one, other)
