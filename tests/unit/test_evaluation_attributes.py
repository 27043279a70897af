"""Evaluation of attributes that were scored beside the whole picture."""

import json

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from artquant.data.predictions import read_predictions
from artquant.errors import ArtQuantError
from artquant.evaluate.join import read_truth
from artquant.evaluate.report import as_record, format_table, run_evaluation


def scored(score):
    return {"score": float(score), "std": 1.0}


@pytest.fixture
def files(tmp_path):
    """Thirty pictures: Color is rated for all, Mood for every second; Theme is never predicted, Light never rated."""
    draw = np.random.default_rng(0)
    predictions, truth = [], []
    for number in range(30):
        rated = {"Color": draw.uniform(1, 10), "Theme": 5.0} | ({"Mood": draw.uniform(1, 10)} if number % 2 else {})
        predicted = {name: scored(draw.uniform(1, 10)) for name in ("Color", "Mood", "Light")}
        predictions.append({"id": f"{number}.png", **scored(draw.uniform(1, 10)), "attributes": predicted})
        truth.append({"id": f"{number}.png", "gt_score": draw.uniform(1, 10), "attributes": rated})
    return write(tmp_path, predictions, truth), predictions, truth


def write(folder, predictions, truth):
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in predictions[::-1]))
    (folder / "t.json").write_text(json.dumps(truth))
    return folder / "p.jsonl", folder / "t.json"


def test_each_attribute_over_the_pictures_that_were_rated(files, tmp_path):
    pair, predictions, truth = files
    [found] = run_evaluation([pair], tmp_path / "out", bootstrap=50)
    assert list(found.attributes) == ["Color", "Mood"]
    for name, count in (("Color", 30), ("Mood", 15)):
        rated = [index for index in range(30) if name in truth[index]["attributes"]]
        predicted = [predictions[index]["attributes"][name]["score"] for index in rated]
        true = [truth[index]["attributes"][name] for index in rated]
        assert found.attributes[name].n == count
        assert found.attributes[name].SRCC.value == pytest.approx(spearmanr(predicted, true).statistic)
        assert found.attributes[name].PLCC.value == pytest.approx(pearsonr(predicted, true).statistic)
    mean = found.mean_over_attributes()["SRCC"]
    assert mean == pytest.approx(np.mean([metrics.SRCC.value for metrics in found.attributes.values()]))
    rows = {line.split("  ")[1]: line.split() for line in format_table([found]).splitlines() if line.startswith("  ")}
    assert rows["mean of 2 attributes"][4] == f"{mean:.4f}"
    assert rows["Color"][1:3] == ["30", f"{found.attributes['Color'].SRCC.value:.4f}"]
    [stored] = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["attributes"]["Mood"]["n"] == 15 and stored["mean_over_attributes"]["SRCC"] == pytest.approx(mean)
    assert (tmp_path / "out" / "attributes_1_p.png").stat().st_size > 10_000


def test_names_in_plots_are_no_formulas(files, tmp_path):
    _, predictions, truth = files
    name = "$\\frac{$\n" + "long " * 50
    for record in (*predictions, *truth):
        record["attributes"][name] = record["attributes"].pop("Color")
    (folder := tmp_path / "$x_{$").mkdir()
    run_evaluation([write(folder, predictions, truth)], tmp_path / "out", bootstrap=0)
    assert (tmp_path / "out" / "attributes_1_p.png").stat().st_size > 10_000


def test_without_attributes_nothing_is_said_of_them(files, tmp_path):
    _, predictions, truth = files
    for record in truth:
        del record["attributes"]
    [found] = run_evaluation([write(tmp_path, predictions, truth)], tmp_path / "out", bootstrap=0)
    assert not found.attributes and "attributes" not in as_record(found) and "mean of" not in format_table([found])
    assert not list((tmp_path / "out").glob("attributes_*"))


def test_an_attribute_that_was_not_predicted_for_every_rated_picture(files, tmp_path):
    _, predictions, truth = files
    del predictions[3]["attributes"]["Mood"]
    pair = write(tmp_path, predictions, truth)
    with pytest.raises(ArtQuantError, match=r"1 pictures without a prediction of 'Mood': '3\.png'"):
        run_evaluation([pair], bootstrap=0)
    [found] = run_evaluation([pair], bootstrap=0, allow_missing=True)
    assert found.attributes["Mood"].n == 14


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["Color"], '"attributes" must be an object'),
        ({"Color": 5.0}, "attribute 'Color': expected an object"),
        ({"Color": {"score": 11.0}}, r"record 1.*attribute 'Color': score 11 is outside 1 to 10"),
        ({"Color": {}}, "attribute 'Color': no \"score\""),
    ],
)
def test_predictions_that_are_not_as_described(tmp_path, attributes, message):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "a", "score": 5.0, "attributes": attributes}) + "\n")
    with pytest.raises(ArtQuantError, match=message):
        read_predictions(path, score_range=(1, 10))


@pytest.mark.parametrize("attributes", [["Color"], {"Color": "good"}, {"Color": None}])
def test_truth_that_is_not_as_described(tmp_path, attributes):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"id": "a", "gt_score": 5.0, "attributes": attributes}]))
    with pytest.raises(ArtQuantError, match=r"record 1.*must be (an object|a number)"):
        read_truth(path)
