"""The data sets that can be imported: where their files say what, and on which scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.prepare import apdd
from artquant.prepare.annotation import Annotation, Imported, Source, Split
from artquant.prepare.columns import Columns, annotations_of
from artquant.prepare.tables import AVA_COUNTS, read_table

Files = Sequence[tuple[Path, Split | None]]  # None: the split is not said by which file it is


@dataclass(frozen=True)
class Importer:
    """One kind of annotation files."""

    title: str  # what it is, one line
    columns: Columns
    range: tuple[float, float] | None  # of the scores; None: not certain, the user names it
    levels: tuple[float, ...] | None = None  # published rating values; None: evenly spaced over the range
    method: str = "gaussian"  # of the distributions
    between_blanks: bool = False  # text without commas is AVA's form
    reader: Callable[[Files, Columns, str | None], Imported] | None = None  # None: tables, one after the other

    def read(
        self,
        files: Files,
        columns: Columns,
        score_range: tuple[float, float],
        vote_values: Sequence[float] | None = None,
        encoding: str | None = None,
    ) -> Imported:
        """Read the files.

        Args:
            files: With their splits.
            columns: This importer's, with what the user changed.
            score_range: Of the data set; what vote values are spaced over.
            vote_values: One for each vote column; None: evenly spaced over the range, rising.
            encoding: Of the files; None: UTF-8, else Latin-1.

        Raises:
            ArtQuantError: A file is missing or faulty; names file and record.
        """
        if self.reader is not None:
            _refuse_values(vote_values)
            return self.reader(files, columns, encoding)
        annotations: list[Annotation] = []
        sources: list[Source] = []
        notes: list[str] = []
        for path, split in files:
            table = read_table(path, encoding, self.between_blanks)
            values = _vote_values(columns, score_range, vote_values)
            annotations.extend(annotations_of(table, columns, split, values))
            sources.append(table.source)
            notes.extend(table.notes)
        has_votes = any(annotation.votes for annotation in annotations)
        if not has_votes:
            _refuse_values(vote_values)
        return Imported(annotations, sources, notes, _vote_values(columns, score_range, vote_values, has_votes))


def _refuse_values(values: Sequence[float] | None) -> None:
    if values is not None:
        raise ArtQuantError("values of votes (--vote-values), but there are no votes; leave them out or name the votes")


def _vote_values(
    columns: Columns, score_range: tuple[float, float], values: Sequence[float] | None, wanted: bool = True
) -> tuple[float, ...] | None:
    """The value of each vote column; those of nested votes must be given."""
    if not wanted:
        return None
    if values is not None:
        if columns.votes and len(values) != len(columns.votes):
            raise ArtQuantError(f"{len(values)} vote values for {len(columns.votes)} vote columns; list one for each")
        return tuple(values)
    if len(columns.votes) < 2:
        return None
    return RatingScale.even(*score_range, words=columns.votes).values[::-1]


# Score records as training files hold them; whatever they lack is optional but the score.
_RECORD = Columns(
    score="gt_score",
    std="std",
    comment="comment",
    split="split",
    optional=frozenset({"std", "comment", "split"}),
    records=True,
)

IMPORTERS = {
    "apdd": Importer(
        title="APDDv2: a folder with train.csv, valid.csv, test.csv and APDDv2-10023.csv, or some of them",
        columns=apdd.COLUMNS,
        range=(APDD_SCALE.low, APDD_SCALE.high),
        levels=APDD_SCALE.values,
        reader=apdd.read_apdd,
    ),
    "baid": Importer(title="BAID and other CSVs with the columns image, score", columns=Columns(), range=(0.0, 10.0)),
    "ava": Importer(
        title="AVA.txt (index, image id, ten counts, tags), or a CSV with the columns image_id, 1, ..., 10",
        columns=Columns(image="image_id", score=None, votes=AVA_COUNTS, suffix=".jpg"),
        range=(1.0, 10.0),
        method="votes",
        between_blanks=True,
    ),
    "list": Importer(
        title='JSON lists of {"image", "gt_score"}: PARA, TAD66K, FLICKR-AES as ArtiMuse publishes them',
        columns=_RECORD,
        range=None,
    ),
    "koniq": Importer(
        title="KonIQ-10k's CSVs: image_name, MOS, SD (MOS is on 1-5 or 1-100, see --range)",
        columns=Columns(image="image_name", score="MOS", std="SD", split="set", optional=frozenset({"SD", "set"})),
        range=None,
    ),
    "generic": Importer(
        title="any CSV, JSON list or JSON lines; the options name the columns. Also labels score records anew",
        columns=_RECORD,
        range=None,
    ),
}
