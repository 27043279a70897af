"""Several files of a folder that change together, beside others that stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from artquant.errors import ArtQuantError
from artquant.files.only_writer import only_writer
from artquant.files.unwritten import errors_named
from artquant.files.whole_folder import force_to_disk

_NEW = ".artquant-new"  # where files are written
_WHOLE = ".artquant-whole"  # the same folder once all are: they are being moved to their places
_REMOVED = ".removed"  # in it: names of files that go, a line each


@contextmanager
def whole_files(folder: Path, removed: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to write files into, which take the places of those of their names when the block ends without an error.

    A process that is killed leaves the old files or, from the moment when all new ones are on the disk, the new ones:
    the next call puts those that are not yet in their places there, and until then :func:`require_settled` refuses the
    folder. What the block raises leaves the old ones.

    Args:
        folder: made if need be; other files in it are left alone.
        removed: names of files that go when the new ones come.

    Raises:
        ArtQuantError: another process is writing the folder, or it cannot be written.
    """
    with only_writer(folder), errors_named(folder):
        if folder.exists() and not folder.is_dir():
            raise ArtQuantError(f"{folder}: is a file; name a folder")
        new, whole = folder / _NEW, folder / _WHOLE
        is_made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _settle(folder)
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            yield new
            (new / _REMOVED).write_text("".join(f"{name}\n" for name in removed), encoding="utf-8")
            for file in (*new.iterdir(), new):
                force_to_disk(file)
            os.replace(new, whole)
            _settle(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            if is_made and not any(folder.iterdir()):
                folder.rmdir()


def _settle(folder: Path) -> None:
    """Move the files that are all written to their places, or those that a killed process has not moved yet."""
    whole = folder / _WHOLE
    if not whole.is_dir():
        return
    force_to_disk(folder)
    for name in (whole / _REMOVED).read_text(encoding="utf-8").splitlines():
        (folder / Path(name).name).unlink(missing_ok=True)
    for file in sorted(whole.iterdir()):
        if file.name != _REMOVED:
            os.replace(file, folder / file.name)
    force_to_disk(folder)
    os.replace(whole, folder / _NEW)  # from here on all is done
    shutil.rmtree(folder / _NEW)


def require_settled(file: Path) -> None:
    """Refuse a file beside others that were to change together and have not yet.

    Raises:
        ArtQuantError: a process that writes them was killed, or is just at it.
    """
    if (file.parent / _WHOLE).is_dir():
        raise ArtQuantError(
            f"{file}: its folder is being replaced, by a command that is at work or was killed; run that command again"
        )
