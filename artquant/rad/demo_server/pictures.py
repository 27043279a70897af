"""The pictures of a demo data folder, recognised by their bytes, or by their looks where those changed on the way."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from artquant.check.thumbnails import SIDE, thumbnails_of
from artquant.data.images import ImageError, as_rgb, list_pictures, load_image
from artquant.demo.attributes import ATTRIBUTES, panel_biases
from artquant.demo.dataset import EDITION, GENERATOR, MANIFEST, make_picture
from artquant.demo.plan import Plan
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.rad.demo_server.refusal import Refusal

_ALIKE = 5.0  # of 255: mean difference of thumbnails below which a picture is one of ours, scaled or compressed anew
_FORMATS = ("PNG", "JPEG", "WEBP")  # as chat models take them


@dataclass(frozen=True)
class Drawn:
    """What one picture shows."""

    index: int  # in the data set
    plan: Plan
    values: dict[str, float]  # its true attributes, 0 to 1, by the data set's names


class DemoPictures:
    """Finds out which picture of a folder it is."""

    def __init__(self, folder: Path) -> None:
        """`folder`: what `artquant demo-data` wrote. Raises ArtQuantError: it is none, or of another edition."""
        self.seed = _seed_of(folder)
        self._files = [file for file in list_pictures(folder / "images") if re.fullmatch(r"[0-9]{5}", file.stem)]
        self._by_digest = {_digest(base64.b64encode(file.read_bytes())): file for file in self._files}
        self._looking = threading.Lock()
        self._drawn = lru_cache(maxsize=65_536)(self._draw)

    def find(self, encoded: str) -> Drawn | None:
        """The picture that these base64 characters are, byte by byte; None: none of them, or not so written."""
        file = self._by_digest.get(_digest(encoded.encode()))
        return None if file is None else self._drawn(file)

    def find_alike(self, encoded: str) -> Drawn | None:
        """The picture that looks as this one does; None: none does. It takes seconds the first time.

        Raises:
            Refusal: these are no picture.
        """
        try:
            image = as_rgb(Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=_FORMATS))
        except (ImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise Refusal(400, "the picture cannot be read; send a whole PNG, JPEG or WebP file") from None
        with self._looking:
            apart = np.abs(self._thumbnails - _thumbnail(image).astype(np.int16)).mean(axis=(1, 2, 3))
        nearest = int(apart.argmin())
        return self._drawn(self._files[nearest]) if apart[nearest] < _ALIKE else None

    @cached_property
    def _thumbnails(self) -> np.ndarray:
        return np.stack([_thumbnail(load_image(file)) for file in self._files])

    @cached_property
    def _biases(self) -> np.ndarray:
        return panel_biases(self.seed)

    def _draw(self, file: Path) -> Drawn:
        picture, _ = make_picture(self.seed, int(file.stem), self._biases)
        return Drawn(picture.index, picture.plan, dict(zip(ATTRIBUTES, picture.values.tolist(), strict=True)))


def _digest(encoded: bytes) -> bytes:
    """Of the base64 characters: hashing them is faster than decoding them first."""
    return hashlib.sha256(encoded).digest()


def _thumbnail(image: Image.Image) -> np.ndarray:
    """uint8 [SIDE, SIDE, 3] of the whole picture."""
    whole = np.frombuffer(thumbnails_of(image), np.uint8)
    return whole.reshape(-1, SIDE, SIDE, 3)[0]


def _seed_of(folder: Path) -> int:
    file = folder / MANIFEST
    if not file.is_file():
        raise ArtQuantError(f"{folder}: is no demo data ({MANIFEST} is missing); write some: artquant demo-data")
    manifest = read_json(file)
    if not isinstance(manifest, dict) or (manifest.get("generator"), manifest.get("edition")) != (GENERATOR, EDITION):
        raise ArtQuantError(f"{file}: is of another edition of the demo data; write a new folder: artquant demo-data")
    seed = manifest.get("seed")
    if type(seed) is not int or seed < 0:
        raise ArtQuantError(f"{file}: names no seed; write a new folder: artquant demo-data")
    return seed
