"""ROC4MLLM: records, folders and questions of which nothing right can be made are refused in one line."""

import json
import shutil

import pytest
import torch
from cards import without_mark
from roc4mllm_data import RATE, ROC, published_records, shares, turns

from artquant.data.images import list_pictures


@pytest.fixture(scope="module")
def published(lab, tmp_path_factory):
    """A file of records as published."""
    file = tmp_path_factory.mktemp("published") / "records.json"
    file.write_text(json.dumps(published_records(lab)), encoding="utf-8")
    return file


TARGET = [0.0, 0.1, 0.2, 0.4, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0]
REMOVE = object()
WRONG = {
    "two true scores, one place": (
        {"gt_score": [3.0, 4.0], "target": REMOVE},
        "2 true scores, but the answer has 1 places",
    ),
    "one true score, two places": (
        {"conversations": turns("Rate it.", f"{RATE} and {RATE}.")},
        "more places for a score than the 1 true scores",
    ),
    "off the range": ({"gt_score": 10.5}, '"gt_score" 10.5 is outside 1 to 10'),
    "target of another sum": ({"target": [0.1] * 9}, '"target" sums to 0.9 instead of 1'),
    "negative target": ({"target": [-0.5, 1.5]}, '"target" holds a negative number (-0.5)'),
    "targets of one score": ({"target": [TARGET]}, '"target" entry 1 must be a number, got a list'),
    "targets of other scores": (
        {"gt_score": [3.0, 4.0], "target": [TARGET]},
        '"target" has 1 lists for 2 scores; make them equal',
    ),
    "uneven targets": ({"gt_score": [3.0, 4.0], "target": [TARGET, [0.5, 0.5]]}, '"target" has 2 entries'),
    "no true score": ({"gt_score": REMOVE}, '"target" needs "gt_score"; add the mean'),
    "nothing known": (
        {"gt_score": REMOVE, "target": REMOVE},
        'needs "gt_score" or "level_probs"; add one, or "task_type": "description"',
    ),
    "a place, but a description": (
        {"gt_score": REMOVE, "target": REMOVE, "task_type": "description", "id": "d"},
        "the answer has a place for a score ([SCORE]), but no true score; add gt_score",
    ),
    "target beside level_probs": ({"level_probs": [0.2] * 5}, '"target" stands beside level_probs; keep one'),
    "names of other scores": (
        {"gt_score": [3.0], "target": REMOVE, "attribute": ["a", "b"]},
        "must be a list of 1 different names",
    ),
    "a list of pictures": ({"image": ["a.png", "b.png"]}, '"image" names 2 pictures; a record is about one'),
    "a picture in the second round": (
        {"conversations": turns("Rate it.", RATE) + turns("And it?", "Calm.")},
        "only the first human turn may hold <|image|>, got 1",
    ),
    "a name twice": ({"gt_score": [3.0, 4.0], "target": REMOVE, "attribute": ["a", "a"]}, "list of 2 different names"),
    "a score token in the text": (
        {"conversations": turns("Rate it.", RATE + " or [IMG3].")},
        "the answer holds [IMG3]",
    ),
    "a turn in an answer": (
        {"conversations": turns("Rate it.", RATE + ".</s>USER: Why? ASSISTANT: So.")},
        "a text holds </s>USER: , which would begin a turn of its own",
    ),
    "no picture that is read": ({"image": "gone.png"}, "no picture"),
    "longer than allowed": (
        {"conversations": turns("Rate it.", "Light. " * 600 + RATE)},
        "more than max_length 512; shorten the text",
    ),
}


def test_check(lab, published, tmp_path, capsys):
    """Nothing is said of such records, but of shares with another mean than the score."""
    config = lab.write(tmp_path, lab.stage("scores", {published: 1}), **ROC)
    assert lab.artquant("check", config) == 0
    assert "answers that are not the prompt's" not in (out := capsys.readouterr().out) and "distribution" not in out
    records = json.loads(published.read_text())
    records[1]["target"][2] = shares(3.0)
    other = tmp_path / "other.json"
    other.write_text(json.dumps(records))
    lab.artquant("check", lab.write(tmp_path, lab.stage("scores", {other: 1}), **ROC))
    assert '"target" gives 3.000 on 1 to 10, "gt_score" is 8.25' in capsys.readouterr().out


