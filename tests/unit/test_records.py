"""Training records and picture lists: the published form is read, anything else is refused by file and record."""

import json
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant.data.fields import Fault
from artquant.data.missing_pictures import check_images_exist
from artquant.data.record_file import RecordFile
from artquant.data.records import ImageRecord, TrainingRecord, parse_training_record, read_image_records
from artquant.errors import ArtQuantError
from artquant.files import json_files as jsonio

REMOVE = object()


def score_record(**changes) -> dict:
    record = {
        "id": "a.jpg->7.5",
        "image": "a.jpg",
        "gt_score": 7.5,
        "std": 0.5,
        "level_probs": [0.1, 0.6, 0.2, 0.1, 0.0],
        "task_type": "score",
        "conversations": turns("Rate the quality of this painting.\n<|image|>", "The quality of the painting is good."),
    }
    record.update(changes)
    return {key: value for key, value in record.items() if value is not REMOVE}


def description_record(**changes) -> dict:
    plain = {"task_type": "description", "level_probs": REMOVE, "id": "a.jpg level 1"}
    return score_record(**{**plain, **changes})


def turns(question: object, answer: object) -> list[dict]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refused(path: Path, call, *arguments, **options) -> str:
    with pytest.raises(ArtQuantError) as caught:
        call(path, *arguments, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


def test_published_score_record(tmp_path):
    path = written(tmp_path / "score.json", [score_record()])
    assert list(RecordFile(path, tmp_path / "images")) == [
        TrainingRecord(
            id="a.jpg->7.5",
            image=tmp_path / "images" / "a.jpg",
            task="score",
            question="Rate the quality of this painting.",
            answer="The quality of the painting is good.",
            gt_score=7.5,
            std=0.5,
            level_probs=(0.1, 0.6, 0.2, 0.1, 0.0),
            attribute=None,
            level=None,
            source=f"{path} record 1",
        )
    ]


def test_attribute_record(tmp_path):
    path = written(tmp_path / "attributes.json", [score_record(attribute="Color")])
    [record] = RecordFile(path, tmp_path)
    assert record.attribute == "Color"
    path = written(tmp_path / "wrong.json", [description_record(attribute="Color")])
    with pytest.raises(ArtQuantError, match=r"record 1.*description record has no \"attribute\""):
        RecordFile(path, tmp_path)


def test_optional_keys(tmp_path):
    content = [
        score_record(task_type=REMOVE, std=REMOVE, level_probs=REMOVE, id=17),
        score_record(gt_score=REMOVE, id="b", gt_score_norm=3.1),
        description_record(gt_score=REMOVE, level=2),
        description_record(id="d", level_probs=None),
    ]
    first, second, third, fourth = RecordFile(written(tmp_path / "a.json", content), tmp_path)
    assert (first.id, first.task, first.std, first.level_probs) == ("17", "score", None, None)
    assert (second.gt_score, second.source[-8:]) == (None, "record 2")
    assert (third.task, third.level, third.level_probs, third.gt_score) == ("description", 2, None, None)
    assert fourth.gt_score == 7.5


@pytest.mark.parametrize(
    ("value", "question"),
    [
        ("Rate it.\n<|image|>", "Rate it."),
        ("<|image|>\nRate it.", "Rate it."),
        ("<|image|>Rate it.", "Rate it."),
        ("Rate it. <|image|>", "Rate it."),
        ("Here it is:\n<|image|>\nRate it.", "Here it is:\nRate it."),
        ("Rate <|image|> now.", "Rate  now."),
        ("First line.\nSecond line.\n<|image|>", "First line.\nSecond line."),
    ],
)
def test_the_image_token_goes_with_its_newlines(tmp_path, value, question):
    path = written(tmp_path / "a.json", [score_record(conversations=turns(value, "Good."))])
    assert RecordFile(path, tmp_path)[0].question == question


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": REMOVE}, 'key "id" is missing'),
        ({"id": ["a"]}, '"id" must be text, got a list'),
        ({"id": True}, '"id" must be text, got true or false'),
        ({"id": " "}, '"id" is empty'),
        ({"image": REMOVE}, 'key "image" is missing'),
        ({"image": None}, 'key "image" is null'),
        ({"image": ["a.jpg", "b.jpg"]}, '"image" names 2 pictures'),
        ({"image": ""}, '"image" is empty'),
        ({"image": "../a.jpg"}, "leads out of the image folder"),
        ({"image": "sub/../../a.jpg"}, "leads out of the image folder"),
        ({"image": "/no/such/picture.jpg"}, "no picture '/no/such/picture.jpg'"),
        ({"image": "a\0.jpg"}, "zero character"),
        ({"task_type": "rank"}, "unknown \"task_type\" 'rank'; use one of score, description"),
        ({"task_type": 1}, '"task_type" must be text'),
        ({"conversations": REMOVE}, 'key "conversations" is missing'),
        ({"conversations": "Rate it."}, '"conversations" must be a list of objects'),
        ({"conversations": ["Rate it."]}, '"conversations" must be a list of objects'),
        ({"conversations": turns("<|image|> Rate.", "Good.") * 2}, "only the first human turn may hold"),
        ({"conversations": turns("<|image|> Rate.", "Good.")[::-1]}, 'from "human" and "gpt" by turns'),
        ({"conversations": turns("<|image|> Rate.", "Good.")[:1]}, 'from "human" and "gpt" by turns'),
        ({"conversations": turns("<|image|> Rate.", None)}, '"value" of the gpt turn must be text, got null'),
        ({"conversations": turns("Rate it.", "Good.")}, "exactly one <|image|>, got 0"),
        ({"conversations": turns("<|image|><|image|> Rate.", "Good.")}, "exactly one <|image|>, got 2"),
        ({"conversations": turns("<|image|> Rate.", "<|image|>")}, "gpt turn must not hold <|image|>"),
        ({"conversations": turns("<|image|>\n", "Good.")}, "question is empty"),
        ({"conversations": turns("<|image|> Rate.", "\n ")}, "answer is empty"),
        ({"gt_score": "7,5"}, '"gt_score" must be a number, got text'),
        ({"gt_score": True}, '"gt_score" must be a number, got true or false'),
        ({"gt_score": 10**400}, '"gt_score" is not finite'),
        ({"gt_score": 10.5}, '"gt_score" 10.5 is outside 1 to 10'),
        ({"gt_score": 0.5}, '"gt_score" 0.5 is outside 1 to 10'),
        ({"std": -0.1}, '"std" -0.1 is negative'),
        ({"std": []}, '"std" must be a number, got a list'),
        ({"level_probs": 1}, '"level_probs" must be a list of numbers'),
        ({"level_probs": [0.5, 0.5]}, '"level_probs" has 2 entries for 5 rating words'),
        ({"level_probs": [0.5, 0.6, -0.1, 0, 0]}, "negative number (-0.1)"),
        ({"level_probs": [0.5, 0.4, 0, 0, 0]}, '"level_probs" sums to 0.9'),
        ({"level_probs": [0.5, 0.5, None, 0, 0]}, '"level_probs" entry 3 must be a number, got null'),
        ({"gt_score": REMOVE, "level_probs": REMOVE}, 'needs "gt_score" or "level_probs"'),
        ({"task_type": "description"}, 'a description record has no "level_probs"'),
        ({"task_type": "description", "level_probs": REMOVE, "level": 4}, '"level" must be 1'),
        ({"task_type": "description", "level_probs": REMOVE, "level": 1.0}, '"level" must be 1'),
        ({"task_type": "description", "level_probs": REMOVE, "level": True}, '"level" must be 1'),
        ({"level": 1}, 'a score record has no "level"'),
    ],
)
def test_invalid_training_records_are_refused_by_number_and_id(tmp_path, changes, reason):
    path = written(tmp_path / "score.json", [score_record(id="good"), score_record(**changes)])
    message = refused(path, RecordFile, tmp_path, score_range=(1, 10))
    assert message.startswith(f"{path} record 2") and reason in message
    if "id" not in changes:
        assert "(id 'a.jpg->7.5')" in message


