"""Attributes through the command line: trained beside the total, scored with it, evaluated each."""

import json
import shutil

import pytest
from PIL import Image

from artquant import Scorer
from artquant.data.images import list_pictures
from artquant.errors import ArtQuantError
from artquant.texts.attributes import APDD_ATTRIBUTES

NAMES = [attribute.name for attribute in APDD_ATTRIBUTES]


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    """A run whose second stage learns scores and attributes."""
    mixed = lab.stage("scores", {"score": 1, "attributes": 0.5})
    infer = {"records": str(lab.records("test")), "images": str(lab.images), "workers": 0, "attributes": "trained"}
    return lab.train(tmp_path_factory.mktemp("attributes"), mixed, infer=infer)


@pytest.fixture
def model(run):
    return run / "scores" / "model"


def test_the_model_knows_what_it_was_trained_on(model):
    assert sorted(json.loads((model / "artquant.json").read_text())["attributes"]) == sorted(NAMES)


def test_in_python_by_their_names_or_all(lab, run):
    scorer, picture = Scorer.from_pretrained(run / "scores" / "model", device="cpu"), lab.images / "00000.png"
    assert list(scorer(picture, attributes="Color").attributes) == ["Color"]
    every = scorer([picture, picture], attributes="trained", as_tensor=True)
    assert sorted(scorer(picture, attributes="trained").attributes) == sorted(NAMES)
    assert every.shape == (2, 1 + len(NAMES)) and every[0].tolist() == pytest.approx(every[1].tolist(), abs=1e-5)
    with pytest.raises(ArtQuantError, match=r"never trained on attribute 'Colour' \(on .*Color"):
        scorer(picture, attributes=("Mood", "Colour"))


def test_scored_and_evaluated(lab, run, capsys):
    config = run.parent.parent / "run.yaml"
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        assert sorted(line["attributes"]) == sorted(NAMES)
        assert all(1 <= value["score"] <= 10 and "attributes" not in value for value in line["attributes"].values())
    capsys.readouterr()
    assert lab.artquant("eval", "--config", config, "--bootstrap", 0) == 0
    shown = capsys.readouterr().out
    assert "mean of 10 attributes" in shown and all(f"  {name} " in shown for name in NAMES)
    assert list((run / "evaluation").glob("attributes_*.png"))
    # the same pictures again without attributes are other predictions
    assert lab.artquant("--quiet", "infer", "--config", config, "infer.attributes=[]") == 2
    assert "made with other attributes" in capsys.readouterr().err


def test_one_picture(lab, model, capsys):
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", model, "--attributes") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("score, 1 to 10, +-") and len(shown) == 12
    assert all(any(name in line for line in shown[2:]) for name in NAMES)
    assert lab.artquant("score", picture, "--model", model, "--attribute", "Color", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["attributes"]) == ["Color"]
    assert lab.artquant("score", picture, "--model", model, "--json") == 0
    assert "attributes" not in json.loads(capsys.readouterr().out)


def test_a_model_without_attributes(lab, two_stages, capsys):
    picture = list_pictures(lab.images)[0]
    model = two_stages / "scores" / "model"
    assert lab.artquant("score", picture, "--model", model, "--attributes") == 2
    assert "was trained on no attributes" in capsys.readouterr().err


def test_a_later_stage_keeps_them(lab, model, tmp_path):
    run = lab.train(tmp_path, lab.scores(start=str(model), max_steps=1))
    assert sorted(json.loads((run / "scores" / "model" / "artquant.json").read_text())["attributes"]) == sorted(NAMES)


@pytest.fixture(scope="module")
def together(lab, tmp_path_factory):
    """A run whose only stage learns total and attributes in one sequence, validated on both, with texts beside them."""
    data = [
        {"records": str(lab.records("score")), "images": str(lab.images), "attributes": True},
        {"records": str(lab.records("captions")), "images": str(lab.images), "weight": 0.5},
    ]
    scored = {"records": str(lab.records("test")), "images": str(lab.images), "steps": 3, "losses": data}
    loss = {"score_text": 0.05, "score": {"score_distribution": 1.0}, "centred": 0.5}
    stage = lab.scores(data=data, validation=scored, loss=loss, group_by_length=True)
    infer = {"records": str(lab.records("test")), "images": str(lab.images), "workers": 0, "attributes": "trained"}
    return lab.train(tmp_path_factory.mktemp("together"), stage, infer=infer)


