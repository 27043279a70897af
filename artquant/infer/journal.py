"""What a run over pictures has done: its lines, what they are made with and what the pictures were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from artquant.data.predictions import notes_file, origin_file
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json, write_json
from artquant.files.line_file import LineFile
from artquant.infer.picture_notes import PictureNote, note_lines, read_notes, require_same_pictures
from artquant.infer.scorer import Scorer
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models.fingerprint import processor_fingerprint
from artquant.models.model_folder import ModelFolder


class Journal:
    """A context: a file of results that grows line by line, `.origin.json` and `.pictures.jsonl` beside it.

    Nothing is changed before :meth:`begin` has found all of it to be of the same command.

    Args:
        out: the file. first: key that every line of it begins with.

    Raises:
        ArtQuantError: one of the files cannot be opened.
    """

    def __init__(self, out: Path, first: str):
        with ExitStack() as opened:
            self.lines = opened.enter_context(LineFile(out, first))
            self._noted = opened.enter_context(LineFile(notes_file(out), "picture"))
            self._opened = opened.pop_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def begin(self, origin: Mapping[str, object], done: Iterable[Entry], reader: EntryReader) -> int:
        """After all lines were read: look whether they may go on, then take away what a killed run was at.

        Args:
            origin: what results are made with, as `full_origin` gives it.
            done: pictures of the lines that are there, with the names that they are noted under as ids.

        Returns:
            How many these are.

        Raises:
            ArtQuantError: they were made with something else or of other pictures, or are not of this command.
        """
        out = self.lines.path
        _check_origin(out, origin, self.lines.is_empty)
        count = require_same_pictures(out, read_notes(self._noted), done, reader)
        write_json(origin_file(out), dict(origin))
        self.lines.mend()
        if count:
            self._noted.mend()
        else:
            self._noted.clear()
        return count

    def append(self, values: Iterable[Any], notes: Mapping[str, PictureNote | None]) -> None:
        """Write lines about the pictures of the notes."""
        # Notes first: killed between the two, a run has noted pictures that it will read again.
        self._noted.append(note_lines(notes))
        self.lines.append(values)


def origin_of(opened: ModelFolder) -> dict[str, object]:
    """What the predictions are made with, wherever it lies: of an adapter the base counts too."""
    return {
        "model": " over ".join(str(folder.name) for folder in opened.chain()),
        "weights": [folder.fingerprint for folder in opened.chain()],
        "processor": [processor_fingerprint(folder.path) for folder in opened.chain()],
    }


def full_origin(scorer: Scorer, origin: Mapping[str, object]) -> dict[str, object]:
    """What results are made with: what a caller says of the model, and how it is loaded and asked."""
    loaded = {
        "prompt": scorer.loaded.prompt.to_dict() | {"description_questions": []},
        "readout": scorer.loaded.readout.to_dict(),
        "dtype": str(scorer.network.plain.dtype),
    }
    narrowed = {} if scorer.loaded.quantize is None else {"quantize": scorer.loaded.quantize}
    mapped = {} if scorer.score_range is None else {"score_range": list(scorer.score_range)}
    return {**origin, **loaded, **narrowed, **mapped}


def _check_origin(out: Path, origin: Mapping[str, object], is_empty: bool) -> None:
    """Refuse to go on with what is not of this command, model and settings; changes nothing.

    Args:
        is_empty: whether there is nothing yet, so that nothing can be mixed.

    Raises:
        ArtQuantError: it was made by another model or with other settings, or something else lies at these names.
    """
    file = origin_file(out)
    recorded = read_json(file) if file.is_file() else {"model": "an unknown model"}
    if not isinstance(recorded, dict) or "model" not in recorded:
        raise ArtQuantError(f"{file}: is there, and no origin of predictions; name another output file")
    names = sorted({*recorded, *origin} - {"model"})
    other = [name for name in names if recorded.get(name) != origin.get(name)]
    if other and not is_empty:
        raise ArtQuantError(
            f"{out}: holds predictions of {recorded['model']}, made with other {', '.join(other)}; name another output "
            "file or delete it"
        )
