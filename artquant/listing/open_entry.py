"""The pictures of entries, read from wherever they lie."""

from __future__ import annotations

from types import TracebackType

from PIL import Image

from artquant.data.images import load_image
from artquant.files.opened import read_whole
from artquant.listing.entry import Entry


class EntryReader:
    """A context that reads pictures and keeps archives and tables open between two of them.

    It may be used from several threads, and be sent to other processes.
    """

    def __enter__(self) -> EntryReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is open."""

    def read(self, entry: Entry) -> Image.Image:
        """The picture, as `artquant.data.images.load_image` reads a file.

        Raises:
            ImageError: it cannot be read in full; names the entry.
        """
        return load_image(entry.file, None if entry.id in (entry.path, entry.file) else entry.id)

    def read_bytes(self, entry: Entry) -> bytes:
        """The picture's file as it is.

        Raises:
            ArtQuantError: it cannot be read.
        """
        return read_whole(entry.file)
