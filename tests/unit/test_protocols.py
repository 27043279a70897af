"""Protocols of published test lists, through the command line: lists that are theirs, and that are not."""

import json
from pathlib import Path

import numpy as np
import pytest

from artquant.cli import main
from artquant.cli.evaluate_options import PROTOCOL_NAMES
from artquant.evaluate.protocols import PROTOCOLS

AESTHETICS = PROTOCOLS["apddv2"]


def written(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def rated(scores):
    return [{"id": str(i), "image": f"{i}.jpg", "gt_score": float(score)} for i, score in enumerate(scores)]


def predicted(scores, seed=0):
    off = np.random.default_rng(seed).normal(0, 0.05 * np.ptp(scores), len(scores))
    ends = np.min(scores), np.max(scores)
    return [{"id": str(i), "score": float(one)} for i, one in enumerate(np.clip(scores + off, *ends))]


@pytest.fixture(scope="module")
def scores():
    return np.linspace(*AESTHETICS.forms[0].ends, AESTHETICS.n)


def evaluated(capsys, *arguments):
    status = main(["eval", "--bootstrap", "0", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_protocols_own_list_is_evaluated_without_a_mark(scores, tmp_path, capsys):
    files = (
        "--predictions",
        written(tmp_path / "p", predicted(scores)),
        "--truth",
        written(tmp_path / "t", rated(scores)),
    )
    status, out, _ = evaluated(capsys, "--protocol", "apddv2", *files)
    assert status == 0 and "protocol apddv2 (APDDv2, test)" in out and "not the protocol's" not in out
    assert out.splitlines()[1].split() == ["predictions", "n", "SRCC", "PLCC", "KRCC", "MAE", "MSE", "PLCC*4", "RMSE*4"]
    _, out, _ = evaluated(capsys, "--protocol", "apddv2", "--json", *files)
    [record] = json.loads(out)
    assert record["protocol"]["name"] == "apddv2" and record["protocol"]["marks"] == []
    assert record["fits"]["logistic4"]["function"].startswith("(b1 - b2)")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scores: scores[1:], "n 1,001 instead of 1,002"),
        (lambda scores: scores / 10, "scores 0.1833 to 0.9286 on a scale of 1 to 10"),
        (lambda scores: 1 + (scores - 1) / 2, "scores 1.4165 to 5.143, the list's are 1.833 to 9.286"),
        (lambda scores: scores * 10, "scores 18.33 to 92.86 on a scale of 1 to 10"),
    ],
)
def test_another_list_is_refused_or_marked_everywhere(scores, tmp_path, capsys, change, said):
    other = change(scores)
    files = "--predictions", written(tmp_path / "p", predicted(other)), "--truth", written(tmp_path / "t", rated(other))
    chosen = "--protocol", "apddv2", "--score-range", "0,100", *files
    status, _, error = evaluated(capsys, *chosen)
    [line] = error.splitlines()
    assert status == 2 and "not the protocol's list of APDDv2, test" in line and said in line and "--mark" in line
    out = tmp_path / "out"
    status, table, _ = evaluated(capsys, *chosen, "--mark", "--out", str(out), "--no-plot")
    assert status == 0 and table.splitlines()[0].endswith(f"not the protocol's list of APDDv2, test ({said})")
    [record] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert record["protocol"]["marks"] == [said] and said in record["protocol"]["mark"]


def test_pictures_without_a_prediction_mark_the_list(scores, tmp_path, capsys):
    files = (
        "--predictions",
        written(tmp_path / "p", predicted(scores)[:-2]),
        "--truth",
        written(tmp_path / "t", rated(scores)),
    )
    status, _, error = evaluated(capsys, "--protocol", "apddv2", "--allow-missing", *files)
    assert status == 2 and "n 1,000 of its 1,002: some are not predicted" in error


