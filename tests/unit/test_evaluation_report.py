"""Reading, joining and reporting of prediction files."""

import json
import math
import sys
from subprocess import run

import numpy as np
import pytest
from PIL import Image

from artquant.errors import ArtQuantError
from artquant.evaluate import plot
from artquant.evaluate.join import join_by_id, read_predictions, read_truth
from artquant.evaluate.report import format_table, run_evaluation

WORDS = ("excellent", "good", "fair", "poor", "bad")


def prediction(name, logits=(0.0, 0.0, 0.0, 0.0, 0.0), **fields):
    return {"id": name, "image": f"{name}.png", "logits": dict(zip(WORDS, logits, strict=True)), **fields}


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_list(path, records):
    path.write_text(json.dumps(records), encoding="utf-8")
    return path


@pytest.fixture
def pair(tmp_path):
    """Forty predictions, in another order than their truth."""
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, (40, 5))
    predictions = [prediction(f"p{i}", row, gt_score=1 + i / 5) for i, row in enumerate(logits.tolist())]
    truth = [{"id": f"p{i}", "image": f"p{i}.png", "gt_score": 1 + i / 5} for i in range(40)]
    order = generator.permutation(40)
    lines = write_lines(tmp_path / "predictions.jsonl", [predictions[i] for i in order])
    return lines, write_list(tmp_path / "truth.json", truth)


def test_score_comes_from_the_logits_with_the_given_weights(tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [prediction("a", (0.0, 0.0, -1e4, -1e4, math.log(2)))])
    first = read_predictions(path).records[0]
    assert first.score == pytest.approx((10 + 7.5 + 2 * 1) / 4)
    assert first.std == pytest.approx(np.sqrt((100 + 7.5**2 + 2) / 4 - 4.875**2))
    assert read_predictions(path, [5, 4, 3, 2, 1]).records[0].score == pytest.approx(2.75)
    by_name = dict(zip(WORDS[::-1], [1, 2, 3, 4, 5], strict=True))
    assert read_predictions(path, by_name).records[0].score == pytest.approx(2.75)


def test_own_score_counts_unless_weights_are_given(tmp_path):
    probs = dict(zip(WORDS, (0.5, 0.5, 0, 0, 0), strict=True))
    records = [prediction("a", score=3.25, std=0.5), {"image": "b.png", "probs": probs}, {"id": "c", "score": 9}]
    path = write_lines(tmp_path / "p.jsonl", records)
    a, b, c = read_predictions(path).records
    assert (a.score, a.std, b.id, b.score, b.std, c.score, c.std) == (3.25, 0.5, "b.png", 8.75, 1.25, 9, None)
    with pytest.raises(ArtQuantError, match=r"line 3 \(id 'c'\): no logits, probs or score"):
        read_predictions(path, [5, 4, 3, 2, 1])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "a", "score": 10.5}, "score 10.5 is not within 1 to 10"),
        ({"id": "a", "score": "7"}, "score is '7'"),
        ({"id": "a", "score": True}, "score is True"),
        ({"id": "a", "score": 5, "std": -1}, "std is -1"),
        ({"id": 7, "score": 5}, "must be a text, got 7"),
        ({"score": 5}, "must be a text, got None"),
        ({"id": "a"}, "no logits, probs or score"),
        ({"id": "a", "logits": {"excellent": 1.0, "good": None}}, "good is null"),
        ({"id": "a", "logits": {"excellent": 1.0}}, "weights for"),
        ({"id": "a", "logits": [1, 2]}, "must be an object of word: number"),
        ({"id": "a", "probs": dict(zip(WORDS, (0.5, 0.5, 0.1, 0, 0), strict=True))}, "sum to 1.1"),
        ({"id": "a", "probs": dict(zip(WORDS, (1.5, -0.5, 0, 0, 0), strict=True))}, ">= 0"),
        ([1, 2], "must be an object"),
    ],
)
def test_bad_predictions_name_file_and_line(tmp_path, record, message):
    path = write_lines(tmp_path / "p.jsonl", [prediction("ok"), record])
    with pytest.raises(ArtQuantError, match=message) as caught:
        read_predictions(path)
    assert f"{path}, line 2" in str(caught.value) and "\n" not in str(caught.value)


