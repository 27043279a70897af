"""The whole check: records first, then the pictures that they name, then what both say together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from artquant.check.duplicates import groups_of_copies
from artquant.check.findings import Finding, in_order
from artquant.check.picture_uses import Uses
from artquant.check.pictures import Remark, inspect_pictures
from artquant.check.reading import Reader
from artquant.check.scores import ScoreChecks
from artquant.check.sources import Inputs
from artquant.check.texts import DescriptionChecks
from artquant.check.thumbnails import SIDE
from artquant.data.images import PictureHeader
from artquant.data.picture_names import PictureNames
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.files.progress_bar import progress_bar

if TYPE_CHECKING:
    from artquant.check.tokens import TokenChecks
    from artquant.readouts import Readout

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Options:
    """What is looked at, and how."""

    pictures: bool = True  # open the pictures
    duplicates: bool = True  # look for copies among them
    workers: int = 1  # processes that read pictures; 0: this one
    coarse_side: int | None = None  # longer side in pixels below which a picture is a warning; None: by the base model
    progress: bool = False  # bars on standard error


@dataclass(frozen=True)
class FileSummary:
    """What a file holds."""

    file: str
    split: str
    records: int
    pictures: int  # different ones
    scores: tuple[float, float] | None  # lowest and highest
    longest: int | None  # tokens of the longest conversation, with the image's


@dataclass
class PictureSummary:
    """What the pictures are like, of those that could be read."""

    named: int = 0  # by records, each counted once
    read: int = 0
    longer_side: tuple[int, int] | None = None  # least and most pixels
    formats: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Report:
    """Everything that a check has to say."""

    name: str
    files: tuple[FileSummary, ...]
    pictures: PictureSummary
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...]  # what was left out, and why
    seconds: float

    @property
    def errors(self) -> int:
        """Number of findings that are errors."""
        return sum(found.severity == "error" for found in self.findings)

    @property
    def warnings(self) -> int:
        """Number of findings that are warnings."""
        return len(self.findings) - self.errors

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, in the order of their importance."""
        return dict(Counter(found.kind for found in self.findings))


def run_check(inputs: Inputs, options: Options) -> Report:
    """Look at everything that the inputs name.

    Raises:
        ArtQuantError: The check itself cannot go on (the processes that read pictures cannot run).
    """
    started = time.perf_counter()
    findings = list(inputs.findings)
    not_checked: list[str] = []
    uses = Uses()
    files = _check_records(inputs, options, uses, findings, not_checked)
    findings += uses.in_both()
    summary = PictureSummary(named=len(uses.of))
    if options.pictures:
        _check_pictures(inputs, options, uses, findings, summary)
        if not options.duplicates:
            not_checked.append("copies of pictures (--no-duplicates)")
    else:
        not_checked.append("pictures and their copies (--no-pictures)")
    seconds = time.perf_counter() - started
    return Report(inputs.name, files, summary, tuple(in_order(findings)), tuple(not_checked), seconds)


def _readout(inputs: Inputs) -> Readout | None:
    """The configured readout; None where none is named, which loads nothing."""
    if not inputs.readout:
        return None
    from artquant.readouts import readout_of

    return readout_of(inputs.readout, inputs.scale)


def _check_records(
    inputs: Inputs, options: Options, uses: Uses, findings: list[Finding], not_checked: list[str]
) -> tuple[FileSummary, ...]:
    tokens = _token_checks(inputs, not_checked)
    scores, descriptions = ScoreChecks(inputs.scale, inputs.prompt, _readout(inputs)), DescriptionChecks(inputs.scale)
    checks: list[ScoreChecks | DescriptionChecks | TokenChecks] = [scores, descriptions]
    if tokens is not None:
        checks.append(tokens)
    readers: list[Reader] = []
    with progress_bar("records", " records", options.progress, leave=False) as bar:
        for source in inputs.sources:
            reader = Reader(source, inputs.scale, findings, uses)
            for entry in reader.entries():
                for check in checks:
                    findings += check.add(entry)
                bar.update()
            readers.append(reader)
    findings += scores.finish()
    findings += descriptions.finish()
    longest = {} if tokens is None else tokens.longest
    return tuple(
        FileSummary(
            file=reader.name,
            split=reader.source.split,
            records=reader.count,
            pictures=len(reader.pictures),
            scores=scores.range_of(reader.name),
            longest=longest.get(reader.name),
        )
        for reader in readers
    )


