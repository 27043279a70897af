"""Validation while a stage trains: its figures, the best weights, an early end."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from artquant.batches.dataset import ArtDataset
from artquant.config.schema import LevelsConfig, Loading, LossConfig
from artquant.data.record_file import RecordFile
from artquant.data.records import read_image_records
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import RatingScale
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.weights import LoadedModel, load_network
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt
from artquant.train.objective import Objective
from artquant.train.validation import Validation


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
        assert lab.same_weights(run, plain)

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
        four = lab.train(tmp_path / "four", lab.scores(max_steps=4) | {"optimizer": lab.constant})
        six = lab.train(tmp_path / "six", lab.scores() | {"optimizer": lab.constant})
        assert not lab.same_weights(four, six)
        figures = iter([0.1, 0.9, 0.5])
        best = lab.train(tmp_path / "constant", lab.scores(validation=validated(lab)) | {"optimizer": lab.constant})
        assert lab.same_weights(best, four)
        assert json.loads((run / "scores" / "model" / "artquant.json").read_text())["history"]["steps"] == 4

    def test_patience(self, lab, tmp_path, monkeypatch):
        figures = iter([0.5, 0.4, 0.3, 0.6])
        monkeypatch.setattr(Validation, "run", lambda *_: {"SRCC": next(figures), "PLCC": 0.0})
        run = lab.train(tmp_path, lab.scores(validation=validated(lab, patience=2), max_steps=20))
        assert lab.steps(run) == [1, 2, 3, 4, 5, 6]

    def test_list_without_scores(self, lab, tmp_path, capsys):
        unrated = [{"image": record["image"]} for record in json.loads(lab.records("test").read_text())]
        (tmp_path / "unrated.json").write_text(json.dumps(unrated))
        wanted = validated(lab, records=str(tmp_path / "unrated.json"))
        assert lab.artquant("train", "--config", lab.write(tmp_path, lab.scores(validation=wanted))) == 2
        assert "unrated.json record 1" in (error := capsys.readouterr().err) and "no gt_score" in error


@pytest.fixture
def by_brightness(monkeypatch):
    """Scores that differ clearly from picture to picture: a network of six steps finds all pictures alike."""
    score_pictures = Scorer.score_pictures

    def shifted(self, pictures, *arguments):
        found = score_pictures(self, pictures, *arguments)
        return [
            replace(score, score=5.0 + 2.0 * float(picture.mean()))
            for score, picture in zip(found, pictures, strict=True)
        ]

    monkeypatch.setattr(Scorer, "score_pictures", shifted)


def in_ranks(lab, ranks: int) -> list[dict[str, float]]:
    """Figures of one validation, as each of several ranks (threads here) gets them."""
    loaded = load_network(ModelFolder.open(lab.base), Loading())
    prompt, levels = get_prompt("artquant"), LevelsConfig()
    readout = readout_of({}, RatingScale(levels.words, levels.weights)).bound(loaded.processor, prompt)
    network = ScoringNetwork(loaded.model, loaded.family.parts(loaded.model))
    records = RecordFile(lab.records("score"), lab.images)
    validation = Validation(
        model=LoadedModel(network, loaded.processor, loaded.family, prompt, readout),
        scored=read_image_records(lab.records("test"), lab.images),
        held_out=ArtDataset(records[:13], loaded.processor, prompt, readout, levels.weights, max_length=512),
        objective=Objective(readout, LossConfig()),
        batch_size=2,
        max_length=512,
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
