"""`artquant prepare`: the real APDDv2 files, and from a table of scores to a trained and evaluated model."""

import csv
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from artquant.data.record_file import RecordFile
from artquant.data.records import parse_training_record, read_image_records

SPLITS = {"train": ("score", 8019), "valid": ("validation", 1002), "test": ("test", 1002)}
NO_ATTRIBUTES = {"filename", "Artistic Categories", "Score"}


@pytest.fixture(scope="module")
def annotations(shared_folder):
    """The folder of APDDv2's CSV files."""
    folder = shared_folder / "apdd"
    if not (folder / "APDDv2-10023.csv").is_file():
        pytest.skip(f"no APDDv2 annotations in {folder}")
    return folder


@pytest.fixture(scope="module")
def apdd(annotations, lab, tmp_path_factory):
    """The real data set, prepared; a function that reads one of its files."""
    out = tmp_path_factory.mktemp("apdd") / "meta"
    assert lab.artquant("--quiet", "prepare", "apdd", annotations, "--out", out) == 0

    def read(name):
        return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))

    read.out = out
    return read


@pytest.fixture(scope="module")
def rows(annotations):
    """Rows of a CSV as the csv module reads them."""

    def read(name):
        with (annotations / f"{name}.csv").open(encoding="latin-1", newline="") as stream:
            return list(csv.DictReader(stream))

    return read


@pytest.mark.parametrize("split", SPLITS)
def test_apdd_splits_and_scores(apdd, rows, split):
    file, count = SPLITS[split]
    made = {record["image"]: record["gt_score"] for record in apdd(file)}
    assert len(made) == len(apdd(file)) == count
    assert made == {row["filename"]: float(row["Score"]) for row in rows(split)}


@pytest.mark.parametrize("split", SPLITS)
def test_apdd_attributes(apdd, rows, split):
    name = {"train": "train", "valid": "validation", "test": "test"}[split]
    said = apdd("dataset")["splits"][name]["attributes"]
    names = [column for column in rows(split)[0] if column not in NO_ATTRIBUTES]
    assert list(said) == names and len(names) == 10
    for column in names:
        empty = sum(row[column] == "" for row in rows(split))
        assert said[column] == {"present": len(rows(split)) - empty, "missing": empty}
    of_image = {record["image"]: record["attributes"] for record in apdd(SPLITS[split][0])}
    for row in rows(split):
        assert of_image[row["filename"]] == {column: float(row[column]) for column in names if row[column]}


def test_apdd_attribute_records(apdd):
    attributes = apdd("attributes")
    expected = {(record["image"], *pair) for record in apdd("score") for pair in record["attributes"].items()}
    assert {(record["image"], record["attribute"], record["gt_score"]) for record in attributes} == expected
    assert len(attributes) == len(expected) == 60133


def test_apdd_comments(apdd, rows):
    comments = {row["filename"]: row["Language Comment"].strip() for row in rows("APDDv2-10023")}
    assert len(comments) == 10023
    training = {row["filename"] for row in rows("train")}
    made = {record["image"]: record["conversations"][1]["value"] for record in apdd("comments")}
    assert made == {image: text for image, text in comments.items() if text and image in training}
    counts = [said["comments"] for said in apdd("dataset")["splits"].values()]
    assert sum(counts) == sum(map(bool, comments.values())) == 4906


def test_apdd_files_are_what_training_and_scoring_read(apdd, tmp_path):
    for name in ("score", "attributes", "comments"):
        records = RecordFile(apdd.out / f"{name}.json", tmp_path, 5, (1.0, 10.0))
        assert len(records) == len(apdd(name))
    records = read_image_records(apdd.out / "test.json", tmp_path, (1.0, 10.0))
    assert len(records) == 1002


