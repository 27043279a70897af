"""The demo data set: same bytes from the same seed, records as training reads them, attributes that can be seen."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from artquant.demo.attributes import ATTRIBUTES, WEIGHTS, panel_biases, to_scale, total
from artquant.demo.canvas import Canvas, Style
from artquant.demo.contact_sheet import Shown, contact_sheet, statements
from artquant.demo.dataset import make_picture, write_demo_data
from artquant.demo.descriptions import describe, facts
from artquant.demo.drawing import draw, stray_count
from artquant.demo.phrases import CAPTION_QUESTION, GRADES, LEVELS, PHRASES, QUESTIONS
from artquant.demo.plan import COMPOSITIONS, FEATURES, MOODS, Plan, draw_plan
from artquant.demo.reader import (
    SEEN,
    Judgement,
    judge,
    judge_texts,
    read_level,
    read_sentence,
    read_statement,
    read_text,
)
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.texts.attributes import attribute_phrase
from artquant.texts.prompt import SCORE_QUESTIONS, SUBJECT, get_prompt

IMAGES, SEED = 36, 3
PLANS = tuple(
    Plan(composition, tuple(MOODS)[i % 4], 0.55, 1 - 2 * (i % 2), FEATURES[i % 5], 256, 208)
    for i, composition in enumerate(COMPOSITIONS)
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "one"
    summary = write_demo_data(out, IMAGES, SEED, workers=1, progress=False)
    assert (summary.images, summary.training, summary.test, summary.drawn) == (36, 29, 7, 36)
    assert sum(summary.words.values()) == IMAGES
    return out


@pytest.fixture(scope="module")
def pictures() -> list:
    biases = panel_biases(SEED)
    return [make_picture(SEED, index, biases)[0] for index in range(500)]


def read(out: Path, name: str) -> list[dict]:
    return json.loads((out / "meta" / name).read_text(encoding="utf-8"))


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def picture_with(plan: Plan, **values: float) -> np.ndarray:
    """Pixels [H, W, 3], 0 to 255, of a picture whose attributes are 0.6 but for those named as in `Style`."""
    style = dict.fromkeys(Style.__dataclass_fields__, 0.6) | values
    overall = {"overall": 0.6}
    order = ("theme", "creativity", "layout", "space", "order", "light", "color", "texture", "overall", "mood")
    vector = np.array([(style | overall)[name] for name in order])
    return np.asarray(draw(plan, vector, np.random.default_rng(11)), dtype=float)


def luminance(pixels: np.ndarray) -> np.ndarray:
    return pixels @ (0.299, 0.587, 0.114)


def hue_spread(pixels: np.ndarray) -> float:
    """1 - length of the mean vector of the doubled hue (an accent opposite does not count), by saturation."""
    hsv = np.asarray(Image.fromarray(pixels.astype(np.uint8)).convert("HSV"), dtype=float).reshape(-1, 3)
    return 1.0 - abs(np.average(np.exp(4j * np.pi * hsv[:, 0] / 256), weights=hsv[:, 1] + 1e-9))


def fine_detail(pixels: np.ndarray) -> float:
    grey = luminance(pixels)[40:-40, 40:-40]
    return float(
        np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]).mean()
    )


def edge_brightness(pixels: np.ndarray) -> float:
    grey = luminance(pixels)
    corners = (grey[:40, :40], grey[:40, -40:], grey[-40:, :40], grey[-40:, -40:])
    return float(np.mean([corner.mean() for corner in corners]) / grey[60:-60, 60:-60].mean())


def hard_black(pixels: np.ndarray) -> float:
    return float((pixels.max(axis=2) < 3).mean())


def contrast(pixels: np.ndarray) -> float:
    return float(luminance(pixels).std())


def test_same_bytes_on_two_processes(demo, tmp_path):
    write_demo_data(tmp_path / "two", IMAGES, SEED, workers=2, progress=False)
    assert contents(tmp_path / "two") == contents(demo)


def test_other_seed_other_pictures(demo, tmp_path):
    write_demo_data(tmp_path / "other", 2, SEED + 1, workers=1, progress=False)
    name = "images/00000.png"
    assert (tmp_path / "other" / name).read_bytes() != (demo / name).read_bytes()


def test_files_and_picture_sizes(demo):
    expected = {f"images/{index:05d}.png" for index in range(IMAGES)}
    names = ("annotations", "demo_data", "descriptions_level_1", "descriptions_level_2", "descriptions_level_3")
    expected |= {f"meta/{name}.json" for name in (*names, "aspects", "attributes", "captions", "score", "test")}
    assert set(contents(demo)) == expected
    sizes = {Image.open(path).size for path in (demo / "images").iterdir()}
    assert all(min(size) >= 190 and 230 <= max(size) <= 256 for size in sizes)
    assert any(w > h for w, h in sizes) and any(w < h for w, h in sizes) and any(w == h for w, h in sizes)


def test_split_has_no_overlap(demo):
    training = {record["image"] for record in read(demo, "score.json")}
    test = {record["image"] for record in read(demo, "test.json")}
    assert not training & test and len(training | test) == IMAGES
    assert {r["image"]: r["split"] for r in read(demo, "annotations.json")} == {
        **dict.fromkeys(training, "train"),
        **dict.fromkeys(test, "test"),
    }


def test_score_records(demo):
    for record in read(demo, "score.json"):
        score = record["gt_score"]
        assert record["id"] == f"{record['image']}->{score:.10g}" and record["task_type"] == "score"
        assert np.dot(record["level_probs"], APDD_SCALE.values) == pytest.approx(score, abs=1e-6)
        assert tuple(record["attributes"]) == ATTRIBUTES and 0 < record["std"] < 3
        human, answer = record["conversations"]
        question, token = human["value"].split("\n")
        assert (human["from"], answer["from"], token) == ("human", "gpt", "<|image|>")
        assert question.replace("painting", SUBJECT) in SCORE_QUESTIONS
        assert answer["value"] == f"The quality of the painting is {APDD_SCALE.likeliest([record['level_probs']])[0]}."


def test_test_records(demo):
    for record in read(demo, "test.json"):
        assert list(record) == ["id", "image", "gt_score", "std", "attributes"]


def test_attribute_records(demo):
    rated = {record["image"]: record["attributes"] for record in read(demo, "score.json")}
    records = read(demo, "attributes.json")
    assert [(r["image"], r["attribute"], r["gt_score"]) for r in records] == [
        (image, name, score) for image, attributes in rated.items() for name, score in attributes.items()
    ]
    for record in records:
        assert np.dot(record["level_probs"], APDD_SCALE.values) == pytest.approx(record["gt_score"], abs=1e-6)
        phrase = attribute_phrase(record["attribute"])
        [word] = APDD_SCALE.likeliest([record["level_probs"]])
        assert record["conversations"][1]["value"] == f"The {phrase} of the painting is {word}."


def test_description_records_are_cumulative(demo):
    levels = [read(demo, f"descriptions_level_{level}.json") for level in (1, 2, 3)]
    ids = [record["id"] for level in levels for record in level]
    assert len(set(ids)) == len(ids) and ids[0].endswith("#level-1")
    scored = [record["image"] for record in read(demo, "score.json")]
    for records in zip(*levels, strict=True):
        texts = [record["conversations"][1]["value"] for record in records]
        assert texts[1].startswith(texts[0] + " ") and texts[2].startswith(texts[1] + " ")
        assert all(r["task_type"] == "description" and "level_probs" not in r for r in records)
        for level, record in enumerate(records):
            question, token = record["conversations"][0]["value"].split("\n")
            assert question in QUESTIONS[level] and token == "<|image|>"
    assert [record["image"] for record in levels[0]] == scored


def test_annotations(demo):
    for record in read(demo, "annotations.json"):
        true = np.array([record["true_attributes"][name] for name in ATTRIBUTES])
        assert record["true_total"] == pytest.approx(float(total(true)), abs=2e-4)
        assert record["composition"] in COMPOSITIONS and record["mood"] in MOODS and 6 <= record["raters"] <= 10
        assert Image.open(demo / "images" / record["image"]).size == (record["width"], record["height"])


def test_no_text_names_a_rating(pictures):
    for picture in pictures:
        for text in (*picture.said.levels, *picture.questions):
            assert not re.search(r"\d|[{}]", text)
            assert not any(word in text.lower() for word in APDD_SCALE.words)


def test_texts_are_short_and_few_words_suffice(pictures):
    lengths = np.array([[len(text.split()) for text in picture.said.levels] for picture in pictures])
    assert lengths[:, 0].min() >= 35 and lengths[:, 0].max() <= 60 and lengths[:, 2].max() <= 110
    words = {word for p in pictures for text in (*p.said.levels, *p.questions) for word in re.findall(r"\w+", text)}
    assert len(words) < 600


def test_texts_follow_the_attributes(pictures):
    """Which phrase was used gives the attribute's grade back."""
    assert sorted(name for level in LEVELS for name in level) == sorted(ATTRIBUTES)
    plan = pictures[0].plan
    for grade in range(GRADES):
        text = describe(plan, np.full(10, (grade + 0.5) / GRADES), np.random.default_rng(0)).levels[2]
        for name in ATTRIBUTES:
            found = {
                g
                for g, wordings in enumerate(PHRASES[name])
                for wording in wordings
                if re.search(re.sub(r"\\\{\w+\\\}", ".{1,40}?", re.escape(wording)), text)
            }
            assert grade in found


