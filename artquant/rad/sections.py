"""Parts of the page on a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from artquant.evaluate.text_figures import MEANINGS, QUANTILES, TextFigures, ranks
from artquant.pages.charts import bars, heat
from artquant.pages.html import Markup, element, quoted, section, table, thumbnail
from artquant.rad.examples import KINDS, LOST, Examples
from artquant.rad.judging import JudgeFigures
from artquant.rad.outcome import Draft, Entry, Outcome
from artquant.rad.store import Totals
from artquant.texts.descriptions import PARTS
from artquant.texts.text_sets import TextSet

_GROUPS, _OF_GROUP = 5, 2  # of near-duplicates that are shown, and texts of each
_MAIN = ("near_duplicates", "template", "leaks", "read_srcc", "words_srcc")  # figures of the head
_EXCERPT, _OBJECTIONS = 600, 8  # characters; to one description
_NONE = "-"
_STATES = ("kept", "partly", "dropped", *LOST, "waiting")


def shown(figures: TextFigures, name: str) -> str:
    """A figure as it is written."""
    value = figures.value(name)
    return _NONE if value is None else format(value, MEANINGS[name].form)


def listed(sets: Sequence[TextFigures]) -> list[str]:
    """The figures that are worth a line: of a single set, it is not asked what the first one taught."""
    return [name for name in MEANINGS if name != "first_srcc" or len(sets) > 1]


def counted(states: Mapping[str, int]) -> str:
    """Pictures by state, the best first."""
    return ", ".join(f"{states[state]:,} {state}" for state in _STATES if state in states)


def head(
    name: str,
    states: Mapping[str, int],
    sets: Sequence[TextFigures],
    judges: JudgeFigures,
    roles: Mapping[str, Totals],
) -> Markup:
    """What it is about, and the main figures."""
    pictures = sum(states.values())
    kept = states.get("kept", 0)
    tiles = {
        "Pictures": f"{pictures:,}",
        "Kept in full": f"{kept / max(pictures, 1):.1%}",
        **{MEANINGS[key].title: shown(sets[0], key) for key in _MAIN},
        **{f"Canaries caught, {one.role}": f"{one.share:.0%}" for one in judges.canaries},
        "Calls": f"{sum(totals.calls for totals in roles.values()):,}",
        "Cost": f"{sum(totals.cost for totals in roles.values()):,.2f}",
    }
    items = [element("li", element("b", value), element("span", title)) for title, value in tiles.items()]
    return element(
        "header",
        element("h1", f"Descriptions: {name}"),
        element("p", counted(states)),
        element("ul", *items, class_="tiles"),
    )


def text_figures(sets: Sequence[TextFigures]) -> Markup:
    """The table of figures by set."""
    rows: list[list[object]] = []
    for name in listed(sets):
        meaning = MEANINGS[name]
        wanted = {"low": " Less is better.", "high": " More is better.", "": ""}[meaning.better]
        title = element("span", meaning.title, element("small", meaning.sentence + wanted))
        places = ranks(sets, name) if len(sets) > 1 else [None] * len(sets)
        rows.append([title, *map(_figure_cell, sets, [name] * len(sets), places)])
    heads = ["Figure", *(one.name for one in sets)]
    intervals = "In brackets the 95 % bootstrap interval."
    return section(
        "The texts",
        f"What was kept. {intervals}",
        table("Figures of each set" + (", with its rank" if len(sets) > 1 else ""), heads, rows),
    )


def _figure_cell(figures: TextFigures, name: str, place: int | None) -> Markup:
    estimate = {"read_srcc": figures.read_srcc, "words_srcc": figures.words_srcc, "first_srcc": figures.first_srcc}
    found = estimate.get(name)
    more: list[object] = []
    if found is not None and found.low is not None and found.high is not None:
        more.append(element("small", f"[{found.low:.3f}, {found.high:.3f}]"))
    if place is not None:
        more.append(element("small", f"rank {place}", class_="best" if place == 1 else "rank"))
    return element("span", shown(figures, name), *more)


def acceptance(judges: JudgeFigures) -> Markup:
    """By round and part."""
    numbers = sorted({one.round for one in judges.accepted})
    by_place = {(one.round, one.part): one for one in judges.accepted}
    rows: list[list[object]] = []
    for number in numbers:
        row: list[object] = [f"Round {number}"]
        for part in PARTS:
            one = by_place[number, part]
            row += [f"{one.written:,}", f"{one.accepted / one.written:.1%}" if one.written else _NONE]
        rows.append(row)
    series = {
        part: [by_place[number, part].accepted / max(by_place[number, part].written, 1) for number in numbers]
        for part in PARTS
    }
    chart = bars("Share accepted, by round", [f"round {number}" for number in numbers], series, ".0%", most=1.0)
    heads = ["", *(f"{part}, {what}" for part in PARTS for what in ("written", "accepted"))]
    written = sum(one.written for one in judges.accepted)
    objected = [[who, f"{count:,}", f"{count / written:.1%}"] for who, count in judges.objections.items()]
    return section(
        "Acceptance",
        "Descriptions written in each round, and the share of them that neither rule nor judge objected to. Later "
        "rounds rewrite only what was rejected.",
        element(
            "div",
            chart,
            table("Who objected, to how many descriptions", ["Who", "Descriptions", "Share"], objected),
            class_="charts",
        ),
        table("Descriptions by round and part", heads, rows),
    )


def marks(judges: JudgeFigures) -> Markup:
    """The judge's."""
    charts = [bars("Marks by part", [str(mark) for mark in range(11)], judges.marks, axis="mark out of ten")]
    if judges.marks_by_score is not None:
        charts.append(heat("Marks against human scores", judges.marks_by_score, "human score", "mark"))
    mean = _NONE if judges.mean_mark is None else f"{judges.mean_mark:.2f}"
    together = _NONE if judges.marks_srcc is None else f"{judges.marks_srcc.value:.3f}"
    return section(
        "Marks",
        f"A mark says how well a text agrees with the scores, so it should not rise with them. Mean mark of what was "
        f"kept: {mean}. SRCC of marks in all rounds with human scores: {together}; far from 0, the judge marks the "
        "picture instead of the text.",
        element("div", *charts, class_="charts"),
    )


