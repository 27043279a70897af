"""`eval --descriptions` on planted files: templated, leaking and shuffled texts beside good ones."""

import json

import numpy as np
import pytest

from artquant.cli import main
from artquant.demo.attributes import panel_biases
from artquant.demo.dataset import make_picture
from artquant.evaluate import overlap

PICTURES = 60
NOUNS = ("river", "bridge", "tower", "garden", "horse")


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Paths by name; the described files in the forms of `describe --json` and of plain lines."""
    folder, biases, rng = tmp_path_factory.mktemp("planted"), panel_biases(0), np.random.default_rng(0)
    pictures = [make_picture(0, index, biases)[0] for index in range(PICTURES)]
    others = [make_picture(1, index, biases)[0] for index in range(PICTURES)]
    good, scores = [one.said.levels[2] for one in pictures], [one.ratings.mean for one in pictures]
    names = [f"{index:05d}.png" for index in range(PICTURES)]
    template = [f"The painting shows a {noun} in soft light, with a calm mood." for noun in rng.choice(NOUNS, PICTURES)]
    rates = [f" I rate it {score:.1f}/10." if index % 4 else "" for index, score in enumerate(scores)]
    leaking = [text + rate for text, rate in zip(good, rates, strict=True)]
    files = {
        "good": [
            {"image": f"pics/{one}", "level": 3, "description": text} for one, text in zip(names, good, strict=True)
        ],
        "template": [{"id": one, "text": text} for one, text in zip(names, template, strict=True)],
        "leaks": [
            {"image": one, "question": "Why?", "description": text} for one, text in zip(names, leaking, strict=True)
        ],
        "shuffled": [
            {"image": one, "score": 1.0, "descriptions": {"1": "Short.", "3": good[other]}}
            for one, other in zip(names, rng.permutation(PICTURES), strict=True)
        ],
        "truth": [{"id": one, "image": one, "gt_score": score} for one, score in zip(names, scores, strict=True)],
        "training": [
            {"image": f"t{index}.png", "gt_score": one.ratings.mean, "text": one.said.levels[2]}
            for index, one in enumerate(others)
        ],
        "references": [
            {"image": one, "text": picture.said.levels[1]} for one, picture in zip(names, pictures, strict=True)
        ],
    }
    return {name: written(folder / f"{name}.jsonl", records) for name, records in files.items()}


SETS = ("good", "template", "leaks", "shuffled")


def evaluated(capsys, *arguments):
    status = main(["eval", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_each_planted_file_is_told_by_its_figure(planted, capsys):
    files = [planted[name] for name in SETS]
    beside = "--truth", planted["truth"], "--training", planted["training"], "--references", planted["references"]
    status, out, _ = evaluated(capsys, "--descriptions", *files, *beside, "--json")
    good, template, leaks, shuffled = json.loads(out)
    assert status == 0 and [one["descriptions"] for one in (good, template, leaks, shuffled)] == files
    assert good["near_duplicates"] < 0.05 and template["near_duplicates"] > 0.95
    assert template["template"] > good["template"] + 0.4 and template["vocabulary"] < good["vocabulary"] / 5
    assert good["leaks"] == 0 and leaks["leaks"] == 0.75 and "/10" in leaks["first_leaks"][0]["text"]
    for figure in ("reread_srcc", "reread_srcc_by_training"):  # the text of another picture tells nothing of this one
        assert good[figure]["value"] > 0.8, figure
        assert abs(shuffled[figure]["value"]) < 0.45 and abs(template[figure]["value"]) < 0.45, figure
    assert good["overlap_weak"]["n"] == PICTURES == good["scored"]
    assert good["overlap_weak"]["BLEU"] > shuffled["overlap_weak"]["BLEU"]
    assert {key: value for key, value in shuffled["words"].items()} == good["words"]  # the highest level was read


def test_the_table_names_what_is_weak_and_what_is_missing(planted, capsys):
    status, out, _ = evaluated(capsys, "--descriptions", planted["template"], "--references", planted["references"])
    assert status == 0 and "BLEU (weak)" in out and "decide nothing by them" in out
    assert "texts are nearly the same" in out and "0 texts have a human score, 20 are needed" in out


def test_overlap_equals_the_packages_own(planted):
    import sacrebleu

    texts, references = ["a cat sat on the mat today", "two dogs"], ["a cat sat on a mat today", "three dogs"]
    found = overlap.text_overlap(texts, references)
    assert sacrebleu.BLEU().corpus_score(texts, [references]).score == found.BLEU
    assert found.chrF == sacrebleu.CHRF().corpus_score(texts, [references]).score
    assert pytest.approx(100 * (6 / 7 + 1 / 2) / 2) == found.ROUGE_L  # longest common runs of 6 in 7 and of 1 in 2


def test_what_does_not_belong_is_refused_in_one_line(planted, tmp_path, capsys, monkeypatch):
    for arguments, said in (
        (["--predictions", "p"], "--predictions does nothing with --descriptions"),
        (["--protocol", "ava"], "--protocol does nothing with --descriptions"),
        (["--choices", "c"], "--descriptions and --choices are two evaluations"),
        (["--truth", "t", "u"], "takes one --truth"),
        (["--training", written(tmp_path / "few", [{"id": "a", "text": "One."}])], "fewer than 20 of its texts"),
        (["--truth", written(tmp_path / "other", [{"id": "z", "gt_score": 1}])], "has none of the pictures"),
        (["--references", written(tmp_path / "refs", [{"id": "z", "text": "One."}])], "has none of the pictures"),
    ):
        status, _, error = evaluated(capsys, "--descriptions", planted["good"], *arguments)
        assert status == 2 and said in error and len(error.splitlines()) == 1, error
    for record, said in (
        ({"id": "a", "text": 7}, '"description" must be text'),
        ({"id": "a", "text": " "}, "is empty"),
        ({"text": "One."}, '"image" is missing'),
        ({"id": "a", "score": 3}, 'expected "conversations"'),
        ({"id": "a", "descriptions": {"3": None}}, '"description" must be text'),
    ):
        status, _, error = evaluated(capsys, "--descriptions", written(tmp_path / "bad", [record]))
        assert status == 2 and said in error and "bad record 1" in error, error
    status, _, error = evaluated(capsys, "--training", "t", "--predictions", "p", "--truth", "t")
    assert status == 2 and "--training goes with --descriptions" in error
    monkeypatch.setattr(overlap.importlib.util, "find_spec", lambda name: None)
    status, _, error = evaluated(capsys, "--descriptions", planted["good"], "--references", planted["references"])
    assert status == 2 and "pip install 'artquant[texts]'" in error
