"""Training records for readouts whose answers hold places for scores: texts, targets, what is kept and refused."""

import json

import numpy as np
import pytest

from artquant.data.record_file import RecordFile
from artquant.data.records import parse_training_record
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.labels.truth import Truths
from artquant.readouts import readout_of

AVA = "1 17 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 18 10 7 15 26 26 21 10 8 1 2 15 21 1396\n"
TEN = {"readout": "score_tokens"}
FOUR = {"readout": "score_tokens", "tokens": 4}
RATED = {"image": "a.jpg", "gt_score": 5.5, "attributes": {"Color": 6, "DoF": 2}, "comment": "Calm, clear."}
SCALE = {"range": (1.0, 10.0)}


def turns(record):
    return [turn["value"] for turn in record["conversations"]]


def published(answer="The aesthetic rate of the image is [SCORE]. ", **keys):
    human = {"from": "human", "value": "<|image|>Could you evaluate the aesthetics of this image?"}
    return {"image": "a.jpg", "gt_score": 5.5, "conversations": [human, {"from": "gpt", "value": answer}]} | keys


class TestTargets:
    def test_votes_on_as_many_tokens(self, prepared, prepared_file):
        prepared("ava", AVA, **TEN)
        first, second = prepared_file("score")
        assert np.allclose(np.array(first["target"]) * 124, [0, 1, 5, 17, 38, 36, 15, 6, 5, 1], atol=1e-12)
        assert np.dot(second["target"], range(1, 11)) == pytest.approx(second["gt_score"], abs=1e-6)
        assert "level_probs" not in first and first["votes"] == [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]
        assert first["std"] == pytest.approx(1.421804)

    def test_votes_between_two_tokens(self, prepared, prepared_file):
        """Tokens at 1, 4, 7, 10; six votes for 2 and three for 9."""
        prepared("ava", "1 17 0 6 0 0 0 0 0 0 3 0\n", **FOUR)
        [record] = prepared_file("score")
        assert record["target"] == pytest.approx([4 / 9, 2 / 9, 1 / 9, 2 / 9], abs=1e-12)
        assert record["gt_score"] == pytest.approx(13 / 3, abs=1e-6)

    @pytest.mark.parametrize("method", ["gaussian", "two-level", "one-hot", "published"])
    def test_known_mean(self, prepared, prepared_file, method):
        scores = np.linspace(1, 10, 19)
        text = "image,score\n" + "".join(f"{score}.jpg,{score}\n" for score in scores)
        prepared("baid", text, method=method, **SCALE, **TEN)
        targets = np.array([record["target"] for record in prepared_file("score")])
        assert targets.shape == (19, 10) and (targets >= 0).all() and np.allclose(targets.sum(1), 1, atol=1e-12)
        if method in ("gaussian", "two-level"):
            assert np.allclose(targets @ np.arange(1, 11), scores, atol=1e-9)

    def test_known_deviation(self, prepared, prepared_file):
        text = "image_name,MOS,SD\na.jpg,3.8,0.5\n"
        prepared("koniq", text, range=(1.0, 5.0), method="known-std", readout="score_tokens", tokens=9)
        [record] = prepared_file("score")
        values = np.linspace(1, 5, 9)
        assert record["target"] == soft_labels([3.8], values, "known-std", std=[0.5])[0].tolist()
        assert np.sqrt(np.dot(record["target"], (values - 3.8) ** 2)) == pytest.approx(0.5, abs=0.01)

    def test_they_are_what_the_readout_makes_of_the_same(self, prepared, prepared_file):
        readout = readout_of({"kind": "score_tokens", "tokens": 7, "sigma": 1.5}, RatingScale.even(1, 10))
        prepared("ava", AVA, readout="score_tokens", tokens=7)
        records = prepared_file("score")
        votes = np.array([record["votes"] for record in records])
        known = Truths(np.full(2, np.nan), np.full(2, np.nan), votes / votes.sum(1, keepdims=True), np.arange(1.0, 11))
        assert np.allclose([record["target"] for record in records], readout.targets(known), atol=1e-12)
        prepared("ava", AVA, readout="score_tokens", tokens=7, method="gaussian", sigma=1.5)
        means = np.array([record["gt_score"] for record in records])
        made = [record["target"] for record in prepared_file("score")]
        assert np.allclose(made, readout.targets(Truths.of_means(means)), atol=1e-12)


