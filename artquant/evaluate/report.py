"""Evaluation of prediction files: figures, a table, `metrics.json` and one scatter plot per pair of files."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from artquant.errors import ArtQuantError, visible
from artquant.evaluate.by_protocol import ByProtocol, by_protocol
from artquant.evaluate.curves import FUNCTIONS, Curve
from artquant.evaluate.distances import Coverage, DistributionDistances, coverage, gaussian_distances
from artquant.evaluate.join import Joined, join_files
from artquant.evaluate.metrics import Metrics, evaluate_scores, scale_doubt
from artquant.evaluate.plot import draw_attributes, draw_scatter, require_matplotlib
from artquant.evaluate.protocols import Protocol
from artquant.evaluate.thresholds import ThresholdAccuracy, accuracy_at
from artquant.evaluate.within import Within, within_pictures
from artquant.files.json_files import read_json, write_json
from artquant.files.whole_files import whole_files
from artquant.labels.rating_scale import RatingScale

METRICS = "metrics.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """One prediction file against its truth file."""

    predictions: Path
    truth: Path
    joined: Joined
    metrics: Metrics
    distribution: DistributionDistances | None = None  # where both sides have standard deviations
    plot: Path | None = None
    attributes: dict[str, Metrics] = field(default_factory=dict)  # of those that were predicted and rated
    attributes_plot: Path | None = None
    within: Within | None = None  # of three attributes or more
    coverage: Coverage | None = None  # where predictions have standard deviations
    accuracy: ThresholdAccuracy | None = None
    by_protocol: ByProtocol | None = None

    def mean_over_attributes(self) -> dict[str, float]:
        """SRCC, PLCC, MAE, ...: the plain mean of the attributes' figures, of those that all of them have."""
        figures = [metrics.estimates() for metrics in self.attributes.values()]
        common = [name for name in (figures[0] if figures else ()) if all(name in each for each in figures)]
        return {name: float(np.mean([each[name].value for each in figures])) for name in common}


def run_evaluation(
    pairs: Sequence[tuple[Path, Path]],
    out: Path | None = None,
    scale: RatingScale | None = None,
    score_range: tuple[float, float] | None = None,
    predicted_range: tuple[float, float] | None = None,
    fits: Sequence[int] = (),
    threshold: float | None = None,
    protocol: Protocol | None = None,
    mark: bool = False,
    values: RatingScale | None = None,
    allow_missing: bool = False,
    allow_extra: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    plot: bool = True,
) -> list[Evaluation]:
    """Evaluate prediction files, each against its truth file.

    Args:
        pairs: (predictions, truth) files.
        out: folder for `metrics.json`, `scatter_N_NAME.png` and, where attributes were predicted,
            `attributes_N_NAME.png` (N counts the pairs from 1); None writes nothing.
        scale, score_range, predicted_range, allow_missing, allow_extra: as in `join_files`.
        fits, bootstrap, seed: as in `evaluate_scores`; a protocol's fits are added.
        threshold: also the accuracy of "above it or not"; None: the protocol's, if it has one.
        protocol, mark, values: as in `by_protocol`.
        plot: draw the scatter plots (needs matplotlib and `out`).

    Raises:
        ArtQuantError: whatever is wrong with a file or its records; nothing is written then.
    """
    if not pairs:
        raise ArtQuantError("no prediction files to evaluate: give at least one pair of predictions and truth")
    if out is not None:
        _require_ours(out)  # before minutes of work
        if plot:
            require_matplotlib()
    if protocol is not None:
        fits = (*fits, *protocol.fits)
    evaluations = []
    for index, (predictions, truth) in enumerate(pairs, start=1):
        joined = join_files(predictions, truth, scale, score_range, allow_missing, allow_extra, predicted_range)
        ruled = None if protocol is None else by_protocol(protocol, joined, mark, scale or values, str(truth))
        limit = ruled.threshold(joined.truth) if threshold is None and ruled is not None else threshold
        options = {"bootstrap": bootstrap, "seed": seed, "fits": fits}
        one = evaluation_of(predictions, truth, joined, options, ruled, limit)
        if out is not None and plot:
            name = f"{index}_{predictions.stem}.png"
            attributes_plot = out / f"attributes_{name}" if one.attributes else None
            one = replace(one, plot=out / f"scatter_{name}", attributes_plot=attributes_plot)
        evaluations.append(one)
    if out is not None:
        _write(out, evaluations)
    return evaluations


