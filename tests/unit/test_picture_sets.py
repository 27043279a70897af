"""Best and worst of sets, picked by scores: against counting by hand, with ties, and what is refused."""

import itertools
import json

import numpy as np
import pytest

from artquant.cli import main
from artquant.evaluate.sets import PictureSet, evaluate_sets

PERFECT = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.5}
SET = PictureSet("s", ("a", "b", "c", "d"), best="c", worst="d")


def values(scores, sets=(SET,)):
    return {name: one.value for name, one in evaluate_sets("p", sets, scores, bootstrap=0).figures.items()}


def test_scores_without_ties_say_the_same_in_every_order():
    assert values(PERFECT) == {"best": 1, "worst": 1, "both": 1, "p^3": 1}
    assert values({**PERFECT, "a": 0.1}) == {"best": 1, "worst": 0, "both": 0, "p^3": 0}
    assert values({name: -score for name, score in PERFECT.items()}) == {"best": 0, "worst": 0, "both": 0, "p^3": 0}


@pytest.mark.parametrize("scores", [(1, 1, 1, 1), (3, 2, 3, 1), (3, 1, 3, 1), (3, 3, 3, 1), (1, 1, 2, 1)])
def test_ties_count_as_if_each_answer_drew_among_them(scores):
    named = dict(zip("abcd", map(float, scores), strict=True))
    pairs = [  # every way to name two different pictures, one of the highest and one of the lowest
        (best, worst)
        for best, worst in itertools.permutations("abcd", 2)
        if named[best] == max(scores) and named[worst] == min(scores)
    ]
    found = values(named)
    assert found["best"] == pytest.approx(np.mean([best == "c" for best, _ in pairs]))
    assert found["worst"] == pytest.approx(np.mean([worst == "d" for _, worst in pairs]))
    assert found["both"] == pytest.approx(np.mean([pair == ("c", "d") for pair in pairs]))
    assert found["p^3"] == pytest.approx(found["both"] ** 3)


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_a_good_predictor_a_constant_one_and_chance(tmp_path, capsys):
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(200, 4))
    sets = [
        {
            "set": row,
            "images": [f"{row}/{i}" for i in range(4)],
            "best": f"{row}/{one.argmax()}",
            "worst": f"{row}/{one.argmin()}",
        }
        for row, one in enumerate(truth)
    ]
    good = [{"id": f"{row}/{i}", "score": truth[row, i]} for row in range(200) for i in range(4)]
    files = [
        written(tmp_path / "good", good),
        written(tmp_path / "random", [{**one, "score": generator.normal()} for one in good]),
        written(tmp_path / "constant", [{**one, "score": 5} for one in good]),
    ]
    chosen = ["eval", "--sets", written(tmp_path / "sets", sets), "--predictions", *files, "--bootstrap", "200"]
    assert main([*chosen, "--json"]) == 0
    best, other, constant = (one["figures"] for one in json.loads(capsys.readouterr().out))
    assert best["ap@1"]["value"] == best["p^3"]["value"] == 1
    assert other["ap@1"]["low"] < 0.25 < other["ap@1"]["high"] and other["p^3"]["value"] < 0.2
    for name, chance in (("ap@1", 1 / 4), ("worst", 1 / 4), ("both", 1 / 12), ("p^3", 1 / 12**3)):
        assert constant[name]["value"] == pytest.approx(chance) == constant[name]["chance"]
    assert main(chosen) == 0
    out = capsys.readouterr().out
    assert "chance" in out and f"{files[2]}: scores tie for best or worst in 200 sets" in out


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"id": 1, "pictures": ["a"], "best": "a"}, "two pictures or more"),
        ({"id": 1, "pictures": ["a", "a"], "best": "a"}, "names a picture twice"),
        ({"id": 1, "pictures": ["a", "b"], "best": "x"}, "\"best\" 'x' is not among its pictures"),
        ({"id": 1, "pictures": ["a", "b"], "best": "a", "worst": "a"}, "are one picture"),
        ({"id": 1, "pictures": ["a", "b"]}, '"best" is missing'),
        ({"id": 1, "pictures": ["a", "z"], "best": "a"}, "no prediction for 'z' of set '1'"),
        ({"pictures": ["a", "b"], "best": "a"}, '"id" is missing'),
        (7, "expected an object"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(tmp_path, capsys, record, said):
    scores = written(tmp_path / "p", [{"id": name, "score": 1} for name in "ab"])
    assert main(["eval", "--sets", written(tmp_path / "s", [record]), "--predictions", scores]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_sets_stand_alone(tmp_path, capsys):
    for arguments, said in (
        ([], "--sets needs --predictions"),
        (["--predictions", "p", "--truth", "t"], "--truth does nothing with --sets"),
        (["--predictions", "p", "--protocol", "ava"], "--protocol does nothing with --sets"),
        (["--predictions", "p", "--descriptions", "d"], "--descriptions is another evaluation"),
        (["--predictions", "p", "--by", "x"], "--by goes with --choices"),
    ):
        assert main(["eval", "--sets", "s", *arguments]) == 2
        assert said in capsys.readouterr().err
