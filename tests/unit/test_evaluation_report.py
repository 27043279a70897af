"""Reading, joining and reporting of prediction files."""

import json
import math
import sys
from subprocess import run

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from artquant.data.predictions import Prediction, prediction_line, read_predictions
from artquant.errors import ArtQuantError
from artquant.evaluate import plot
from artquant.evaluate.join import join_files, read_truth
from artquant.evaluate.report import as_record, format_table, run_evaluation
from artquant.labels.rating_scale import APDD_SCALE, RATING_WORDS, RatingScale

WORDS = RATING_WORDS


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
    scores, stds = APDD_SCALE.moments(softmax(logits, axis=1))
    predictions = [
        prediction(f"p{i}", row, gt_score=1 + i / 5, score=scores[i], std=stds[i])
        for i, row in enumerate(logits.tolist())
    ]
    truth = [{"id": f"p{i}", "image": f"p{i}.png", "gt_score": 1 + i / 5} for i in range(40)]
    order = generator.permutation(40)
    lines = write_lines(tmp_path / "predictions.jsonl", [predictions[i] for i in order])
    return lines, write_list(tmp_path / "truth.json", truth)


def test_scores_are_computed_again_with_other_values(tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [prediction("a", (0.0, 0.0, -1e4, -1e4, math.log(2)), score=9, std=0.1)])
    first = read_predictions(path, APDD_SCALE)["a"].prediction
    assert first.score == pytest.approx((10 + 7.5 + 2 * 1) / 4)
    assert first.std == pytest.approx(np.sqrt((100 + 7.5**2 + 2) / 4 - 4.875**2))
    assert read_predictions(path, RatingScale.even(1, 5))["a"].prediction.score == pytest.approx(2.75)
    other_order = RatingScale(("bad", "poor", "fair", "good", "excellent"), (5, 4, 3, 2, 1))
    assert read_predictions(path, other_order)["a"].prediction.score == pytest.approx((1 + 2 + 2 * 5) / 4)
    own = read_predictions(path)["a"].prediction
    assert (own.score, own.std) == (9, 0.1)


def test_own_score_counts_unless_values_are_given(tmp_path):
    probs = dict(zip(WORDS, (0.5, 0.5, 0, 0, 0), strict=True))
    records = [prediction("a", score=3.25, std=0.5), {"image": "b.png", "probs": probs}, {"id": "c", "score": 9}]
    path = write_lines(tmp_path / "p.jsonl", records)
    with pytest.raises(ArtQuantError, match=r'record 2: no "score"; predict it again, or give the values'):
        read_predictions(path)
    with pytest.raises(ArtQuantError, match=r"record 3 \(id 'c'\): no logits or probs of rating words"):
        read_predictions(path, APDD_SCALE)
    path = write_lines(tmp_path / "p.jsonl", records[:2])
    b = read_predictions(path, APDD_SCALE)["b.png"].prediction
    assert (b.score, b.std, b.columns) == (8.75, 1.25, {"probs": probs})


def test_a_line_is_read_as_it_was_written(tmp_path):
    """Of any readout: what it says beside the score goes along."""
    color = Prediction(4.0, columns={"tokens": [0.1, 0.9]})
    first = Prediction(3.5, 0.5, {"probs": {"good": 1.0}}, {"Color": color})
    lines = [prediction_line("a", "a.png", 3.0, first), prediction_line("b", "b.png", None, color)]
    assert list(lines[0]) == ["id", "image", "gt_score", "score", "std", "probs", "attributes"]
    assert lines[1] == {"id": "b", "image": "b.png", "score": 4.0, "tokens": [0.1, 0.9]}
    read = read_predictions(write_lines(tmp_path / "p.jsonl", lines), score_range=(3.5 + 1e-6, 10))
    assert [(line.id, line.gt_score, line.prediction) for line in read.values()] == [
        ("a", 3, first),
        ("b", None, color),
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "a", "score": 10.5}, "score 10.5 is outside 1 to 10"),
        ({"id": "a", "score": "seven"}, '"score" must be a number, got text'),
        ({"id": "a", "score": True}, '"score" must be a number'),
        ({"id": "a", "score": 5, "std": -1}, '"std" -1 is negative'),
        ({"id": [7], "score": 5}, '"id" must be text, got a list'),
        ({"score": 5}, 'key "image" is missing'),
        ({"id": "a"}, 'no "score"'),
        ([1, 2], "expected an object"),
    ],
)
def test_bad_predictions_name_file_and_record(tmp_path, record, message):
    path = write_lines(tmp_path / "p.jsonl", [prediction("ok", score=5), record])
    with pytest.raises(ArtQuantError, match=message) as caught:
        read_predictions(path, score_range=(1, 10))
    assert f"{path} record 2" in str(caught.value) and "\n" not in str(caught.value)


