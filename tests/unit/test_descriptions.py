"""Descriptions: questions, comments, level files."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artquant.data.record_file import RecordFile
from artquant.data.turns import media_tag
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.texts.descriptions import comment_record, read_structured, repeats, split_descriptions
from artquant.texts.questions import Questions, read_questions

LEVELS = tuple(f"descriptions_level_{level}.json" for level in (1, 2, 3))
FULL = {"image": "a.png", "perception": " Red.\n\nBlue. ", "cognition": "Un thème clair.", "emotion": "  Joy \u2028"}
part = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(
    lambda text: bool(text.strip()) and media_tag(text) is None  # Hypothesis draws the marks that stand in our code too
)


def adds_each(texts):
    """Whether no part begins with the one before, which is refused."""
    return not any(repeats(text, before) for before, text in pairwise(texts))


def split(folder, records, **options):
    write_json(folder / "structured.json", records)
    return split_descriptions(folder / "structured.json", folder / "meta", **options)


def level_paths(folder):
    return [folder / "meta" / name for name in LEVELS]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    parts=st.lists(st.lists(part, min_size=3, max_size=3).filter(adds_each), min_size=1, max_size=3),
    separator=st.sampled_from([" ", "\n\n", "", "---"]),
)
def test_levels_are_the_parts_to_the_character(tmp_path, parts, separator):
    names = ("perception", "cognition", "emotion")
    records = [
        {"id": f"r{i}", "image": f"{i}.png", **dict(zip(names, texts, strict=True)), "gt_score": i}
        for i, texts in enumerate(parts)
    ]
    split(tmp_path, records, separator=separator)
    for level, path in enumerate(level_paths(tmp_path), start=1):
        answers = [record["conversations"][1]["value"] for record in read_json(path)]
        assert answers == [separator.join(texts[:level]) for texts in parts]


def test_level_files_are_training_files(tmp_path):
    extra = {"gt_score": 5.5, "std": 1.0, "attributes": {"Color": 4.0}, "categories": {"style": "ink"}}
    report = split(tmp_path, [FULL | extra, {"image": "b.png", "perception": "P", "cognition": "C", "emotion": None}])
    assert (report.pictures, report.by_level) == (2, {1: 2, 2: 2, 3: 1})
    first, second, third = (RecordFile(path, tmp_path) for path in level_paths(tmp_path))
    assert [record.id for record in second] == ["a.png#level-2", "b.png#level-2"]
    assert (first[0].level, third[0].level, third[0].gt_score, third[0].level_probs) == (1, 3, 5.5, None)
    assert third[0].answer == f"{FULL['perception']} {FULL['cognition']} {FULL['emotion']}"
    assert read_json(level_paths(tmp_path)[2])[0]["categories"] == extra["categories"]


def test_a_level_without_records_gets_no_file(tmp_path):
    split(tmp_path, [{"image": "b.png", "perception": "P"}])
    assert [path.exists() for path in level_paths(tmp_path)] == [True, False, False]
    split(tmp_path, [FULL])
    with pytest.raises(ArtQuantError, match=r"no record of .* reaches level 2"):
        split(tmp_path, [{"image": "b.png", "perception": "P"}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"perception": None}, '"cognition" without "perception"'),
        ({"cognition": None}, '"emotion" without "cognition"'),
        ({"emotion": "  "}, '"emotion" is empty'),
        ({"perception": "Boats on a wide lake.", "cognition": "Boats on a wide lake. Rest."}, 'whole "perception"'),
        ({"cognition": FULL["cognition"] * 2, "emotion": FULL["cognition"] * 2}, 'whole "cognition"'),
        ({"emotion": 3}, '"emotion" must be text'),
        ({"emotion": "x <|image|>"}, "holds <|image|>"),
        ({"image": ""}, '"image" is empty'),
        ({"conversations": []}, '"conversations" is no key'),
        ({"id": []}, '"id" must be text'),
    ],
)
def test_structured_records_that_are_refused(tmp_path, change, message):
    write_json(tmp_path / "s.json", [FULL | {"image": "0.png"}, FULL | change])
    with pytest.raises(ArtQuantError) as error:
        read_structured(tmp_path / "s.json")
    assert message in str(error.value) and "s.json record 2" in str(error.value)


def test_a_picture_twice_is_refused(tmp_path):
    write_json(tmp_path / "s.json", [FULL, FULL | {"id": "other"}])
    with pytest.raises(ArtQuantError, match=r"the same image 'a\.png' as .*s\.json record 1"):
        read_structured(tmp_path / "s.json")


def test_comments_are_description_records(tmp_path):
    record = comment_record("a.png", "Nice red.", seed=3)
    write_json(tmp_path / "comments.json", [record])
    [read] = RecordFile(tmp_path / "comments.json", tmp_path)
    assert (read.id, read.task, read.answer) == ("a.png#comment", "description", "Nice red.")
    assert "level_probs" not in record and read.level is None
    pairs = [(f"{i}.png", f"Comment {i}") for i in range(50)]
    records = [comment_record(image, comment, seed=1) for image, comment in pairs]
    assert len({r["conversations"][0]["value"] for r in records}) == len(Questions().comment)
    assert [comment_record(image, comment, seed=2) for image, comment in pairs] != records
    with pytest.raises(ArtQuantError, match="empty"):
        comment_record("a.png", " ")


def test_own_questions(tmp_path):
    path = tmp_path / "questions.yaml"
    path.write_text('comment: ["Say something about this {subject}."]\n', encoding="utf-8")
    questions = read_questions(path)
    assert questions.for_comment("a.png", subject="photo") == "Say something about this photo."
    assert questions.level_2 == Questions().level_2
    for text, message in (
        ("level_4: [a]", "no such key"),
        ("level_1: []", "at least one"),
        ("comment: ['<|image|> x']", "image"),
        ("comment: [' ']", "empty"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ArtQuantError, match=message) as error:
            read_questions(path)
        assert str(path) in str(error.value)
