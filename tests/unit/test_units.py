"""Labels, words and findings do not depend on the unit of the scores: words one apart or anything else."""

import json

import numpy as np
import pytest

from artquant.check.check import Options, run_check
from artquant.check.sources import inputs_from_files
from artquant.labels.published_labels import known_std_soft_labels
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.labels.rules import likeliest
from artquant.labels.soft_labels import METHODS, soft_labels
from artquant.prepare.annotation import Annotation
from artquant.prepare.columns import Columns
from artquant.prepare.prepare import Settings, prepare
from artquant.prepare.records import Labelling, score_records

SETS, GROUPS, PICTURES = 1000, 50, 6  # the data sets of a group share words and units


def drawn(group):
    """A group's words, units (lowest word, distance) and, with words one apart from 1 on, scores, deviations and votes.

    Half the numbers have few digits: scores halfway between words, deviations on thresholds, ties among votes.
    """
    rng = np.random.default_rng(group)
    words, count = int(rng.integers(2, 8)), SETS // GROUPS * PICTURES
    scores, stds = rng.uniform(1, words, count), rng.uniform(0, (words - 1) / 2, count)
    scores[::2], stds[::2] = scores[::2].round(1), stds[::2].round(1)
    votes = rng.integers(0, 5, (count, words)) + np.eye(words, dtype=int)[rng.integers(0, words, count)]
    units = [(1.0, 1.0), (0.0, 100 / (words - 1)), (float(rng.uniform(-50, 50)), float(10 ** rng.uniform(-2, 2)))]
    return words, units, scores, stds, votes


def same(found, method):
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-9, err_msg=method)
        np.testing.assert_array_equal(likeliest(other), likeliest(found[0]), err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_labels_and_words_are_those_of_any_unit(method):
    """1,000 data sets in three units each; of the published search, which takes milliseconds a score, some pictures."""
    few = slice(0, 4) if method == "published" else slice(None)
    for group in range(10 if method == "published" else GROUPS):
        words, units, scores, stds, votes = drawn(group)
        found = []
        for low, step in units:
            scale = RatingScale.even(low, low + step * (words - 1), [f"word {number}" for number in range(words)])
            options = {
                "known-std": {"std": stds * step},
                "votes": {"votes": votes, "vote_values": scale.values[::-1]},
            }.get(method, {})
            native = None if method == "votes" else np.clip(low + (scores - 1) * step, scale.low, scale.high)[few]
            found.append(soft_labels(native, scale.values, method, **options))
        same(found, method)


@pytest.mark.parametrize("density", ["pdf", "cdf"])
def test_words_one_apart_have_the_published_labels(density):
    _, _, scores, stds, _ = drawn(3)
    levels = np.arange(1.0, 8.0)
    published = known_std_soft_labels(scores, stds, levels, density, as_published=False)
    found = soft_labels(scores, levels, "known-std", std=stds, density=density)
    np.testing.assert_array_equal(found, published)
    np.testing.assert_allclose(
        soft_labels(scores * 1.5, levels * 1.5, "known-std", std=stds * 1.5, density=density), published, atol=1e-9
    )


def test_deviations_of_another_scale():
    """On AVA's 1 to 10 words are 2.25 apart: a deviation of 1.4 is 0.62 of that; before it fell to two words."""
    means, stds = np.array([5.53, 5.53, 6.2]), np.array([1.08, 1.4, 1.6])
    ava = soft_labels(means, RatingScale.even(1, 10).values, "known-std", std=stds)
    one_apart = soft_labels(1 + (means - 1) / 2.25, (5, 4, 3, 2, 1), "known-std", std=stds / 2.25)
    np.testing.assert_allclose(ava, one_apart, rtol=0, atol=1e-12)
    assert (ava > 0.01).sum(axis=1).tolist() == [2, 3, 4]


@pytest.mark.parametrize("method", ["gaussian", "known-std", "votes"])
def test_prepared_records_are_those_of_any_unit(tmp_path, method):
    """Through files: scores as text with all digits, deviations and votes; labels, answers and `check`'s findings."""
    votes = np.random.default_rng(4).integers(0, 5, (60, 5)) + np.eye(5, dtype=int)[np.arange(60) % 5]
    means = votes @ np.arange(1, 6) / votes.sum(axis=1)
    stds = np.sqrt((votes * (np.arange(1, 6) - means[:, None]) ** 2).sum(axis=1) / votes.sum(axis=1))
    found = []
    for number, (low, step) in enumerate([(1, 1), (0, 25), (0.2, 0.2)]):
        file, out = tmp_path / f"{number}.csv", tmp_path / f"out{number}"
        rows = zip(low + (means - 1) * step, stds * step, votes, strict=True)
        lines = [f"{i}.jpg,{mean},{std},{','.join(map(str, row))}" for i, (mean, std, row) in enumerate(rows)]
        file.write_text("image,mean,std,a,b,c,d,e\n" + "\n".join(lines))
        stated = {} if number == 1 else {"score": "mean", "std": "std"}  # or all of it from the votes
        columns = Columns(**({"score": None} | stated), votes=tuple("abcde"))
        prepare("generic", [(file, None)], out, Settings(columns, range=(low, low + 4 * step), method=method), "")
        records = json.loads((out / "score.json").read_text())
        for record in records[:20]:  # faults: of every kind that `check` finds in scores
            record["level_probs"] = record["level_probs"][::-1]
            record["std"] = 1.8 * step + record["std"]
        (out / "planted.json").write_text(json.dumps(records))
        inputs = inputs_from_files([out / "planted.json"], [], tmp_path, RatingScale.even(low, low + 4 * step))
        report = run_check(inputs, Options(pictures=False))
        findings = sorted((finding.kind, str(finding.record)) for finding in report.findings)
        found.append(([r["level_probs"] for r in records], [r["conversations"][1] for r in records], findings))
    same([np.array(labels) for labels, _, _ in found], method)
    assert found[0][1:] == found[1][1:] == found[2][1:] and len({kind for kind, _ in found[0][2]}) > 1


def test_the_word_is_the_likeliest_or_by_the_published_rule():
    annotations = [Annotation(f"{score}.jpg", score, "", "train") for score in (1.2, 4.2, 7.6, 8.9)]
    said = {}
    for rule in ("likeliest", "published"):
        records = list(score_records(annotations, Labelling(APDD_SCALE, word=rule)))
        said[rule] = [record["conversations"][1]["value"].split()[-1] for record in records]
        best = [APDD_SCALE.words[int(np.argmax(record["level_probs"]))] + "." for record in records]
        assert (said[rule] == best) == (rule == "likeliest")
    assert said["published"] == ["poor.", "fair.", "excellent.", "excellent."]
