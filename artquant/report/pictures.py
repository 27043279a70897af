"""Small pictures for the page, and a count of those that cannot be shown."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from PIL import features

from artquant.data.images import ImageError
from artquant.data.picture_names import PictureNames
from artquant.files.progress_bar import progress_bar
from artquant.pages.html import Markup, no_picture, picture, small_picture

_SMALL, _QUALITY = 72, 55  # pixels of the longer side in the list; of its file
_AT_ONCE = 256  # pictures that are under way
NO_FOLDER = "no folder of pictures was named (--images)"


class Pictures:
    """Finds pictures of a folder (None: there is none) and makes them small; `missing`: why, by the picture's name."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._names = PictureNames()
        self.missing: dict[str, str] = {}
        self.form = "WEBP" if features.check("webp") else "JPEG"  # of the list; a third of the size

    @property
    def are_known(self) -> bool:
        """Whether there is a folder to look in."""
        return self._folder is not None

    def shown(self, name: str) -> Markup:
        """A picture for a sheet, or a box that says why there is none."""
        if self._folder is None:
            return no_picture(NO_FOLDER)
        try:
            return picture(self._names.path(self._folder, name), name)
        except ImageError as error:
            return no_picture(self.missing.setdefault(name, str(error)))

    def listed(self, names: Sequence[str], room: int, progress: bool) -> dict[int, str]:
        """Files in base64 of pictures for the list, by place: as many as fit into so many characters.

        Pictures are taken in steps over the whole list, so that those that fit are spread over it.
        """
        if self._folder is None:
            return {}
        found: dict[int, str] = {}
        places = spread_places(len(names))
        with (
            ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
            progress_bar("small pictures", "image", progress, total=len(names), leave=False, delay=2.0) as bar,
        ):
            while room > 0 and (batch := list(islice(places, _AT_ONCE))):
                for place, data in zip(batch, pool.map(lambda place: self._small(names[place]), batch), strict=True):
                    if data is not None and len(data) <= room:
                        found[place] = data
                    room -= 0 if data is None else len(data)
                    bar.update()
        return found

    def _small(self, name: str) -> str | None:
        assert self._folder is not None
        try:
            return small_picture(self._names.path(self._folder, name), _SMALL, self.form, _QUALITY)[0]
        except ImageError as error:
            self.missing.setdefault(name, str(error))
            return None


def spread_places(count: int) -> Iterator[int]:
    """All of 0 to count - 1, so that the first ones of any number are spread over them (steps of the golden ratio)."""
    step = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, count) > 1:
        step += 1
    return ((place * step) % count for place in range(count))