def test_a_score_that_is_null_is_no_prediction(tmp_path):
    """As UniPercept's result files say of a picture that failed."""
    path = write_lines(tmp_path / "p.jsonl", [prediction("ok", score=5), {"image": "gone.png", "score": None}])
    truth = write_lines(tmp_path / "t.jsonl", [{"id": "ok", "gt_score": 4}, {"image": "gone.png", "gt_score": 3}])
    assert list(read_predictions(path)) == ["ok"]
    assert join_files(path, truth, allow_missing=True).missing == ("gone.png",)
    with pytest.raises(ArtQuantError, match=r"no prediction for ids of .*'gone\.png'"):
        join_files(path, truth)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "a", "logits": {"excellent": 1.0, "good": None}}, "\"logits\" of 'good' must be a number, got null"),
        ({"id": "a", "logits": {"excellent": 1.0}}, r"\"logits\" of \['excellent'\], but values for"),
        ({"id": "a", "logits": [1, 2]}, '"logits" must be an object, got a list'),
        ({"id": "a", "probs": dict(zip(WORDS, (0.5, 0.5, 0.1, 0, 0), strict=True))}, "sum to 1.1"),
        ({"id": "a", "probs": dict(zip(WORDS, (1.5, -0.5, 0, 0, 0), strict=True))}, "0 or more"),
    ],
)
def test_what_cannot_be_computed_again(tmp_path, record, message):
    path = write_lines(tmp_path / "p.jsonl", [prediction("ok"), record])
    with pytest.raises(ArtQuantError, match=message) as caught:
        read_predictions(path, APDD_SCALE)
    assert f"{path} record 2" in str(caught.value) and "\n" not in str(caught.value)


def test_nan_logits_are_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(prediction("a", (math.nan, 0, 0, 0, 0))), encoding="utf-8")
    with pytest.raises(ArtQuantError, match="line 1: NaN is not a number"):
        read_predictions(path)


def test_cut_off_last_line_is_told_from_damage_elsewhere(tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [prediction(name, score=5) for name in "abc"])
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:-40], encoding="utf-8")
    with pytest.raises(ArtQuantError, match=r"p.jsonl line 3: cut off .*run again"):
        read_predictions(path)
    path.write_text(whole.replace('"b"', '"b', 1)[:-40], encoding="utf-8")
    with pytest.raises(ArtQuantError, match=r"p.jsonl line 2.*not JSON"):
        read_predictions(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ArtQuantError, match="no records"):
        read_predictions(path)


def test_truth_is_a_list_or_lines(tmp_path):
    records = [{"id": "a", "gt_score": 3, "std": 0.4}, {"image": "b.png", "gt_score": 4.5}, {"id": 7, "gt_score": 5}]
    for path in (write_lines(tmp_path / "t.jsonl", records), write_list(tmp_path / "t.json", records)):
        found = [(rated.id, rated.gt_score, rated.std) for rated in read_truth(path).values()]
        assert found == [("a", 3, 0.4), ("b.png", 4.5, None), ("7", 5, None)]
    with pytest.raises(ArtQuantError, match=r"record 2 \(id 'x'\): no \"gt_score\""):
        read_truth(write_list(tmp_path / "t.json", [*records[:1], {"id": "x"}]))


def test_join_pairs_by_id_in_truth_order(pair):
    joined = join_files(*pair)
    predicted = read_predictions(pair[0])
    assert joined.ids == tuple(f"p{i}" for i in range(40))
    assert joined.predicted.tolist() == [predicted[name].prediction.score for name in joined.ids]
    assert joined.truth.tolist() == [1 + i / 5 for i in range(40)]
    assert joined.truth_std is None and joined.predicted_std.shape == (40,)


def test_missing_extra_and_repeated_ids(tmp_path):
    predictions = write_lines(tmp_path / "p.jsonl", [prediction("a", score=5), prediction("z", score=5)])
    files = predictions, write_list(tmp_path / "t.json", [{"id": name, "gt_score": 5} for name in "abcdefghijklmn"])
    with pytest.raises(ArtQuantError, match=r"13 no prediction for ids of .*'b', .*'k' and 3 more; finish the run"):
        join_files(*files)
    with pytest.raises(ArtQuantError, match=r"1 ids that are not in .*: 'z'; "):
        join_files(*files, allow_missing=True)
    joined = join_files(*files, allow_missing=True, allow_extra=True)
    assert (joined.ids, joined.missing, joined.extra) == (("a",), tuple("bcdefghijklmn"), ("z",))
    write_lines(predictions, [prediction("a", score=5), prediction("a", score=5)])
    with pytest.raises(ArtQuantError, match=r"record 2: the same id 'a' as .* record 1; keep one"):
        join_files(*files, allow_missing=True, allow_extra=True)


