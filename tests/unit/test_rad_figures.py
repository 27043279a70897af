"""Sets of descriptions that are bad in a known way: each is found by the figure concerned, below the good set."""

import json

import numpy as np
import pytest

from artquant.demo.attributes import panel_biases
from artquant.demo.dataset import make_picture
from artquant.rad.figures import MEANINGS, measure, ranks
from artquant.rad.text_sets import WHOLE, TextSet

PICTURES = 300
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
    print(json.dumps(values, indent=1))
    assert values["good"]["leaks"] == 0 and values["leaks"]["leaks"] == 0.25
    assert values["template"]["template"] > 0.4 > 10 * values["good"]["template"] - 0.4
    assert values["contradicts"]["first_srcc"] < -0.9 < 0.9 < values["good"]["first_srcc"]
    assert abs(values["other picture"]["first_srcc"]) < 0.2
