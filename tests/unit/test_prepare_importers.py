"""Importers: what their files say arrives in the prepared folder, and nothing else is taken."""

import json
import math

import numpy as np
import pytest

from artquant.data.record_file import RecordFile
from artquant.data.records import read_image_records
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.labels.soft_labels import soft_labels
from artquant.prepare.columns import Columns
from artquant.prepare.importers import IMPORTERS
from artquant.prepare.prepare import Settings, prepare
from artquant.prepare.table_form import TableForm

APDD_HEADER = (
    "filename,Artistic Categories,{score},Theme and logic,Creativity,Layout and composition,Space and perspective,"
    "The sense of order,Light and shadow,Color,Details and texture,The overall,Mood"
)
TRAIN = APDD_HEADER.format(score="Score") + "\na.png,oil painting*classicism*landscapes,7.143,5,,4,4,5,4,3.5,4,4,\n"
TEST = APDD_HEADER.format(score="Score") + "\nb.png,sketching*symbolism*portraiture,3,5,,4,4,5,4,3.5,4,4,6\n"
MASTER = (
    APDD_HEADER.format(score="Total aesthetic score")
    + ",Language Comment\n"
    + "b.png,sketching*symbolism*portraiture,30,5,,4,4,5,4,3.5,4,4,6,\n"
    + 'a.png,oil painting*classicism*landscapes,71.43,5,,4,4,5,4,3.5,4,4,,"Clear, calm"\n'
)
BAID = "image,score\na.jpg,7.5\nb.jpg,3\nsub/c.jpg,10\n"


def test_a_picture_that_is_listed_twice_alike(tmp_path):
    """As in ISTA-10K's list: left out and noted; with another score it is refused."""
    listed = [{"image": name, "gt_score": score} for name, score in (("a.jpg", 8), ("b.jpg", 5), ("a.jpg", 8))]
    file = tmp_path / "list.json"
    file.write_text(json.dumps(listed))
    card = prepare("generic", [(file, "test")], tmp_path / "out", Settings(range=(0, 100)), "")
    assert [record.image.name for record in read_image_records(tmp_path / "out" / "test.json", tmp_path)] == [
        "a.jpg",
        "b.jpg",
    ]
    assert any("record 3: image 'a.jpg' again" in note and "1 such record" in note for note in card["notes"])
    file.write_text(json.dumps([*listed, {"image": "b.jpg", "gt_score": 6}]))
    with pytest.raises(ArtQuantError, match=r"record 4: image 'b\.jpg' is also .* record 2"):
        prepare("generic", [(file, "test")], tmp_path / "other", Settings(range=(0, 100)), "")


def apdd_folder(folder, **texts):
    files = {"train": TRAIN, "test": TEST, "APDDv2-10023": MASTER} | texts
    for name, text in files.items():
        if text is not None:
            (folder / f"{name}.csv").write_text(text, encoding="latin-1")
    return folder


def apdd(folder, split=None, **settings):
    return prepare("apdd", [(folder, split)], folder / "out", Settings(**settings), "artquant prepare")


