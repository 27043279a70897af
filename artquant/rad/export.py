"""From a collection to training files: the structured form, and a file of records for each level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from artquant.errors import ArtQuantError
from artquant.files.json_files import write_json
from artquant.files.json_stream import iterate_records
from artquant.rad.outcome import Entry, Outcome
from artquant.rad.store import Store
from artquant.texts.descriptions import SEPARATOR, LevelsReport, require_levels, split_descriptions
from artquant.texts.leaks import find_leaks
from artquant.texts.near_duplicates import near_duplicates

Doubt = Literal["leaks", "near-duplicates"]
DOUBTS: tuple[Doubt, ...] = get_args(Doubt)
STRUCTURED = "descriptions.json"
_OURS = "collected"  # key of every record of a structured file that was exported


@dataclass(frozen=True)
class Exported:
    """What was written, what was found in it, and how many pictures were left out for it."""

    levels: LevelsReport
    doubts: dict[Doubt, tuple[str, ...]]  # names of pictures; of near-duplicates all but the first of a group
    left_out: int


def export_descriptions(store: Store, out: Path, subject: str, seed: int, leave_out: Sequence[Doubt] = ()) -> Exported:
    """Write `out/descriptions.json` (structured) and `out/descriptions_level_{1,2,3}.json`.

    Args:
        subject: the noun in the questions, which are drawn by the seed.
        leave_out: pictures that these are found of are not written.

    Raises:
        ArtQuantError: nothing is kept so far, or files of others would be overwritten.
    """
    found = [(entry, outcome) for entry, outcome in store.outcomes("kept", "partly")]
    doubts = _doubts(found)
    left_out = {image for doubt in leave_out for image in doubts[doubt]}
    records = [_record(entry, outcome) for entry, outcome in found if entry.image not in left_out]
    if not records:
        raise ArtQuantError(f"{store.path}: no description is kept, so there is nothing to export; see the report")
    file = out / STRUCTURED
    _require_ours(file)
    require_levels(out)
    write_json(file, records)
    levels = split_descriptions(file, out, separator=SEPARATOR, seed=seed, subject=subject)
    return Exported(levels, doubts, len(left_out))


def _doubts(found: Sequence[tuple[Entry, Outcome]]) -> dict[Doubt, tuple[str, ...]]:
    texts = [SEPARATOR.join(outcome.texts.values()) for _, outcome in found]
    leaking = [entry.image for (entry, _), text in zip(found, texts, strict=True) if find_leaks(text)]
    copies = sorted(place for group in near_duplicates(texts) for place in sorted(group)[1:])
    return {"leaks": tuple(leaking), "near-duplicates": tuple(found[place][0].image for place in copies)}


def _record(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    marks = {draft.part: draft.mark for draft in outcome.drafts if draft.kept}
    scored = {"gt_score": entry.score} | ({"attributes": entry.attributes} if entry.attributes else {})
    return {"image": entry.image, **outcome.texts, **scored, _OURS: {"marks": marks}}


def _require_ours(file: Path) -> None:
    if os.path.lexists(file):
        try:
            ours = all(isinstance(item, dict) and _OURS in item for _, item in iterate_records(file))
        except ArtQuantError:
            ours = False
        if not ours:
            raise ArtQuantError(f"{file}: is there and was not exported here; name another folder with --out")