def evaluation_of(
    predictions: Path,
    truth: Path,
    joined: Joined,
    options: dict[str, Any],
    ruled: ByProtocol | None = None,
    threshold: float | None = None,
) -> Evaluation:
    """All figures of pairs that were joined.

    Args:
        options: further arguments of `evaluate_scores`, "bootstrap" and "seed" among them.
        ruled: what a protocol says of them. threshold: of the accuracy.

    Raises:
        ArtQuantError: as `evaluate_scores`; names the file.
    """
    attributes = {
        name: _figures(f"{predictions}, attribute {name!r}", *pair, options) for name, pair in joined.attributes.items()
    }
    resampling = options["bootstrap"], options["seed"]
    spread = joined.predicted_std
    return Evaluation(
        predictions,
        truth,
        joined,
        _figures(str(predictions), joined.predicted, joined.truth, options),
        _distribution(predictions, joined, ruled),
        attributes=attributes,
        within=within_pictures(*joined.table(), joined.predicted, *resampling) if attributes else None,
        coverage=None if spread is None else coverage(joined.truth, joined.predicted, spread),
        accuracy=None if threshold is None else accuracy_at(joined.predicted, joined.truth, threshold),
        by_protocol=ruled,
    )


def _figures(where: str, predicted: np.ndarray, truth: np.ndarray, options: dict[str, Any]) -> Metrics:
    try:
        return evaluate_scores(predicted, truth, **options)
    except ArtQuantError as error:
        raise ArtQuantError(f"{where}: {error}") from error


def _distribution(predictions: Path, joined: Joined, ruled: ByProtocol | None) -> DistributionDistances | None:
    truth_std = ruled.votes_std if joined.truth_std is None and ruled is not None else joined.truth_std
    if joined.predicted_std is None or truth_std is None:
        return None
    if not (np.all(joined.predicted_std > 0) and np.all(truth_std > 0)):
        logger.warning("%s: some standard deviations are 0: distances of the distributions left out", predictions)
        return None
    return gaussian_distances(joined.truth, truth_std, joined.predicted, joined.predicted_std)


def _write(out: Path, evaluations: list[Evaluation]) -> None:
    with whole_files(out) as new:
        _require_ours(out, [plot.name for one in evaluations for plot in (one.plot, one.attributes_plot) if plot])
        for evaluation in evaluations:
            _draw(evaluation, new)
        write_json(new / METRICS, [as_record(evaluation) for evaluation in evaluations])
    logger.info("%s: figures of %d prediction files", out / METRICS, len(evaluations))


def _require_ours(out: Path, drawn: Sequence[str] = ()) -> None:
    """Refuse to replace what no evaluation wrote; drawn: names of pictures."""
    there = [out / name for name in (METRICS, *drawn) if os.path.lexists(out / name)]
    if there:
        try:
            found = read_json(out / METRICS)
        except ArtQuantError:
            found = None
        ours = isinstance(found, list) and all(isinstance(one, dict) and "metrics" in one for one in found)
        if not ours:
            raise ArtQuantError(
                f"{there[0]}: is there and was written by no evaluation; name another folder with --out"
            )


def _draw(evaluation: Evaluation, folder: Path) -> None:
    title = f"{evaluation.predictions.parent.name}/{evaluation.predictions.name}".lstrip("/")
    if evaluation.attributes_plot is not None:
        correlations = {name: metrics.SRCC for name, metrics in evaluation.attributes.items()}
        draw_attributes(correlations, evaluation.metrics.SRCC, title, folder / evaluation.attributes_plot.name)
    if evaluation.plot is not None:
        draw_scatter(
            evaluation.joined.predicted,
            evaluation.joined.truth,
            title,
            _subtitle(evaluation),
            folder / evaluation.plot.name,
        )


def _subtitle(evaluation: Evaluation) -> str:
    ruled, names = evaluation.by_protocol, ["SRCC", "PLCC", "KRCC", "MAE", "RMSE"]
    marks = []
    if ruled is not None and ruled.marks:
        marks, names = [f"not the list of {ruled.protocol.title}"], names[:2]
    estimates = evaluation.metrics.estimates()
    return "   ".join([f"n {evaluation.metrics.n}", *marks, *(f"{name} {estimates[name].value:.3f}" for name in names)])


