"""What goes wrong in a long run, and what the run does then."""

import errno
import hashlib
import json
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from artquant.models.checkpoints import LoadedModel, load_network
from scipy.stats import pearsonr, spearmanr

from artquant.batches.dataset import ArtDataset
from artquant.config.schema import LevelsConfig, LossConfig
from artquant.data.record_file import RecordFile
from artquant.data.records import read_image_records
from artquant.infer.scorer import Scorer
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import get_prompt
from artquant.train.checkpointing import CheckpointStore
from artquant.train.objective import Objective
from artquant.train.trainer import ArtTrainer
from artquant.train.validation import Validation

REPOSITORY = Path(__file__).resolve().parents[2]


def steps(lab, run):
    return [line["step"] for line in lab.history(run, "scores")]


def same_weights(lab, one, other) -> bool:
    before, after = (lab.weights(run / "scores" / "model") for run in (one, other))
    return before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)


def validated(lab, **settings):
    """Validation every two steps on the held-out pictures, and the loss on the training records of both tasks."""
    losses = [
        {"records": str(lab.records(name)), "images": str(lab.images)} for name in ("score", "descriptions_level_1")
    ]
    scored = {"records": str(lab.records("test")), "images": str(lab.images)}
    return {"steps": 2, "batch_size": 3, "losses": losses} | scored | settings


def validations(run):
    lines = [json.loads(line) for line in (run / "scores" / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if "eval_SRCC" in line]


@pytest.fixture(scope="module")
def plain(lab, tmp_path_factory):
    """Six steps without any trouble."""
    return lab.train(tmp_path_factory.mktemp("plain"), lab.scores())


class TestValidation:
    def test_figures_and_best_weights(self, lab, tmp_path, plain):
        run = lab.train(tmp_path, lab.scores(validation=validated(lab, keep="last"), workers=1))
        found = validations(run)
        assert [line["step"] for line in found] == [2, 4, 6]
        for line in found:
            assert -1 <= line["eval_SRCC"] <= 1 and -1 <= line["eval_PLCC"] <= 1
            assert all(line[f"eval_loss_{task}"] > 0 for task in ("description", "score_text", "score_distribution"))
        best = max(found, key=lambda line: line["eval_SRCC"])
        [kept] = (run / "scores" / "best").glob("checkpoint-*")
        manifest = json.loads((kept / "checkpoint.json").read_text())
        assert manifest["step"] == best["step"] and manifest["figures"]["SRCC"] == best["eval_SRCC"]
        # looking on changes nothing: neither losses nor what is learned
        assert lab.history(run, "scores") == lab.history(plain, "scores")
        assert same_weights(lab, run, plain)

    def test_the_figures_are_those_of_scoring(self, lab, tmp_path, by_brightness):
        run = lab.train(tmp_path, lab.scores(validation=validated(lab, steps=6, losses=[])))
        config = tmp_path / "run.yaml"
        assert lab.artquant("--quiet", "infer", "--config", config) == 0
        lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
        predicted, truth = ([line[key] for line in lines] for key in ("score", "gt_score"))
        [line] = validations(run)
        assert line["eval_SRCC"] == pytest.approx(spearmanr(predicted, truth).statistic, abs=1e-9)
        assert line["eval_PLCC"] == pytest.approx(pearsonr(predicted, truth).statistic, abs=1e-9)

    @pytest.mark.parametrize("ranks", [2, 3])
    def test_ranks_share_the_work(self, lab, by_brightness, ranks):
        """On the eight held-out pictures and 32 records, some ranks get fewer batches than others."""
        [expected] = in_ranks(lab, 1)
        assert expected["loss_score_distribution"] > 0 and abs(expected["SRCC"]) > 0.01
        for figures in in_ranks(lab, ranks):
            assert figures == pytest.approx(expected, rel=1e-6)

    def test_best_weights_become_the_model(self, lab, tmp_path, monkeypatch):
        figures = iter([0.1, 0.9, 0.5])
        monkeypatch.setattr(Validation, "run", lambda *_: {"SRCC": next(figures), "PLCC": 0.0})
        run = lab.train(tmp_path / "best", lab.scores(validation=validated(lab)))
        four = lab.train(tmp_path / "four", lab.scores(max_steps=4) | {"optimizer": constant()})
        six = lab.train(tmp_path / "six", lab.scores() | {"optimizer": constant()})
        assert not same_weights(lab, four, six)
        figures = iter([0.1, 0.9, 0.5])
        best = lab.train(tmp_path / "constant", lab.scores(validation=validated(lab)) | {"optimizer": constant()})
        assert same_weights(lab, best, four)
        assert json.loads((run / "scores" / "model" / "artquant.json").read_text())["history"]["steps"] == 4

    def test_patience(self, lab, tmp_path, monkeypatch):
        figures = iter([0.5, 0.4, 0.3, 0.6])
        monkeypatch.setattr(Validation, "run", lambda *_: {"SRCC": next(figures), "PLCC": 0.0})
        run = lab.train(tmp_path, lab.scores(validation=validated(lab, patience=2), max_steps=20))
        assert steps(lab, run) == [1, 2, 3, 4, 5, 6]

    def test_list_without_scores(self, lab, tmp_path, capsys):
        unrated = [{"image": record["image"]} for record in json.loads(lab.records("test").read_text())]
        (tmp_path / "unrated.json").write_text(json.dumps(unrated))
        wanted = validated(lab, records=str(tmp_path / "unrated.json"))
        assert lab.artquant("train", "--config", lab.write(tmp_path, lab.scores(validation=wanted))) == 2
        assert "unrated.json record 1" in (error := capsys.readouterr().err) and "no gt_score" in error


@pytest.fixture
def by_brightness(monkeypatch):
    """Scores that differ clearly from picture to picture: a network of six steps finds all pictures alike."""
    score_pixels = Scorer.score_pixels

    def shifted(self, pixel_values, *arguments):
        found = score_pixels(self, pixel_values, *arguments)
        return [
            replace(score, score=5.0 + 2.0 * float(pixels.mean()))
            for score, pixels in zip(found, pixel_values, strict=True)
        ]

    monkeypatch.setattr(Scorer, "score_pixels", shifted)


def in_ranks(lab, ranks: int) -> list[dict[str, float]]:
    """Figures of one validation, as each of several ranks (threads here) gets them."""
    loaded = load_network(lab.base)
    prompt = get_prompt("artquant")
    levels = LevelsConfig()
    readout = RatingLevels.from_encoder(loaded.processor, prompt, levels.words, levels.weights)
    records = RecordFile(lab.records("score"), lab.images)
    validation = Validation(
        model=LoadedModel(loaded.model, loaded.processor, prompt, readout),
        scored=read_image_records(lab.records("test"), lab.images),
        held_out=ArtDataset(records[:13], loaded.processor, prompt, readout, max_length=512),
        objective=Objective(readout, LossConfig()),
        batch_size=2,
    )
    values: list = [None] * ranks
    meeting = threading.Barrier(ranks)

    def run(rank: int) -> dict[str, float]:
        def gather(value):
            values[rank] = value
            meeting.wait(60)
            found = list(values)
            meeting.wait(60)
            return found

        return validation.run(rank, ranks, torch.device("cpu"), gather)

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))


