"""A part of the page, before its place on it is known."""

from __future__ import annotations

from dataclasses import dataclass

from artquant.pages.html import Markup


@dataclass(frozen=True)
class Part:
    """Its title, what is explained of it, and what stands in it."""

    title: str
    about: str
    children: tuple[Markup, ...]