def as_record(evaluation: Evaluation) -> dict[str, Any]:
    """What `metrics.json` holds about one pair of files: {"value", "low", "high"} per figure."""
    record = {
        "predictions": visible(evaluation.predictions),
        "truth": visible(evaluation.truth),
        "n": evaluation.metrics.n,
        "metrics": {name: asdict(estimate) for name, estimate in evaluation.metrics.estimates().items()},
        "missing": list(evaluation.joined.missing),
        "extra": list(evaluation.joined.extra),
        "joined_by": "picture" if evaluation.joined.by_picture else "id",
        "plot": visible(evaluation.plot.name) if evaluation.plot else None,
    }
    if evaluation.metrics.curves or evaluation.metrics.unfitted:
        record["fits"] = _fits_record(evaluation.metrics)
    if evaluation.by_protocol is not None:
        record["protocol"] = evaluation.by_protocol.record()
    if evaluation.attributes:
        record["attributes"] = {
            name: {"n": metrics.n, "metrics": {key: asdict(value) for key, value in metrics.estimates().items()}}
            for name, metrics in evaluation.attributes.items()
        }
        record["mean_over_attributes"] = evaluation.mean_over_attributes()
    if evaluation.within is not None:
        record["within_pictures"] = asdict(evaluation.within)
    beside = {
        "distribution": evaluation.distribution,
        "coverage": evaluation.coverage,
        "accuracy": evaluation.accuracy,
    }
    return record | {name: asdict(figures) for name, figures in beside.items() if figures is not None}


def _fits_record(metrics: Metrics) -> dict[str, Any]:
    """By "logistic3", ...: the function and what was fitted, or why nothing was."""
    found = {f"logistic{parameters}": _curve_record(curve) for parameters, curve in metrics.curves.items()}
    failed = {
        f"logistic{parameters}": {"function": FUNCTIONS[parameters], "failed": reason}
        for parameters, reason in metrics.unfitted.items()
    }
    return found | failed


def _curve_record(curve: Curve) -> dict[str, Any]:
    return {"function": curve.function, **asdict(curve)}


def format_table(evaluations: Sequence[Evaluation]) -> str:
    """Plain text: a row per pair of files, its intervals below, then what was left out."""
    names = list(dict.fromkeys(name for item in evaluations for name in item.metrics.estimates()))
    names = [name for name in names if _shown(name, evaluations)]
    rows = [["predictions", "n", *(name.replace("_after_logistic", "*") for name in names)]]
    for item in evaluations:
        rows += _rows(str(item.predictions), item.metrics, names)
        for attribute, metrics in item.attributes.items():
            rows += _rows(f"  {attribute}", metrics, names)
        if item.attributes:
            means = item.mean_over_attributes()
            rows.append(
                [f"  mean of {len(item.attributes)} attributes", "", *(_figure(means.get(name)) for name in names)]
            )
    lines = [line for item in evaluations for line in _protocol_head(item)]
    lines += [*aligned(rows), *_fit_lines(evaluations)]
    for item in evaluations:
        lines += _protocol_lines(item)
        if _shown("MAE", [item]) and (doubt := scale_doubt(item.joined.predicted, item.joined.truth)):
            lines.append(f"{item.predictions}: {doubt}")
        if item.joined.by_picture:
            lines.append(f"{item.predictions}: joined by picture: no id of it is in {item.truth}")
        if item.within is not None:
            lines += ["", *_within_lines(str(item.predictions), item.within)]
        if item.coverage:
            lines.append(f"{item.predictions}: {_coverage_line(item.coverage)}")
        if item.distribution:
            distances = "  ".join(f"{name} {value:.4f}" for name, value in asdict(item.distribution).items())
            lines.append(f"{item.predictions}: distance of the distributions  {distances}")
        for what, ids in (("without prediction", item.joined.missing), ("predicted without truth", item.joined.extra)):
            if ids:
                more = ", ..." if len(ids) > 3 else ""
                lines.append(f"{item.predictions}: left out {len(ids)} {what}: {', '.join(ids[:3])}{more}")
    return "\n".join(lines)


