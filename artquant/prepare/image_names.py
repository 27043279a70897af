"""Names of pictures in annotation files: what cannot be a name, and what a stranger's program made of one."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from artquant.data.images import SUFFIXES
from artquant.prepare.annotation import Annotation, PrepareError

_URL = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*://")
_ABSOLUTE = re.compile(r"\s*([a-zA-Z]:)?[/\\]")
_CLEAN = "--clean-names"


def image_name(name: str, source: str, clean: bool = False) -> str:
    """A name as records hold it: relative to the folder of the pictures, parts between slashes.

    Args:
        name: As the file has it.
        source: For messages.
        clean: Take off blanks around it, turn backslashes, and of a URL or an absolute path take the last part.

    Raises:
        PrepareError: It is empty, absolute, or leads out of the folder; or it is one that `clean` would change.
    """
    if not name.strip():
        raise PrepareError(f"{source}: the image name is empty; fill it in")
    if clean:
        name = posixpath.basename(unquote(urlsplit(name).path)) if _URL.match(name) else name
        name = name.strip().replace("\\", "/")
        name = posixpath.basename(name) if _ABSOLUTE.match(name) else name
    path = posixpath.normpath(name.replace("\\", "/"))
    if _ABSOLUTE.match(name):
        raise PrepareError(
            f"{source}: image name {name[:200]!r} is an absolute path, no file inside the folder of the pictures; "
            f"{_CLEAN} takes its last part"
        )
    outside = path.split("/")[0] in ("..", ".") or path[1:2] == ":"
    if outside or any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in name):
        raise PrepareError(
            f"{source}: image name {name[:200]!r} is no file inside the folder of the pictures; give a relative name"
        )
    for is_so, what, then in (
        (_URL.match(name), "is a URL", "takes its last part"),
        (name != name.strip(), "has blanks around it", "takes them off"),
        ("\\" in name, "has backslashes", "turns them into slashes"),
    ):
        if is_so:
            raise PrepareError(f"{source}: image name {name[:200]!r} {what}; {_CLEAN} {then}")
    return name


def has_suffix(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def check_suffixes(annotations: Sequence[Annotation]) -> None:
    """Refuse names that end as no picture's; for where the pictures themselves are not looked for.

    Raises:
        PrepareError: With the first of them and how many there are.
    """
    without = [annotation for annotation in annotations if not has_suffix(annotation.image)]
    if without:
        raise PrepareError(
            f"{without[0].source}: image name {without[0].image[:200]!r} has no ending of a picture's, and so have "
            f"{len(without)} of {len(annotations)}; add it, such as --image-suffix .jpg, or name the folder of the "
            "pictures with --images, where they are called so"
        )