def test_nan_logits_are_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(prediction("a", (math.nan, 0, 0, 0, 0))), encoding="utf-8")
    with pytest.raises(ArtQuantError, match="line 1: NaN is not a number"):
        read_predictions(path)


def test_cut_off_last_line_is_told_from_damage_elsewhere(tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [prediction("a"), prediction("b"), prediction("c")])
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-40], encoding="utf-8")
    with pytest.raises(ArtQuantError, match=r"p.jsonl line 3: cut off .*resume the run"):
        read_predictions(path)
    path.write_text(whole.replace('"b"', '"b', 1)[:-40], encoding="utf-8")
    with pytest.raises(ArtQuantError, match=r"p.jsonl line 2.*not JSON"):
        read_predictions(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ArtQuantError, match="no records"):
        read_predictions(path)


@pytest.mark.parametrize("weights", [[1, 2], {"excellent": math.nan}])
def test_bad_weights_are_refused(tmp_path, weights):
    path = write_lines(tmp_path / "p.jsonl", [prediction("a")])
    with pytest.raises(ArtQuantError, match="weights"):
        read_predictions(path, weights)


def test_truth_is_a_list_or_lines(tmp_path):
    records = [{"id": "a", "gt_score": 3, "std": 0.4}, {"image": "b.png", "gt_score": 4.5}]
    lines = read_truth(write_lines(tmp_path / "t.jsonl", records))
    assert lines.records == read_truth(write_list(tmp_path / "t.json", records)).records
    assert [(truth.id, truth.gt_score, truth.std) for truth in lines.records] == [("a", 3, 0.4), ("b.png", 4.5, None)]
    with pytest.raises(ArtQuantError, match=r"record 2 \(id 'x'\): no gt_score"):
        read_truth(write_list(tmp_path / "t.json", [*records[:1], {"id": "x"}]))


def test_join_pairs_by_id_in_truth_order(pair):
    joined = join_by_id(read_predictions(pair[0]), read_truth(pair[1]))
    scores = {record.id: record.score for record in read_predictions(pair[0]).records}
    assert joined.ids == tuple(f"p{i}" for i in range(40))
    assert joined.predicted.tolist() == [scores[name] for name in joined.ids]
    assert joined.truth.tolist() == [1 + i / 5 for i in range(40)]
    assert joined.truth_std is None and joined.predicted_std.shape == (40,)


def test_missing_extra_and_repeated_ids(tmp_path):
    predictions = write_lines(tmp_path / "p.jsonl", [prediction("a"), prediction("z")])
    truth = write_list(tmp_path / "t.json", [{"id": name, "gt_score": 5} for name in "abcdefghijklmn"])
    files = read_predictions(predictions), read_truth(truth)
    with pytest.raises(ArtQuantError, match=r"13 no prediction for ids of .*'b', .*'k' and 3 more; finish the run"):
        join_by_id(*files)
    with pytest.raises(ArtQuantError, match=r"1 ids that are not in .*: 'z'; "):
        join_by_id(*files, allow_missing=True)
    joined = join_by_id(*files, allow_missing=True, allow_extra=True)
    assert (joined.ids, joined.missing, joined.extra) == (("a",), tuple("bcdefghijklmn"), ("z",))
    twice = read_predictions(write_lines(tmp_path / "p.jsonl", [prediction("a"), prediction("a")]))
    with pytest.raises(ArtQuantError, match="1 repeated ids: 'a'; keep one"):
        join_by_id(twice, files[1], allow_missing=True, allow_extra=True)


def test_disagreeing_truth_is_refused(tmp_path):
    predictions = read_predictions(write_lines(tmp_path / "p.jsonl", [prediction("a", gt_score=5.5)]))
    truth = read_truth(write_list(tmp_path / "t.json", [{"id": "a", "gt_score": 5}]))
    with pytest.raises(ArtQuantError, match=r"record 1 \(id 'a'\): gt_score 5.5, but 5 in"):
        join_by_id(predictions, truth)


