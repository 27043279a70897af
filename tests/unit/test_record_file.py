"""Records that stay in their file: those that it holds, checked when it is opened."""

import gc
import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from artquant.data import record_file
from artquant.data.fields import RecordError
from artquant.data.record_file import RecordColumns, RecordFile, RecordSets
from artquant.data.records import TrainingRecord, parse_training_record
from artquant.data.turns import media_tag
from artquant.errors import ArtQuantError

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda t: t.strip() and media_tag(t) is None
)


def conversation(question, answer):
    return [{"from": "human", "value": f"{question}\n<|image|>"}, {"from": "gpt", "value": answer}]


def score_record(number, **values):
    record = {"id": f"s{number}", "image": f"{number % 3}.png", "gt_score": 1 + number % 9, "task_type": "score"}
    return record | {"conversations": conversation("Rate it.", "The quality of the painting is good.")} | values


def description_record(number, text="A quiet harbour.", question="Describe it.", **values):
    record = {"id": f"d{number}", "image": f"{number % 3}.png", "task_type": "description"}
    return record | {"conversations": conversation(question, text)} | values


def write(path, records, lines=False):
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records, indent=1, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def images(tmp_path):
    for number in range(3):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{number}.png")
    return tmp_path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT, st.floats(1, 10) | st.none()), min_size=1, max_size=8))
def test_equals_the_records_parsed_at_once(tmp_path, texts):
    records = [
        description_record(number, answer, question)
        if score is None
        else score_record(number, gt_score=score, conversations=conversation(question, answer))
        for number, (question, answer, score) in enumerate(texts)
    ]
    file = write(tmp_path / "records.json", records)
    opened = RecordFile(file, tmp_path)
    sources = [f"{file} record {number}" for number in range(1, len(records) + 1)]
    read = [parse_training_record(*pair, tmp_path).valid() for pair in zip(records, sources, strict=True)]
    assert list(opened) == read and len(opened) == len(read)
    assert opened[-1] == read[-1] and opened[1:] == read[1:]
    columns = RecordColumns.of(read, 5)
    for name in ("score", "level_probs", "is_scored", "text_bytes"):
        np.testing.assert_array_equal(getattr(opened.columns, name), getattr(columns, name))
    assert opened.columns.representatives == columns.representatives


def test_columns(tmp_path):
    probs = [0.1, 0.2, 0.4, 0.2, 0.1]
    records = [
        score_record(0, gt_score=7.25, level_probs=probs),
        score_record(1, attribute="Color"),
        description_record(2, "Grün."),
        score_record(3, attribute="Mood"),
        score_record(4, gt_score=2.0),
    ]
    columns = RecordFile(write(tmp_path / "r.json", records), tmp_path).columns
    np.testing.assert_array_equal(columns.score, [7.25, 2, np.nan, 4, 2])
    np.testing.assert_array_equal(columns.level_probs[0], probs)
    assert np.isnan(columns.level_probs[1:]).all() and columns.is_scored.tolist() == [True, True, False, True, True]
    assert columns.text_bytes[2] == len("Describe it.") + len("Grün.".encode())
    assert columns.attributes == ("Color", "Mood") and columns.representatives == (0, 1, 2, 3)
    assert columns.attribute.tolist() == [-1, 0, -1, 1, -1]
    assert columns.pictures[0] == columns.pictures[3] and len(set(columns.pictures.tolist())) == 3


def test_json_lines(tmp_path):
    records = [score_record(number) for number in range(5)]
    opened = RecordFile(write(tmp_path / "r.jsonl", records, lines=True), tmp_path)
    assert [record.id for record in opened] == [record["id"] for record in records]


def test_indices(tmp_path):
    opened = RecordFile(write(tmp_path / "r.json", [score_record(number) for number in range(4)]), tmp_path)
    assert [opened[index].id for index in (0, 3, -1, -4)] == ["s0", "s3", "s3", "s0"]
    for index in (4, -5):
        with pytest.raises(IndexError):
            opened[index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "s0"}, r"record 3 \(id 's0'\): the same id as record 1"),
        ({"gt_score": 11}, r"record 3 \(id 's2'\): \"gt_score\" 11 is outside 1 to 10"),
        ({"conversations": []}, r"record 3 \(id 's2'\): \"conversations\" must be turns from"),
        ({"id": "\ud800"}, r"record 3 .*\"id\" holds half a character"),
        ({"image": "\ud800.png"}, r"record 3 \(id 's2'\): \"image\" holds half a character"),
        ({"conversations": conversation("\udfff", "Good.")}, r"record 3 \(id 's2'\): .* holds half a character"),
        ({"conversations": conversation("Rate.", "\ud800")}, r"record 3 \(id 's2'\): .* holds half a character"),
        ({"level_probs": [1.0]}, r"record 3 \(id 's2'\): \"level_probs\" has 1 entries for 5 rating words"),
    ],
)
def test_bad_record(tmp_path, change, message):
    records = [score_record(number) for number in range(4)]
    records[2] |= change
    (tmp_path / "r.json").write_text(json.dumps(records))
    with pytest.raises(RecordError, match=message):
        RecordFile(tmp_path / "r.json", tmp_path, 5, (1, 10))