def voted(tmp_path, count=60):
    """Votes of one to ten, and predictions that are those of them with a known distance."""
    generator = np.random.default_rng(1)
    votes = generator.multinomial(200, generator.dirichlet(np.ones(10), count))
    truth = [
        {**one, "votes": row} for one, row in zip(rated(votes @ np.arange(1, 11) / 200), votes.tolist(), strict=True)
    ]
    shares = generator.dirichlet(np.ones(10), count)
    words = [str(value) for value in range(1, 11)]
    lines = [
        {"id": str(i), "score": float(row @ np.arange(1, 11)), "std": 1.5, "probs": dict(zip(words, row, strict=True))}
        for i, row in enumerate(shares)
    ]
    return written(tmp_path / "p", lines), written(tmp_path / "t", truth), votes / 200, shares


def test_ava_by_threshold_and_by_raw_votes(tmp_path, capsys):
    predictions, truth, votes, shares = voted(tmp_path)
    files = "--predictions", predictions, "--truth", truth
    status, out, _ = evaluated(capsys, "--protocol", "ava", "--mark", "--json", *files)
    [record] = json.loads(out)
    high, said = votes @ np.arange(1, 11) > 5, shares @ np.arange(1, 11) > 5
    assert status == 0
    assert record["accuracy"]["accuracy"]["value"] == pytest.approx(np.mean(high == said))
    assert record["accuracy"]["majority"] == pytest.approx(max(high.mean(), 1 - high.mean()))
    distances = np.sqrt(np.mean((votes.cumsum(1) - shares.cumsum(1)) ** 2, axis=1))
    assert record["protocol"]["EMD"] == pytest.approx(distances.mean(), abs=1e-12)
    assert record["distribution"]["KL"] > 0  # the votes' deviations stand in
    _, out, _ = evaluated(capsys, "--protocol", "ava", "--mark", *files)
    assert "the larger class alone" in out and "EMD (r = 2) from the raw votes" in out


def test_votes_of_other_scores_are_refused_and_without_them_there_is_no_emd(tmp_path, capsys):
    predictions, truth, _, _ = voted(tmp_path)
    records = [json.loads(line) for line in Path(truth).read_text(encoding="utf-8").splitlines()]
    chosen = "--protocol", "ava", "--mark", "--predictions", predictions, "--truth"
    turned = [{**record, "votes": record["votes"][::-1]} for record in records]
    status, _, error = evaluated(capsys, *chosen, written(tmp_path / "turned", turned))
    assert status == 2 and "has votes with mean" in error and len(error.splitlines()) == 1
    bare = [{key: record[key] for key in ("id", "gt_score")} for record in records]
    _, out, _ = evaluated(capsys, *chosen, written(tmp_path / "bare", bare))
    assert "no EMD: the truth holds no raw votes" in out


def test_all_protocols_are_listed(capsys):
    assert tuple(PROTOCOLS) == PROTOCOL_NAMES  # the help does not load them
    assert main(["eval", "--protocol", "list"]) == 0
    out = capsys.readouterr().out
    for name, count in (("ava", "19,930"), ("tad66k", "14,079"), ("flickr-aes", "4,737"), ("para", "3,000")):
        assert any(line.split()[:2] == [name, count] for line in out.splitlines())
    for name, count in (("koniq", "2,015"), ("apddv2", "1,002")):
        assert any(line.split()[:2] == [name, count] for line in out.splitlines())


def test_several_files_and_settings_after_them(tmp_path, capsys):
    truth = written(tmp_path / "t", rated([1.0, 2.0, 3.0, 4.0]))
    files = [written(tmp_path / name, predicted([1.0, 2.0, 3.0, 4.0], seed)) for seed, name in enumerate("ab")]
    status, out, _ = evaluated(capsys, "--predictions", *files, "--truth", truth, "--threshold", "2.5", "--fit", "3")
    assert status == 0 and all(f"{file}: accuracy at 2.5" in out for file in files) and "PLCC*3" in out
    status, _, error = evaluated(capsys, "--predictions", *files, "seed=3", "--truth", truth)
    assert status == 2 and "seed=3: no such file; key=value changes a configuration" in error
    status, _, error = evaluated(capsys, "--predictions", *files, "--truth", truth, "--mark")
    assert status == 2 and "name it with --protocol" in error
    status, _, error = evaluated(capsys, "--protocol", "list", "--predictions", *files)
    assert status == 2 and "leave it out with --protocol list" in error
