"""The data sets that can be imported: where their files say what, and on which scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.prepare import apdd
from artquant.prepare.annotation import Annotation, Imported, Split
from artquant.prepare.columns import Columns
from artquant.prepare.delimited import AVA_COUNTS
from artquant.prepare.one_scale import on_one_scale
from artquant.prepare.published_splits import require_split_columns, require_split_files
from artquant.prepare.ratings import of_ratings
from artquant.prepare.rows import annotations_of, number_of_votes, require_decimal_commas
from artquant.prepare.table_form import TableForm
from artquant.prepare.tables import read_table
from artquant.prepare.units import require_units

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
    split_files: Mapping[str, Split] = field(default_factory=dict)  # names under which splits are published
    reader: Callable[[Files, Columns, TableForm | None, bool], Imported] | None = None  # None: tables, one by one

    def read(
        self,
        files: Files,
        columns: Columns,
        score_range: tuple[float, float],
        vote_values: Sequence[float] | None = None,
        form: TableForm | None = None,
        ignore_split: bool = False,
    ) -> Imported:
        """Read the files.

        Args:
            files: With their splits.
            columns: This importer's, with what the user changed.
            score_range: Of the data set; what vote values are spaced over.
            vote_values: One for each vote column; None: evenly spaced over the range, rising.
            form: Of the files, as in `read_table`.
            ignore_split: The splits that the files themselves say are not used, knowingly.

        Raises:
            ArtQuantError: A file is missing or faulty, says splits that are not used, or scores and deviations in two
                units; names file and record.
        """
        if not ignore_split:
            require_split_files(files, self.split_files)
        if self.reader is not None:
            _refuse_values(vote_values)
            if columns.per_rater:
                raise ArtQuantError("these files have no rows of single raters; leave out --per-rater, --rater-column")
            return on_one_scale(self.reader(files, columns, form, ignore_split), columns, score_range)
        tables = [(read_table(path, form, self.between_blanks), split) for path, split in files]
        sources, notes = [table.source for table, _ in tables], [note for table, _ in tables for note in table.notes]
        require_decimal_commas([table for table, _ in tables], columns)
        for table, split in [] if ignore_split else tables:
            require_split_columns(table, columns, split)
        values = None
        annotations: list[Annotation] = []
        if columns.per_rater:
            ratings = (rating for table, split in tables for rating in annotations_of(table, columns, split))
            annotations, values, told = of_ratings(ratings, score_range, vote_values)
            return on_one_scale(Imported(annotations, sources, [*notes, *told], values), columns, score_range)
        for table, split in tables:
            values = values or _vote_values(number_of_votes(table, columns), score_range, vote_values)
            found = list(annotations_of(table, columns, split, values))
            require_units(table, columns, found, score_range)
            annotations.extend(found)
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
    """The value of each of so many counts of votes: evenly over the range, rising, unless they are named."""
    if values is not None:
        if count and len(values) != count:
            raise ArtQuantError(f"{len(values)} vote values for {count} counts of votes; list one for each")
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
        title="APDD: a folder with train.csv, valid.csv, test.csv and APDDv2-10023.csv, some of them, or APDD_v1.csv",
        columns=apdd.COLUMNS,
        range=(APDD_SCALE.low, APDD_SCALE.high),
        levels=APDD_SCALE.values,
        split_files=apdd.SPLIT_FILES,
        reader=apdd.read_apdd,
    ),
    "baid": Importer(
        title="BAID and other CSVs with the columns image, score",
        columns=Columns(),
        range=(0.0, 10.0),
        split_files={"train_set.csv": "train", "val_set.csv": "validation", "test_set.csv": "test"},
    ),
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
        split_files={"train.json": "train", "test.json": "test"},
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
