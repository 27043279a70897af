"""Transformers' own image-text-to-text networks, one family for all of them."""

from artquant.models.auto.family import AutoFamily

__all__ = ["AutoFamily"]