def _shown(name: str, evaluations: Sequence[Evaluation]) -> bool:
    """Whether a figure stands in the table: by protocol, its own and the fits."""
    ruled = [item.by_protocol for item in evaluations if item.by_protocol is not None]
    return not ruled or "_after_" in name or any(name in one.protocol.metrics for one in ruled)


def _fit_lines(evaluations: Sequence[Evaluation]) -> list[str]:
    """The functions that were fitted, and what is to be said of the fits."""
    fitted = sorted({parameters for item in evaluations for parameters in item.metrics.curves})
    lines = [f"*{parameters}: after the fit of {FUNCTIONS[parameters]}, x standardised" for parameters in fitted]
    for item in evaluations:
        of = {str(item.predictions): item.metrics} | {
            f"{item.predictions}, attribute {name!r}": metrics for name, metrics in item.attributes.items()
        }
        for label, metrics in of.items():
            lines += [f"{label}: {reason}; the raw figure alone" for reason in metrics.unfitted.values()]
            lines += [
                f"{label}: the curve of {parameters} parameters {curve.course}: see the raw PLCC for the direction"
                for parameters, curve in metrics.curves.items()
                if curve.course != "rises"
            ]
    return lines


def _protocol_head(item: Evaluation) -> list[str]:
    """By which protocol, or that the list is not its own."""
    ruled = item.by_protocol
    if ruled is None:
        return []
    return [f"{item.predictions}: {ruled.mark() or f'protocol {ruled.protocol.name} ({ruled.protocol.title})'}"]


def _protocol_lines(item: Evaluation) -> list[str]:
    """What is reported beside the table."""
    lines, ruled = [], item.by_protocol
    if item.accuracy is not None:
        found = item.accuracy
        share = f"{found.accuracy.value:.4f} {interval_text(found.accuracy.low, found.accuracy.high)}"
        lines.append(
            f"{item.predictions}: accuracy at {found.threshold:g}  {share}   (the larger class alone: "
            f"{found.majority:.4f})"
        )
    if ruled is not None and ruled.EMD is not None:
        lines.append(f"{item.predictions}: EMD (r = 2) from the raw votes  {ruled.EMD:.4f}")
    elif ruled is not None and ruled.no_EMD is not None:
        lines.append(f"{item.predictions}: no EMD: {ruled.no_EMD}")
    return lines


def _coverage_line(found: Coverage) -> str:
    return (
        f"truth within one predicted deviation {found.within_one:.3f}, within two {found.within_two:.3f} (a normal "
        f"error: 0.683, 0.954); mean deviation {found.deviation:.2f}, root mean square error {found.error:.2f}"
    )


def _within_lines(label: str, within: Within) -> list[str]:
    """Whether the attributes differ as people say, in words."""
    found = {
        name: f"{estimate.value:.3f} {interval_text(estimate.low, estimate.high)}".removesuffix(" -")
        for name, estimate in within.estimates().items()
    }
    return [
        f"{label}: attributes within each of {within.n} pictures",
        f"  their order, SRCC                  {found['SRCC']}   (each attribute's mean: {found['SRCC_by_averages']})",
        f"  weakest, strongest named right     {found['weakest']}, {found['strongest']}   "
        f"(chance: {found['by_chance']})",
        f"  spread, predicted and rated        {found['spread']}, {found['spread_rated']}",
        f"  over pictures, mean SRCC           {found['over_pictures']}   (by the total alone: "
        f"{found['over_pictures_by_total']}; partial, given the total: {found['partial']})",
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with its header first, the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    lines = ["  ".join(line).rstrip() for line in cells]
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _rows(label: str, metrics: Metrics, names: Sequence[str]) -> list[list[str]]:
    """Figures and, where there are any, their intervals below."""
    estimates = metrics.estimates()
    found = [estimates.get(name) for name in names]
    rows = [[label, str(metrics.n), *(_figure(one.value if one else None) for one in found)]]
    if any(estimate.low is not None for estimate in estimates.values()):
        rows.append(["", "", *(interval_text(one.low, one.high) if one else "" for one in found)])
    return rows


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def interval_text(low: float | None, high: float | None) -> str:
    """The ends of an interval, "-" where there is none."""
    return "-" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