class TestApdd:
    def test_scores_attributes_comments_and_splits(self, tmp_path, prepared_file):
        card = apdd(apdd_folder(tmp_path))
        [record] = prepared_file("score")
        assert record["gt_score"] == 7.143 and record["id"] == "a.png->7.143"
        assert record["categories"] == {"form": "oil painting", "style": "classicism", "subject": "landscapes"}
        assert "Creativity" not in record["attributes"] and "Mood" not in record["attributes"]
        assert record["level_probs"] == soft_labels([7.143], APDD_SCALE.values)[0].tolist()
        attributes = prepared_file("attributes")
        assert {found["attribute"]: found["gt_score"] for found in attributes} == record["attributes"]
        assert all(found["conversations"][0] == record["conversations"][0] for found in attributes)
        color = next(found for found in attributes if found["attribute"] == "Color")
        assert color["id"] == "a.png->Color->3.5"
        assert color["conversations"][1]["value"] == "The color of the painting is poor."
        [comment] = prepared_file("comments")
        assert comment["conversations"][1]["value"] == "Clear, calm" and comment["task_type"] == "description"
        [held_out] = prepared_file("test")
        assert (held_out["image"], held_out["gt_score"], held_out["attributes"]["Mood"]) == ("b.png", 3.0, 6.0)
        assert "level_probs" not in held_out
        assert card["splits"]["train"]["attributes"]["Creativity"] == {"present": 0, "missing": 1}
        assert card["splits"]["train"]["words"] == {"excellent": 0, "good": 1, "fair": 0, "poor": 0, "bad": 0}
        assert any("2 pictures agree" in note for note in card["notes"])

    def test_master_alone_is_put_on_the_scale_of_the_splits(self, tmp_path, prepared_file):
        apdd(apdd_folder(tmp_path, train=None, test=None))
        assert {record["image"]: record["gt_score"] for record in prepared_file("score")} == {
            "a.png": 7.143,
            "b.png": 3.0,
        }
        assert len(prepared_file("comments")) == 1

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("71.43", "71.53", r"train.csv record 1 \(a.png\): 'Score' is 7.143, but 7.153 in .*10023.csv record 2"),
            (',4,4,,"', ',4,4,1,"', "'Mood' is empty, but 1 in"),
            ("oil painting*classicism", "oil painting*romanticism", "classicism.*romanticism"),
        ],
    )
    def test_files_that_disagree(self, tmp_path, old, new, message):
        with pytest.raises(ArtQuantError, match=message):
            apdd(apdd_folder(tmp_path, **{"APDDv2-10023": MASTER.replace(old, new)}))

    def test_pictures_of_one_file_alone_are_said(self, tmp_path):
        card = apdd(apdd_folder(tmp_path, train=None))
        assert any("1 of its pictures are in no split file" in note for note in card["notes"])

    def test_stray_bytes_are_latin_1_and_said(self, tmp_path, prepared_file):
        card = apdd(apdd_folder(tmp_path, **{"APDDv2-10023": MASTER.replace("calm", "calm\xa1\xa2 cool")}))
        assert prepared_file("comments")[0]["conversations"][1]["value"] == "Clear, calm\xa1\xa2 cool"
        assert [source["encoding"] for source in card["sources"]] == ["utf-8", "utf-8", "latin-1"]
        assert any("first on line 3" in note for note in card["notes"])
        apdd(tmp_path, form=TableForm("gb18030"))
        assert prepared_file("comments")[0]["conversations"][1]["value"] == "Clear, calm、 cool"

    def test_split_file_without_a_split(self, tmp_path):
        apdd_folder(tmp_path)
        with pytest.raises(
            ArtQuantError, match=r"train.csv: is published as the train pictures; give it with --train FILE"
        ):
            apdd(tmp_path / "train.csv")

    @pytest.mark.parametrize("category", ["oil painting*classicism", "", "a**b"])
    def test_faulty_categories(self, tmp_path, category):
        text = TRAIN.replace("oil painting*classicism*landscapes", category)
        with pytest.raises(ArtQuantError, match=r"train.csv record 1: 'Artistic Categories'"):
            apdd(apdd_folder(tmp_path, train=text))

    def test_empty_folder(self, tmp_path):
        with pytest.raises(ArtQuantError, match=r"holds none of train.csv"):
            apdd(tmp_path)