@pytest.fixture(scope="module")
def apdd_places(annotations, lab, tmp_path_factory):
    """The same for score tokens."""
    out = tmp_path_factory.mktemp("apdd_places") / "meta"
    readout = ("--readout", "score_tokens", "--tokens", "5")
    assert lab.artquant("--quiet", "prepare", "apdd", annotations, *readout, "--out", out) == 0
    return lambda name: json.loads((out / f"{name}.json").read_text(encoding="utf-8"))


def test_apdd_for_score_tokens(apdd, apdd_places, tmp_path):
    """The same scores as for rating words; missing attributes are not in a picture's text."""
    values = np.linspace(1, 10, 5)
    scores = apdd_places("score")
    assert [(found["image"], found["gt_score"]) for found in scores] == [
        (found["image"], found["gt_score"]) for found in apdd("score")
    ]
    assert np.allclose([np.dot(found["target"], values) for found in scores], [found["gt_score"] for found in scores])
    attributes = apdd_places("attributes")
    made = [
        (found["image"], name, score)
        for found in attributes
        for name, score in zip(found["attribute"][1:], found["gt_score"][1:], strict=True)
    ]
    assert made == [(found["image"], found["attribute"], found["gt_score"]) for found in apdd("attributes")]
    assert len({len(found["gt_score"]) for found in attributes}) > 1
    for found in attributes[::100]:
        record = parse_training_record(found, "x", tmp_path, 5, (1.0, 10.0)).valid()
        assert np.allclose(np.array(record.targets) @ values, record.scores)
        assert record.answer.count("[SCORE]") == len(record.scores)
    texts = [found["conversations"][1]["value"] for found in apdd("comments")]
    begun = "The aesthetic rate of the image is [SCORE]. "
    assert [found["conversations"][1]["value"] for found in apdd_places("comments")] == [begun + text for text in texts]