class TestTexts:
    def test_score(self, prepared, prepared_file):
        card = prepared("ava", AVA, **TEN)
        assert turns(prepared_file("score")[0]) == [
            "<|image|>\nPlease rate the aesthetics of the image.",
            "The aesthetic rate of the image is [SCORE].",
        ]
        assert (card["prompt"], card["subject"]) == ("roc4mllm", "image")
        assert card["readout"] == {"kind": "score_tokens", "tokens": 10}

    def test_all_scores_in_one_answer(self, prepared, prepared_file):
        less = {"image": "b.jpg", "gt_score": 4, "attributes": {"Color": None, "DoF": 3}}
        none = {"image": "c.jpg", "gt_score": 4}
        prepared("generic", json.dumps([RATED, less, none]), **SCALE, **TEN)
        first, second = prepared_file("attributes")
        assert (first["gt_score"], first["attribute"]) == ([5.5, 6, 2], [None, "Color", "DoF"])
        assert turns(first) == [
            "<|image|>\nRate the aesthetics, color and DoF of the image.",
            "The aesthetic rate of the image is [SCORE], the color rate of the image is [SCORE], "
            "the DoF rate of the image is [SCORE].",
        ]
        assert (second["gt_score"], second["attribute"]) == ([4, 3], [None, "DoF"])
        assert turns(second)[1].count("[SCORE]") == 2
        assert np.allclose(np.array(first["target"]) @ np.arange(1, 11), [5.5, 6, 2], atol=1e-9)
        assert first["target"][0] == prepared_file("score")[0]["target"]

    def test_attributes_beside_votes_are_gaussian(self, prepared, prepared_file):
        record = {"image": "a.jpg", "gt_score": 2, "votes": [1, 0, 1], "attributes": {"Color": 2}}
        votes = {"range": (1.0, 3.0), "method": "votes", "vote_values": (1.0, 2.0, 3.0)}
        prepared("generic", json.dumps([record]), **votes, readout="score_tokens", tokens=3)
        whole, color = prepared_file("attributes")[0]["target"]
        assert whole == [0.5, 0, 0.5] and color[1] > 0.9 and sum(color) == pytest.approx(1, abs=1e-12)

    def test_comments_follow_their_score(self, prepared, prepared_file):
        prepared("generic", json.dumps([RATED | {"std": 1.5}, {"image": "b.jpg", "gt_score": 4}]), **SCALE, **TEN)
        [record] = prepared_file("comments")
        assert turns(record) == [
            "<|image|>\nPlease rate the aesthetics of the image and provide some comments.",
            "The aesthetic rate of the image is [SCORE]. Calm, clear.",
        ]
        assert (record["task_type"], record["gt_score"], record["std"]) == ("score", 5.5, 1.5)
        assert record["target"] == prepared_file("score")[0]["target"]

    def test_another_prompt_and_subject(self, prepared, prepared_file):
        card = prepared("generic", json.dumps([RATED]), prompt="artquant", **SCALE, **TEN)
        assert (card["prompt"], card["subject"]) == ("artquant", "painting")
        assert turns(prepared_file("score")[0])[1] == "The quality of the painting is [SCORE]."
        prepared("generic", json.dumps([RATED]), subject="photo", **SCALE, **TEN)
        assert turns(prepared_file("score")[0])[0] == "<|image|>\nPlease rate the aesthetics of the photo."

    def test_a_prompt_for_rating_words(self, prepared, prepared_file):
        card = prepared("generic", json.dumps([RATED]), prompt="roc4mllm", **SCALE)
        assert turns(prepared_file("score")[0]) == [
            "Please rate the aesthetics of the image.\n<|image|>",
            "The aesthetic rate of the image is fair.",
        ]
        assert card["prompt"] == "roc4mllm" and "readout" not in card


def test_what_is_written_is_what_training_reads(tmp_path, prepared, prepared_file):
    rated = [RATED | {"image": f"{number}.jpg", "gt_score": 1 + number} for number in range(10)]
    held_out = {"image": "x.jpg", "gt_score": 3, "split": "test", "title": "Sea"}
    card = prepared("generic", json.dumps([*rated, held_out]), **SCALE, **TEN)
    for name in ("score", "attributes", "comments"):
        parsed = [parse_training_record(record, name, tmp_path, 5, (1.0, 10.0)) for record in prepared_file(name)]
        assert all(found.valid().task == "score" for found in parsed)
        assert len(RecordFile(tmp_path / "out" / f"{name}.json", tmp_path, 5, (1.0, 10.0))) == 10
        assert all(len(found.valid().targets) == max(1, len(found.valid().scores)) for found in parsed)
    assert list(card["files"]) == ["score.json", "attributes.json", "comments.json", "test.json"]
    assert prepared_file("test") == [{"id": "x.jpg->3", "image": "x.jpg", "gt_score": 3.0, "title": "Sea"}]


