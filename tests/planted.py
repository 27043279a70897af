"""A drawn data set with one defect of every kind, and what a check has to find in it."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageEnhance

from artquant.demo.dataset import write_demo_data

Expected = tuple[str, "str | None", "int | None", "str | None"]  # kind, file, record number, picture
TOKEN = "<|image|>"
LEVELS = tuple(f"descriptions_level_{level}" for level in (1, 2, 3))


@dataclass
class Planted:
    """A demo set to be spoilt. Each defect takes a training (or test) picture that no other has taken."""

    folder: Path
    files: dict[str, Any] = field(default_factory=dict)  # by name without suffix: records, or text as it is
    expected: set[Expected] = field(default_factory=set)
    taken: int = 0
    taken_test: int = 0

    def take(self) -> int:
        """Index of an unspoilt training picture; the same in every training file."""
        self.taken += 1
        return self.taken - 1

    def take_test(self) -> dict[str, Any]:
        """An unspoilt test record."""
        self.taken_test += 1
        return self.files["test"][self.taken_test - 1]

    def picture(self, name: str) -> Path:
        """Path of a picture."""
        return self.folder / "images" / name

    def rename(self, index: int, name: str) -> Path:
        """Give a training picture another file name in every record that names it."""
        old = self.files["score"][index]["image"]
        for file in ("score", *LEVELS):
            self.files[file][index]["image"] = name
        return self.picture(old).rename(self.picture(name))

    def spoil(self, kind: str, **changes: Any) -> None:
        """Change a score record that then has one fault."""
        index = self.take()
        self.files["score"][index] |= changes
        self.expect(kind, "score", index)

    def expect(self, kind: str, file: str | None, index: int | None = None, picture: str | None = None) -> None:
        """Expect a finding; `index` counts from 0."""
        self.expected.add((kind, file, None if index is None else index + 1, picture))

    def expect_picture(self, kind: str, index: int) -> Path:
        """Expect a finding about a training picture, at the first record that names it; returns its path."""
        name = self.files[LEVELS[0]][index]["image"]
        self.expect(kind, LEVELS[0], index, name)
        return self.picture(name)

    def write(self) -> Path:
        """Write the records, and a configuration that names them; returns its path."""
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (self.folder / "meta" / f"{name}.json").write_text(text, encoding="utf-8")
        return self.configuration([*LEVELS], [name for name in self.files if name not in ("test", *LEVELS)])

    def configuration(self, descriptions: list[str], scores: list[str], **settings: Any) -> Path:
        """A run's YAML over files of the set."""

        def data(names: list[str]) -> list[dict[str, str]]:
            meta, images = self.folder / "meta", str(self.folder / "images")
            return [{"records": str(meta / f"{name}.json"), "images": images} for name in names]

        common = {"max_length": 400, "trainable": {"lora": None, "decoder": True}}
        config = {
            "run": "run",
            "base": "nowhere",
            "stages": [
                {"name": "descriptions", "data": data(descriptions)} | common,
                {"name": "scores", "data": data(scores)} | common,
            ],
            "infer": data(["test"])[0],
        }
        file = self.folder / "run.yaml"
        file.write_text(yaml.safe_dump(config | settings), encoding="utf-8")
        return file


