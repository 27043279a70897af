"""The structure-and-texture score of an annotated picture (UniPercept's ISTA, 0 to 100).

A picture is rich where it has many parts, each with strong textures and much to be said of. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artquant.errors import ArtQuantError

HIGHEST = 100
_TEXTURES = {
    1: "smooth plain uniform lined grid striped chequered dotted freckled",
    2: "braided woven crosshatched meshed cobwebbed lacelike knitted spiralled swirly",
    3: "bumpy blotchy bubbly cracked crystalline flecked frilly grooved honeycombed marbled matted paisley perforated "
    "pitted pleated porous scaly smeared sprinkled stratified studded veined wrinkled zigzagged",
}
WEIGHTS: Mapping[str, int] = {word: weight for weight, words in _TEXTURES.items() for word in words.split()}
_BASE = ("PhysicalStructure", "BaseMorphology")
_COUNTED = (  # what a description says beside its textures, each entry 1
    ("PhysicalStructure", "Arrangement"),
    ("MaterialRepresentation", "MaterialClass"),
    ("MaterialRepresentation", "SurfaceProperties"),
    ("GeometricComposition", "PlanarContour"),
    ("GeometricComposition", "VolumetricForm"),
    ("SemanticPerception", "FunctionalInference"),
    ("SemanticPerception", "StyleType"),
)
_NOTHING = "N/A"


def structure_texture_score(annotation: Mapping[str, Any]) -> int:
    """The score of an annotation: of every component 1, its textures' weights and the number of its other entries.

    Args:
        annotation: `{"Components": [{"DescriptionContent": {...}}, ...]}` as UniPercept's; without components its own
            `DescriptionContent` counts as one.

    Raises:
        ArtQuantError: it is no such annotation; names the place.
    """
    components = annotation.get("Components") or [annotation]
    if not isinstance(components, Sequence) or isinstance(components, str):
        raise ArtQuantError('"Components" must be a list of components; correct the annotation')
    total = sum(1 + _richness(component, number) for number, component in enumerate(components, start=1))
    return min(total, HIGHEST)


def _richness(component: Any, number: int) -> int:
    where = f"component {number}"
    if not isinstance(component, Mapping) or not isinstance(component.get("DescriptionContent"), Mapping):
        raise ArtQuantError(f'{where}: has no "DescriptionContent"; correct the annotation')
    content = component["DescriptionContent"]
    textures = [WEIGHTS.get(word.lower(), 0) for word in _entries(content, *_BASE, where)]
    return sum(textures) + sum(len(_entries(content, *path, where)) for path in _COUNTED)


def _entries(content: Mapping[str, Any], part: str, name: str, where: str) -> list[str]:
    """What is said under a name, without what says that there is nothing."""
    found = content.get(part, {})
    values = found.get(name, []) if isinstance(found, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ArtQuantError(f'{where}: "{part}"."{name}" must be a list of words; correct the annotation')
    return [value.strip() for value in values if value.strip() and value.strip() != _NOTHING]
