"""Defects of records, one of every kind."""

from __future__ import annotations

import copy

import numpy as np
from PIL import Image
from planted import LEVELS, TOKEN, Planted


def no_object(set: Planted) -> None:
    index = set.take()
    set.files["score"][index] = "a.png"
    set.expect("record", "score", index)


def no_id(set: Planted) -> None:
    index = set.take()
    del set.files["score"][index]["id"]
    set.expect("record", "score", index)


def score_is_text(set: Planted) -> None:
    set.spoil("record", gt_score="seven")


def outside_the_folder(set: Planted) -> None:
    set.spoil("record", image="../secret.png")


def id_twice(set: Planted) -> None:
    set.spoil("duplicate-id", id=set.files["score"][set.take()]["id"])
    index = set.taken - 1
    set.expected.remove(("duplicate-id", "score", index + 1, None))
    set.expect("duplicate-id", "score", index)


def unknown_task(set: Planted) -> None:
    set.spoil("unknown-task", task_type="ranking")


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def no_image_token(set: Planted) -> None:
    set.spoil("image-token", conversations=turns("How good is it?", "The quality of the painting is good."))


def two_image_tokens(set: Planted) -> None:
    set.spoil("image-token", conversations=turns(f"{TOKEN}How good?{TOKEN}", "The quality of the painting is good."))


def an_image_tag_in_a_description(set: Planted) -> None:
    index = set.take()
    for file in LEVELS:
        set.files[file][index]["conversations"][1]["value"] += " <image>"
        set.expect("image-token", file, index)


def a_mark_of_another_tool(set: Planted) -> None:
    set.spoil("image-token", conversations=turns(f"{TOKEN}\n<img>a.png</img> How good?", "It is good."))


def several_pictures(set: Planted) -> None:
    set.spoil("record", image=["a.png", "b.png"])


def a_film(set: Planted) -> None:
    set.spoil("record", videos=["a.mp4"])


def a_system_turn(set: Planted) -> None:
    index = set.take()
    set.files["score"][index]["conversations"].insert(0, {"from": "system", "value": "You are a critic."})
    set.expect("record", "score", index)


def no_question(set: Planted) -> None:
    set.spoil("empty-text", conversations=turns(TOKEN, "The quality of the painting is good."))


def no_answer(set: Planted) -> None:
    set.spoil("empty-text", conversations=turns(f"How good?\n{TOKEN}", " "))


def one_turn(set: Planted) -> None:
    set.spoil("record", conversations=turns(f"How good?\n{TOKEN}", "Good.")[:1])


def off_the_scale(set: Planted) -> None:
    set.spoil("score-off-scale", gt_score=70)


def test_score_off_the_scale(set: Planted) -> None:
    set.take_test()["gt_score"] = 0.5
    set.expect("score-off-scale", "test", set.taken_test - 1)


def negative_std(set: Planted) -> None:
    set.spoil("std", std=-0.1)


def wide_std(set: Planted) -> None:
    index = set.take()
    set.files["score"][index]["std"] = 30
    set.expect("std", "score", index, set.files["score"][index]["image"])


def half_the_mass(set: Planted) -> None:
    set.spoil("level-probs", level_probs=[0.1, 0.1, 0.1, 0.1, 0.1])


def four_levels(set: Planted) -> None:
    set.spoil("level-probs", level_probs=[0.25, 0.25, 0.25, 0.25])


def negative_mass(set: Planted) -> None:
    set.spoil("level-probs", level_probs=[-0.5, 1.5, 0, 0, 0])


def three_faults_in_one(set: Planted) -> None:
    set.spoil("std", std=-3, gt_score=-2, conversations=[])
    set.expect("score-off-scale", "score", set.taken - 1)
    set.expect("record", "score", set.taken - 1)


def another_distribution(set: Planted) -> None:
    index = set.take()
    record = set.files["score"][index]
    record["level_probs"] = record["level_probs"][::-1]
    set.expect("distribution", "score", index, record["image"])


def another_word(set: Planted) -> None:
    index = set.take()
    record = set.files["score"][index]
    far = "bad" if record["gt_score"] > 5.5 else "excellent"
    record["conversations"][1]["value"] = f"The quality of the painting is {far}."
    set.expect("answer-word", "score", index, record["image"])