def drawn(folder: Path, images: int = 150) -> Planted:
    """An unspoilt set."""
    write_demo_data(folder, images, seed=3, workers=1, progress=False)
    names = (*LEVELS, "score", "test")
    files = {name: json.loads((folder / "meta" / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return Planted(folder, files)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


# Pictures


def missing(set: Planted) -> None:
    set.expect_picture("picture-missing", set.take()).unlink()


def empty(set: Planted) -> None:
    set.expect_picture("picture-empty", set.take()).write_bytes(b"")


def a_folder(set: Planted) -> None:
    path = set.expect_picture("picture-no-file", set.take())
    path.unlink()
    path.mkdir()


def link_to_itself(set: Planted) -> None:
    path = set.expect_picture("picture-unreadable", set.take())
    path.unlink()
    os.symlink(path.name, path)


def a_text(set: Planted) -> None:
    set.expect_picture("not-a-picture", set.take()).write_text("<html>404</html>", encoding="utf-8")


def cut_short(set: Planted) -> None:
    path = set.expect_picture("picture-damaged", set.take())
    path.write_bytes(path.read_bytes()[:-2000])


def jpeg_cut_short(set: Planted) -> None:
    index = set.take()
    path = set.rename(index, "cut.jpg")
    path.write_bytes(encoded(Image.open(path), "JPEG", quality=90)[:-1500])
    set.expect_picture("picture-damaged", index)


def tiny(set: Planted) -> None:
    path = set.expect_picture("picture-too-small", set.take())
    Image.new("RGB", (40, 5), "red").save(path)


def huge(set: Planted) -> None:
    path = set.expect_picture("picture-too-large", set.take())
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])


def a_stripe(set: Planted) -> None:
    path = set.expect_picture("picture-shape", set.take())
    Image.new("RGB", (1200, 10), "red").save(path)


def an_animation(set: Planted) -> None:
    index = set.take()
    path = set.rename(index, "moving.gif")
    image = Image.open(path).convert("RGB")
    image.save(path, "GIF", save_all=True, append_images=[image.rotate(90)])
    set.expect_picture("picture-animated", index)


def wrong_suffix(set: Planted) -> None:
    path = set.expect_picture("picture-suffix", set.take())
    path.write_bytes(encoded(Image.open(path), "JPEG", quality=95))


def few_pixels(set: Planted) -> None:
    path = set.expect_picture("picture-coarse", set.take())
    Image.open(path).resize((30, 30)).save(path)


def copy_within(set: Planted) -> None:
    first, second = set.take(), set.take()
    path = set.expect_picture("copy", second)
    path.write_bytes(set.picture(set.files["score"][first]["image"]).read_bytes())


def near_copies_within(set: Planted) -> None:
    """Half the size, brighter, another encoding."""
    alterations: tuple[Callable[[Image.Image], Image.Image], ...] = (
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.08),
        lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))),
    )
    for alter in alterations:
        first, second = set.take(), set.take()
        image = Image.open(set.picture(set.files["score"][first]["image"])).convert("RGB")
        alter(image).save(set.expect_picture("near-copy", second))


def copy_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    set.picture(test["image"]).write_bytes(set.picture(training["image"]).read_bytes())
    set.expect("leak-copy", "test", set.taken_test - 1, test["image"])


def near_copy_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    image = Image.open(set.picture(training["image"])).convert("RGB")
    image.resize((300, 300)).save(set.picture(test["image"]))
    set.expect("leak-near-copy", "test", set.taken_test - 1, test["image"])


def same_picture_in_test(set: Planted) -> None:
    training, test = set.files["score"][set.take()], set.take_test()
    test["image"] = training["image"]
    set.expect("leak-same-picture", "test", set.taken_test - 1, test["image"])


# Records


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
    record["conversations"][1]["value"] = "The quality of the painting is bad."
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


PICTURES = (
    *(missing, empty, a_folder, link_to_itself, a_text, cut_short, jpeg_cut_short, tiny, huge, a_stripe),
    *(an_animation, wrong_suffix, few_pixels, copy_within, near_copies_within),
    *(copy_in_test, near_copy_in_test, same_picture_in_test),
)
RECORDS = (
    *(no_object, no_id, score_is_text, outside_the_folder, id_twice, unknown_task, no_image_token, two_image_tokens),
    *(no_question, no_answer, one_turn, off_the_scale, test_score_off_the_scale, negative_std, wide_std, half_the_mass),
    *(four_levels, negative_mass, three_faults_in_one, another_distribution, another_word, another_subject, two_scores),
    *(attribute_contradicts, all_scores_the_same, broken_json, no_records, score_given_away, same_text_three_times),
    *(level_2_begins_anew, some_without_truth, no_level_3),
)