def lengths(figures: TextFigures) -> Markup:
    """Words."""
    used = {part: counts for part, counts in figures.length_counts.items() if part in PARTS}
    last = max((place + 1 for counts in used.values() for place, count in enumerate(counts) if count), default=1)
    labels = [f"{10 * place}" for place in range(last)]
    chart = bars("Texts by length", labels, {part: counts[:last] for part, counts in used.items()}, axis="words, from")
    rows = [[part, *(f"{value:.0f}" for value in found)] for part, found in figures.lengths.items()]
    heads = ["Words", "least", *(f"{quantile}%" for quantile in QUANTILES[1:-1]), "most"]
    return section(
        "Lengths",
        "Words of each part; of Chinese, Japanese and Thai, signs.",
        element("div", chart, class_="charts"),
        table("Quantiles of the words of a text", heads, rows),
    )


def same_texts(figures: TextFigures, texts: TextSet) -> Markup:
    """The worst of templates, near-duplicates and leaks."""
    by_part = [[part, f"{share:.1%}"] for part, share in figures.near_duplicates_by_part.items()]
    phrases = [[words, f"{count:,}", f"{count / figures.pictures:.1%}"] for words, count in figures.phrases]
    groups = [
        element(
            "div",
            element("h3", f"{count:,} pictures: {', '.join(texts.images[place] for place in places)}"),
            *(quoted(texts.whole(place), _EXCERPT) for place in places[:_OF_GROUP]),
        )
        for count, places in figures.groups[:_GROUPS]
    ]
    leaked = [element("p", f"{texts.images[place]}: “{words}”") for place, words in figures.leaked]
    return section(
        "The same again",
        MEANINGS["near_duplicates"].sentence + " " + MEANINGS["template"].sentence,
        element(
            "div",
            table("Near-duplicates by part", ["Part", "Pictures"], by_part),
            table("Most frequent runs of words", ["Words", "Pictures", "Share"], phrases),
            class_="charts",
        ),
        *([element("h3", "Largest groups of near-duplicates"), *groups] if groups else []),
        *([element("h3", "First score leaks"), *leaked] if leaked else []),
    )


def read_again(figures: TextFigures, judges: JudgeFigures, texts: TextSet) -> Markup:
    """Scores from the text alone."""
    charts = []
    if judges.read_by_score is not None:
        charts.append(heat("Score read from the text", judges.read_by_score, "human score", "read score"))
    said = [
        element("p", element("b", f"{MEANINGS[name].title}: {shown(figures, name)}. "), MEANINGS[name].sentence)
        for name in ("read_srcc", "words_srcc")
    ]
    furthest: list[Markup] = []
    for place, read in figures.furthest:
        scores = f"{texts.images[place]}: human score {texts.scores[place]:.2f}, read {read:.2f}"
        furthest += [element("div", scores, class_="note"), quoted(texts.whole(place), _EXCERPT)]
    return section(
        "Scores read again",
        "Whoever reads only the text: which score does it tell of?",
        *said,
        element("div", *charts, class_="charts"),
        *([element("h3", "Texts that tell of another score"), *furthest] if furthest else []),
    )