@pytest.mark.parametrize("readout", [(), ("--readout", "score_tokens", "--tokens", "4")])
def test_from_a_table_to_an_evaluated_model(lab, tmp_path, capsys, readout):
    """What the command prints is what a configuration needs."""
    annotations = json.loads((lab.data / "meta" / "annotations.json").read_text(encoding="utf-8"))
    table = tmp_path / "ratings.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "mean", "Color", "Mood", "part", "said"])
        for found in annotations:
            scores = [found["gt_score"], found["attributes"]["Color"], found["attributes"]["Mood"]]
            writer.writerow([found["image"], *scores, found["split"], "Calm and clear."])
    options = ("--image-column", "file", "--score-column", "mean", "--split-column", "part", "--comment-column", "said")
    scale = ("--range", "1,10", "--levels", "5,4,3,2,1", "--rescale", "--attribute-columns", "Color,Mood")
    out = tmp_path / "meta"
    command = ("prepare", "generic", *options, *scale, *readout, "--images", lab.images, "--out", out, table)
    assert lab.artquant(*command) == 0
    printed = capsys.readouterr().out
    assert "32 pictures" in printed and "8 pictures" in printed and "mapped onto 1 to 5" in printed

    settings = yaml.safe_load(textwrap.dedent(printed.split("artquant check CONFIG.yaml):\n")[1]))
    assert settings.get("readout") == ({"kind": "score_tokens", "tokens": 4} if readout else None)
    assert settings["levels"] == {"words": ["excellent", "good", "fair", "poor", "bad"], "weights": [5, 4, 3, 2, 1]}
    data = settings["stages"][0]["data"]
    assert [Path(entry["records"]).name for entry in data] == ["score.json", "attributes.json", "comments.json"]
    assert all(Path(entry["images"]) == lab.images for entry in data)
    stage = lab.stage("scores", {}, max_steps=2) | settings["stages"][0]
    infer = settings["infer"] | {"workers": 0}
    config = lab.write(
        tmp_path, stage, **{key: value for key, value in settings.items() if key != "stages"} | {"infer": infer}
    )
    other = "levels.weights=[10, 7.5, 5, 3.5, 1]"
    assert lab.artquant("train", config, other) == 2
    assert "score.json: was prepared for other levels than the configuration's" in capsys.readouterr().err
    for command in ("train", "infer", "eval"):
        assert lab.artquant("--quiet", command, "--config", config) == 0
    predictions = (tmp_path / "runs" / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(predictions) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "data set 'nothing' is unknown; choose one of apdd"),
        (("baid",), "no annotation files; name a file"),
        (("baid", "missing.csv"), "missing.csv: cannot be read"),
        (("baid", "."), ".: is a folder; name the file"),
        (("baid", "scores.csv", "--range", "1"), "--range takes two numbers"),
        (("baid", "scores.csv", "--skip-missing"), "needs the folder of the pictures"),
        (("baid", "scores.csv", "--score-column", "mark"), "no column 'mark'; there are 'image', 'score'"),
        (("baid", "scores.csv", "--range", "0,5"), "scores.csv record 2: score 7 is outside 0 to 5"),
        (("baid", "scores.csv", "--images", "."), "scores.csv record 1: no picture 'a.jpg'; missing for 2 of 2"),
        (("baid", "scores.csv", "--test", "scores.csv"), "image 'a.jpg' is also scores.csv record 1"),
        (("koniq", "scores.csv"), "the range of the scores is not known"),
        (("baid", "scores.csv", "--tokens", "5"), "leave out --tokens, or name --readout score_tokens"),
        (("baid", "scores.csv", "--readout", "words"), "'words' is unknown; choose one of rating_levels, score_tokens"),
        (("baid", "scores.csv", "--prompt", "mine"), "unknown prompt 'mine'; known are artquant, "),
    ],
)
def test_mistakes_are_one_line(lab, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.csv").write_text("image,score\na.jpg,5\nb.jpg,7\n", encoding="utf-8")
    assert lab.artquant("--quiet", "prepare", *arguments, "--out", "out") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("artquant prepare: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_options_name_votes_and_categories(lab, tmp_path):
    table = tmp_path / "votes.csv"
    table.write_text("id,one,two,three,Genre\n17,1,0,1,oil\n18,0,2,0,ink\n", encoding="utf-8")
    columns = ("--image-column", "id", "--image-suffix", ".png", "--vote-columns", "one,two,three")
    more = ("--category-columns", "form=Genre", "--range", "1,3", "--method", "votes")
    out = tmp_path / "out"
    assert lab.artquant("--quiet", "prepare", "generic", table, *columns, *more, "--out", out) == 0
    first, second = json.loads((out / "score.json").read_text(encoding="utf-8"))
    assert (first["image"], first["gt_score"], first["categories"]) == ("17.png", 2.0, {"form": "oil"})
    assert first["level_probs"] == [0.5, 0, 0, 0, 0.5] and second["level_probs"] == [0, 0, 1, 0, 0]
    card = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert card["command"].startswith("artquant --quiet prepare generic ") and "one,two,three" in card["command"]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ((), ["  subject: image", "  readout: {kind: score_tokens, tokens: 10}", "  prompt: roc4mllm"]),
        (
            ("--tokens", "6", "--subject", "painting"),
            ["  prompt: roc4mllm", "  readout: {kind: score_tokens, tokens: 6}"],
        ),
        (
            ("--prompt", "artquant", "--subject", "photo"),
            ["  subject: photo", "  readout: {kind: score_tokens, tokens: 10}"],
        ),
    ],
)
def test_lines_of_a_configuration(lab, tmp_path, capsys, options, lines):
    table, out = tmp_path / "scores.csv", tmp_path / "out"
    table.write_text("image,score\na.jpg,5\nb.jpg,7\n", encoding="utf-8")
    readout = ("--readout", "score_tokens", *options)
    assert lab.artquant("--quiet", "prepare", "baid", table, "--range", "1,10", *readout, "--out", out) == 0
    printed = capsys.readouterr().out.splitlines()
    asked = [line for line in printed if line.strip().split(":")[0] in ("prompt", "subject", "readout")]
    assert sorted(asked) == sorted(lines)
    assert any(line.startswith("        - {records: ") and "score.json" in line for line in printed)