def test_total_and_attributes_in_one_sequence(lab, together, capsys):
    """Trained, validated within pictures, scored and evaluated so."""
    card = json.loads((together / "scores" / "model" / "artquant.json").read_text())
    assert sorted(card["attributes"]) == sorted(NAMES) and card["learned"] == ["description", "score"]
    lines = [json.loads(line) for line in (together / "scores" / "history.jsonl").read_text().splitlines()]
    assert any(line.get("loss_centred", 0) > 0 for line in lines)  # not in batches of texts alone
    validated = [line for line in lines if "eval_SRCC" in line]
    assert len(validated) == 2
    for line in validated:
        assert all(-1 <= line[f"eval_{name}_SRCC"] <= 1 for name in ("within", "attributes"))
        assert line["eval_loss_centred"] > 0
    config = together.parent.parent / "run.yaml"
    assert lab.artquant("--quiet", "check", config, "stages.scores.validation=null") == 0
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    assert lab.artquant("eval", "--config", config, "--bootstrap", 20) == 0
    shown = capsys.readouterr().out
    assert "attributes within each of 8 pictures" in shown and "truth within one predicted deviation" in shown
    [stored] = json.loads((together / "evaluation" / "metrics.json").read_text())
    last = {name: line for line in validated for name in line}["eval_SRCC"]
    assert stored["metrics"]["SRCC"]["value"] == pytest.approx(max(line["eval_SRCC"] for line in validated), abs=1e-4)
    assert last["step"] == 6 and stored["within_pictures"]["n"] == 8 and 0 <= stored["coverage"]["within_one"] <= 1


def test_resumed_it_learns_the_same(lab, together, tmp_path):
    stage = together.parent.parent / "run.yaml"
    again = tmp_path / "run.yaml"
    again.write_text(stage.read_text().replace(str(together.parent), str(tmp_path / "runs")))
    first = ("stages.scores.max_steps=6", "stages.scores.save_steps=2")
    assert lab.run("-c", STOPPED, again, *first).returncode == 143
    assert lab.artquant("--quiet", "train", "--config", again, *first) == 0
    assert lab.same_weights(together, tmp_path / "runs" / "run")


STOPPED = """
import sys
from artquant.cli import main
from artquant.train.trainer import _StepEvents
before = _StepEvents.on_step_end
def stop(self, args, state, control, **rest):
    self.trainer.interrupted = state.global_step == 4
    return before(self, args, state, control, **rest)
_StepEvents.on_step_end = stop
sys.exit(main(["--quiet", "train", "--config", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "descriptions_level_1"}, "no score of the whole"),
        ({"loss": {"centred": -1}}, "must be 0 or more"),
        ({"attributes": False, "loss": {"centred": 1}}, "loss.centred has no effect without attributes"),
    ],
)
def test_what_cannot_be_learned_so(lab, tmp_path, capsys, settings, message):
    name = settings.pop("data", "score")
    together = settings.pop("attributes", True)
    data = [{"records": str(lab.records(name)), "images": str(lab.images), "attributes": together}]
    config = lab.write(tmp_path, lab.scores(data=data, **settings))
    assert lab.artquant("--quiet", "train", "--config", config) == 2
    assert message in capsys.readouterr().err


def test_what_was_never_learned_is_refused(lab, run, two_stages, capsys):
    """By the card: scores, descriptions, an attribute; --anyway asks all the same."""
    picture, scores = list_pictures(lab.images)[0], run / "scores" / "model"
    described = two_stages / "descriptions" / "model"
    for command, message in (
        (("score", picture, "--model", described), "never trained on scores"),
        (("describe", picture, "--model", scores), "never trained on descriptions"),
        (("score", picture, "--model", scores, "--attribute", "Charm"), "never trained on attribute 'Charm'"),
    ):
        assert lab.artquant(*command) == 2
        assert message in capsys.readouterr().err
        assert lab.artquant(*command, "--anyway", *(["--max-new-tokens", 3] if command[0] == "describe" else [])) == 0
    assert lab.artquant("score", picture, "--model", scores, "--attribute", "color") == 0
    both = two_stages / "scores" / "model"  # what was learned in an earlier stage counts
    assert lab.artquant("score", picture, "--model", both) == 0
    assert lab.artquant("describe", picture, "--model", both, "--max-new-tokens", 3) == 0


def test_pictures_of_another_kind_are_told(lab, run, tmp_path, capsys):
    model = shutil.copytree(run / "scores" / "model", tmp_path / "model")
    few = ("familiar", "--model", model, "--records", lab.records("score"), "--images", lab.images)
    assert lab.artquant("--quiet", *few) == 2
    assert "32 pictures are too few" in capsys.readouterr().err
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        Image.effect_noise((60, 60), 5 + number % 7).save(folder / f"{number}.png")
    assert lab.artquant("--quiet", "familiar", "--model", model, "--records", folder) == 0
    assert "knows 60 training pictures" in capsys.readouterr().out
    picture = list_pictures(lab.images)[0]
    assert lab.artquant("score", picture, "--model", model) == 0
    assert "unlike the training pictures" in capsys.readouterr().out
    assert lab.artquant("score", picture, folder / "0.png", "--model", model, "--json") == 0
    far, near = (json.loads(line)["unlike"] for line in capsys.readouterr().out.splitlines())
    assert far > 1 and far > near
