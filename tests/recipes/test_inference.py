"""Scoring, describing and evaluating through the command line; a list that is scored can be killed at any moment."""

import json
import logging
import random
import shutil
import time

import numpy as np
import pytest
from cards import unlisted
from PIL import Image

from artquant import Scorer
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json_lines

WORDS = ["excellent", "good", "fair", "poor", "bad"]
WEIGHTS = [10.0, 7.5, 5.0, 3.5, 1.0]
# `artquant` with a slow network
SLOW = """
import sys, time

from artquant.cli import main
from artquant.infer.scorer import Scorer

score_pictures = Scorer.score_pictures


def slowly(self, *arguments):
    time.sleep(0.02)
    return score_pictures(self, *arguments)


Scorer.score_pictures = slowly
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def model(two_stages):
    """A trained model folder."""
    return two_stages / "scores" / "model"


@pytest.fixture
def infer(lab, model):
    """`artquant infer` with the trained model; returns the exit status."""

    def run(records, out, *options, model=model):
        arguments = ("--model", model, "--records", records, "--out", out, "--workers", 0, *options)
        return lab.artquant("--quiet", "infer", *arguments)

    return run


def lines_of(file) -> list[dict]:
    return [line for _, line in read_json_lines(file)]


def assert_same_predictions(found: list[dict], wanted: list[dict]) -> None:
    """The same pictures once each; scores equal up to rounding, as other batches were computed."""
    assert sorted(line["id"] for line in found) == sorted(line["id"] for line in wanted)
    by_id = {line["id"]: line for line in found}
    for line in wanted:
        assert by_id[line["id"]]["score"] == pytest.approx(line["score"], abs=1e-5)
        assert by_id[line["id"]]["logits"] == pytest.approx(line["logits"], abs=1e-5)


def test_whole_way_of_a_run(lab, two_stages, capsys):
    config = two_stages.parents[1] / "run.yaml"
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    assert "8 pictures scored" in capsys.readouterr().out
    predictions = lines_of(two_stages / "predictions.jsonl")
    truth = json.loads(lab.records("test").read_text(encoding="utf-8"))
    assert [line["id"] for line in predictions] == [record["id"] for record in truth]
    for line, record in zip(predictions, truth, strict=True):
        assert set(line) == {"id", "image", "gt_score", "score", "std", "probs", "logits"}
        assert (line["image"], line["gt_score"]) == (record["image"], record["gt_score"])
        assert list(line["probs"]) == list(line["logits"]) == WORDS
        assert sum(line["probs"].values()) == pytest.approx(1, abs=1e-6)
        expected = sum(weight * line["probs"][word] for word, weight in zip(WORDS, WEIGHTS, strict=True))
        assert line["score"] == pytest.approx(expected, abs=1e-5)
    assert lab.artquant("--quiet", "infer", "--config", config) == 0
    assert "0 pictures scored, 8 were there" in capsys.readouterr().out

    assert lab.artquant("eval", "--config", config, "--bootstrap", 0) == 0
    [result] = json.loads((two_stages / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert result["n"] == 8
    error = sum(abs(line["score"] - line["gt_score"]) for line in predictions) / 8
    assert result["metrics"]["MAE"]["value"] == pytest.approx(error, abs=1e-5)


def test_a_run_that_is_not_there_is_named_with_what_to_do(lab, tmp_path, capsys):
    config = lab.write(tmp_path, lab.scores(), infer={"records": str(tmp_path / "none.json"), "images": "nowhere"})
    assert lab.artquant("infer", config) == 2
    [line] = capsys.readouterr().err.splitlines()
    for part in (
        f"scores/model (train it first: artquant train --config {config})",
        "none.json (",
        "nowhere (the pict",
    ):
        assert part in line
    assert lab.artquant("infer", config, f"infer.model={tmp_path / 'published'}") == 2
    assert "published (see ModelZoo/README.md)" in capsys.readouterr().err
    assert lab.artquant("eval", config) == 2
    assert "predictions.jsonl: not there; score the run's pictures first: artquant infer" in capsys.readouterr().err


def test_a_text_longer_than_training_ones_is_no_occasion_for_reminders(lab, model, caplog, monkeypatch):
    scorer, library = Scorer.from_pretrained(model), logging.getLogger("transformers")
    monkeypatch.setattr(scorer.network.plain.config, "max_position_embeddings", 8)
    library.addHandler(caplog.handler)
    try:
        assert isinstance(scorer.describe(lab.images / "00000.png", max_new_tokens=2), str)
    finally:
        library.removeHandler(caplog.handler)
    assert not caplog.records or {record.name.partition(".")[0] for record in caplog.records} == {"artquant"}


def test_folder_of_pictures(lab, infer, tmp_path):
    assert infer(lab.images, tmp_path / "out.jsonl", "--batch-size", 7) == 0
    found = lines_of(tmp_path / "out.jsonl")
    assert [line["id"] for line in found] == [f"{index:05d}.png" for index in range(40)]
    assert all("gt_score" not in line for line in found)


def test_workers_and_batches_change_nothing(lab, infer, tmp_path):
    assert infer(lab.images, tmp_path / "one.jsonl", "--batch-size", 1) == 0
    assert infer(lab.images, tmp_path / "many.jsonl", "--batch-size", 16, "--workers", 2) == 0
    assert_same_predictions(lines_of(tmp_path / "many.jsonl"), lines_of(tmp_path / "one.jsonl"))


@pytest.fixture(scope="module")
def long_list(lab, tmp_path_factory):
    """400 records on the 40 pictures."""
    file = tmp_path_factory.mktemp("long_list") / "list.json"
    records = [{"id": str(index), "image": f"{index % 40:05d}.png"} for index in range(400)]
    file.write_text(json.dumps(records), encoding="utf-8")
    return file


def test_killed_at_a_random_moment_and_run_again(lab, infer, model, long_list, tmp_path):
    images = ("--images", lab.images)
    assert infer(long_list, tmp_path / "unbroken.jsonl", *images) == 0
    script, out = tmp_path / "slow.py", tmp_path / "killed.jsonl"
    script.write_text(SLOW, encoding="utf-8")
    options = ("--model", model, "--records", long_list, "--out", out, "--workers", 0, "--batch-size", 2, *images)
    process = lab.start([script, "--quiet", "infer", *options])  # two pictures in 20 ms: four seconds at least
    try:
        while process.poll() is None and not (out.is_file() and out.stat().st_size):
            time.sleep(0.005)
        time.sleep(random.uniform(0, 1))
    finally:
        process.kill()
        printed = process.communicate()
    done = out.read_bytes().count(b"\n")
    assert 0 < done < 400, printed
    assert infer(long_list, out, *images) == 0
    assert_same_predictions(lines_of(out), lines_of(tmp_path / "unbroken.jsonl"))


def test_truncated_last_line_is_done_again(lab, infer, tmp_path, capsys):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    options = ("--images", lab.images)
    assert infer(lab.records("test"), whole, *options) == 0
    text = whole.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(text[:3]) + text[3][:25])
    shutil.copy(f"{whole}.origin.json", f"{out}.origin.json")
    capsys.readouterr()
    assert infer(lab.records("test"), out, *options) == 0
    assert "5 pictures scored, 3 were there" in capsys.readouterr().out
    assert_same_predictions(lines_of(out), lines_of(whole))


def test_predictions_of_another_model_are_refused(lab, infer, two_stages, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    options = ("--images", lab.images)
    assert infer(lab.records("test"), out, *options) == 0
    before = out.read_bytes()
    other = two_stages / "descriptions" / "model"
    changes = ({"model": other}, ("--anyway",)), ({}, ("--prompt", "published-score")), ({}, ("--weights", "5,4,3,2,1"))
    for keywords, more in changes:
        capsys.readouterr()
        assert infer(lab.records("test"), out, *options, *more, **keywords) == 2
        error = capsys.readouterr().err
        assert str(out) in error and str(two_stages / "scores" / "model") in error
    retrained = unlisted(shutil.copytree(two_stages / "scores" / "model", tmp_path / "model"))  # same path, new weights
    elsewhere = tmp_path / "elsewhere.jsonl"
    assert infer(lab.records("test"), elsewhere, *options, model=retrained) == 0
    shutil.copy(other / "model.safetensors", retrained / "model.safetensors")
    assert infer(lab.records("test"), elsewhere, *options, model=retrained) == 2
    assert "made with other weights" in capsys.readouterr().err
    moved = shutil.copytree(two_stages / "scores" / "model", tmp_path / "moved")
    assert infer(lab.records("test"), out, *options, model=moved) == 0  # the same weights elsewhere, and newer
    assert infer(lab.records("test"), out, *options) == 0
    out.with_name("out.jsonl.origin.json").unlink()
    assert infer(lab.records("test"), out, *options) == 2
    assert "an unknown model" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_predictions_of_other_pictures_are_refused(lab, infer, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert infer(lab.records("test"), out, "--images", lab.images) == 0
    capsys.readouterr()
    assert infer(lab.images, out) == 2
    assert f"{out}: holds predictions for 8 other pictures" in capsys.readouterr().err


@pytest.mark.parametrize("line", ['{"image": "a.png"}', "[1, 2]"])
def test_file_that_holds_something_else_is_refused(lab, infer, tmp_path, capsys, line):
    out = tmp_path / "out.jsonl"
    out.write_text(line + "\n", encoding="utf-8")
    assert infer(lab.records("test"), out, "--images", lab.images) == 2
    error = capsys.readouterr().err
    assert f"{out} line 1" in error and len(error.splitlines()) == 1
    assert out.read_text(encoding="utf-8") == line + "\n"


@pytest.fixture
def list_with_a_broken_picture(lab, tmp_path):
    """Eight pictures, the fourth cut short."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(8):
        shutil.copy(lab.images / f"{index:05d}.png", folder / f"{index}.png")
    broken = folder / "3.png"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    file = tmp_path / "list.json"
    file.write_text(json.dumps([{"id": f"id-{i}", "image": f"pictures/{i}.png"} for i in range(8)]), encoding="utf-8")
    return file


