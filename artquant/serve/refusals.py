"""What a client is told that gets no answer."""

from __future__ import annotations

from typing import Literal

from artquant.errors import one_line

Code = Literal["too_large", "unreadable", "busy", "loading", "not_trained", "bad_request", "unauthorised", "failed"]


class Refused(Exception):
    """A request, or one picture of it, that is not answered: an HTTP status, a word for programs, a line for people.

    after: seconds until it may be sent again.
    """

    def __init__(self, status: int, code: Code, message: str, after: int | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.after = status, code, one_line(message, 500), after

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {} if self.after is None else {"Retry-After": str(self.after)}


def busy(message: str, status: int = 429) -> Refused:
    """Too much is waiting: to be sent again."""
    return Refused(status, "busy", message, after=1)


def bad(message: str, status: int = 400) -> Refused:
    """A request that is not as it should be."""
    return Refused(status, "bad_request", message)
