"""Errors that a user can act on, and how foreign text is shown in them."""

import re

# Control characters (a terminal obeys them), marks that turn the direction of writing, and half characters: so Python
# holds the bytes of a file name that are no UTF-8.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class ArtQuantError(Exception):
    """An error caused by input, configuration or environment, with a message for the user.

    The message is one line that names the file and, where there is one, the record, and says what to do. The command
    line prints it without a traceback and exits with status 2.
    """


def one_line(error: object, most: int | None = 300) -> str:
    """An error of a library, or anything else in a message, on one line of at most so many characters."""
    return visible(" ".join(str(error).split())[:most])


def visible(text: object, keep: str = "") -> str:
    """Text as it is shown and stored: what cannot be seen or is no Unicode is escaped, but for the characters to keep.

    A byte of a file name that is no UTF-8 becomes as `ls -b` and Python write it: "\\xe9".
    """
    return _UNSEEN.sub(lambda found: found[0] if found[0] in keep else _escaped(ord(found[0])), str(text))


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that it cannot decode
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