def another_subject(set: Planted) -> None:
    index = set.take()
    record = set.files["score"][index]
    record["conversations"][1]["value"] = record["conversations"][1]["value"].replace("painting", "image")
    set.expect("answer-form", "score", index, record["image"])


def two_scores(set: Planted) -> None:
    index = set.take()
    record = set.files[LEVELS[1]][index]
    record["gt_score"] = round(11 - record["gt_score"], 3)
    set.expect("conflicting-scores", LEVELS[1], index, record["image"])


def attribute_contradicts(set: Planted) -> None:
    """A file of attribute records, of which the second has another value than the picture's attributes."""
    records = []
    for number in range(3):
        record = copy.deepcopy(set.files["score"][set.take()])
        value = 2.0 if number == 1 else record["attributes"]["Color"]
        word = next(
            (
                word
                for word, above in zip(("excellent", "good", "fair", "poor"), (7.5, 5, 3.5, 1), strict=True)
                if value > above
            )
        )
        record |= {"id": f"color {number}", "attribute": "Color", "gt_score": value, "std": None, "level_probs": None}
        record["conversations"][1]["value"] = f"The color of the painting is {word}."
        if number != 1:
            del record["attributes"]  # known from the score records
        records.append(record)
    set.files["attributes"] = records
    set.expect("attribute-score", "attributes", 1, records[1]["image"])


def all_scores_the_same(set: Planted) -> None:
    """A file of three pictures of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 90, 90, 3), dtype=np.uint8)
    records = []
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).resize((200, 200)).save(set.picture(f"noise {number}.png"))
        answer = turns(f"Rate it.\n{TOKEN}", "The quality of the painting is good.")
        records.append({"id": number, "image": f"noise {number}.png", "gt_score": 6, "conversations": answer})
    set.files["constant"] = records
    set.expect("constant-scores", "constant")


def broken_json(set: Planted) -> None:
    set.files["broken"] = '[{"id": "a", "image": "a.png",\n  "gt_score" 5}]'
    set.expect("json", "broken")


def no_records(set: Planted) -> None:
    set.files["none"] = []
    set.expect("empty", "none")


def score_given_away(set: Planted) -> None:
    index = set.take()
    record = set.files[LEVELS[2]][index]
    record["conversations"][1]["value"] += " I rate this painting 8 out of 10."
    set.expect("score-leak", LEVELS[2], index, record["image"])


def same_text_three_times(set: Planted) -> None:
    for number in range(3):
        index = set.take()
        for level, file in enumerate(LEVELS):
            text = " ".join(["A boat on a lake.", "It speaks of rest.", f"Calm number {number}."][: level + 1])
            set.files[file][index]["conversations"][1]["value"] = text
        if number == 0:
            set.expect("repeated-text", LEVELS[0], index)
            set.expect("repeated-text", LEVELS[1], index)


def level_2_begins_anew(set: Planted) -> None:
    index = set.take()
    texts = [set.files[file][index]["conversations"][1] for file in LEVELS]
    texts[1]["value"] = "Now for something else. " + texts[1]["value"]
    texts[2]["value"] = "Now for something else. " + texts[2]["value"]
    set.expect("not-cumulative", LEVELS[1], index, set.files[LEVELS[1]][index]["image"])


def no_level_3(set: Planted) -> None:
    """To be planted last: it moves the records behind it."""
    index = len(set.files[LEVELS[2]]) - 1
    picture = set.files[LEVELS[2]].pop()["image"]
    set.expect("level-missing", LEVELS[1], index, picture)


def some_without_truth(set: Planted) -> None:
    del set.take_test()["gt_score"]
    set.expect("no-scores", "test", set.taken_test - 1)


RECORDS = (
    *(no_object, no_id, score_is_text, outside_the_folder, id_twice, unknown_task, no_image_token, two_image_tokens),
    *(an_image_tag_in_a_description, a_mark_of_another_tool, several_pictures, a_film, a_system_turn),
    *(no_question, no_answer, one_turn, off_the_scale, test_score_off_the_scale, negative_std, wide_std, half_the_mass),
    *(four_levels, negative_mass, three_faults_in_one, another_distribution, another_word, another_subject, two_scores),
    *(attribute_contradicts, all_scores_the_same, broken_json, no_records, score_given_away, same_text_three_times),
    *(level_2_begins_anew, some_without_truth, no_level_3),
)