def test_no_records(tmp_path):
    with pytest.raises(RecordError, match="holds no records"):
        RecordFile(write(tmp_path / "r.json", []), tmp_path)


def test_missing_pictures(images):
    records = [score_record(number) for number in range(5)] + [score_record(9, image="lost.png")]
    records.append(score_record(10, image="sub/gone.png"))
    file = write(images / "r.json", records)
    assert len(RecordFile(file, images)) == 7
    with pytest.raises(RecordError, match=r"record 6 \(id 's9'\): no picture .*lost.png'; missing for 2 of 7 records"):
        RecordFile(file, images, check_images=True)
    assert len(RecordFile(write(images / "r.json", records[:5]), images, check_images=True)) == 5
    file = write(images / "r.json", [score_record(0, image="x" * 300)])
    with pytest.raises(RecordError, match="missing for 1 of 1 records"):
        RecordFile(file, images, check_images=True)


def test_pictures_are_not_opened(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no picture")
    assert len(RecordFile(write(tmp_path / "r.json", [score_record(0)]), tmp_path, check_images=True)) == 1


def test_a_file_that_changes_while_it_is_opened(tmp_path, monkeypatch):
    file = write(tmp_path / "r.json", [score_record(number) for number in range(3)])
    parse = record_file.parse_training_record

    def parse_while_written(item, source, *arguments):
        if source.endswith("record 3"):
            os.replace(write(tmp_path / "new.json", [score_record(number, gt_score=1.5) for number in range(3)]), file)
        return parse(item, source, *arguments)

    monkeypatch.setattr(record_file, "parse_training_record", parse_while_written)
    with pytest.raises(RecordError, match="was changed while it was in use"):
        RecordFile(file, tmp_path)


def test_a_file_that_changes_while_it_is_in_use(tmp_path):
    file = write(tmp_path / "r.json", [score_record(number) for number in range(3)])
    opened = RecordFile(file, tmp_path)
    write(file, [score_record(number, image="other.png") for number in range(3)])
    with pytest.raises(RecordError, match="was changed while it was in use"):
        opened[1]
    os.remove(file)
    with pytest.raises(RecordError, match="cannot be read any more"):
        opened[1]


def test_what_stays_in_memory(tmp_path):
    """Numbers, not records: long descriptions cost no more than short ones."""

    def alive() -> int:
        gc.collect()
        return sum(isinstance(found, TrainingRecord) for found in gc.get_objects())

    def kept(length: int) -> int:
        records = [description_record(number, "calm " * length) for number in range(2000)]
        file = write(tmp_path / f"{length}.json", records)
        del records
        gc.collect()
        tracemalloc.start()
        opened = RecordFile(file, tmp_path)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(opened) == 2000
        return size

    before = alive()  # of other tests
    kept(1)  # what is made once
    short, long = kept(1), kept(400)  # 2 kB a record
    assert long < short + 100_000 and long / 2000 < 200
    assert alive() == before


def test_a_worker_process_reads_for_itself(tmp_path):
    file = write(tmp_path / "r.json", [description_record(number, "calm " * 400) for number in range(50)])
    opened = RecordFile(file, tmp_path)
    assert len(pickle.dumps(opened)) < 20_000
    loader = DataLoader(opened, batch_size=10, num_workers=2, collate_fn=list, multiprocessing_context="spawn")
    assert [record for batch in loader for record in batch] == list(opened)


def test_several_files(tmp_path):
    first = RecordFile(write(tmp_path / "a.json", [score_record(n, attribute="Color") for n in range(3)]), tmp_path)
    second = RecordFile(write(tmp_path / "b.json", [description_record(n) for n in range(2)]), tmp_path)
    third = RecordFile(write(tmp_path / "c.json", [score_record(n, attribute="Mood") for n in range(2)]), tmp_path)
    sets = RecordSets([first, second, third])
    assert len(sets) == 7 and list(sets) == [*first, *second, *third]
    assert sets[-1] == third[1] and sets[2:4] == [first[2], second[0]]
    assert sets.columns.attribute.tolist() == [0, 0, 0, -1, -1, 1, 1]
    assert sets.columns.attributes == ("Color", "Mood") and sets.columns.representatives == (0, 3, 5)
    assert len(sets.columns) == 7 and sets.columns.is_scored.tolist() == [True] * 3 + [False] * 2 + [True] * 2
    with pytest.raises(IndexError):
        sets[7]


def test_errors_of_the_file_itself(tmp_path):
    with pytest.raises(ArtQuantError, match="cannot be read: No such file"):
        RecordFile(tmp_path / "nowhere.json", tmp_path)
    (tmp_path / "half.json").write_text(json.dumps([score_record(0), score_record(1)])[:-20])
    with pytest.raises(ArtQuantError, match=r"half\.json line 1 column"):
        RecordFile(tmp_path / "half.json", tmp_path)
