"""What the server does not do, as its clients are told."""

from __future__ import annotations

from artquant.errors import ArtQuantError


class Refusal(ArtQuantError):
    """A request that is not answered: an HTTP status from 400 on, and why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