def test_report_writes_figures_and_picture(pair, tmp_path):
    out = tmp_path / "report"
    [evaluation] = run_evaluation([pair], out, logistic=True, bootstrap=50)
    [record] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (record["predictions"], record["truth"], record["n"]) == (str(pair[0]), str(pair[1]), 40)
    assert record["metrics"]["SRCC"]["value"] == evaluation.metrics.SRCC.value
    assert set(record["metrics"]["KRCC"]) == {"value", "low", "high"} and "RMSE_after_logistic4" in record["metrics"]
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "scatter_1_predictions.png"]
    picture = np.asarray(Image.open(out / record["plot"]).convert("RGB"))
    assert min(picture.shape[:2]) > 600 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    table = format_table([evaluation])
    assert f"{evaluation.metrics.SRCC.value:.4f}" in table and f"[{evaluation.metrics.SRCC.low:.3f}, " in table
    assert "after the four-parameter logistic fit" in table


def test_two_files_of_one_name_do_not_overwrite_each_other(pair, tmp_path):
    out = tmp_path / "report"
    evaluations = run_evaluation([pair, pair], out, bootstrap=0)
    assert len(json.loads((out / "metrics.json").read_text(encoding="utf-8"))) == 2
    assert len({evaluation.plot for evaluation in evaluations}) == 2 and all(e.plot.is_file() for e in evaluations)
    assert "[" not in format_table(evaluations)


def test_left_out_ids_are_reported(pair, tmp_path):
    lines = pair[0].read_text(encoding="utf-8").splitlines(keepends=True)
    gone = json.loads(lines[0])["id"]
    pair[0].write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ArtQuantError, match="no prediction for ids"):
        run_evaluation([pair], tmp_path / "report")
    assert not (tmp_path / "report").exists()
    [evaluation] = run_evaluation([pair], tmp_path / "report", allow_missing=True, bootstrap=0, plot=False)
    [record] = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert (record["n"], record["missing"], record["plot"]) == (39, [gone], None)
    assert f"left out 1 without prediction: {gone}" in format_table([evaluation])


def test_distribution_distances_where_both_sides_have_a_std(pair, tmp_path, caplog):
    truth = json.loads(pair[1].read_text(encoding="utf-8"))
    with_std = write_list(tmp_path / "std.json", [{**record, "std": 0.8} for record in truth])
    [evaluation] = run_evaluation([(pair[0], with_std)], tmp_path / "report", bootstrap=0, plot=False)
    [record] = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert record["distribution"]["KL"] == evaluation.distribution.KL > 0
    assert "distance of the distributions" in format_table([evaluation])
    write_list(with_std, [{**record, "std": 0.0} for record in truth])
    [evaluation] = run_evaluation([(pair[0], with_std)], bootstrap=0)
    assert evaluation.distribution is None and "standard deviations are 0" in caplog.text


def test_errors_of_the_figures_name_the_file(tmp_path):
    predictions = write_lines(tmp_path / "p.jsonl", [prediction("a"), prediction("b")])
    truth = write_list(tmp_path / "t.json", [{"id": "a", "gt_score": 5}, {"id": "b", "gt_score": 6}])
    with pytest.raises(ArtQuantError, match=r"p.jsonl: 2 pairs of scores: at least 3"):
        run_evaluation([(predictions, truth)], plot=False)
    with pytest.raises(ArtQuantError, match="no prediction files"):
        run_evaluation([])


def test_missing_matplotlib_names_the_extra(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArtQuantError, match=r"artquant\[eval\]"):
        run_evaluation([pair], tmp_path / "report")
    run_evaluation([pair], tmp_path / "report", bootstrap=0, plot=False)
    assert (tmp_path / "report" / "metrics.json").is_file()


def test_import_needs_neither_matplotlib_nor_torch():
    code = "import sys, artquant.evaluate.report; sys.exit(bool({'matplotlib', 'torch'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