def test_another_scale(tmp_path):
    path = written(tmp_path / "a.json", [score_record(gt_score=55.0, level_probs=[0.25, 0.7499, 0.0])])
    assert RecordFile(path, tmp_path, number_of_levels=3)[0].level_probs == (0.25, 0.7499, 0.0)
    assert "for 5 rating words" in refused(path, RecordFile, tmp_path)


def test_every_fault_of_a_record_is_known(tmp_path):
    item = score_record(id=" ", gt_score=11, std=-1, image="../a.jpg", conversations=turns("Rate it.", " "), level=4)
    parsed = parse_training_record(item, "r.json record 2", tmp_path, 5, (1, 10))
    assert (parsed.record, parsed.id, parsed.image) == (None, None, None)
    assert [(fault.kind, fault.key) for fault in parsed.faults] == [
        ("image-token", "conversations"),
        ("empty-text", "conversations"),
        ("record", "id"),
        ("record", "image"),
        ("score-off-scale", "gt_score"),
        ("std", "std"),
        ("record", "level"),
        ("record", ""),
    ]
    with pytest.raises(ArtQuantError, match=r"r.json record 2 \(id ' '\): the human turn must hold exactly one"):
        parsed.valid()
    parsed = parse_training_record([1], "r.json record 3", tmp_path)
    assert parsed.faults == (Fault("record", "", "expected an object, got a list; see the record format"),)