def _token_checks(inputs: Inputs, not_checked: list[str]) -> TokenChecks | None:
    """The checks that need the base model's tokenizer; None, with the reason noted, where there is none."""
    if not any(source.max_lengths for source in inputs.sources):
        if inputs.base is None:
            not_checked.append("lengths in tokens (they need a configuration)")
        return None
    if inputs.base is None or not inputs.base.is_dir():
        not_checked.append(f"lengths in tokens (no base model in {inputs.base}; see ModelZoo/README.md)")
        return None
    from artquant.check.tokens import token_checks

    try:
        return token_checks(inputs, inputs.base)
    except ArtQuantError as error:
        not_checked.append(f"lengths in tokens ({error})")
        return None


def _check_pictures(
    inputs: Inputs, options: Options, uses: Uses, findings: list[Finding], summary: PictureSummary
) -> None:
    pictures, without = uses.in_folders()
    findings += without
    coarse = _coarse_side(inputs) if options.coarse_side is None else options.coarse_side
    names = PictureNames()
    usable: list[tuple[int, bytes, bytes]] = []
    with progress_bar("pictures", " pictures", options.progress, len(pictures), leave=False) as bar:
        paths = [Path(picture) for picture in pictures]
        for index, facts in inspect_pictures(paths, options.workers):
            bar.update()
            picture = pictures[index]
            if isinstance(facts, Remark):
                findings.append(_problem(uses, picture, facts, names))
                continue
            findings += [uses.about(picture, *remark) for remark in facts.remarks]
            _summarise(summary, facts.header)
            if max(facts.header.width, facts.header.height) < coarse:
                size = f"{facts.header.width} x {facts.header.height} pixels"
                message = f"{size}, the longer side under {coarse}; use a larger copy if there is one"
                findings.append(uses.about(picture, "picture-coarse", message))
            usable.append((index, facts.digest, facts.thumbnails))
    if options.duplicates:
        usable.sort()  # in the order of the records, whatever order the processes finished in
        digests = [digest for _, digest, _ in usable]
        shown = np.frombuffer(b"".join(own for *_, own in usable), dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)
        owners = np.repeat(np.arange(len(usable)), [len(own) // (3 * SIDE**2) for *_, own in usable])
        groups = groups_of_copies(digests, shown, owners)
        findings += uses.copies([pictures[index] for index, *_ in usable], digests, groups)


def _problem(uses: Uses, picture: str, problem: Remark, names: PictureNames) -> Finding:
    hint = names.hint(Path(picture)) if problem.kind == "picture-missing" else ""
    return uses.about(picture, problem.kind, problem.message + hint)


def _summarise(summary: PictureSummary, header: PictureHeader) -> None:
    side = max(header.width, header.height)
    low, high = summary.longer_side or (side, side)
    summary.longer_side = (min(low, side), max(high, side))
    summary.read += 1
    summary.formats[header.format] += 1


def _coarse_side(inputs: Inputs) -> int:
    """Half the side that the base model sees: below it a picture is enlarged more than twice. 0: not known."""
    if inputs.base is None or not (inputs.base / PREPROCESSOR).is_file():
        return 0
    try:
        size = read_json(inputs.base / PREPROCESSOR).get("size")
    except (ArtQuantError, AttributeError):
        return 0
    sides = list(_sides(size))
    return min(sides) // 2 if sides else 0


def _sides(size: object) -> Iterator[int]:
    for side in size.values() if isinstance(size, dict) else [size]:
        if isinstance(side, int):
            yield side
