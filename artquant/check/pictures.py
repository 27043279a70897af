"""Looking at picture files, each once: can it be read, what is odd about it, what does it look like.

Pictures are read as training reads them (:func:`artquant.data.images.load_image`), in processes of their own, so that
a file that brings a decoder down costs one finding and not the check.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from PIL import Image

from artquant.check.jpeg_zeros import zeros_in_jpeg
from artquant.check.thumbnails import thumbnails_of
from artquant.data.endings import UNCOMPRESSED, zero_share
from artquant.data.images import (
    MAXIMUM_ASPECT_RATIO,
    MAXIMUM_PIXELS,
    MINIMUM_SIDE,
    ImageError,
    PictureHeader,
    load_image,
    read_header,
)
from artquant.errors import ArtQuantError
from artquant.files.child_processes import process_pool

_DRAFT_SIDE = 64  # a JPEG is decoded at a fraction of its size, at least this large: damage shows all the same
_EVEN = 12  # of 255, in which the values of a picture of one colour differ at most
_CHUNK = 16  # pictures handed to a process at a time
_CRASHES = 3  # ends of a process in a row after which the machine is to blame, not the pictures
_SAME_FORMAT = {"MPO": "JPEG"}  # Pillow's name for JPEG files with further pictures


class Remark(NamedTuple):
    """Something about a picture file."""

    kind: str  # of finding
    message: str


@dataclass(frozen=True)
class PictureFacts:
    """What is known after one look of a picture file that can be used."""

    remarks: tuple[Remark, ...]
    header: PictureHeader
    digest: bytes  # SHA-256 of the file
    thumbnails: bytes  # as thumbnails_of gives them


Look: TypeAlias = "PictureFacts | Remark"  # a remark alone: why the picture cannot be used
Inspect: TypeAlias = "Callable[[Path], Look]"


def inspect_picture(path: Path) -> Look:
    """Read one picture in full; never raises for anything that is wrong with the file."""
    header = None
    try:
        header = read_header(path)
        image = load_image(path, draft_to=_DRAFT_SIDE)
        digest, zeros = _looked_through(path, header.format in ("JPEG", "MPO"))
    except ImageError as error:
        message = str(error).removeprefix(f"cannot read picture {' '.join(str(path).split())}: ")
        return Remark(_problem_kind(path, header), message)
    except OSError as error:  # it changes while it is looked at
        return Remark("picture-unreadable", f"{error.strerror}; check the file")
    if zeros is not None:
        message = f"{zeros[1]:,} bytes of its data, from byte {zeros[0]:,} on, are zeros; fetch or export it again"
        return Remark("picture-damaged", message)
    remarks = (*_remarks(path, header), *_blank(image))
    return PictureFacts(remarks, header, digest, thumbnails_of(image))


def _looked_through(path: Path, is_jpeg: bool) -> tuple[bytes, tuple[int, int] | None]:
    """SHA-256 of a file, and zeros in its data; a JPEG larger than any of as many pixels is not held for that."""
    if is_jpeg and path.stat().st_size <= 4 * MAXIMUM_PIXELS:
        data = path.read_bytes()
        return hashlib.sha256(data).digest(), zeros_in_jpeg(data)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest(), None


def _problem_kind(path: Path, header: PictureHeader | None) -> str:
    """The kind of finding for a file that was refused."""
    if header is not None:
        short, long = sorted((header.width, header.height))
        if short < MINIMUM_SIDE:
            return "picture-too-small"
        if short * long > MAXIMUM_PIXELS:
            return "picture-too-large"
        return "picture-shape" if long > MAXIMUM_ASPECT_RATIO * short else "picture-damaged"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "picture-no-file"
        if status.st_size == 0:
            return "picture-empty"
        with path.open("rb"):
            return "not-a-picture"
    except (FileNotFoundError, NotADirectoryError):
        return "picture-missing"
    except OSError:
        return "picture-unreadable"


def _remarks(path: Path, header: PictureHeader) -> Iterator[Remark]:
    if header.animated:
        message = f"the {header.format} file has several frames or pages; only the first is used"
        yield Remark("picture-animated", message)
    if header.format in UNCOMPRESSED:
        with path.open("rb") as stream:
            share = zero_share(stream)
        if share > 0.05:
            message = f"the last {share:.0%} of the file are zeros: black, or missing after a broken download; look"
            yield Remark("picture-zeros", message)
    said = Image.registered_extensions().get(path.suffix.lower())
    found = _SAME_FORMAT.get(header.format, header.format)
    if said is not None and _SAME_FORMAT.get(said, said) != found:
        yield Remark("picture-suffix", f"named {path.suffix}, but it is {found}; rename it (it is read all the same)")


def _blank(image: Image.Image) -> Iterator[Remark]:
    """A picture of one colour; what is transparent is laid on white."""
    lowest, highest = zip(*image.getextrema(), strict=True)
    if max(high - low for low, high in zip(lowest, highest, strict=True)) <= _EVEN:
        colour = (
            "black" if max(highest) <= _EVEN else "white, or transparent" if min(lowest) >= 255 - _EVEN else highest
        )
        yield Remark("picture-blank", f"all of it is of one colour ({colour}); look at it, fetch or export it again")


def inspect_pictures(
    paths: Sequence[Path], workers: int, inspect: Inspect = inspect_picture
) -> Iterator[tuple[int, Look]]:
    """Look at pictures in several processes; yields index and facts in the order in which they are ready.

    Args:
        paths: Picture files.
        workers: Number of processes; 0: this one, in which a crash of a decoder ends everything.
        inspect: What is done with each; to be importable by the processes.

    Raises:
        ArtQuantError: The processes end before their time whatever they read.
    """
    if workers == 0:
        for index, path in enumerate(paths):
            yield index, inspect(path)
        return
    chunks = [range(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]
    left: list[int] = []
    for indices, facts in _in_processes(paths, chunks, workers, inspect):
        if facts is None:
            left += indices
        else:
            yield from zip(indices, facts, strict=True)
    yield from _one_by_one(paths, sorted(left), inspect)


def _inspect_some(inspect: Inspect, paths: list[Path]) -> list[Look]:
    return [inspect(path) for path in paths]


def _in_processes(
    paths: Sequence[Path], chunks: Sequence[range], workers: int, inspect: Inspect
) -> Iterator[tuple[range, list[Look] | None]]:
    """Each chunk with its facts; with None if a process ended before the chunk was finished."""
    pool = process_pool(max(1, min(workers, len(chunks))))
    running: dict[Future[list[Look]], range] = {}
    try:
        for chunk in chunks:
            try:
                running[pool.submit(_inspect_some, inspect, [paths[index] for index in chunk])] = chunk
            except BrokenProcessPool:
                yield chunk, None
        for future in as_completed(list(running)):
            chunk = running.pop(future)
            try:
                yield chunk, future.result()
            except BrokenProcessPool:
                yield chunk, None
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(paths: Sequence[Path], indices: Sequence[int], inspect: Inspect) -> Iterator[tuple[int, Look]]:
    """After a crash: each picture alone, so that the one to blame is known."""
    crashes = 0
    pool = process_pool(1)
    try:
        for index in indices:
            try:
                facts = pool.submit(_inspect_some, inspect, [paths[index]]).result()[0]
                crashes = 0
            except BrokenProcessPool:
                pool.shutdown()
                pool, crashes = process_pool(1), crashes + 1
                if crashes == _CRASHES:
                    raise ArtQuantError(
                        f"the processes that read pictures end before their time ({paths[index]} and the ones before "
                        "it); check the memory, and from a script call under if __name__ == '__main__'"
                    ) from None
                message = (
                    "the process that read it ended (a fault in the decoder, or no memory); convert it or leave it out"
                )
                facts = Remark("picture-crash", message)
            yield index, facts
    finally:
        pool.shutdown()