def test_unreadable_picture_stops_after_the_good_ones_of_its_batch(infer, list_with_a_broken_picture, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert infer(list_with_a_broken_picture, out, "--batch-size", 6) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and error.rstrip().endswith("(--skip-unreadable)")
    assert str(tmp_path / "pictures" / "3.png") in error
    assert f"{list_with_a_broken_picture} record 4" in error and "'id-3'" in error
    assert [line["id"] for line in lines_of(out)] == ["id-0", "id-1", "id-2", "id-4", "id-5"]


def test_unreadable_picture_skipped_and_reported(infer, list_with_a_broken_picture, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert infer(list_with_a_broken_picture, out, "--batch-size", 4, "--skip-unreadable", "--workers", 1) == 1
    printed = capsys.readouterr()
    assert "7 pictures scored, 1 skipped" in printed.out
    [line] = printed.err.splitlines()
    assert line.startswith("skipped: cannot read picture") and "3.png" in line and "'id-3'" in line
    assert len(lines_of(out)) == 7


def test_no_gpu(lab, model, capsys):
    assert lab.artquant("score", "--model", model, "--device", "cuda", lab.images / "00000.png") == 2
    error = capsys.readouterr().err
    assert error == "artquant score: error: device cuda: this machine has 0 GPU(s); name another or cpu\n"


def test_score_as_json_in_a_process_of_its_own(lab, model):
    pictures = [lab.images / "00000.png", lab.images / "00001.png"]
    done = lab.run("-m", "artquant", "score", "--model", model, "--json", *pictures)
    assert (done.returncode, done.stderr) == (0, f"loading {model}\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(picture) for picture in pictures]
    for line in lines:
        assert set(line) == {"image", "score", "std", "probs", "logits"}
        assert 1 <= line["score"] <= 10 and line["std"] > 0
        assert list(line["probs"]) == list(line["logits"]) == WORDS


def test_score_for_people(lab, model, capsys):
    picture = lab.images / "00000.png"
    assert lab.artquant("score", "--model", model, picture) == 0
    scale, line = capsys.readouterr().out.splitlines()
    assert scale.startswith("score, 1 to 10, +- how undecided")
    assert str(picture) in line and all(word in line for word in WORDS)


def test_a_folder_is_scored_too_and_whoever_reads_may_stop(lab, model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        shutil.copy(lab.images / f"{index:05d}.png", folder)
    done = lab.run("-m", "artquant", "score", "--model", model, "--json", folder, "--quiet")
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [
        str(folder / f"{index:05d}.png") for index in range(3)
    ]
    process = lab.start(["-m", "artquant", "score", "--model", model, "--json", folder, "--quiet"])
    process.stdout.close()  # as `head` does when it has seen enough
    assert (process.stderr.read(), process.wait()) == ("", 141)


def test_weights_change_the_scale(lab, model, capsys):
    assert lab.artquant("score", "--model", model, "--json", "--weights", "5,4,3,2,1", lab.images / "00000.png") == 0
    line = json.loads(capsys.readouterr().out)
    expected = sum(weight * line["probs"][word] for word, weight in zip(WORDS, (5, 4, 3, 2, 1), strict=True))
    assert line["score"] == pytest.approx(expected, abs=1e-6)


def test_adapter_over_its_base_scores_as_the_merged_model(lab, lora_run, infer, tmp_path, capsys):
    adapter, merged = lora_run / "scores" / "model", tmp_path / "merged"
    assert lab.artquant("export", adapter, "--to", "merged", "--out", merged) == 0
    options = ("--images", lab.images)
    assert infer(lab.records("test"), tmp_path / "merged.jsonl", *options, model=merged) == 0
    out = tmp_path / "adapter.jsonl"
    assert infer(lab.records("test"), out, *options, model=adapter) == 0  # it knows its base
    assert_same_predictions(lines_of(out), lines_of(tmp_path / "merged.jsonl"))
    assert infer(lab.records("test"), out, *options, "--base", lab.base, model=adapter) == 0
    capsys.readouterr()
    other = shutil.copytree(lab.base, tmp_path / "base")
    assert infer(lab.records("test"), out, *options, "--base", other, model=adapter) == 0  # the same weights elsewhere
    assert "0 pictures scored, 8 were there" in capsys.readouterr().out


@pytest.mark.parametrize("level", [1, 2, 3])
def test_describe(lab, model, capsys, level):
    picture = lab.images / "00000.png"
    options = ("--model", model, "--level", level, "--max-new-tokens", 12)
    assert lab.artquant("describe", *options, "--json", picture) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["image"], line["level"]) == (str(picture), level)
    assert isinstance(line["description"], str)
    assert lab.artquant("describe", *options, picture) == 0
    assert capsys.readouterr().out == f"{picture}\n  {line['description']}\n"


@pytest.mark.parametrize(
    ("name", "folder"),
    [("base", "mplug-owl2-tiny"), ("full", "full-finetuned"), ("lora", "deqa_lora_prompt_apdd")],
)
def test_published_miniatures(lab, shared_folder, capsys, name, folder):
    checkpoints = shared_folder / "golden" / "checkpoints"
    expected = json.loads((checkpoints / "expected_pictures.json").read_text(encoding="utf-8"))[name]
    places = (shared_folder / "images", shared_folder / "golden" / "preprocessing")
    pictures = [next(place / file for place in places if (place / file).is_file()) for file in expected]
    base = () if name == "base" else ("--base", checkpoints / "mplug-owl2-tiny")
    assert lab.artquant("score", "--model", checkpoints / folder, *base, "--json", *pictures) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(expected) == 12
    for line, (file, wanted) in zip(lines, expected.items(), strict=True):
        assert line["image"].endswith(file)
        assert line["score"] == pytest.approx(wanted["score"], abs=2e-4), file
        assert line["std"] == pytest.approx(wanted["std"], abs=2e-4), file
        assert line["logits"] == pytest.approx(wanted["logits"], abs=2e-4), file


def test_published_evaluation(lab, shared_folder, capsys):
    folder = shared_folder / "golden" / "evaluation"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    files = ("--predictions", folder / "predictions.jsonl", "--truth", folder / "apddv2_test.json")
    weights = ("--weights", "10,7.5,5,3.5,1")  # its lines hold logits alone
    assert lab.artquant("eval", *files, *weights, "--json", "--bootstrap", 0) == 0
    [result] = json.loads(capsys.readouterr().out)
    assert result["n"] == 1002
    for name in ("SRCC", "PLCC", "KRCC", "MAE", "MSE"):
        assert result["metrics"][name]["value"] == pytest.approx(expected[name], abs=1e-9)


def test_the_python_interface(lab, model):
    """One picture in, one score out; several in any form, as numbers on any scale or as a tensor."""
    scorer = Scorer.from_pretrained(model, device="cpu")
    paths = [lab.images / f"{index:05d}.png" for index in range(3)]
    one, many = scorer(paths[0]), scorer([str(paths[0]), Image.open(paths[1]), np.asarray(Image.open(paths[2]))])
    assert one.score == pytest.approx(many[0].score, abs=1e-5) and len(many) == 3
    assert scorer(paths, as_tensor=True).tolist() == pytest.approx([score.score for score in many], abs=1e-5)
    assert scorer(paths[0], unit=True).score == pytest.approx((one.score - 1) / 9, abs=1e-6)
    for wanted, message in (
        ("Color", r"never trained on attribute 'Color' \(on none\)"),
        ("trained", "on no attributes"),
    ):
        with pytest.raises(ArtQuantError, match=message):
            scorer(paths[0], attributes=wanted)
    with pytest.raises(ArtQuantError, match="levels are 1 to 3, got 'emotion'"):
        scorer.describe(paths[0], level="emotion")
    assert scorer([]) == [] and scorer([], as_tensor=True).shape == (0,)
    assert isinstance(scorer.describe(paths[0], max_new_tokens=3), str)
    assert len(scorer.describe(paths, max_new_tokens=3)) == 3