def test_joined_by_picture_where_no_id_meets_another(tmp_path):
    """As ids of prepared lists (and scores as text, as Q-Align's lists have them)."""
    predictions = write_lines(
        tmp_path / "p.jsonl", [{"image": f"{name}.png", "score": f"{rank}"} for rank, name in enumerate("cab")]
    )
    records = [
        {"id": f"{name}.png->{place}", "image": f"{name}.png", "gt_score": f"{place}"}
        for place, name in enumerate("abc", 1)
    ]
    truth = write_list(tmp_path / "t.json", records)
    joined = join_files(predictions, truth)
    assert joined.by_picture and joined.ids == ("a.png->1", "b.png->2", "c.png->3") and not joined.missing
    assert joined.truth.tolist() == [1, 2, 3] and joined.predicted.tolist() == [1, 2, 0]
    [evaluation] = run_evaluation([(predictions, truth)], plot=False)
    assert "joined by picture: no id of it is in" in format_table([evaluation])
    assert as_record(evaluation)["joined_by"] == "picture"
    twice = write_list(tmp_path / "t.json", [*records, {"id": "other", "image": "a.png", "gt_score": 2}])
    with pytest.raises(ArtQuantError, match=r"4 no prediction for ids of .*'a\.png->1'"):
        join_files(predictions, twice)
    write_list(twice, [*records, {"id": "a.png", "image": "d.png", "gt_score": 2}])  # one id meets: by id
    with pytest.raises(ArtQuantError, match=r"3 no prediction for ids of"):
        join_files(predictions, twice)


def test_disagreeing_truth_is_refused(tmp_path):
    predictions = write_lines(tmp_path / "p.jsonl", [prediction("a", score=5, gt_score=5.5)])
    truth = write_list(tmp_path / "t.json", [{"id": "a", "gt_score": 5}])
    with pytest.raises(ArtQuantError, match=r"record 1 \(id 'a'\): gt_score 5.5, but 5 in"):
        join_files(predictions, truth)


@pytest.mark.parametrize(
    ("names", "rated", "said"),
    [
        (["pictures/a.png", "pictures/b.png"], ["a.png", "b.png"], ""),
        (["C:\\x\\a.JPG", "C:\\x\\b.JPG"], ["x/a.png", "x/b.png"], ""),
        (["one/a.png", "one/b.png"], ["two/a.png", "two/b.png"], "different folders"),
        (["a", "b"], ["b.png", "c.png"], "no prediction"),
    ],
)
def test_joined_by_the_last_parts_of_names(tmp_path, names, rated, said):
    predictions = write_list(tmp_path / "p.json", [{"image": name, "score": 5} for name in names])
    truth = [{"id": f"{name}->5", "image": name, "gt_score": 5} for name in rated]
    files = predictions, write_list(tmp_path / "t.json", truth)
    if said:
        with pytest.raises(ArtQuantError, match=said):
            join_files(*files)
    else:
        assert join_files(*files).by_picture


def test_ids_of_other_pictures_are_refused(tmp_path):
    predictions = [{"id": number, "image": name, "score": 5} for number, name in enumerate(("a.png", "b.png"))]
    truth = [{"id": number, "image": name, "gt_score": 5} for number, name in enumerate(("b.png", "a.png"))]
    with pytest.raises(ArtQuantError, match="of other pictures"):
        join_files(write_list(tmp_path / "p.json", predictions), write_list(tmp_path / "t.json", truth))


def test_report_writes_figures_and_picture(pair, tmp_path):
    out = tmp_path / "report"
    [evaluation] = run_evaluation([pair], out, fits=(4,), bootstrap=50)
    [record] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (record["predictions"], record["truth"], record["n"]) == (str(pair[0]), str(pair[1]), 40)
    assert record["metrics"]["SRCC"]["value"] == evaluation.metrics.SRCC.value
    assert set(record["metrics"]["KRCC"]) == {"value", "low", "high"} and "RMSE_after_logistic4" in record["metrics"]
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "scatter_1_predictions.png"]
    picture = np.asarray(Image.open(out / record["plot"]).convert("RGB"))
    assert min(picture.shape[:2]) > 600 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    table = format_table([evaluation])
    assert f"{evaluation.metrics.SRCC.value:.4f}" in table and f"[{evaluation.metrics.SRCC.low:.3f}, " in table
    assert "*4: after the fit of (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2" in table


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
    predictions = write_lines(tmp_path / "p.jsonl", [prediction(name, score=5) for name in "ab"])
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