def test_aspects(demo, pictures):
    """A question and a sentence on every attribute of every training picture, which the reader finds to be right."""
    records = read(demo, "aspects.json")
    training = {record["image"] for record in read(demo, "score.json")}
    assert len(records) == len({record["id"] for record in records}) == 10 * len(training)
    assert {record["image"] for record in records} == training
    asked = get_prompt("artquant-aspects").analysing()
    by_picture = {}
    for record in records:
        question, answer = (turn["value"] for turn in record["conversations"])
        (phrase,) = (name for name, one in asked.items() if one.question in question)
        by_picture.setdefault(record["image"], {})[phrase] = answer
    known = {picture.name: picture for picture in pictures}
    told = [(known[name].plan, known[name].values, texts) for name, texts in by_picture.items()]
    assert judge(told) == Judgement(10 * len(training), 1.0, 1.0, 1.0, 1.0)


def test_sentences_that_are_not_right(pictures):
    first = pictures[0]
    texts = {attribute_phrase(name): text for name, text in first.said.attributes.items()}
    grade = read_statement("Color", texts["color"]).grade
    other = describe(first.plan, np.full(10, (0.5 if grade > 1 else 4.5) / GRADES), np.random.default_rng(0))
    changed = texts | {"color": other.attributes["Color"], "mood": "A mood of some kind."}
    found = judge([(first.plan, first.values, changed)])
    assert (found.sentences, found.readable, found.right, found.near) == (10, 0.9, 0.8, 0.8)
    assert read_statement("Color", first.said.attributes["Mood"]) is None
    form = {"landscape": "vase"}.get(first.plan.composition, "house")
    named = read_statement("Layout and composition", f"The {form} is pushed into a tilted corner.")
    assert named.grade == 0 and named.names == {"form": form}
    wrong = texts | {"layout and composition": f"The {form} is pushed into a tilted corner."}
    assert judge([(first.plan, first.values, wrong)]).named < 1.0


