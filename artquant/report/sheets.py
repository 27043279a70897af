"""Contact sheets: which pictures are shown, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from artquant.pages.html import Markup, element, joined
from artquant.report.judged import Gathered
from artquant.report.part import Part
from artquant.report.pictures import Pictures

_EXCERPT = 260  # characters of a description
_APART = (
    "Pictures whose places in the files' orders are furthest apart (share of pictures with a lower score, so that "
    "other scales do not matter)."
)


@dataclass(frozen=True)
class Sheet:
    """Pictures of a kind, most so first."""

    title: str
    about: str
    places: tuple[int, ...]
    is_of_all: bool = False  # of all files, not of the first one's scores


def sheets(found: Gathered, most: int) -> list[Sheet]:
    """Those for which there are pictures; of several files, where the first one's are best, worst, ..."""
    score, off, deviation = found.scores[0], found.off, found.deviations[0]
    kinds = [
        ("Best", "Highest predicted scores.", score, None),
        ("Worst", "Lowest predicted scores, lowest first.", -score, None),
        ("Overrated", "Predicted furthest above the true score.", off, 0.0),
        ("Underrated", "Predicted furthest below the true score.", -off, 0.0),
        ("Most uncertain", "Highest predicted standard deviation.", deviation, 0.0),
    ]
    chosen = [Sheet(title, about, _highest(values, most, above)) for title, about, values, above in kinds]
    if len(found.scores) > 1:
        places = _highest(apart(found.scores), most, 0.0)
        chosen.insert(0, Sheet("Where the files differ", _APART, places, is_of_all=True))
    return [sheet for sheet in chosen if sheet.places]


def apart(scores: np.ndarray) -> np.ndarray:
    """Distance [N] of the highest from the lowest percentile, 0 to 1, that files [M, N] say; NaN: one says none."""
    from scipy.stats import rankdata

    whole = np.isfinite(scores).all(axis=0)
    found = np.full(scores.shape[1], np.nan)
    if whole.any():
        found[whole] = np.ptp(rankdata(scores[:, whole], axis=1), axis=0) / whole.sum()
    return found


def _highest(values: np.ndarray, most: int, above: float | None) -> tuple[int, ...]:
    known = np.isfinite(values) if above is None else values > above
    if known.sum() > 1 and np.ptp(values[known]) == 0:  # none is more so than another
        return ()
    order = np.argsort(-np.where(known, values, -np.inf), kind="stable")[: min(most, int(known.sum()))]
    return tuple(map(int, order))


def sheet_parts(
    chosen: Sequence[Sheet], found: Gathered, names: Sequence[str], texts: Sequence[str], pictures: Pictures
) -> Iterator[Part]:
    """A part of the page for each."""
    for sheet in chosen:
        about = sheet.about + (f" In {names[0]}." if len(names) > 1 and not sheet.is_of_all else "")
        cards = [_card(place, found, names, texts[place], pictures) for place in sheet.places]
        yield Part(sheet.title, about, (element("ul", *(element("li", card) for card in cards), class_="sheet"),))


def _card(place: int, found: Gathered, names: Sequence[str], text: str, pictures: Pictures) -> Markup:
    image = found.images[place]
    said = element("blockquote", _short(text), dir="auto") if text else ""
    return joined(
        [
            element("div", pictures.shown(image), class_="picture"),
            element("h3", image),
            element("p", *_scores(place, found, names), class_="scores"),
            _attributes(place, found),
            said,
        ]
    )


def _short(text: str) -> str:
    return text if len(text) <= _EXCERPT else text[:_EXCERPT].rsplit(" ", 1)[0] + " …"


def _scores(place: int, found: Gathered, names: Sequence[str]) -> list[object]:
    """Each file's score with its deviation, and the true one."""
    facts: list[object] = []
    for name, score, deviation in zip(names, found.scores[:, place], found.deviations[:, place], strict=True):
        if np.isfinite(score):
            spread = f"\u00a0±\u00a0{deviation:.2f}" if np.isfinite(deviation) else ""
            label = "Predicted" if len(names) == 1 else name
            facts.append(element("span", f"{label} ", element("b", f"{score:.2f}"), spread))
    if np.isfinite(found.truth[place]):
        off = found.off[place]
        missed = f" ({off:+.2f})" if len(names) == 1 and np.isfinite(off) else ""
        facts.append(element("span", "True ", element("b", f"{found.truth[place]:.2f}"), missed))
    return facts


def _attributes(place: int, found: Gathered) -> Markup:
    rows = [
        (name, predicted, rated)
        for name, predicted, rated in zip(found.attributes, found.predicted[place], found.rated[place], strict=True)
        if np.isfinite(predicted)
    ]
    if not rows:
        return Markup("")
    items = [
        element("li", f"{name} ", element("b", f"{one:.1f}"), f" (true {true:.1f})" if np.isfinite(true) else "")
        for name, one, true in rows
    ]
    label = f"Attributes of {found.images[place]}"
    return element("details", element("summary", "Attributes"), element("ul", *items), aria_label=label)
