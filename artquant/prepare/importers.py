"""The data sets that can be imported: where their files say what, and on which scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.prepare import apdd
from artquant.prepare.annotation import Annotation, Imported, Split
from artquant.prepare.columns import Columns
from artquant.prepare.delimited import AVA_COUNTS
from artquant.prepare.one_scale import on_one_scale
from artquant.prepare.ratings import of_ratings
from artquant.prepare.rows import annotations_of, number_of_votes
from artquant.prepare.table_form import TableForm
from artquant.prepare.tables import read_table

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
    reader: Callable[[Files, Columns, TableForm | None], Imported] | None = None  # None: tables, one after the other

    def read(
        self,
        files: Files,
        columns: Columns,
        score_range: tuple[float, float],
        vote_values: Sequence[float] | None = None,
        form: TableForm | None = None,
    ) -> Imported:
        """Read the files.

        Args:
            files: With their splits.
            columns: This importer's, with what the user changed.
            score_range: Of the data set; what vote values are spaced over.
            vote_values: One for each vote column; None: evenly spaced over the range, rising.
            form: Of the files, as in `read_table`.

        Raises:
            ArtQuantError: A file is missing or faulty; names file and record.
        """
        if self.reader is not None:
            _refuse_values(vote_values)
            if columns.per_rater:
                raise ArtQuantError("these files have no rows of single raters; leave out --per-rater, --rater-column")
            return on_one_scale(self.reader(files, columns, form), columns, score_range)
        tables = [(read_table(path, form, self.between_blanks), split) for path, split in files]
        sources, notes = [table.source for table, _ in tables], [note for table, _ in tables for note in table.notes]
        values = None
        annotations: list[Annotation] = []
        if columns.per_rater:
            ratings = (rating for table, split in tables for rating in annotations_of(table, columns, split))
            annotations, values, told = of_ratings(ratings, score_range, vote_values)
            return on_one_scale(Imported(annotations, sources, [*notes, *told], values), columns, score_range)
        for table, split in tables:
            values = values or _vote_values(number_of_votes(table, columns), score_range, vote_values)
            annotations.extend(annotations_of(table, columns, split, values))
        if not any(annotation.votes for annotation in annotations):
            _refuse_values(vote_values)
            values = None
        return on_one_scale(Imported(annotations, sources, notes, values), columns, score_range)


def _refuse_values(values: Sequence[float] | None) -> None:
    if values is not None:
        raise ArtQuantError("values of votes (--vote-values), but there are no votes; leave them out or name the votes")


def _vote_values(
    count: int, score_range: tuple[float, float], values: Sequence[float] | None
) -> tuple[float, ...] | None:
    """The value of each of so many counts of votes; those of nested votes must be given."""
    if values is not None:
        if count and len(values) != count:
            raise ArtQuantError(f"{len(values)} vote values for {count} vote columns; list one for each")
        return tuple(values)
    if count < 2:
        return None
    return RatingScale.even(*score_range, words=tuple(map(str, range(count)))).values[::-1]


# Score records as training files hold them; whatever they lack is optional but the score.
_RECORD = Columns(
    score="gt_score",
    std="std",
    comment="comment",
    split="split",
    optional=frozenset({"gt_score", "std", "comment", "split"}),
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
