"""The engine with a real, small network: alone, and behind the command line."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from serving import picture, wait_until

import artquant
from artquant.cli import main
from artquant.data.images import read_image
from artquant.errors import ArtQuantError
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.readouts import readout_of
from artquant.serve.devices import ProcessDevice
from artquant.serve.engine import Engine, shapes
from artquant.serve.messages import Describe, Done, Failed, NoLonger, Ready, Scored, ScoreThese, Written
from artquant.serve.settings import Chosen
from artquant.texts.prompt import get_prompt

FILES = [picture(light, side) for light, side in ((10, 20), (90, 33), (170, 40), (250, 25), (60, 64))]


@pytest.fixture(scope="module")
def model(tiny_base, tmp_path_factory) -> Path:
    """A model whose card says that it was trained on scores, an attribute and descriptions."""
    folder = shutil.copytree(tiny_base, tmp_path_factory.mktemp("served") / "model")
    prompt, history = get_prompt("artquant"), {"run": "r", "stage": "s", "data": [{"records": "d/a.json", "count": 5}]}
    readout = readout_of({}, APDD_SCALE)
    opened = ModelFolder.open(folder)
    processor = opened.family.processor(folder, opened.family.config(folder))
    learned = ("score", "description")
    Card(prompt, readout.bound(processor, prompt), ("Color",), history, learned=learned).write(folder)
    return folder


class Listed:
    """An inbox of what it is given, and then the end."""

    def __init__(self, *asked):
        self.asked = list(asked)

    def next(self):
        return self.asked.pop(0) if self.asked else None

    def waits(self):
        return bool(self.asked)


def said(model, *asked, **chosen):
    """What an engine says to all of it."""
    answers = []
    inbox = Listed(*asked)
    Engine(Chosen(model, **chosen), "cpu", inbox, answers.append).run()
    return answers


def test_a_score_does_not_depend_on_what_else_is_in_the_batch(model, one_thread):
    scorer = Scorer.from_pretrained(model, device="cpu")
    images = [read_image(file, "x") for file in FILES]
    pictures = tuple(scorer.processor.picture(image) for image in images)
    asked = [ScoreThese(0, pictures, False), ScoreThese(1, pictures[::-1], False), ScoreThese(2, pictures, True)]
    asked += [ScoreThese(3 + number, (one,), False) for number, one in enumerate(pictures)]
    ready, together, turned, named, *alone = said(model, *asked, batch=4)
    assert isinstance(ready, Ready) and ready.facts.attributes == ("Color",) and ready.facts.identity.name == "r/s"
    assert ready.facts.trained_on == "d/a.json (5)"
    expected = [score.score for score in scorer(images)]
    for found in (together, replace(turned, outcomes=turned.outcomes[::-1]), named):
        assert [one.prediction.score for one in found.outcomes] == pytest.approx(expected, abs=1e-6)
    assert [one.outcomes[0].prediction.score for one in alone] == pytest.approx(expected, abs=1e-6)
    assert list(named.outcomes[0].prediction.attributes) == ["Color"]


def test_what_its_test_pictures_say(model, tmp_path):
    predictions, records = tmp_path / "predictions.jsonl", tmp_path / "test.json"
    scores = [2.0, 4.0, 5.0, 9.0]
    lines = [{"id": str(n), "score": score, "attributes": {"Color": {"score": 1}}} for n, score in enumerate(scores)]
    predictions.write_text("\n".join(map(json.dumps, lines)))
    rated = [{"id": str(n), "image": "x", "gt_score": n, "attributes": {"Color": 1 + n}} for n in range(4)]
    records.write_text(json.dumps(rated))
    test = said(model, tested=(predictions, records))[0].facts.test
    assert len(test.percentiles) == 101 and test.percentiles[0] == 2 and test.percentiles[100] == 9
    assert (test.attribute_means, test.attribute_errors, test.srcc) == ({"Color": 1}, {"Color": 1.5}, 1)
    (tmp_path / "predictions.jsonl.origin.json").write_text('{"weights": ["others"]}')
    with pytest.raises(ArtQuantError, match="another model"):
        said(model, tested=(predictions, records))


def test_batches_have_few_sizes(model, monkeypatch):
    sizes = []
    scored = Scorer.score_pictures
    monkeypatch.setattr(
        Scorer, "score_pictures", lambda self, pictures, names: (sizes.append(len(pictures)), scored(self, pictures))[1]
    )
    prepared = Scorer.from_pretrained(model, device="cpu").processor.picture(read_image(FILES[0], "x"))
    answers = said(model, *(ScoreThese(0, (prepared,) * count, False) for count in range(1, 7)), batch=6)
    assert sizes == [4, 4, 4, 4, 6, 6] and set(sizes) <= set(shapes(6))
    assert [len(one.outcomes) for one in answers if isinstance(one, Scored)] == [1, 2, 3, 4, 5, 6]


def test_one_picture_that_fails_does_not_take_the_others_with_it(model):
    prepared = Scorer.from_pretrained(model, device="cpu").processor.picture(read_image(FILES[0], "x"))
    _, found = said(model, ScoreThese(0, (prepared, prepared * float("nan"), prepared), False))
    assert isinstance(found.outcomes[1], str) and found.outcomes[0] == found.outcomes[2] != found.outcomes[1]


def test_a_network_that_fails_with_everything_ends(model, monkeypatch):
    def broken(*_):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(Scorer, "score_pictures", broken)
    with pytest.raises(RuntimeError):
        said(model, *[ScoreThese(0, (0, 0), False)] * 20)


def test_a_description_is_whole_stoppable_and_lets_scores_pass(model):
    scorer = Scorer.from_pretrained(model, device="cpu")
    image = read_image(FILES[1], "x")
    prepared = scorer.processor.picture(image)
    asked = Describe(0, image, 1)
    answers = said(model, asked, ScoreThese(1, (prepared,), False), tokens=8)
    kinds = [type(one) for one in answers]
    assert kinds.index(Scored) < kinds.index(Done) == len(kinds) - 1
    assert answers[-1].text == scorer.describe(image, 1, max_new_tokens=8)
    assert "".join(one.text for one in answers if isinstance(one, Written)).strip() == answers[-1].text
    stopped = said(model, asked, NoLonger(0), tokens=8)
    assert len([one for one in stopped if isinstance(one, Written)]) <= 1
    failed = said(model, Describe(0, image, 9))[-1]
    assert isinstance(failed, Failed) and failed.number == 0


def test_the_command_serves_until_it_is_stopped(model, tmp_path):
    command = [sys.executable, "-m", "artquant", "serve", model, "--port", "0", "--root", tmp_path, "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(artquant.__file__).parents[1])}
    process = subprocess.Popen(map(str, command), stdout=subprocess.PIPE, env=environment, text=True)
    try:
        url = process.stdout.readline().split()[2].rstrip(";")
        with urllib.request.urlopen(f"{url}/v1/health") as answer:  # it listens before it has loaded
            assert json.load(answer)["status"] in ("loading", "ready")
        wait_until(lambda: json.load(urllib.request.urlopen(f"{url}/v1/health"))["status"] == "ready", 60)
        body = json.dumps({"images": [base64.b64encode(file).decode() for file in FILES]}).encode()
        request = urllib.request.Request(f"{url}/v1/score", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            scores = [one["score"] for one in json.load(answer)["results"]]
        expected = Scorer.from_pretrained(model, device="cpu")([read_image(file, "x") for file in FILES])
        assert scores == pytest.approx([one.score for one in expected], abs=1e-6)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--devices", "tpu"], "--devices"),
        (["--devices", "0,0"], "named twice"),
        (["--root", "/nowhere"], "--root"),
        (["--token-variable", "NOT_SET_ANYWHERE"], "not set"),
        (["--token-variable", "WITH_A_LINE"], "no header"),
        (["--host", "a" * 100], "no name of a host"),
        (["--port", "0"], "not a model folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, options, said):
    monkeypatch.setenv("WITH_A_LINE", "a\nb")
    assert main(["serve", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error.splitlines()[-1] and "Traceback" not in error


@pytest.mark.slow
def test_a_process_of_its_own_computes_the_same(model):
    heard = []
    device = ProcessDevice(Chosen(model), "cpu", heard.append)
    wait_until(lambda: heard, 60)
    ready = heard[0]
    device.ask(ScoreThese(7, (ready.processor.picture(read_image(FILES[0], "x")),), True))
    wait_until(lambda: len(heard) > 1, 30)
    expected = Scorer.from_pretrained(model, device="cpu")(read_image(FILES[0], "x"), attributes="trained")
    assert heard[1].outcomes[0].prediction.score == pytest.approx(expected.score, abs=1e-6)
    device.end()
    wait_until(lambda: heard[-1] is None)
