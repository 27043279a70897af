"""Errors that a user can act on."""


class ArtQuantError(Exception):
    """An error caused by input, configuration or environment, with a message for the user.

    The message is one line that names the file and, where there is one, the record, and says what to do. The command
    line prints it without a traceback and exits with status 2.
    """


def one_line(error: object) -> str:
    """An error of a library, or anything else in a message, on one line."""
    return " ".join(str(error).split())[:300]