def canaries(judges: JudgeFigures) -> Markup:
    """How the judges did."""
    rows = [
        [one.role, f"{one.tried:,}", f"{one.caught:,}", f"{one.share:.1%}", f"{one.low:.1%} to {one.high:.1%}"]
        for one in judges.canaries
    ]
    about = (
        "Good texts shown to a judge with the scores of another picture, and to the witness with another picture. "
        "Caught: it rejected them."
    )
    if not rows:
        return section("Canaries", about, element("p", "None were tried: loop.canaries is 0, or too few were kept."))
    heads = ["Role", "Tried", "Caught", "Share", "95 % interval (Wilson)"]
    return section("Canaries", about, table("Canaries by role", heads, rows))


def calls(roles: Mapping[str, Totals], endpoints: Mapping[str, Totals]) -> Markup:
    """What it took."""
    heads = ["", "Calls", "Attempts", "Answered", "Refused", "Unanswered", "Tokens in", "Tokens out", "Cost"]
    tables = [
        table(f"By {what}", heads, [_totals_row(name, totals) for name, totals in found.items()])
        for what, found in (("role", roles), ("endpoint", endpoints))
    ]
    return section(
        "Calls and cost",
        "An attempt is one sending of a call. Unanswered: begun and without a reply, because a process was killed or "
        "is at it.",
        *tables,
    )


def _totals_row(name: str, totals: Totals) -> list[object]:
    refused = totals.calls - totals.answered - totals.unanswered
    numbers = [totals.calls, totals.attempts, totals.answered, refused, totals.unanswered, totals.input, totals.output]
    return [name, *(f"{number:,}" for number in numbers), f"{totals.cost:,.4f}"]


def pictures(shown_ones: Examples, path_of: Callable[[str], Path]) -> Iterator[Markup]:
    """Examples of each kind."""
    for kind, title in KINDS.items():
        found = shown_ones.of(kind)
        if found:
            articles = [_article(entry, outcome, path_of(entry.image)) for entry, outcome in found]
            yield section(title, f"{len(found)} of them, drawn by their names; highest score first.", *articles)


def _article(entry: Entry, outcome: Outcome, path: Path) -> Markup:
    told = {"human score": entry.score, "read": outcome.score_read}
    scores = ", ".join(f"{name} {value:.2f}" for name, value in told.items() if value is not None)
    texts: list[Markup] = []
    for part in PARTS:
        drafts = [draft for draft in outcome.drafts if draft.part == part]
        texts += [element("h5", part.capitalize())] if drafts else []
        for draft in sorted(drafts, key=lambda draft: draft.round):
            texts += _draft(draft)
    why = [element("p", outcome.reason[:_EXCERPT], class_="why")] if outcome.reason else []
    body = element("div", element("h4", entry.image), element("p", scores, class_="note"), *why, *texts)
    return element("article", thumbnail(path, entry.image), body)


def _draft(draft: Draft) -> list[Markup]:
    mark = "" if draft.mark is None else f", mark {draft.mark:g}"
    fate = "kept" if draft.kept else "not kept"
    return [
        element("div", f"Round {draft.round}{mark}, {fate}", class_="note"),
        element("div", quoted(draft.text), class_="is" if draft.kept else "was"),
        *(element("div", f"{who}: {why}"[:_EXCERPT], class_="why") for who, why in draft.objections[:_OBJECTIONS]),
    ]


def lost(shown_ones: Examples, states: Mapping[str, int]) -> Markup:
    """Pictures without an outcome to speak of."""
    count = sum(states.get(state, 0) for state in LOST)
    if not count:
        return Markup("")
    rows = [[one.image, one.state, one.reason[:_EXCERPT]] for one in shown_ones.lost]
    about = f"{count:,} pictures that could not be read, or of which a call failed. They can be tried again."
    return section("Failed", about, table(f"The first {len(rows)}", ["Picture", "State", "Why"], rows, "texts"))


def settings(config: Mapping[str, Any]) -> Markup:
    """What it was made with."""
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100) if config else "not stored"
    about = "As the collection was begun. Of keys only the names of the variables that hold them."
    return section("Settings", about, element("pre", text))