class TestOtherImporters:
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
    @pytest.mark.parametrize("is_json", [False, True])
    def test_encodings(self, tmp_path, encoding, is_json):
        text = json.dumps([{"image": "é.jpg", "score": 5}], ensure_ascii=False) if is_json else "image,score\né.jpg,5\n"
        file = tmp_path / "scores"
        file.write_bytes(text.encode(encoding))
        prepare("baid", [(file, None)], tmp_path / "out", Settings(form=TableForm(encoding)), "")
        assert json.loads((tmp_path / "out" / "score.json").read_text(encoding="utf-8"))[0]["image"] == "é.jpg"

    def test_json_is_utf_8(self, tmp_path):
        file = tmp_path / "scores.json"
        file.write_bytes('[{"image": "é.jpg", "score": 5}]'.encode("latin-1"))
        with pytest.raises(ArtQuantError, match="is JSON, but not UTF-8"):
            prepare("baid", [(file, None)], tmp_path / "out", Settings(), "")

    def test_csv_of_scores(self, prepared, prepared_file):
        card = prepared("baid")
        records = prepared_file("score")
        assert [(record["image"], record["gt_score"]) for record in records] == [
            ("a.jpg", 7.5),
            ("b.jpg", 3.0),
            ("sub/c.jpg", 10.0),
        ]
        assert card["scale"]["values"] == [10.0, 7.5, 5.0, 2.5, 0.0]
        assert card["distributions"]["sigma"] == pytest.approx(10 / 9)

    @pytest.mark.parametrize(
        "text",
        [
            "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396\n",
            "image_id,1,2,3,4,5,6,7,8,9,10\n953619,0,1,5,17,38,36,15,6,5,1\n953958,10,7,15,26,26,21,10,8,1,2\n",
        ],
        ids=["AVA.txt", "CSV"],
    )
    def test_votes(self, prepared, prepared_file, text):
        prepared("ava", text)
        first, second = prepared_file("score")
        votes, values = np.array([0, 1, 5, 17, 38, 36, 15, 6, 5, 1]), np.arange(1, 11)
        assert (first["image"], second["image"]) == ("953619.jpg", "953958.jpg")
        assert first["votes"] == votes.tolist()
        mean = votes @ values / votes.sum()
        assert first["gt_score"] == pytest.approx(mean, abs=1e-6)
        assert first["std"] == pytest.approx(math.sqrt(votes @ (values - mean) ** 2 / votes.sum()), abs=1e-6)
        assert np.dot(first["level_probs"], RatingScale.even(1, 10).values) == pytest.approx(mean, abs=1e-9)

    def test_mean_and_deviation(self, prepared, prepared_file):
        text = "image_name,MOS,SD,set\na.jpg,3.8,0.5,training\nb.jpg,2.5,0.7,test\nc.jpg,4,0.2,validation\n"
        card = prepared("koniq", text, range=(1.0, 5.0), method="known-std")
        assert [len(prepared_file(name)) for name in ("score", "validation", "test")] == [1, 1, 1]
        assert (
            prepared_file("score")[0]["level_probs"]
            == soft_labels([3.8], (5, 4, 3, 2, 1), "known-std", std=[0.5])[0].tolist()
        )
        assert prepared_file("test")[0]["std"] == 0.7
        assert card["distributions"]["sigma"] is None

    def test_json_list(self, prepared, prepared_file):
        text = json.dumps([{"image": "a.jpg", "gt_score": 3.5}, {"image": "b.jpg", "gt_score": 1}])
        prepared("list", text, split="test", range=(1.0, 5.0))
        assert [(record["id"], record["gt_score"]) for record in prepared_file("test")] == [
            ("a.jpg->3.5", 3.5),
            ("b.jpg->1", 1),
        ]

    def test_named_columns(self, prepared, prepared_file):
        text = "file,mean,sd,said,part,C,M,kind\na.jpg,5,1,Calm,train,6,,oil\nb.jpg,2,1,,Val,3,4,\n"
        columns = Columns("file", "mean", "sd", "said", "part", ("C", "M"), {"form": "kind"})
        prepared("generic", text, range=(1.0, 7.0), columns=columns)
        [record], [held_out] = prepared_file("score"), prepared_file("validation")
        assert (record["std"], record["attributes"], record["categories"]) == (1.0, {"C": 6.0}, {"form": "oil"})
        assert "categories" not in held_out and held_out["attributes"] == {"C": 3.0, "M": 4.0}
        assert prepared_file("comments")[0]["conversations"][1]["value"] == "Calm"
        assert [found["attribute"] for found in prepared_file("attributes")] == ["C"]

    def test_json_lines_with_nested_keys(self, prepared, prepared_file):
        lines = [
            {"image": "a.jpg", "gt_score": 2.5, "votes": [1, 0, 0, 1], "attributes": {"Color": 3}, "title": "Sea"},
            {"image": "b.jpg", "gt_score": 4, "votes": [0, 0, 0, 2], "categories": {"form": "oil"}},
        ]
        text = "\n".join(map(json.dumps, lines))
        prepared("generic", text, range=(1.0, 4.0), method="votes", vote_values=(1.0, 2.0, 3.0, 4.0))
        first, second = prepared_file("score")
        assert first["title"] == "Sea" and first["attributes"] == {"Color": 3.0} and first["votes"] == [1, 0, 0, 1]
        assert first["level_probs"] == [0.5, 0, 0, 0, 0.5] and second["level_probs"] == [1, 0, 0, 0, 0]

    def test_score_records_are_labelled_anew(self, prepared, prepared_file):
        mine = [{"from": "human", "value": "Mine?\n<|image|>"}, {"from": "gpt", "value": "The quality is good."}]
        old = {"id": 7, "image": "a.jpg", "gt_score": 7, "level_probs": [1, 0, 0, 0, 0], "std": 0.5, "from": "me"}
        prepared("generic", json.dumps([old | {"conversations": mine}]), levels=APDD_SCALE.values, method="two-level")
        [record] = prepared_file("score")
        assert record["level_probs"] == soft_labels([7], APDD_SCALE.values, "two-level")[0].tolist()
        assert (record["id"], record["std"], record["from"]) == (7, 0.5, "me")
        assert record["conversations"][0] == mine[0]
        assert record["conversations"][1]["value"] == "The quality of the painting is good."

    def test_many_rows(self, prepared, prepared_file):
        scores = np.random.default_rng(0).uniform(0, 10, 3000).round(4)
        prepared("baid", "image,score\n" + "".join(f"{row}.jpg,{score}\n" for row, score in enumerate(scores)))
        records = prepared_file("score")
        assert [record["gt_score"] for record in records] == scores.tolist()
        probs = np.array([record["level_probs"] for record in records])
        np.testing.assert_allclose(probs @ [10, 7.5, 5, 2.5, 0], scores, rtol=0, atol=1e-8)
        questions = {record["conversations"][0]["value"] for record in records}
        assert len(questions) == 10