def test_captions_say_what_is_there_and_no_grade(demo, pictures):
    known = {picture.name: picture for picture in pictures}
    for record in read(demo, "captions.json"):
        question, text = (turn["value"] for turn in record["conversations"])
        picture = known[record["image"]]
        assert CAPTION_QUESTION in question and text == picture.caption
        true = facts(picture.plan) | {"subject": picture.plan.composition}
        assert all(true[name] == value for name, value in read_text(text).items())
        assert all(read_sentence(sentence).grade is None for sentence in re.findall(r"[^.]+\.", text))
        assert {"subject", "side", "light"} <= read_text(text).keys()


def test_texts_are_read_back(pictures):
    """The true text is right in every statement; another picture's is right by chance; rubbish says nothing."""
    true = [picture.said.levels[2] for picture in pictures]
    found = judge_texts(list(zip(true, true, strict=True)))
    assert all((share.right, share.of_said, share.spoken) == (1.0, 1.0, 1.0) for share in found.values())
    assert found.keys() <= {*SEEN, *ATTRIBUTES} and found["subject"].n == len(pictures)
    for picture, text in zip(pictures, true, strict=True):
        assert read_text(text)["Color"] == int(min(4, picture.values[ATTRIBUTES.index("Color")] * 5))
    others = judge_texts(list(zip(true, true[1:] + true[:1], strict=True)))
    assert others["subject"].right < 0.6 and others["subject"].way < 0.5
    assert all(list(map(read_level, picture.said.levels)) == [1, 2, 3] for picture in pictures)
    assert read_level(pictures[0].caption) is None
    silent = judge_texts([(text, "It is a nice picture. 5.5.") for text in true])
    assert silent["subject"].right == silent["subject"].of_said == silent["subject"].spoken == 0.0


