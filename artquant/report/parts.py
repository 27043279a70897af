"""Parts of the page that hold figures: what it is of, agreement, errors, spread, distributions, attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from artquant.evaluate.metrics import Estimate, scale_doubt
from artquant.evaluate.report import Evaluation, interval_text
from artquant.pages.charts import Band, bands, bars, histogram_edges, scatter
from artquant.pages.html import Markup, element, joined, table
from artquant.report.judged import Gathered, Judged
from artquant.report.part import Part
from artquant.report.spread import covered, errors_by_score, medians_by_truth, widening

_HISTOGRAM = 24  # columns of a distribution
_SHOWN = ("SRCC", "PLCC", "MAE")  # figures of the head


def head(title: str, judged: Sequence[Judged], found: Gathered) -> list[Markup]:
    """Title and the main figures of the first file."""
    tiles = [_tile(f"{len(found.ids):,}", "pictures")]
    first = judged[0].evaluation
    if first is None:
        scores = found.scores[0][np.isfinite(found.scores[0])]
        tiles += [_tile(f"{scores.mean():.2f}", "mean score"), _tile(f"{scores.std():.2f}", "their standard deviation")]
        tiles.append(_tile(f"{scores.min():.2f} to {scores.max():.2f}", "lowest and highest"))
    else:
        of = "" if len(judged) == 1 else f", {judged[0].name}"
        figures = first.metrics.estimates()
        tiles += [_tile(f"{figures[name].value:.3f}", f"{name} {_interval(figures[name])}{of}") for name in _SHOWN]
    return [element("h1", title), element("ul", *tiles, class_="tiles")]


def _tile(value: str, said: str) -> Markup:
    return element("li", element("b", value), element("span", said))


def _interval(estimate: Estimate) -> str:
    return interval_text(estimate.low, estimate.high).removesuffix("-")


def facts(judged: Sequence[Judged], more: Mapping[str, str]) -> Part:
    """What model, what prompt, what data. more: further facts of the first."""
    rows = [_facts_of(one) for one in judged]
    rows[0] |= more
    names = dict.fromkeys(name for row in rows for name in row)
    body = [[name, *(row.get(name, "-") for row in rows)] for name in names]
    heads = ["", *(one.name for one in judged)]
    about = "As noted beside the predictions (.origin.json) and in the model's folder; what is not known is left out."
    return Part("What it is of", about, (table("Model, prompt and data", heads, body, "texts"),))


def _facts_of(one: Judged) -> dict[str, str]:
    origin = one.origin
    prompt, readout = _object(origin.get("prompt")), _object(origin.get("readout"))
    said: dict[str, Any] = {
        "Predictions": one.path,
        "Model": origin.get("model"),
        "Weights": " over ".join(str(weight)[:12] for weight in _list(origin.get("weights"))),
        "Prompt": prompt and f"{prompt.get('name', '')}: {_asked(prompt)}",
        "Readout": readout and _readout(readout),
        "Attributes asked": ", ".join(map(str, _list(origin.get("attributes")))),
        "Computed in": str(origin.get("dtype") or "").removeprefix("torch."),
        "Quantized": origin.get("quantize"),
        "Mapped onto": " to ".join(f"{end}" for end in _list(origin.get("score_range"))),
    }
    if one.evaluation is not None:
        said |= _truth_of(one.evaluation, one)
    return {name: str(value) for name, value in said.items() if value not in (None, "", {})}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _asked(prompt: Mapping[str, Any]) -> str:
    parts = (str(prompt.get(name) or "") for name in ("score_question", "answer_prefix"))
    return " ".join(part.replace("{subject}", str(prompt.get("subject", ""))) for part in parts).strip()


def _readout(readout: Mapping[str, Any]) -> str:
    words, weights = _list(readout.get("words")), _list(readout.get("weights"))
    said = ", ".join(f"{word} {weight}".removesuffix(".0") for word, weight in zip(words, weights, strict=False))
    return str(readout.get("kind", "")).replace("_", " ") + (f" ({said})" if said else "")


def _truth_of(evaluation: Evaluation, one: Judged) -> dict[str, str]:
    joined_ = evaluation.joined
    own = evaluation.truth == one.path
    left = {"without a prediction": len(joined_.missing), "without a true score": len(joined_.extra)}
    said = "; ".join(f"{count:,} {what}" for what, count in left.items() if count)
    return {
        "True scores": "as the predictions' lines say them" if own else str(evaluation.truth),
        "Pairs": f"{evaluation.metrics.n:,}"
        + (f" ({said})" if said else "")
        + (", joined by picture" if joined_.by_picture else ""),
    }


def agreement(judged: Sequence[Judged]) -> Part | None:
    """Figures with intervals, side by side, and predicted against true scores."""
    known = [(one.name, one.evaluation) for one in judged if one.evaluation is not None]
    if not known:
        return None
    names = list(dict.fromkeys(name for _, one in known for name in one.metrics.estimates()))
    rows = [
        [name.replace("_", " "), *(_estimate(one.metrics.estimates().get(name)) for _, one in known)] for name in names
    ]
    heads = ["Figure", *(name for name, _ in known)]
    about = (
        "SRCC, PLCC and KRCC: does the order agree (1: wholly, 0: not at all)? MAE and RMSE: how far off, in scores. "
        "In brackets the 95 % interval: figures whose intervals overlap widely may not differ at all. Each point of "
        "the first chart is a picture, the dashed line is where both scores are the same, the other one joins medians. "
        "The second one has up to ten groups of equally many pictures: their mean error and, as a bar, the middle 80 % "
        "of their errors. Above the dashed line the model rates too high; a line that rises says that its scores are "
        "spread too wide, one that falls that they are too close together."
    )
    rows += [["Distance of distributions, " + name, *row] for name, row in _distances(known)]
    charts = [chart for name, one in known for chart in _pairs_drawn(_of(name, known), one)]
    doubts = [
        element("p", f"{name}: {doubt}", class_="note")
        for name, one in known
        if (doubt := scale_doubt(one.joined.predicted, one.joined.truth))
    ]
    return Part("Agreement with people", about, (table("Figures", heads, rows), *doubts, _charts(charts)))


def _pairs_drawn(of: str, evaluation: Evaluation) -> list[Markup]:
    predicted, truth = evaluation.joined.predicted, evaluation.joined.truth
    medians = medians_by_truth(predicted, truth)
    return [
        scatter(f"Predicted and true scores{of}", truth, predicted, "true score", "predicted", medians),
        bands(
            f"Error by predicted score{of}", errors_by_score(predicted, truth), "predicted score", "predicted less true"
        ),
    ]


def _distances(known: Sequence[tuple[str, Evaluation]]) -> Iterator[tuple[str, list[str]]]:
    for name in ("KL", "JS", "Wasserstein"):
        found = [None if one.distribution is None else vars(one.distribution)[name] for _, one in known]
        if any(value is not None for value in found):
            yield name, ["-" if value is None else f"{value:.4f}" for value in found]


def _estimate(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.4f} {_interval(estimate)}".strip()


def _of(name: str, known: Sequence[object]) -> str:
    return f", {name}" if len(known) > 1 else ""


def _charts(charts: Sequence[Markup]) -> Markup:
    return element("div", *charts, class_="charts")


def spread(judged: Sequence[Judged]) -> Part | None:
    """Does the stated standard deviation cover?"""
    known = [
        (one.name, one.evaluation)
        for one in judged
        if one.evaluation is not None and one.evaluation.joined.predicted_std is not None
    ]
    children = [child for name, one in known for child in _spread_of(_of(name, known), one)]
    about = (
        "A prediction with its standard deviation says where the true score lies: of an interval that is to hold 68 % "
        "of them, 68 % should be seen. Below the dashed line the model is surer than it may be. The deviation of "
        "rating words or tokens is how undecided the model is between them, so it need not be that of its errors."
    )
    return Part("Does the stated spread cover?", about, (_charts(children),)) if children else None


def _spread_of(of: str, evaluation: Evaluation) -> list[Markup]:
    pairs = evaluation.joined
    assert pairs.predicted_std is not None
    off = pairs.predicted - pairs.truth
    found = covered(off, pairs.predicted_std)
    points = [Band(one.stated, one.seen, one.low, one.high) for one in found]
    rows = [[f"{one.stated:.0%}", f"{one.seen:.1%}", f"{one.low:.1%} to {one.high:.1%}"] for one in found]
    factor = widening(off, pairs.predicted_std)
    note = (
        f"Mean deviation {pairs.predicted_std.mean():.2f}, root mean square error {np.sqrt(np.mean(off**2)):.2f}."
        + (
            ""
            if factor is None
            else f" Multiplied by {factor:.2f}, one deviation would hold 68.3 % of the true scores."
        )
    )
    counted = table(f"Coverage{of}", ["Stated", "Seen", "95 % interval (Wilson)"], rows)
    return [
        bands(f"True scores within the stated interval{of}", points, "stated share", "seen share", True, ".0%"),
        element("div", counted, element("p", note, class_="note")),
    ]


def distributions(judged: Sequence[Judged], found: Gathered) -> Part:
    """How scores are distributed, predicted and true."""
    charts = []
    for one, scores in zip(judged, found.scores, strict=True):
        known = {"predicted": scores[np.isfinite(scores)], "true": found.truth[np.isfinite(scores + found.truth)]}
        known = {name: values for name, values in known.items() if len(values)}
        both = np.concatenate(list(known.values()))
        edges, labels = histogram_edges(float(both.min()), float(both.max()), _HISTOGRAM)
        shares = {
            name: (np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / len(values)).tolist()
            for name, values in known.items()
        }
        charts.append(bars("Scores" + _of(one.name, judged), labels, shares, ".1%", "score from"))
    about = "The share of the pictures by score. Predictions usually lie closer together than people's mean scores."
    return Part("Distribution of scores", about, (_charts(charts),))


def attributes(judged: Sequence[Judged]) -> Part | None:
    """SRCC of each attribute, highest first."""
    known = [(one.name, one.evaluation) for one in judged if one.evaluation is not None and one.evaluation.attributes]
    if not known:
        return None
    first = known[0][1].attributes
    names = dict.fromkeys(name for _, one in known for name in one.attributes)
    order = sorted(names, key=lambda name: -first[name].SRCC.value if name in first else 2)
    rows = []
    for name in order:
        found = [one.attributes.get(name) for _, one in known]
        rows.append(
            [
                name,
                *("-" if one is None else f"{one.SRCC.value:.3f} {_interval(one.SRCC)}".strip() for one in found),
                *("-" if one is None else f"{one.MAE.value:.3f}" for one in found),
                str(max(one.n for one in found if one is not None)),
            ]
        )
    heads = [
        "Attribute",
        *("SRCC" + _of(name, known) for name, _ in known),
        *("MAE" + _of(name, known) for name, _ in known),
    ]
    about = (
        "Attributes of a picture rise and fall together, so each agrees with people as soon as the total does. Whether "
        "they differ within a picture as people say is below."
    )
    within = [_within(_of(name, known), one) for name, one in known if one.within is not None]
    return Part("Attributes", about, (table("Attributes, best first", [*heads, "Pictures"], rows), joined(within)))


def _within(of: str, evaluation: Evaluation) -> Markup:
    assert evaluation.within is not None
    said = evaluation.within.estimates()
    titles = {
        "SRCC": "Order of a picture's attributes, SRCC",
        "SRCC_by_averages": "The same of each attribute's mean rating",
        "weakest": "Weakest attribute named right",
        "strongest": "Strongest attribute named right",
        "by_chance": "By chance",
        "partial": "SRCC over pictures, given the total",
    }
    rows = [[title, _estimate(said[key])] for key, title in titles.items()]
    return table(f"Within {evaluation.within.n:,} pictures{of}", ["", "Figure"], rows)