@pytest.mark.parametrize("name", IMPORTERS)
def test_prepared_files_are_what_training_and_scoring_read(name, tmp_path, prepared):
    """Every importer's output goes through the readers."""
    if name == "apdd":
        card = apdd(apdd_folder(tmp_path))
    elif name == "koniq":
        text = "image_name,MOS,SD\na.jpg,3.8,0.5\nb.jpg,2.5,0.7\n"
        card = prepared(name, text, range=(1.0, 5.0), test_fraction=0.5)
    elif name == "ava":
        row = "953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n"
        card = prepared(name, f"1 {row}2 9{row}", test_fraction=0.5)
    else:
        text = BAID if name == "baid" else BAID.replace("score", "gt_score")
        card = prepared(name, text, range=(0.0, 10.0), test_fraction=0.5)
    out, scale = tmp_path / "out", card["scale"]["values"]
    for file, said in card["files"].items():
        if file in ("test.json", "validation.json"):
            records = read_image_records(out / file, tmp_path, score_range=(scale[-1], scale[0]))
        else:
            records = RecordFile(out / file, tmp_path, len(scale), (scale[-1], scale[0]))
        assert len(records) == said["records"] > 0
    assert {"score.json", "test.json"} <= set(card["files"])


BAD = [
    ("image,score\na.jpg,7\nb.jpg,\n", "record 2: 'score' is empty"),
    ("image,score\na.jpg,high\n", "record 1: 'score' is 'high', not a number"),
    ("image,score\na.jpg,1_0\n", "record 1: 'score' is '1_0', not a number"),
    ("image,score\na.jpg,nan\n", "record 1: 'score' is nan, not a finite number"),
    ("image,score\na.jpg,-inf\n", "record 1: 'score' is -inf"),
    ("image,score\na.jpg,10.01\n", "record 1: score 10.01 is outside 0 to 10"),
    ("image,score\n ,5\n", "record 1: the image name is empty"),
    ("image,score\n../a.jpg,5\n", "record 1: image name '../a.jpg' is no file inside"),
    ("image,score\nx/../../a.jpg,5\n", "no file inside"),
    ("image,score\n/etc/a.jpg,5\n", "no file inside"),
    ("image,score\nC:\\a.jpg,5\n", "no file inside"),
    ("image,score\n..\\a.jpg,5\n", "no file inside"),
    ("image,score\na.jpg,5\nb.jpg,5\na.jpg,6\n", r"record 3: image 'a.jpg' is also .*scores.csv record 1"),
    ("image,score\na.jpg,5\n./a.jpg,6\n", "record 2: image 'a.jpg' is also"),
    ("image,score\na.jpg,5,6\n", "record 1: 3 columns where the header has 2"),
    ("image,score\na.jpg\n", "record 1: 1 columns where the header has 2"),
    ('image,score\na.jpg,5\n"b.jpg,5\n', "record 2: not valid CSV"),
    ("image,score\n", "holds no records"),
    ("", "is empty"),
    ("\n\n", "is empty"),
    ("image,Score\na.jpg,5\n", "no column 'score'; there are 'image', 'Score'; did you mean 'Score'"),
    ("image;score\na.jpg;5\n", "between semicolons: add --delimiter semicolon"),
    ("image,score,score\na.jpg,5,5\n", "2 columns are called 'score'; name .* its place: score#2, score#3"),
    ("PK\x03\x04\0\0", "is a ZIP archive .* damaged"),
    ("[]", "holds no records"),
    ('[{"image": "\\ud800.jpg", "score": 5}]', "no file inside"),
    ("[1]", "record 1: is no object"),
    ('[{"image": "a.jpg", "score": true}]', "record 1: 'score' is 'True', not a number"),
    ('[{"image": "a.jpg", "score": 5}, {"image": "b.jpg"}]', "record 2: 'score' is empty"),
    ('[{"image": ["a.jpg"], "score": 5}]', "record 1: 'image' is no image name"),
    ('[{"image": "a.jpg", "score": 5}', "not JSON"),
    ('[{"image": "a.jpg", "score": NaN}]', "NaN is not a number"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_faulty_files_are_refused_and_nothing_is_written(tmp_path, prepared, text, message):
    with pytest.raises(ArtQuantError, match=message) as caught:
        prepared("baid", text)
    assert str(tmp_path / "scores.csv") in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


RECORD = {"image": "a.jpg", "gt_score": 5.0}
HUMAN = {"from": "human", "value": "What?"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"task_type": "description"}, '"task_type" is not "score"'),
        ({"attribute": "Color"}, "is about an attribute"),
        ({"attributes": [1]}, '"attributes" must be an object'),
        ({"attributes": {"Color": "x"}}, "'Color' is 'x', not a number"),
        ({"attributes": {"Color": 11}}, "Color 11 is outside 1 to 10"),
        ({"categories": {"form": 1}}, '"categories" must be an object of names and texts'),
        ({"std": -1}, "'std' -1 is negative"),
        ({"votes": 3}, '"votes" must be a list'),
        ({"votes": [0, 0]}, "nobody voted"),
        ({"votes": [3, -1]}, "negative"),
        ({"comment": 5}, "'comment' must be text"),
        ({"comment": "See <|image|>"}, r"<\|image\|>"),
        ({"split": "dev"}, "'split' is 'dev'; use one of train"),
        ({"id": []}, '"id" must be text'),
        ({"level": 2}, 'no "level"'),
        ({"conversations": [HUMAN]}, "does not begin with a human turn"),
    ],
)
def test_faulty_records(prepared, record, message):
    with pytest.raises(ArtQuantError, match=message) as caught:
        prepared("generic", json.dumps([RECORD | record]), range=(1.0, 10.0))
    assert "record 1" in str(caught.value)


