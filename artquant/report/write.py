"""The whole report: one HTML file that needs nothing else, and fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from artquant.data.predictions import origin_file
from artquant.errors import ArtQuantError
from artquant.files.json_files import write_text
from artquant.pages.html import Markup, element, is_written_by, page, section
from artquant.report import parts
from artquant.report.judged import Judged, gather
from artquant.report.listed import list_part
from artquant.report.part import Part
from artquant.report.pictures import Pictures
from artquant.report.sheets import sheet_parts, sheets
from artquant.report.spoken import brought_along, spoken_of
from artquant.texts.text_sets import read_text_set

GENERATOR = "artquant report"
_LARGEST = 29_000_000  # bytes of a page: what a browser opens at once
PAGE = "report.html"  # where a run's lies, beside its metrics


@dataclass(frozen=True)
class Wanted:
    """What a report shows beside figures.

    images: folder of the pictures; None: not known. descriptions: a file of them. facts: further ones, by name.
    of_sheet: pictures on a contact sheet. small: most small pictures in the list; None: as many as keep it openable.
    """

    images: Path | None = None
    descriptions: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    of_sheet: int = 12
    small: int | None = None


@dataclass(frozen=True)
class Written:
    """A report: the file, how many pictures it is about, and why some of them could not be shown, by name."""

    out: Path
    pictures: int
    missing: Mapping[str, str]


def require_replaceable(out: Path, read: Sequence[Path]) -> None:
    """See that a report may be written here, before anything is computed.

    Args:
        read: files that the report is made of.

    Raises:
        ArtQuantError: the file is one of those, a folder, or was written by something else.
    """
    if os.path.realpath(out) in map(os.path.realpath, read):
        raise ArtQuantError(f"{out}: would overwrite what the report is about; name another file with --out")
    if out.is_dir():
        raise ArtQuantError(f"{out}: is a folder; name a file with --out")
    if os.path.lexists(out) and not is_written_by(out, GENERATOR):
        raise ArtQuantError(f"{out}: is there and no report of ours; name another file with --out")


def write_report(title: str, judged: Sequence[Judged], out: Path, wanted: Wanted, progress: bool = False) -> Written:
    """Write the page; pictures are read one at a time.

    Args:
        out: the file, replaced in one step.
        progress: show how far it is.

    Raises:
        ArtQuantError: as :func:`require_replaceable`; descriptions that cannot be used.
    """
    truths = [one.evaluation.truth for one in judged if one.evaluation is not None]
    noted = [file for one in judged for file in (one.path, origin_file(one.path))]
    require_replaceable(out, [*noted, *truths, *([wanted.descriptions] if wanted.descriptions else [])])
    found, pictures = gather(judged), Pictures(wanted.images)
    brought = {
        name: brought_along(picture) for one in judged for name, picture in zip(one.ids, one.pictures, strict=True)
    }
    texts = [brought[name] for name in found.ids]
    if wanted.descriptions is not None:
        texts = spoken_of(found.images, read_text_set(wanted.descriptions))
    names = [one.name for one in judged]
    figures = (
        parts.facts(judged, wanted.facts),
        parts.agreement(judged),
        parts.spread(judged),
        parts.distributions(judged, found),
        parts.attributes(judged),
    )
    whole = [
        *(part for part in figures if part is not None),
        *sheet_parts(sheets(found, wanted.of_sheet), found, names, texts, pictures),
    ]
    room = _LARGEST - sum(len(child) for part in whole for child in part.children)
    whole.append(list_part(found, names, texts, pictures, room, wanted.small, progress))
    write_text(out, _page(title, parts.head(title, judged, found), whole, pictures))
    return Written(out, len(found.ids), dict(pictures.missing))


def _page(title: str, head: Sequence[Markup], whole: Sequence[Part], pictures: Pictures) -> str:
    sections = [section(one.title, one.about, *one.children, id=f"part-{n}") for n, one in enumerate(whole)]
    links = (element("li", element("a", one.title, href=f"#part-{n}")) for n, one in enumerate(whole))
    nav = element("nav", element("ul", *links), aria_label="Parts of the page")
    inside = files("artquant.report")
    return page(
        title,
        *sections,
        before=[*head, nav],
        after=[element("p", _end(pictures))],
        style=(inside / "report.css").read_text(encoding="utf-8"),
        script=(inside / "list.js").read_text(encoding="utf-8"),
        generator=GENERATOR,
    )


def _end(pictures: Pictures) -> str:
    missing = f" {len(pictures.missing):,} pictures could not be shown." if pictures.missing else ""
    return f"Written by artquant report. This file holds all that it shows and asks nothing of any server.{missing}"