def test_the_same_id_twice(tmp_path):
    path = written(tmp_path / "a.json", [score_record(id=1), score_record(id="b"), score_record(id="1")])
    message = refused(path, RecordFile, tmp_path)
    assert "record 3 (id '1'): the same id as record 1" in message


def test_a_picture_outside_the_folder_by_its_whole_path(tmp_path):
    picture = tmp_path / "elsewhere.jpg"
    picture.touch()
    path = written(tmp_path / "a.json", [score_record(image=str(picture))])
    assert RecordFile(path, tmp_path / "images")[0].image == picture


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[\n\n{"id": }\n]', "line 3 column 8: not JSON"),
        ("7", "record 1: expected an object, got a number"),
        ("[]", "holds no records"),
        ("[1]", "record 1: expected an object, got a number"),
        ("", "holds no records"),
        ('[\n{"a": "NaN", "b": 1,\n"gt_score": NaN}\n]', "line 3: NaN is not a number"),
        ("[\n\n-Infinity]", "line 3: -Infinity is not a number"),
        ('[\n{"id": 1, "id": 2}]', "key 'id' twice"),
        ("[" * 100_000, "not usable JSON"),
        ("[\n" + "1" * 5000 + "]", "not usable JSON"),
    ],
)
def test_json_errors_name_file_and_line(tmp_path, content, reason):
    assert reason in refused(written(tmp_path / "a.json", content), RecordFile, tmp_path)


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot be read" in refused(tmp_path / "missing.json", RecordFile, tmp_path)
    assert "cannot be read" in refused(tmp_path, RecordFile, tmp_path)
    path = tmp_path / "latin.json"
    path.write_bytes(b'[\n{"id": "caf\xe9"}]')
    assert "line 2: not UTF-8" in refused(path, RecordFile, tmp_path)


def test_byte_order_mark_and_windows_newlines(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([score_record()], indent=1).replace("\n", "\r\n").encode())
    assert len(RecordFile(path, tmp_path)) == 1
    path.write_bytes(b'\xef\xbb\xbf{"image": "a.jpg"}\r\n\r\n{"image": "b.jpg"}\r\n')
    assert [record.id for record in read_image_records(path)] == ["a.jpg", "b.jpg"]


def test_missing_pictures_are_one_error(tmp_path):
    (tmp_path / "a.jpg").touch()
    content = [{"image": "a.jpg"}, {"image": "b.jpg"}, {"image": "c.jpg", "id": "third"}]
    records = read_image_records(written(tmp_path / "list.json", content))
    check_images_exist(records[:1])
    with pytest.raises(ArtQuantError) as caught:
        check_images_exist(records)
    message = str(caught.value)
    assert f"{tmp_path / 'list.json'} record 2 (id 'b.jpg'): no picture '{tmp_path / 'b.jpg'}'" in message
    assert "missing for 2 of 3 records" in message


@pytest.mark.parametrize("lines", [False, True])
def test_lists_of_pictures(tmp_path, lines):
    content = [{"id": "x", "image": "a.jpg", "gt_score": 3, "std": 0.25}, {"image": "sub/b.png"}]
    text = "\n".join(json.dumps(item) for item in content) if lines else json.dumps(content)
    path = written(tmp_path / "list", text)
    assert read_image_records(path, tmp_path / "images") == [
        ImageRecord("x", tmp_path / "images/a.jpg", 3.0, 0.25, f"{path} record 1"),
        ImageRecord("sub/b.png", tmp_path / "images/sub/b.png", None, None, f"{path} record 2"),
    ]
    assert read_image_records(path)[1].image == tmp_path / "sub/b.png"


