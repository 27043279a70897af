"""The families of networks there are, by the `model_type` of `config.json`."""

from __future__ import annotations

from collections.abc import Mapping

from artquant.models.auto import AutoFamily
from artquant.models.family import Family
from artquant.models.internvl.family import InternVLChatFamily, InternVLFamily
from artquant.models.mplug_owl2.family import MPLUGOwl2Family

FALLBACK: Family = AutoFamily()  # of types that are not listed here: whatever else transformers loads
_OWN: tuple[Family, ...] = (  # of two that list a type the later
    FALLBACK,
    MPLUGOwl2Family(),
    InternVLFamily(),
    InternVLChatFamily(),
)
FAMILIES: Mapping[str, Family] = {model_type: family for family in _OWN for model_type in family.model_types}
DEFAULT = "mplug_owl2"  # what `artquant init-model` makes, and plans without a base folder are about


def family_of(model_type: str) -> Family:
    """The family of a model type; types that no test here covers belong to transformers' own models."""
    return FAMILIES.get(model_type, FALLBACK)