def test_the_default_readout_by_name_changes_nothing(tmp_path, prepared):
    def files():
        return {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    prepared("generic", json.dumps([RATED]), **SCALE)
    before = files()
    prepared("generic", json.dumps([RATED]), readout="rating_levels", prompt="artquant", subject="painting", **SCALE)
    assert files() == before


class TestPublishedRecords:
    def test_question_answer_and_target_stay(self, prepared, prepared_file):
        target = [0.25, 0.25, 0, 0.5]
        with_comment = published("The aesthetic rate of the image is [SCORE]. Soft light.", image="b.jpg")
        card = prepared("generic", json.dumps([published(target=target), with_comment]), **SCALE, **FOUR)
        first, second = prepared_file("score")
        assert first["target"] == target and first["conversations"] == published()["conversations"]
        assert second["conversations"] == with_comment["conversations"]
        assert second["target"] == soft_labels([5.5], (1, 4, 7, 10))[0].tolist()
        assert '"target" of 1 training pictures is kept; its mean is up to 0.75 from the score' in card["notes"]

    @pytest.mark.parametrize(
        "settings",
        [{"tokens": 5}, {"method": "gaussian"}, {"sigma": 1.0}, {"fit": "clamp", "levels": (9.0, 7.0, 5.0, 3.0, 1.0)}],
    )
    def test_target_made_anew(self, prepared, prepared_file, settings):
        settings = SCALE | FOUR | settings
        card = prepared("generic", json.dumps([published(target=[0.25, 0.25, 0, 0.5])]), **settings)
        [record] = prepared_file("score")
        assert len(record["target"]) == settings["tokens"] and record["target"][0] < 0.2
        assert '"target" of 1 training pictures is made anew' in card["notes"]

    def test_a_mapped_range_moves_no_share(self, prepared, prepared_file):
        settings = {"fit": "rescale", "levels": (5.0, 4.0, 3.0, 2.0, 1.0)}
        prepared("generic", json.dumps([published(target=[0, 0.5, 0.5, 0])]), **settings, **SCALE, **FOUR)
        [record] = prepared_file("score")
        assert (record["gt_score"], record["target"]) == (3.0, [0, 0.5, 0.5, 0])

    def test_an_answer_without_a_place_is_worded_anew(self, prepared, prepared_file):
        prepared("generic", json.dumps([published("The quality is good.")]), **SCALE, **FOUR)
        assert turns(prepared_file("score")[0]) == [
            "<|image|>Could you evaluate the aesthetics of this image?",
            "The aesthetic rate of the image is [SCORE].",
        ]

    def test_rating_words_have_no_target(self, tmp_path, prepared, prepared_file):
        card = prepared("generic", json.dumps([published(target=[0.5, 0.5])]), **SCALE)
        [record] = prepared_file("score")
        assert "target" not in record and len(record["level_probs"]) == 5
        parse_training_record(record, "x", tmp_path).valid()
        assert any('"target" of 1 training pictures is left out' in note for note in card["notes"])

    def test_several_scores_need_no_preparing(self, prepared):
        record = published(gt_score=[5, 6], target=[[0.5, 0.5], [0.5, 0.5]])
        with pytest.raises(ArtQuantError, match=r"record 1: 'gt_score' is a list: .* need no preparing"):
            prepared("generic", json.dumps([record]), **SCALE, **TEN)

    def test_the_golden_ones(self, shared_folder, prepared, prepared_file):
        file = shared_folder / "golden" / "roc4mllm" / "records.json"
        if not file.is_file():
            pytest.skip(f"no records in {file}")
        records = {
            item["image"]: item for item in json.loads(file.read_text()) if not isinstance(item["gt_score"], list)
        }
        prepared("generic", json.dumps(list(records.values())), **SCALE, **TEN)
        made = {record["image"]: record for record in prepared_file("score")}
        assert made.keys() == records.keys() and len(made) > 5
        for image, item in records.items():
            assert {key: made[image][key] for key in item} == item


REFUSED = [
    (RATED | {"comment": "It is [SCORE]."}, {}, r"record 1: the comment holds \[SCORE\]; take it out"),
    (RATED | {"comment": "It is [IMG3]."}, {}, r"record 1: the comment holds \[IMG3\]"),
    (RATED | {"comment": "See <|image|>"}, {}, r"record 1: the comment holds <\|image\|>"),
    (RATED | {"attributes": {"[SCORE]": 3}}, {}, r"record 1: the attribute's name '\[SCORE\]' holds"),
    (published(target=[0.5, 0.5, 0.5, 0.5]), {}, 'record 1: "target" sums to 2'),
    (published(target=[0.5, 0.5, 0, "x"]), {}, 'record 1: "target" entry 4 must be a number'),
    (published("[SCORE] and [SCORE]"), {}, r"record 1: 2 places \[SCORE\] for one score"),
    (published() | {"conversations": [{"from": "human", "value": "What?"}]}, {}, "does not begin with a human turn"),
    (published() | {"conversations": published()["conversations"][:1] * 2}, {"tokens": 1}, "from 2 to 1000, got 1"),
    (RATED, {"method": "votes"}, "no votes for the method 'votes'"),
    (RATED, {"readout": "tokens"}, "readout 'tokens' is unknown; choose one of rating_levels, score_tokens"),
    (RATED, {"readout": "rating_levels"}, "'rating_levels' has no number of tokens; leave out --tokens, or name"),
    (RATED, {"readout": None}, "--readout score_tokens"),
    (RATED, {"prompt": "mine"}, "unknown prompt 'mine'; known are artquant,"),
    (RATED, {"subject": " "}, "the subject must be a noun"),
]


@pytest.mark.parametrize(("record", "settings", "message"), REFUSED)
def test_refused_in_one_line(tmp_path, prepared, record, settings, message):
    with pytest.raises(ArtQuantError, match=message) as caught:
        prepared("generic", json.dumps([record]), **SCALE | FOUR | settings)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
