"""Training files of LLaVA and LLaMA-Factory: what records can say is read, the rest is refused by its name."""

import json
from pathlib import Path

import pytest

from artquant.data.record_file import RecordFile
from artquant.data.turns import media_tag
from artquant.errors import ArtQuantError

QUESTION, ANSWER = "Describe this painting.", "A boat on a lake."
TURNS = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": ANSWER}]
MESSAGES = [{"role": "user", "content": f"<image>{QUESTION}"}, {"role": "assistant", "content": ANSWER}]
LATER = [{"role": "user", "content": "And the mood?"}, {"role": "assistant", "content": "Calm."}]
SYSTEM = {"role": "system", "content": "You are a critic."}


def read(folder: Path, *records: dict) -> RecordFile:
    file = folder / "records.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    return RecordFile(file, folder)


@pytest.mark.parametrize(
    "record",
    [
        {"id": "1", "image": "a.png", "conversations": TURNS},
        {"id": "1", "image": ["a.png"], "conversations": TURNS},
        {"conversations": TURNS, "images": ["a.png"]},
        {"messages": MESSAGES, "images": ["a.png"]},
        {"messages": MESSAGES, "images": "a.png", "system": "", "tools": None, "videos": []},
        {"conversations": MESSAGES, "image": "a.png"},
        {"messages": TURNS, "image": "a.png"},
        {"messages": [{"role": "user", "content": f"<|image|>\n{QUESTION}"}, MESSAGES[1]], "images": ["a.png"]},
    ],
)
def test_one_picture_and_one_answer(tmp_path, record):
    [found] = read(tmp_path, record)
    assert (found.image, found.task, found.question, found.answer) == (
        *(tmp_path / "a.png", "description", QUESTION, ANSWER),
    )
    assert (found.id == "1") == ("id" in record)


def test_several_rounds(tmp_path):
    [found] = read(tmp_path, {"messages": MESSAGES + LATER, "images": ["a.png"]})
    assert (found.question, found.answer, found.rounds) == (QUESTION, ANSWER, (("And the mood?", "Calm."),))


def test_with_a_score_it_is_a_score_record(tmp_path):
    [found] = read(tmp_path, {"messages": MESSAGES, "images": ["a.png"], "gt_score": 7})
    assert (found.task, found.gt_score) == ("score", 7)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"images": ["a.png", "b.png"]}, '"images" names 2 pictures; a record is about one'),
        ({"images": []}, '"images" names 0 pictures'),
        ({"images": [{"bytes": "..."}]}, '"images" must be text, got an object'),
        ({}, 'key "image" is missing'),
        ({"image": "a.png", "images": ["a.png"]}, '"image" and "images"; keep one'),
        ({"images": ["a.png"], "conversations": TURNS}, '"conversations" and "messages"; keep one'),
        ({"images": ["a.png"], "videos": ["a.mp4"]}, '"videos" holds films or sounds'),
        ({"images": ["a.png"], "instruction": "<image>What?", "output": "A."}, "a question in Alpaca's form"),
        ({"images": ["a.png"], "tools": "[]"}, '"tools" holds tool calls'),
        ({"images": ["a.png"], "system": "Be brief."}, '"system" holds a system text; the prompt of the configuration'),
        ({"images": ["a.png"], "rejected": {"content": "x"}}, '"rejected" holds answers to choose from'),
        ({"images": ["a.png"], "messages": [SYSTEM, *MESSAGES]}, "a turn from 'system': a system text; the prompt"),
        (
            {"images": ["a.png"], "messages": [MESSAGES[0], {"role": "tool", "content": "3"}, MESSAGES[1]]},
            "a turn from 'tool': tool calls",
        ),
        ({"images": ["a.png"], "messages": [MESSAGES[0], MESSAGES[1] | {"tool_calls": [{}]}]}, "holds tool calls"),
        ({"images": ["a.png"], "messages": MESSAGES[:1]}, 'from "human" and "gpt" by turns, got 1'),
        ({"images": ["a.png"], "messages": [LATER[0], MESSAGES[1]]}, "exactly one <|image|>, got 0"),
        (
            {"images": ["a.png"], "messages": [{"role": "user", "content": "<video> What?"}, MESSAGES[1]]},
            "exactly one <|image|>, got 0 beside <video>",
        ),
        ({"images": ["a.png"], "messages": MESSAGES * 2}, "only the first human turn may hold <|image|>"),
        (
            {"images": ["a.png"], "messages": [{"role": "user", "content": [{"type": "image"}]}, MESSAGES[1]]},
            "must be text, got a list; write one text, with <image> for the picture",
        ),
        (
            {"images": ["a.png"], "messages": [MESSAGES[0], {"role": "assistant", "content": "See <img src='a.png'>"}]},
            "the gpt turn must not hold <img src='a.png'>",
        ),
    ],
)
def test_what_records_cannot_say_is_refused_by_its_name(tmp_path, record, reason):
    with pytest.raises(ArtQuantError) as caught:
        read(tmp_path, {"messages": MESSAGES} | record)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'records.json'} record 1: ") and reason in message and "\n" not in message


def test_a_record_of_our_own_without_a_score_is_not_taken_for_a_description(tmp_path):
    turns = [{"from": "human", "value": f"<|image|>\n{QUESTION}"}, {"from": "gpt", "value": ANSWER}]
    with pytest.raises(ArtQuantError, match='needs "gt_score" or "level_probs"'):
        read(tmp_path, {"id": "1", "image": "a.png", "conversations": turns})


def test_marks_of_pictures():
    marks = ("<image>", "<|image|>", "<Image>", "<image_1>", "<img src='a b.png'/>", "</img>", "<IMG_CONTEXT>")
    marks += ("<|vision_start|>", "<|image_pad|>", "<ImageHere>", "<image 2>", "<video>", "<audio>")
    assert [media_tag(f"A boat {mark} on a lake.") for mark in marks] == [*marks]
    plain = ("an image > a word", "<imagery>", "<visionary>", "image", "a < b > c", "<b>image</b>", "x <3 images> y")
    assert [media_tag(text) for text in plain] == [None] * len(plain)