class TestWrongRecords:
    """Where the published code learns something else, or stops in another place: one line with file and record."""

    @pytest.mark.parametrize("what", WRONG)
    def test_refused(self, lab, published, tmp_path, capsys, what):
        changes, message = WRONG[what]
        records = json.loads(published.read_text())[:2]
        changed = records[0] | changes
        records[0] = {key: value for key, value in changed.items() if value is not REMOVE}
        file = tmp_path / "records.json"
        file.write_text(json.dumps(records))
        config = lab.write(tmp_path, lab.stage("scores", {file: 1}), **ROC)
        assert lab.artquant("train", "--config", config) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert message in error and f"{file} record 1" in error
        assert not (tmp_path / "runs" / "run" / "scores" / "model").exists()

    def test_target_is_made_where_there_is_none(self, lab, published, tmp_path):
        """The published code then leaves the cross-entropy out without a word."""
        records = [
            {key: value for key, value in record.items() if key != "target"}
            for record in json.loads(published.read_text())
        ]
        file = tmp_path / "records.json"
        file.write_text(json.dumps(records))
        loss = {"score_text": 1.0, "score": {"score_l1": 0.0, "score_ce": 10.0}}
        run = lab.train(tmp_path, lab.stage("scores", {file: 1}, loss=loss, max_steps=1), **ROC)
        [line] = lab.history(run, "scores")
        assert line["loss_score_ce"] > 0 and "loss_score_l1" not in line


@pytest.fixture(scope="module")
def run(lab, published, tmp_path_factory):
    """Trained on them."""
    return lab.train(tmp_path_factory.mktemp("roc"), lab.stage("scores", {published: 1}, max_steps=2), **ROC)


@pytest.fixture(scope="module")
def folder(lab, run, tmp_path_factory):
    """The result in the published form."""
    out = tmp_path_factory.mktemp("form") / "model"
    assert lab.artquant("export", run / "scores" / "model", "--to", "roc4mllm", "--out", out) == 0
    return out


@pytest.fixture
def score(lab, capsys):
    """`artquant score` on a picture; status, and the last line of what was said."""

    def score(model, *options):
        status = lab.artquant("score", list_pictures(lab.images)[0], "--model", model, *options)
        said = capsys.readouterr()
        return status, (said.err if status else said.out).splitlines()[-1].strip()

    return score


class TestFolders:
    """Damaged ones, hostile ones, and ones that say two things."""

    @pytest.mark.parametrize(
        "change",
        [
            *({"num_tokens": value} for value in (9, 11, 10.5, "10", [10], True, 1_000_000, None)),
            *({"img_token_num": value} for value in (9, "x")),
            *({name: value} for name in ("score_id", "output_first_id") for value in ("800", [1], 805, 1e9)),
            {"output_last_id": None},
            *({"min_score": value} for value in ("1", 10, -1e308, None)),
            {"max_score": 1e308},
            {"num_tokens": 900_000, "img_token_num": 900_000, "output_last_id": 900_800},
        ],
        ids=str,
    )
    def test_config_that_contradicts_itself(self, folder, tmp_path, score, change):
        copy = shutil.copytree(folder, tmp_path / "copy")
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | change))
        status, said = score(copy)
        assert status == 2 and "name no score tokens with a range" in said and str(copy / "config.json") in said

    def test_more_words_than_rows(self, folder, tmp_path, score):
        copy = shutil.copytree(folder, tmp_path / "copy")
        config = json.loads((copy / "config.json").read_text())
        more = {"num_tokens": 11, "img_token_num": 11, "output_last_id": config["output_last_id"] + 1}
        (copy / "config.json").write_text(json.dumps(config | more))
        status, said = score(copy)
        assert status == 2 and "knows 812 tokens with the readout's words, the network 811" in said

    def test_two_readouts(self, lab, folder, published, tmp_path, score):
        """A base that was read by rating words leaves nothing of that in what is written."""
        words = lab.train(tmp_path / "words", lab.stage("scores", {"score": 1}, max_steps=1)) / "scores" / "model"
        assert "level_ids" in json.loads((words / "config.json").read_text())
        stage = lab.stage("scores", {published: 1}, max_steps=1)
        model = lab.train(tmp_path / "tokens", stage, base=str(words), **ROC) / "scores" / "model"
        out = tmp_path / "out"
        assert lab.artquant("export", model, "--to", "roc4mllm", "--out", out) == 0
        assert json.loads((out / "config.json").read_text()).keys().isdisjoint(("level_ids", "level_prefix"))
        assert score(out) == score(model)
        copy = shutil.copytree(folder, tmp_path / "copy")
        config = json.loads((copy / "config.json").read_text())
        both = {"level_ids": [5, 6, 7, 8, 9], "score_weight": [5, 4, 3, 2, 1]}
        (copy / "config.json").write_text(json.dumps(config | both))
        status, said = score(copy)
        assert status == 2 and "speaks of rating_levels and score_tokens" in said

    @pytest.mark.parametrize("lacks", ["embed_tokens", "lm_head", ""], ids=["tokens", "head", "everything"])
    def test_lora_without_the_new_rows(self, lab, run, tmp_path, score, lacks):
        """They would be means, and every score the middle of the range."""
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

        network = lab.network(lab.base)
        network.resize_token_embeddings(811)
        adapted = get_peft_model(network, LoraConfig(r=2, target_modules=["q_proj"]))
        out = tmp_path / "lora"
        adapted.peft_config["default"].save_pretrained(out)
        torch.save(get_peft_model_state_dict(adapted, save_embedding_layers=False), out / "adapter_model.bin")
        tables = {
            name: value for name, value in network.named_parameters() if "embed_tokens" in name or "lm_head" in name
        }
        kept = {f"base_model.model.{name}": value.detach() for name, value in tables.items() if lacks not in name}
        if kept:
            torch.save(kept, out / "non_lora_trainables.bin")
        without_mark(run / "scores" / "model" / "config.json", out)
        status, said = score(out, "--base", lab.base)
        assert status == 2 and "non_lora_trainables.bin: tensor" in said and "is missing" in said