def test_a_folder_of_pictures(tmp_path):
    for name in ("b.png", "sub/a.jpg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    records = read_image_records(tmp_path)
    assert [(record.id, record.image) for record in records] == [
        ("b.png", tmp_path / "b.png"),
        ("sub/a.jpg", tmp_path / "sub/a.jpg"),
    ]
    check_images_exist(records)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no records"),
        ('{"image": "a.jpg"}\n{"image": \n', "line 2 column 11: not JSON"),
        ('{"image": "a.jpg"}\n\n{"image": "b.jpg", "gt_score": NaN}', "line 3: NaN is not a number"),
        ('{"image": "a.jpg"}\n{"image": "a.jpg"}', "record 2 (id 'a.jpg'): the same id as record 1"),
        ('{"id": "a"}', "record 1 (id 'a'): key \"image\" is missing"),
        ('["a.jpg"]', "record 1: expected an object, got text"),
        ('{"image": "a.jpg", "gt_score": 11}', '"gt_score" 11 is outside 1 to 10'),
        ('{"image": "../a.jpg"}', "leads out of the image folder"),
    ],
)
def test_invalid_lists_of_pictures(tmp_path, content, reason):
    path = written(tmp_path / "list.jsonl", content)
    assert reason in refused(path, read_image_records, score_range=(1, 10))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=8), values, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "new" / "a.json"
    jsonio.write_json(path, value)
    assert jsonio.read_json(path) == value
    assert os.listdir(path.parent) == ["a.json"]


@given(st.lists(JSON_VALUES, max_size=5))
def test_json_lines_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    jsonio.write_json_lines(path, values)
    jsonio.append_json_lines(path, values)
    assert [value for _, value in jsonio.read_json_lines(path)] == values * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": object()}, "\ud800"])
def test_what_is_no_json_leaves_the_old_file(tmp_path, value):
    path = tmp_path / "a.json"
    jsonio.write_json(path, "old")
    for write, argument in ((jsonio.write_json, value), (jsonio.append_json_lines, [value])):
        with pytest.raises(ArtQuantError, match="cannot be written as JSON"):
            write(path, argument)
    assert jsonio.read_json(path) == "old" and os.listdir(tmp_path) == ["a.json"]


def test_a_failed_replacement_leaves_no_part(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ArtQuantError, match="cannot be written"):
        jsonio.write_json(tmp_path / "a.json", 1)
    assert os.listdir(tmp_path) == ["a.json"]


def test_links_are_written_through(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    jsonio.write_json(tmp_path / "link.json", 1)
    assert (tmp_path / "link.json").is_symlink() and jsonio.read_json(tmp_path / "real.json") == 1


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        ("", []),
        ('{"a": 1}\n', [{"a": 1}]),
        ('{"a": 1}\n{"b": ', [{"a": 1}]),
        ('{"a": 1}', [{"a": 1}]),
        ('{"a": ', []),
        ('{"a": 1}\n{"b": "' + "x" * 200_000, [{"a": 1}]),
    ],
)
def test_appending_after_a_crash(tmp_path, left, kept):
    path = written(tmp_path / "a.jsonl", left)
    jsonio.append_json_lines(path, [{"c": 1}, {"d": 2}])
    assert [value for _, value in jsonio.read_json_lines(path)] == [*kept, {"c": 1}, {"d": 2}]


def test_a_name_in_two_forms_is_the_file_of_its_own(tmp_path, monkeypatch):
    forms = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    for name in forms:
        (tmp_path / name).touch()
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system knows one form alone")
    content = [{"image": name} for name in (*forms, "É.jpg")]
    read = read_image_records(written(tmp_path / "list.json", content))
    assert [record.image.name for record in read] == [*forms, "É.jpg"]


def test_a_folder_is_listed_only_when_a_name_is_not_there(tmp_path, monkeypatch):
    listed, list_folder = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or list_folder(folder))
    names = [unicodedata.normalize("NFD", f"{number} é.jpg") for number in range(50)]
    for name in names:
        (tmp_path / name).touch()
    content = [score_record(id=number, image=name) for number, name in enumerate(names)]
    assert len(list(RecordFile(written(tmp_path / "a.json", content), tmp_path, check_images=True))) == 50
    assert listed == []
    for record in content:
        record["image"] = unicodedata.normalize("NFC", record["image"])
    records = RecordFile(written(tmp_path / "b.json", content), tmp_path, check_images=True)
    assert [record.image.name for record in records] == names and listed == [tmp_path]