def test_the_same_id_twice(prepared):
    text = json.dumps([RECORD | {"id": "x"}, RECORD | {"id": "x", "image": "b.jpg"}])
    with pytest.raises(ArtQuantError, match=r"record 2: id 'x' is also .*record 1"):
        prepared("generic", text, range=(1.0, 10.0))


def test_a_picture_in_two_splits(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(BAID, encoding="utf-8")
    files = [(tmp_path / "one.csv", "train"), (tmp_path / "two.csv", "test")]
    with pytest.raises(ArtQuantError, match=r"two.csv record 1: image 'a.jpg' is also .*one.csv record 1"):
        prepare("baid", files, tmp_path / "out", Settings(), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 953619 0 1 5\n", "3 columns|5 columns"),
        ("1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 95 0 1\n", "record 2: 4 columns between blanks instead of 15"),
        ("1 953619 0 0 0 0 0 0 0 0 0 0 1 22 1396\n", "record 1: nobody voted"),
        ("1 953619 0 -1 5 17 38 36 15 6 5 1 1 22 1396\n", "record 1: a count of votes is negative"),
    ],
)
def test_faulty_votes(prepared, text, message):
    with pytest.raises(ArtQuantError, match=message):
        prepared("ava", text)


def test_votes_that_do_not_make_the_score(prepared):
    columns = Columns("image", "score", votes=("1", "2"))
    with pytest.raises(ArtQuantError, match=r"record 1: score 1.7, but the mean of the votes is 1.5"):
        prepared("baid", "image,score,1,2\na.jpg,1.7,3,3\n", columns=columns, range=(1.0, 2.0))


@pytest.mark.parametrize(("method", "message"), [("votes", "no votes"), ("known-std", "no standard deviation")])
def test_method_without_what_it_needs(prepared, method, message):
    with pytest.raises(ArtQuantError, match=f"record 1: {message} for the method '{method}'"):
        prepared("baid", method=method)