def constant(rate: float = 1e-3):
    return {"learning_rate": rate, "warmup_fraction": 0.0, "schedule": "constant"}


def damaged_records(lab, folder, *lost: int):
    """The score records, some of whose pictures cannot be read."""
    records = json.loads(lab.records("score").read_text())
    for number in lost:
        name = f"lost-{number}.png"
        (lab.images / name).write_bytes((lab.images / records[number]["image"]).read_bytes()[:900])
        records[number]["image"] = name
    file = folder / "damaged.json"
    folder.mkdir(parents=True, exist_ok=True)
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
        assert steps(lab, run)[-1] == 64 // batch_size
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
        run = lab.train(tmp_path, lab.scores(bad_steps=1, optimizer=constant()))
        assert "step 4: the loss" not in caplog.text and "step 4: the gradient is not finite" in caplog.text
        history = lab.history(run, "scores")
        assert [line.get("steps_left_out", 0) for line in history] == [0, 0, 0, 1, 1, 1]
        assert [line["loss"] is None for line in history] == [False, False, False, True, False, False]
        assert all(value.isfinite().all() for value in lab.weights(run / "scores" / "model").values())

    def test_a_step_left_out_moves_nothing(self, lab, tmp_path, one_bad_loss):
        one_bad_loss("loss")
        left_out = lab.train(tmp_path / "left_out", lab.scores(bad_steps=1, max_steps=4, optimizer=constant()))
        three = lab.train(tmp_path / "three", lab.scores(max_steps=3, optimizer=constant()))
        assert same_weights(lab, left_out, three)

    def test_one_more_than_stated(self, lab, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("artquant.train.objective.Objective.total", lambda self, terms: terms["score_text"] / 0)
        assert lab.artquant("train", "--config", lab.write(tmp_path, lab.scores(bad_steps=2))) == 2
        assert "step 3" in (error := capsys.readouterr().err) and "2 steps were left out before" in error


class TestStopRequests:
    def test_sigterm_saves_and_the_same_command_goes_on(self, lab, tmp_path):
        unbroken = lab.train(tmp_path / "unbroken", lab.scores(max_steps=400, workers=1))
        config = lab.write(tmp_path / "stopped", lab.scores(max_steps=400, workers=1))
        run = tmp_path / "stopped" / "runs" / "run"
        process = lab.start(["-m", "artquant", "train", "--config", config])
        wait_for_step(process, run, 20)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 143, err
        assert "stopped on request after step" in err and "run the same command to go on" in err
        assert not (run / "scores" / "model").exists()
        stopped_at = steps(lab, run)[-1]
        assert (run / "scores" / "checkpoints" / f"checkpoint-{stopped_at}").is_dir()
        assert lab.artquant("train", "--config", config) == 0
        assert lab.history(run, "scores") == lab.history(unbroken, "scores")
        assert same_weights(lab, run, unbroken)

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
        assert store.last() == store.path(steps(lab, run)[-1])


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
        assert same_weights(lab, tmp_path / "runs" / "run", plain)


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

    def test_another_number_of_ranks(self, lab, tmp_path, capsys):
        config = lab.write(tmp_path, lab.scores(save_steps=3))
        run = lab.train(tmp_path, lab.scores(save_steps=3))
        (run / "scores" / "model").rename(run / "scores" / "gone")
        file = run / "scores" / "checkpoints" / "checkpoint-6" / "checkpoint.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"ranks": 2}))
        assert lab.artquant("train", "--config", config) == 2
        assert "written by 2 rank(s), this run has 1" in capsys.readouterr().err


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
    for part, rate in (("vision_encoder", "0.0005"), ("abstractor", "0.001"), ("adapters", "0.002")):
        assert any(f"{part} {count} parameters, learning rate {rate}" in shown for count in numbers(shown))
    stored = torch.load(next(tmp_path.rglob("optimizer.pt")), weights_only=True)
    found = {group["name"]: group["initial_lr"] for group in stored["param_groups"]}
    assert found == {"vision_encoder": 5e-4, "abstractor": 1e-3, "adapters": 2e-3}


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
    done = lab.run("-m", "artquant", "train", "--config", together, "--ranks", 2)
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
    assert same_weights(lab, one, other)