def test_a_contact_sheet(pictures):
    one, other = pictures[0], next(p for p in pictures if p.plan.composition != pictures[0].plan.composition)
    image = Image.new("RGB", (256, 192), "teal")
    shown = [Shown("a.png", image, 6.0, 5.5, one.said.levels[2], text.said.levels[2]) for text in (one, other)]
    told = [dict(statements(each)) for each in shown]
    assert f"subject: {one.plan.composition}" in told[0] and "wrong" not in told[0].values()
    assert told[1][f"subject: {other.plan.composition}, is {one.plan.composition}"] == "wrong"
    assert "attributes: 10 of 10 grades right, 10 at most one off" in told[0]
    sheet = contact_sheet(shown * 2)
    assert sheet.getpixel((20, 20)) == (0, 128, 128)
    assert contact_sheet(shown * 3).size == (sheet.width, sheet.height * 3 // 2)


def test_ratings_agree_with_the_truth_and_spread(pictures):
    true = np.array([float(total(to_scale(p.values))) for p in pictures])
    rated = np.array([p.ratings.mean for p in pictures])
    assert spearmanr(true, rated).statistic >= 0.97
    assert rated.min() < 1.8 and rated.max() > 9.2
    words = [APDD_SCALE.word(score) for score in rated]
    assert all(words.count(word) > 0.1 * len(words) for word in ("excellent", "good", "fair", "poor"))
    assert 0.2 < np.mean([p.ratings.std for p in pictures]) < 0.9


def test_attributes_share_a_factor(pictures):
    assert sum(WEIGHTS) == pytest.approx(1.0)
    correlations = np.corrcoef(np.array([p.values for p in pictures]).T)[np.triu_indices(10, 1)]
    assert correlations.min() > 0.5 and np.median(correlations) < 0.8


@pytest.mark.parametrize(
    ("name", "measure", "sign"),
    [
        ("light", contrast, 1),
        ("color", hue_spread, -1),
        ("texture", fine_detail, 1),
        ("mood", edge_brightness, -1),
        ("theme", hard_black, -1),
    ],
)
def test_attribute_shows_in_the_pixels(name, measure, sign):
    steps = [[measure(picture_with(plan, **{name: value})) for value in (0.05, 0.35, 0.95)] for plan in PLANS]
    low, middle, high = sign * np.array(steps).T
    assert (high > low).mean() >= 0.8 and low.mean() < middle.mean() < high.mean()


@pytest.mark.parametrize("name", list(Style.__dataclass_fields__))
def test_attribute_is_visible_in_every_composition(name):
    for plan in PLANS:
        change = np.abs(picture_with(plan, **{name: 0.05}) - picture_with(plan, **{name: 0.95})).max(axis=2)
        assert (change > 24).mean() > 0.03, plan.composition


def test_order_layout_and_space_steer_the_arrangement():
    def canvas(**values):
        style = replace(Style(*[0.8] * 9), **values)
        return Canvas(PLANS[0], style, np.random.default_rng(2))

    gaps = [np.diff([x for x, _, _ in canvas(order=value).row(8)]).std() for value in (0.0, 0.5, 1.0)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.01
    assert abs(canvas(layout=0.0).slope) > abs(canvas(layout=0.6).slope) > abs(canvas(layout=0.95).slope) == 0
    assert [len(canvas(space=value).layers(5)) for value in (0.0, 0.5, 1.0)] == [1, 3, 5]
    assert stray_count(0.0) > stray_count(0.3) > stray_count(0.9) == 0


def test_same_data_set_is_left_and_a_part_completed(demo, tmp_path):
    out = tmp_path / "again"
    write_demo_data(out, 4, SEED, workers=1, progress=False)
    before = contents(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write_demo_data(out, 4, SEED, workers=1, progress=False).drawn == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == stamps
    (out / "images/00001.png").unlink()
    (out / "meta/score.json").unlink()
    assert write_demo_data(out, 4, SEED, workers=1, progress=False).drawn == 1
    assert contents(out) == before


def test_foreign_folders_are_refused(tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ArtQuantError, match=r"photos: holds holiday\.jpg"):
        write_demo_data(foreign, 4, SEED, progress=False)
    assert [path.name for path in foreign.iterdir()] == ["holiday.jpg"]
    with pytest.raises(ArtQuantError, match="is a file"):
        write_demo_data(foreign / "holiday.jpg", 4, SEED, progress=False)


def test_another_data_set_is_refused(demo):
    before = contents(demo)
    with pytest.raises(ArtQuantError, match=r"images 36, not 4.*seed 3, not 8"):
        write_demo_data(demo, 4, 8, progress=False)
    assert contents(demo) == before


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"images": 1}, "images"),
        ({"seed": -1}, "seed"),
        ({"test_fraction": 1.0}, "test_fraction"),
        ({"workers": 0}, "workers"),
    ],
)
def test_arguments_out_of_range(tmp_path, values, word):
    with pytest.raises(ArtQuantError, match=word):
        write_demo_data(tmp_path / "x", **({"images": 4, "seed": 0, "progress": False} | values))
    assert not (tmp_path / "x").exists()


def test_plans_are_varied():
    plans = [draw_plan(np.random.default_rng([1, index])) for index in range(200)]
    assert {plan.composition for plan in plans} == set(COMPOSITIONS)
    assert {plan.mood for plan in plans} == set(MOODS) and {plan.feature for plan in plans} == set(FEATURES)
