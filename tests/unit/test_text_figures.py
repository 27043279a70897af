"""Sets of descriptions that are bad in a known way: each is found by the figure concerned, below the good set."""

import json

import numpy as np
import pytest

from artquant.demo.attributes import panel_biases
from artquant.demo.dataset import make_picture
from artquant.errors import ArtQuantError
from artquant.evaluate.text_figures import MEANINGS, measure, phrase_overlap, ranks, word_variety
from artquant.texts.near_duplicates import near_duplicates
from artquant.texts.text_sets import WHOLE, TextSet, read_text_set
from artquant.texts.words import tokenized

PICTURES = 200
NOUNS = ("river", "bridge", "tower", "garden", "horse", "harbour", "window", "table", "forest", "market")
TEMPLATE = (
    "The painting shows a {0} beside a {1} in soft light. The composition guides the eye towards the {0} with a sure "
    "hand. The colours around the {1} are in harmony, and the whole evokes a sense of quiet {2}."
)


@pytest.fixture(scope="module")
def pictures():
    biases = panel_biases(0)
    return [make_picture(0, index, biases)[0] for index in range(PICTURES)]


def text_set(name, scores, texts):
    one = TextSet(name)
    for index, (score, text) in enumerate(zip(scores, texts, strict=True)):
        one.add(f"{index:05d}.png", score, text if isinstance(text, dict) else {WHOLE: text})
    return one


@pytest.fixture(scope="module")
def planted(pictures):
    """Figures by set; the good one is the first."""
    rng = np.random.default_rng(0)
    scores = [picture.ratings.mean for picture in pictures]
    good = [picture.said.levels[2] for picture in pictures]
    by_score = np.argsort(scores)
    mirrored = dict(zip(by_score.tolist(), by_score[::-1].tolist(), strict=True))
    sets = {
        "good": good,
        "template": [TEMPLATE.format(*rng.choice(NOUNS, 3, replace=False)) for _ in scores],
        "leaks": [
            f"{text} It deserves {score:.1f} out of 10." if index % 4 == 0 else text
            for index, (text, score) in enumerate(zip(good, scores, strict=True))
        ],
        "other picture": [good[index] for index in rng.permutation(PICTURES)],
        "contradicts": [good[mirrored[index]] for index in range(PICTURES)],
    }
    found, first = {}, None
    for name, texts in sets.items():
        figures, learned = measure(text_set(name, scores, texts), first=first)
        found[name], first = figures, first or learned
    return found


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        *(("template", figure) for figure in ("near_duplicates", "template", "openings", "variety", "words_srcc")),
        ("leaks", "leaks"),
        *(("other picture", figure) for figure in ("words_srcc", "first_srcc")),
        ("contradicts", "first_srcc"),
    ],
)
def test_a_planted_set_is_found_and_ranked_below_the_good_one(planted, name, figure):
    good, bad = planted["good"].value(figure), planted[name].value(figure)
    assert ranks([planted["good"], planted[name]], figure) == [1, 2], (good, bad)
    lost = good - bad if MEANINGS[figure].better == "high" else bad - good
    assert lost > 0.2, (good, bad)  # shares and correlations; words, of the variety


def test_the_figures_of_the_planted_sets(planted):
    values = {name: {figure: one.value(figure) for figure in MEANINGS} for name, one in planted.items()}
    assert values["good"]["leaks"] == 0 and values["leaks"]["leaks"] == 0.25
    assert values["template"]["template"] > 0.4 > 10 * values["good"]["template"] - 0.4
    assert values["contradicts"]["first_srcc"] < -0.9 < 0.9 < values["good"]["first_srcc"]
    assert abs(values["other picture"]["first_srcc"]) < 0.2


def test_near_duplicates_are_found_whatever_was_changed():
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(500)]
    sentences = [[" ".join(rng.choice(words, 12)) + "." for _ in range(5)] for _ in range(200)]
    texts = [" ".join(text) for text in sentences]
    texts += [
        texts[3].replace(texts[3].split()[7], "other", 1),
        " ".join(reversed(sentences[4])).upper(),
        " ".join("noun" if place in (5, 25, 45) else word for place, word in enumerate(texts[5].split())),
        texts[6],
        texts[6],
        "",
        "",
    ]
    assert near_duplicates(texts) == [[6, 203, 204], [3, 200], [4, 201], [5, 202]]
    assert near_duplicates([]) == [] == near_duplicates(["", "one", "two"])


def test_copies_take_no_work_that_grows_as_their_pairs():
    text = " ".join(f"word{number}" for number in range(40))
    assert near_duplicates([text] * 5_000) == [list(range(5_000))]  # of 12 million pairs


def test_template_share_and_variety_do_not_depend_on_the_size_of_the_set():
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(300)]
    texts = [f"One two three four five {' '.join(rng.choice(words, 40))}" for _ in range(400)]
    for few in (100, 400):
        tokens = tokenized(texts[:few])
        share, phrases = phrase_overlap(tokens)
        assert share == pytest.approx(2 / 42, rel=0.02)
        assert phrases[0] == ("one two three four", few)
        drawn = [len(set(rng.permutation(tokens.ids)[:1000].tolist())) for _ in range(50)]
        assert word_variety(tokens) == pytest.approx(np.mean(drawn), rel=0.01)


def test_other_sets_are_read_by_their_highest_level(tmp_path):
    def record(image, level, text, **more):
        turns = [{"from": "human", "value": "What?\n<image>"}, {"from": "gpt", "value": text}]
        return {"id": f"{image}{level}", "image": image, "task_type": "description", "level": level, **more} | {
            "conversations": turns
        }

    file = tmp_path / "published.json"
    records = [record("a.png", 3, "One two.", gt_score=4), record("a.png", 1, "One."), record("b.png", 1, "Three.")]
    file.write_text(json.dumps([*records, {"image": "c.png", "perception": "Four.", "cognition": "Five."}]))
    found = read_text_set(file, {"a.png": 9.0, "b.png": 2.0})
    assert [found.whole(place) for place in range(3)] == ["One two.", "Three.", "Four. Five."]
    assert found.scores[:2] == [4, 2] and np.isnan(found.scores[2]) and found.parts == ("perception", "cognition")
    file.write_text(json.dumps([records[0], records[0]]))
    with pytest.raises(ArtQuantError, match=r"record 2: a second description of 'a\.png'"):
        read_text_set(file, {})


def test_texts_that_tell_nothing_do_not_contradict_their_scores():
    scores = np.random.default_rng(0).normal(5, 1, 100)
    same, _ = measure(text_set("same", scores, ["A fine picture of a red tree."] * 100))
    assert same.words_srcc is None
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        texts = [" ".join(rng.choice(NOUNS, 12)) for _ in range(60)]
        found.append(measure(text_set("drawn", rng.normal(5, 1, 60), texts))[0].value("words_srcc"))
    assert np.mean(found) > -0.1