class TestQuestions:
    @pytest.mark.parametrize("name", ["<|image|>", "[IMG0]", "</s>USER: x", "a\nb"])
    def test_attributes_that_are_no_names(self, folder, score, name):
        status, said = score(folder, "--attribute", name)
        assert status == 2 and "is no name in words" in said

    @pytest.mark.parametrize("names", [("light", "light"), ("light", "Light")])
    def test_an_attribute_twice(self, folder, score, names):
        status, said = score(folder, *(f"--attribute={name}" for name in names))
        assert status == 2 and "two of the attributes are put in the same words; name each once" in said

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--question", " "), "a question needs words"),
            (("--question", "Rate <|image|> it."), "a question needs words, and the picture is put before them"),
            (("--question", "word " * 600), "the network has 512; ask shorter"),
        ],
    )
    def test_questions_that_cannot_be_asked(self, lab, folder, capsys, score, options, message):
        status, said = score(folder, "--generate", *options)
        assert status == 2 and message in said
        assert lab.artquant("describe", list_pictures(lab.images)[0], "--model", folder, *options) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--question", "Rate it."), "--question is asked with --generate only"),
            (("--generate", "--attribute", "light"), "the question says what is scored"),
            (("--task", "iqa"), "is for models of its kind, this one is asked with 'roc4mllm'"),
        ],
    )
    def test_flags_that_do_not_go_together(self, folder, score, options, message):
        status, said = score(folder, *options)
        assert status == 2 and message in said

    def test_no_score_is_said_so(self, lab, run, folder, capsys):
        """A model that answers without one: null, the text, and status 2."""
        assert lab.artquant("score", list_pictures(lab.images)[0], "--model", folder, "--generate", "--json") == 2
        said = capsys.readouterr()
        line = json.loads(said.out)
        assert (line["score"], line["scores"], line["names"]) == (None, [], []) and "text" in line
        assert "the model said no score" in said.err

    @pytest.mark.parametrize("given", ["5,1", "1", "1,2,3"])
    def test_no_range(self, folder, score, given):
        status, said = score(folder, f"--range={given}")
        assert status == 2 and "--range takes two rising numbers LO,HI" in said


def test_predictions_are_not_mapped_twice(lab, folder, tmp_path, capsys):
    options = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0, "--model", folder)
    out = tmp_path / "out.jsonl"
    assert lab.artquant("--quiet", "infer", *options, "--range", "1,5", "--out", out) == 0
    pair = ("--predictions", out, "--truth", lab.records("test"), "--score-range", "1,10")
    assert lab.artquant("eval", *pair, "--predicted-range", "1,5") == 2
    assert "was mapped onto a range when it was made" in capsys.readouterr().err
    bare = tmp_path / "bare.jsonl"
    shutil.copy(out, bare)
    pair = ("--predictions", bare, "--truth", lab.records("test"))
    assert lab.artquant("eval", *pair, "--predicted-range", "1,5") == 2
    assert "is not known; name it (--score-range LO,HI)" in capsys.readouterr().err


def test_check_takes_the_range_of_the_test_list(lab, published, tmp_path, capsys):
    truth = json.loads(lab.records("test").read_text())
    for record in truth:
        record["gt_score"] = (record["gt_score"] - 1) / 9
    file = tmp_path / "test.json"
    file.write_text(json.dumps(truth))
    infer = {"records": str(file), "images": str(lab.images), "score_range": [0, 1]}
    config = lab.write(tmp_path, lab.stage("scores", {published: 1}), **ROC, infer=infer)
    lab.artquant("check", config, "--no-pictures")
    assert "is outside" not in capsys.readouterr().out
