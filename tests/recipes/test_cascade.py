"""A cascade: some pictures alone, a sample of the others, and what the first pass has cost."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from artquant.cli import main
from artquant.data.predictions import Prediction
from artquant.listing.table_rows import listed_ids
from artquant.shards.manifest import Run
from artquant.shards.scoring import How
from artquant.shards.work import score_shard, work

IDS = [f"{number:03d}.png" for number in range(200)] + ["=sum(a).png", "'=b.png", "-é\udce9.png", "tab\t.png", " c.png"]


def read(entries):
    yield [(one, one.id, None, None) for one in entries]


class Network:
    """Scores by the numbers that names begin with; names without are the best."""

    def score_pictures(self, pictures, attributes=()):
        return [Prediction(float(one[:3]) if one[0].isdigit() else 999.0) for one in pictures]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """`artquant shard plan` of the pictures, which need not be there; a model that is never loaded."""
    loaded = (
        SimpleNamespace(loaded=SimpleNamespace(learned=None), device=torch.device("cpu")),
        SimpleNamespace(path=tmp_path),
    )
    monkeypatch.setattr(How, "load", lambda how, device: loaded)
    monkeypatch.setattr(How, "origin", lambda how, scorer, folder: {"model": "stub"})
    monkeypatch.setattr(Run, "require_inputs", lambda run, entries: None)
    (tmp_path / "in").mkdir()
    for name in IDS:
        (tmp_path / "in" / name).touch()

    def planned(out, *options):
        command = ["--quiet", "shard", "plan", str(tmp_path / "in"), "--model", "m", "--out", str(tmp_path / out)]
        return main([*command, "--size", "64", *map(str, options)])

    return planned


def ids_of(run):
    return [id for number in range(len(run)) for id in run.ids(number)]


def scored(folder):
    run = Run.open(folder)
    work(run, lambda entries: score_shard(entries, read, Network()))
    return run


def test_survivors_by_any_file_of_ids_and_the_same_sample_of_the_others(tmp_path, plan, capsys):
    assert plan("first") == 0
    everybody = ids_of(scored(tmp_path / "first"))
    assert len(everybody) == len(IDS)
    for ending in ("txt", "csv", "parquet"):
        out = ["--out", str(tmp_path / f"ids.{ending}"), "--where", "score > 170"]
        assert main(["--quiet", "shard", "merge", str(tmp_path / "first"), *out]) == 0
        assert plan(ending, "--only", tmp_path / f"ids.{ending}", "--sample", 9) == 0
    chosen = ids_of(Run.open(tmp_path / "txt"))
    assert ids_of(Run.open(tmp_path / "csv")) == ids_of(Run.open(tmp_path / "parquet")) == chosen
    survivors, sample = chosen[:-9], chosen[-9:]
    assert survivors == [one for one in everybody if one > "171" or not one[0].isdigit()] and len(survivors) == 34
    assert sample == [one for one in everybody if one in sample and one not in survivors]
    assert plan("more", "--only", tmp_path / "ids.txt", "--sample", 20) == 0
    assert {*sample} < {*ids_of(Run.open(tmp_path / "more"))[len(survivors) :]}
    assert plan("all", "--only", tmp_path / "ids.txt", "--sample", 1000) == 0
    assert sorted(ids_of(Run.open(tmp_path / "all"))) == sorted(everybody)


@pytest.mark.parametrize(
    "name, content, options, said",
    [
        ("a.txt", "000.png\nnone.png\nnor.png\n", (), "2 of its ids are nowhere in the list (first: 'none.png')"),
        ("a.csv", "id\n000.png\n000.png\n'=sum(b).png\n", (), 'one of its ids is nowhere in the list (first: "'),
        ("a.txt", "\n", (), "holds no ids"),
        ("a.csv", "id,score\n", (), "holds no records"),
        ("a.jsonl", '{"image": "000.png"}\n', (), 'key "id" is missing'),
        ("a.txt", None, (), "No such file"),
        (None, None, ("--sample", 3), "--sample is drawn of the pictures that --only leaves out"),
    ],
)
def test_ids_that_are_refused_leave_nothing(tmp_path, plan, capsys, name, content, options, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    assert plan("run", *(("--only", tmp_path / name) if name else ()), *options) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line and not (tmp_path / "run").exists()


N = 1000


@pytest.fixture
def tables(tmp_path):
    """Tables of both models, with equal scores, of 100 survivors and all or some of the others; the truth."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=N)
    first, second = np.round(truth + rng.normal(size=N), 1), np.round(truth + rng.normal(0, 0.4, N), 1)
    survives = np.argsort(np.argsort(first)) >= N - 100

    def written(sampled):
        rows = [[f"{number}.png", score] for number, score in enumerate(first)]
        with (tmp_path / "first.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["id", "score"], *rows, ["torn.png", ""]])
        seen = np.flatnonzero(survives | sampled)
        lines = [{"id": f"{number}.png", "score": second[number]} for number in rng.permutation(seen)]
        (tmp_path / "second.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        (tmp_path / "only.txt").write_text("".join(f"{number}.png\n" for number in np.flatnonzero(survives)))
        records = [{"id": f"{number}.png", "image": "x", "gt_score": score} for number, score in enumerate(truth)]
        (tmp_path / "truth.json").write_text(json.dumps(records))

    return SimpleNamespace(first=first, second=second, survives=survives, truth=truth, write=written, rng=rng)


def told(tmp_path, capsys, *options):
    files = [tmp_path / "first.csv", tmp_path / "second.jsonl", "--only", tmp_path / "only.txt"]
    assert (
        main(["shard", "cascade", *map(str, files), "--truth", str(tmp_path / "truth.json"), "--json", *options]) == 0
    )
    return json.loads(capsys.readouterr().out)


def brute_force(tables, places):
    """The figures of the pictures at these places, each one picture."""
    first, second, survives, truth = (
        one[places] for one in (tables.first, tables.second, tables.survives, tables.truth)
    )
    cascade = np.where(survives, 1000 + second, first)
    found = [spearmanr(*pair).statistic for pair in [(cascade, second), (first, second)]]
    for share in (0.01, 0.05, 0.1):
        most = round(share * N)
        least = np.sort(second)[-most]
        above = second > least  # of equal scores at the end, each has the same part
        part = (most - above.sum()) / (second == least).sum()
        found.append((survives[above].sum() + part * survives[second == least].sum()) / most)
    return [*found, *(spearmanr(one, truth).statistic for one in (cascade, second, first))]


def test_a_sample_of_everybody_gives_the_exact_figures(tmp_path, tables, capsys):
    tables.write(np.ones(N, bool))
    found = told(tmp_path, capsys, "--bootstrap", "20")
    values = [one["value"] for one in found["figures"].values()]
    assert values == pytest.approx(brute_force(tables, np.arange(N)), abs=1e-12)
    for one in found["figures"].values():
        assert one["low"] == pytest.approx(one["value"]) == one["high"]
    assert (found["first"], found["second"], found["survivors_scored"], found["sampled"]) == (N + 1, N, 100, 900)
    assert found["srcc_of_scored"] == pytest.approx(spearmanr(tables.first, tables.second).statistic)
    assert found["notes"] == []


def test_each_sampled_picture_stands_for_ten(tmp_path, tables, capsys):
    others = np.flatnonzero(~tables.survives)
    sample = tables.rng.choice(others, 90, replace=False)
    tables.write(np.isin(np.arange(N), sample))
    found = told(tmp_path, capsys, "--bootstrap", "200")
    expected = brute_force(tables, np.concatenate([np.flatnonzero(tables.survives), np.repeat(sample, 10)]))
    assert [one["value"] for one in found["figures"].values()] == pytest.approx(expected, abs=1e-12)
    exact = brute_force(tables, np.arange(N))
    for one, figure in zip(found["figures"].values(), exact, strict=True):
        assert one["low"] <= figure <= one["high"] and one["high"] - one["low"] > 0.01
    assert "only 90 of the others" in found["notes"][0] and "not that of --sample" in found["notes"][1]


@pytest.mark.parametrize(
    "file, text, said",
    [
        (None, None, "cannot be told without --sample"),
        ("only.txt", "5.png\nno.png\n", "only.txt: one of its ids is nowhere in"),
        ("second.jsonl", '{"id": "no.png", "score": 1}\n', "second.jsonl: one of its ids is nowhere in"),
        ("second.jsonl", '{"id": "1.png", "score": 1}\n' * 2, "the id '1.png' stands in it twice"),
        ("second.jsonl", '{"id": "1.png", "score": "high"}\n', "must be a number"),
        ("first.csv", "id;score\n1.png;2\n", "ids are nowhere in"),
        ("first.csv", "image,gt\n1.png,2\n", "no table with a column 'id'"),
        ("first.csv", "id,gt\n1.png,2\n", "no column 'score'"),
        ("only.txt", "".join(f"{number}.png\n" for number in range(N)), "all of its pictures survived"),
    ],
)
def test_tables_that_tell_nothing_are_refused(tmp_path, tables, capsys, file, text, said):
    tables.write(np.zeros(N, bool))
    if file is not None:
        (tmp_path / file).write_text(text)
    files = [tmp_path / "first.csv", tmp_path / "second.jsonl", "--only", tmp_path / "only.txt"]
    assert main(["shard", "cascade", *map(str, files)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_ids_may_begin_as_json_does(tmp_path):
    file = tmp_path / "ids.txt"
    for ids in (["[1] a", "b"], ["{a}", "[]"], ['["x"]', "[2"]):
        file.write_text("".join(f"{one}\n" for one in ids))
        assert list(listed_ids(file)) == ids
    file.write_text('\n[\n {"id": "[1] a"}]')
    assert list(listed_ids(file)) == ["[1] a"]
