"""Comparison of models on the same pictures: figures against scipy's, verdicts, planted files, the matrix."""

import csv
import io
import json
import os
import re
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr, zscore

from artquant.cli import main
from artquant.compare.matrix import ranked
from artquant.compare.resampling import METRICS, resampled
from artquant.compare.significance import contest, holm, swapped, williams

FIGURES = {
    "SRCC": lambda x, y: spearmanr(x, y).statistic,
    "PLCC": lambda x, y: pearsonr(x, y).statistic,
    "KRCC": lambda x, y: kendalltau(x, y).statistic,
    "MAE": lambda x, y: np.abs(x - y).mean(),
}


def drawn(seed=0, n=40, models=3):
    """Truth [n] and predictors [models, n], some with ties."""
    rng = np.random.default_rng(seed)
    truth = np.round(rng.normal(5, 1, n), 1)
    predicted = truth + rng.normal(size=(models, n))
    predicted[0] = np.round(predicted[0])
    return predicted, truth


@pytest.mark.parametrize("groups", [None, np.arange(40) // 5])
@pytest.mark.parametrize("metric", METRICS)
def test_resamples_are_what_scipy_says_of_the_drawn_pairs(metric, groups):
    predicted, truth = drawn()
    found = resampled(predicted, truth, metric, 30, seed=7, groups_N=groups)
    of = np.arange(40) if groups is None else groups
    units = np.random.default_rng(7).integers(0, of.max() + 1, (30, of.max() + 1))
    for row, chosen in zip(found, units, strict=True):
        places = np.concatenate([np.flatnonzero(of == unit) for unit in chosen])
        assert row == pytest.approx([FIGURES[metric](x[places], truth[places]) for x in predicted], abs=1e-12)


def test_an_undefined_resample_does_not_count():
    found = resampled(np.array([[0.0, 0.0, 0.0, 1.0]]), np.arange(4.0), "SRCC", 200)
    assert 0 < np.isnan(found).sum() < 200
    plcc = resampled(np.array([[0.3, 0.3, 0.3, 1.0]]), np.arange(4.0), "PLCC", 200)
    assert (np.isnan(plcc) == np.isnan(found)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_figures_are_scipys(metric):
    predicted, truth = drawn()
    found = contest(dict(zip("ABC", predicted, strict=True)), truth, metric, bootstrap=50, permutations=50)
    for name, scores in zip("ABC", predicted, strict=True):
        assert found.figures[name].value == pytest.approx(FIGURES[metric](scores, truth), abs=1e-12)
    for one in found.differences:
        expected = found.figures[one.first].value - found.figures[one.second].value
        assert one.value.value == expected and one.value.low < one.value.high


@pytest.mark.parametrize("groups", [np.arange(40), np.arange(40) // 5])
@pytest.mark.parametrize("metric", METRICS)
def test_p_is_that_of_a_loop_over_swaps(metric, groups):
    predicted, truth = drawn()
    standing = predicted if metric in ("PLCC", "MAE") else rankdata(predicted, axis=1)
    if metric != "MAE":
        standing = zscore(standing, axis=1)
    of_pair = {"SRCC": FIGURES["PLCC"]}.get(metric, FIGURES[metric])
    target = rankdata(truth) if metric == "SRCC" else truth
    bits = np.random.default_rng(3).integers(0, 256, (20, -(-(groups.max() + 1) // 8)), dtype=np.uint8)
    swaps = np.unpackbits(bits, axis=1, count=groups.max() + 1)[:, groups] > 0
    found = swapped(predicted, truth, metric, 20, seed=3, groups_N=groups)
    for i, j in combinations(range(3), 2):
        u, w = standing[i], standing[j]
        observed = abs(of_pair(u, target) - of_pair(w, target)) - 1e-12
        larger = sum(
            abs(of_pair(np.where(swap, w, u), target) - of_pair(np.where(swap, u, w), target)) >= observed
            for swap in swaps
        )
        assert found[i, j] == pytest.approx((1 + larger) / 21)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1] and holm([]) == []


@pytest.mark.parametrize(("r12", "r13", "r23", "n"), [(0.4, 0.5, 0.1, 103), (0.83, 0.79, 0.9, 500), (-0.2, 0.3, 0, 30)])
def test_williams(r12, r13, r23, n):
    """Against Williams' own form, by the determinant, and p by Student's density."""
    from scipy.integrate import quad
    from scipy.special import gammaln

    determinant = np.linalg.det([[1, r12, r13], [r12, 1, r23], [r13, r23, 1]])
    below = 2 * determinant * (n - 1) / (n - 3) + (r12 + r13) ** 2 / 4 * (1 - r23) ** 3
    t, p = williams(r12, r13, r23, n)
    assert t == pytest.approx((r12 - r13) * ((n - 1) * (1 + r23) / below) ** 0.5, rel=1e-9)
    free = n - 3
    scale = np.exp(gammaln((free + 1) / 2) - gammaln(free / 2)) / (free * np.pi) ** 0.5
    inside, _ = quad(lambda x: scale * (1 + x * x / free) ** (-(free + 1) / 2), -abs(t), abs(t), epsabs=1e-13)
    assert p == pytest.approx(1 - inside, abs=1e-10)
    assert williams(0.8, 0.8, 1.0, n) == (0, 1)


def test_repeats_of_a_picture_are_not_taken_for_many():
    predicted, truth = drawn(2, 30, 2)
    models = dict(zip("AB", np.repeat(predicted, 12, axis=1), strict=True))
    truth, groups = np.repeat(truth, 12), np.repeat(np.arange(30), 12)
    [alone] = contest(models, truth, permutations=500).differences
    [grouped] = contest(models, truth, permutations=500, groups=groups).differences
    assert grouped.p > alone.p
    assert np.ptp([grouped.value.low, grouped.value.high]) > 2 * np.ptp([alone.value.low, alone.value.high])


def test_false_alarms_are_rare_and_gaps_are_found():
    def share(noise):
        found = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            truth = rng.normal(size=100)
            models = {"A": truth + rng.normal(size=100), "B": truth + noise * rng.normal(size=100)}
            found.append(contest(models, truth, bootstrap=0, permutations=200, seed=seed).differences[0].better)
        return [found.count(name) / 40 for name in "AB"]

    assert sum(share(1)) <= 0.12
    assert share(3)[0] > 0.9


# Through the command line.


def write(path, ids, scores, **more):
    records = [{"id": name, "score": float(score), **more} for name, score in zip(ids, scores, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Truth, a model, copies of it and files that something is wrong with."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truth = np.round(np.clip(rng.normal(5, 1.5, 200), 1, 10), 2)
    a, ids = np.clip(truth + rng.normal(0, 0.8, 200), 1, 10), [f"p{i}" for i in range(200)]
    records = [
        {
            "id": name,
            "image": f"{name}.png",
            "gt_score": score,
            "categories": {"style": ("cubism", "baroque")[i % 2] if i else "a|b"},
            "series": i // 4,
        }
        for i, (name, score) in enumerate(zip(ids, truth, strict=True))
    ]
    (tmp_path / "truth.json").write_text(json.dumps(records), encoding="utf-8")
    noisy = a + rng.normal(0, 0.9, 200)
    files = {"a": a, "shifted": a + 0.6, "noisy": noisy, "constant": a * 0 + 5, "hundred": a * 10}
    files |= {"like": np.clip(truth + rng.normal(0, 0.8, 200), 1, 10), "nan": np.where(truth > 6, np.nan, a)}
    for name, scores in files.items():
        write(tmp_path / f"{name}.jsonl", ids, scores)
    write(tmp_path / "missing.jsonl", ids[2:], a[2:])
    write(tmp_path / "extra.jsonl", [*ids, "z"], [*a, 5])
    write(tmp_path / "swapped.jsonl", ids[::-1], a)
    write(tmp_path / "renamed.jsonl", ids, a, image="other.png")
    return tmp_path


def compare(*arguments):
    return main(["--quiet", "compare", "--truth", "truth.json", "--bootstrap", "100", *arguments])


@pytest.mark.parametrize(
    ("other", "metric", "verdict"),
    [
        ("shifted", "srcc", "not told apart"),
        ("shifted", "plcc", "not told apart"),
        ("shifted", "mae", "a better than shifted"),
        ("like", "srcc", "not told apart"),
        ("noisy", "srcc", "a better than noisy"),
        ("noisy", "mae", "a better than noisy"),
        ("swapped", "srcc", "a better than swapped"),
        ("hundred", "srcc", "not told apart"),
    ],
)
def test_the_right_verdict(place, capsys, other, metric, verdict):
    assert compare("--predictions", "a.jsonl", f"{other}.jsonl", "--metric", metric) == 0
    said = capsys.readouterr().out
    [line] = [line for line in said.splitlines() if line.startswith(f"a - {other}")]
    assert line.endswith(f"  {verdict}")
    assert ("does not follow the truth" in said) == (other == "swapped")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("a.jsonl missing.jsonl", r"missing.jsonl: 2 pictures without prediction (truth.json): 'p0', 'p1'"),
        ("a.jsonl extra.jsonl", r"extra.jsonl: 1 pictures predicted, but not in the truth (truth.json): 'z'"),
        ("a.jsonl constant.jsonl", "constant.jsonl: all 200 scores are 5"),
        ("a.jsonl nan.jsonl", "NaN is not a number"),
        ("a.jsonl renamed.jsonl", "picture 'other.png', but 'p0.png'"),
        ("a.jsonl hundred.jsonl --metric mae", "hundred.jsonl: scores from 10 to"),
        ("a.jsonl hundred.jsonl --score-range 1,10", "hundred.jsonl record 1 (id 'p0'): score"),
        ("a.jsonl", "two models or more"),
        ("a.jsonl ./a.jsonl", "would both be called"),
        ("a.jsonl =like.jsonl", "expected FILE or NAME=FILE"),
        ("a.jsonl like.jsonl --permutations 10", "too few for 1 verdicts"),
        ("a.jsonl like.jsonl --by color", "no record has 'color'"),
        ("a.jsonl like.jsonl --by image", "no value of 'image' has 10 pictures"),
        ("a.jsonl like.jsonl --by gt_score", '"gt_score" must be text'),
        ("a.jsonl like.jsonl --attributes", "no model predicts an attribute"),
        ("a.jsonl like.jsonl --groups style", "3 groups by 'style' are too few"),
        ("a.jsonl like.jsonl --out truth.json", "was written by no comparison"),
        ("a.jsonl like.jsonl --out a.jsonl", "a.jsonl: is there and was written by no comparison"),
        ("a.jsonl like.jsonl --plot truth.json", "name it .png"),
        ("a.jsonl like.jsonl --plot mine.png", "was drawn by no comparison"),
    ],
)
def test_one_clear_line(place, capsys, arguments, reason):
    Image.new("RGB", (4, 4)).save(place / "mine.png")
    assert compare("--predictions", *arguments.split()) == 2
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert reason in line and said.out == ""


def test_what_cannot_be_told_is_said(place, capsys):
    """A scale within the truth's, parts in too few groups, few pictures; a full disk leaves the table."""
    scores = [json.loads(line)["score"] for line in (place / "a.jsonl").read_text().splitlines()]
    ids = [f"p{i}" for i in range(200)]
    write(place / "fifth.jsonl", ids, 1 + (np.array(scores) - 1) * 4 / 9)
    assert compare("--predictions", "a.jsonl", "fifth.jsonl", "--metric", "mae") == 0
    assert "note: fifth: MAE 2." in (said := capsys.readouterr().out) and "note: a: MAE" not in said
    assert main(["eval", "--predictions", "fifth.jsonl", "--truth", "truth.json", "--bootstrap", "0"]) == 0
    assert "on the truth's scale" in capsys.readouterr().out

    records = json.loads((place / "truth.json").read_text())
    for place_, record in enumerate(records):
        record["half"] = place_ // 100 if place_ < 198 else 2
        record["series"] = place_ if place_ < 100 else 100 + place_ // 60
    (place / "truth.json").write_text(json.dumps(records))
    options = ["--by", "half", "--groups", "series", "--out", "a.jsonl/x.json"]
    assert compare("--predictions", "a.jsonl", "like.jsonl", *options) == 2
    said = capsys.readouterr()
    assert "a.jsonl/x.json: cannot be written" in said.err and "a - like" in said.out
    assert "0: a - like" in said.out and "by half: left out with too few groups for a verdict: 1 (3)" in said.out

    (place / "truth.json").write_text(json.dumps(records[:4]))
    for name in ("a", "like"):
        file = place / f"{name}.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    assert compare("--predictions", "a.jsonl", "like.jsonl") == 0
    assert "4 pictures are too few for any verdict" in capsys.readouterr().out


def test_a_file_name_that_is_no_unicode(place, capsys):
    name = os.fsdecode(b"caf\xe9.jsonl")
    (place / "like.jsonl").rename(place / name)
    assert compare("--predictions", "a.jsonl", name, "--out", "new.json") == 0
    assert list(json.loads((place / "new.json").read_text())["models"]) == ["a", "caf\\xe9"]
    options = ["--truth", "truth.json", "--bootstrap", "0", "--out", "evaluation", "--no-plot"]
    assert main(["eval", "--predictions", name, *options]) == 0
    [found] = json.loads((place / "evaluation" / "metrics.json").read_text())
    assert found["predictions"] == "caf\\xe9.jsonl"


def test_errors_are_compared_on_any_scale():
    rng = np.random.default_rng(0)
    truth = rng.normal(5, 1, 60)
    predicted = truth + rng.normal(0, [[0.5], [1.0]], (2, 60))
    found = [swapped(predicted * unit, truth * unit, "MAE", 200)[0, 1] for unit in (1.0, 1e-14, 1e9)]
    assert found[0] < 0.05 and found == [found[0]] * 3


def test_everything_at_once(place, capsys):
    """By category and attribute, in groups, with names, written and drawn, twice alike."""
    rng = np.random.default_rng(1)
    records = json.loads((place / "truth.json").read_text())
    for record in records:
        record["attributes"] = {"Color": record["gt_score"] + 0.1, "Light": 11 - record["gt_score"]}
    (place / "truth.json").write_text(json.dumps(records))
    for name in ("a", "noisy"):
        lines = [json.loads(line) for line in (place / f"{name}.jsonl").read_text().splitlines()]
        for line in lines:
            line["attributes"] = {"Color": {"score": line["score"] + rng.normal()}}
        (place / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["--by", "style", "--attributes", "--groups", "series", "--most", "2"]
    options += ["--out", "new/all.json", "--plot", "new/all.png", "--json"]
    for _ in range(2):
        assert compare("--predictions", "a.jsonl", "$x$=noisy.jsonl", *options) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads((place / "new" / "all.json").read_text())
    assert (printed["groups"], printed["metric"], printed["permutations"]) == (50, "SRCC", 2000)
    assert {what: list(part) for what, part in printed["parts"].items()} == {
        "by style": ["baroque", "cubism"],
        "attributes": ["Color"],
    }
    assert [printed["parts"]["by style"][name]["n"] for name in ("baroque", "cubism")] == [100, 99]
    assert printed["notes"] == ["by style: left out with fewer than 10 pictures: a|b (1)"]
    [apart] = printed["apart"]
    assert (apart["first"], apart["second"], len(apart["pictures"])) == ("a", "$x$", 2)
    assert Image.open(place / "new" / "all.png").width == 1200


def test_a_matrix(place, capsys):
    models = {"one": "a", "two": "like", "=1+1|_&": "noisy"}
    for name, file in models.items():
        (place / "models" / name).mkdir(parents=True)
        (place / "models" / name / "art.jsonl").write_text((place / f"{file}.jsonl").read_text())
    (place / "models" / "one" / "photos").mkdir()
    (place / "models" / "one" / "photos" / "predictions.jsonl").write_text((place / "a.jsonl").read_text())
    (place / "models" / "one" / "art.jsonl.origin.json").write_text("{}")
    (place / "models" / "empty").mkdir()

    def matrix(form, *more):
        options = ["--truth", "art=truth.json", "photos=truth.json", "--bootstrap", "50", "--workers", "1"]
        assert main(["--quiet", "matrix", "models", *options, "--format", form, *more]) == 0
        return capsys.readouterr().out

    record = json.loads(matrix("json", "--plot", "heat.png"))
    ranks = {name: row["art"]["rank"] for name, row in record["cells"].items()}
    assert ranks == {"one": 1, "two": 1, "=1+1|_&": 3}
    assert record["cells"]["two"]["photos"] is None and record["cells"]["one"]["photos"]["rank"] == 1
    assert record["notes"] == ["models/empty: left out: predictions of no data set that has a truth"]
    rows = list(csv.DictReader(io.StringIO(matrix("csv"))))
    assert (rows[0]["model"], rows[1]["value"], len(rows)) == ("'=1+1|_&", "-", 6)
    assert r"=1\+1\|\_\& | 0." in matrix("markdown") and "| - |" in matrix("markdown")
    assert r"=1+1\textbar{}\_\& & 0." in matrix("latex")
    assert re.search(r"\(3\) +-\n", matrix("text"))
    assert Image.open(place / "heat.png").height > 300


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("models --truth x=truth.json", "no MODEL/DATASET.jsonl"),
        ("nowhere --truth x=truth.json", "no such folder"),
        ("models --truth gone.json", "gone.json: no such file"),
        ("models --truth art=truth.json . ", "two truths called"),
        ("models --truth art=truth.json", "both are predictions of 'art'"),
    ],
)
def test_a_matrix_in_one_line(place, capsys, arguments, reason):
    (place / "art.json").write_text("[]")
    ids = [f"p{i}" for i in range(200)]
    if "art=truth.json" in arguments:
        write(place / "models" / "m" / "art.jsonl", ids, range(200))
        write(place / "models" / "m" / "art" / "predictions.jsonl", ids, range(200))
    else:
        write(place / "models" / "m" / "art.jsonl", ids, range(200))
    assert main(["--quiet", "matrix", *arguments.split()]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert reason in line


def test_ranks_are_shared_by_models_that_are_not_told_apart():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    noise = {"good": 0.5, "good too": 0.52, "middle": 1.0, "middle too": 1.02, "weak": 3.0}
    models = {name: truth + size * rng.normal(size=400) for name, size in noise.items()}
    assert ranked(contest(models, truth, bootstrap=0)) == dict(zip(noise, (1, 1, 3, 3, 5), strict=True))
