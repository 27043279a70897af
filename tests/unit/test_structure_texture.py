"""The structure-and-texture score of annotations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant.errors import ArtQuantError
from artquant.labels.structure_texture import WEIGHTS, structure_texture_score


def content(textures=(), arrangement=(), material=(), surface=(), contour=(), form=(), function=(), style=()):
    return {
        "PhysicalStructure": {"BaseMorphology": list(textures), "Arrangement": list(arrangement)},
        "MaterialRepresentation": {"MaterialClass": list(material), "SurfaceProperties": list(surface)},
        "GeometricComposition": {"PlanarContour": list(contour), "VolumetricForm": list(form)},
        "SemanticPerception": {"FunctionalInference": list(function), "StyleType": list(style)},
    }


def annotation(*contents):
    return {"SceneType": "a", "SceneName": "b", "Components": [{"DescriptionContent": one} for one in contents]}


def test_words():
    """Nine weak, nine medium and twenty-four strong textures; others count nothing."""
    assert [list(WEIGHTS.values()).count(weight) for weight in (1, 2, 3)] == [9, 9, 24]
    assert "fibrous" not in WEIGHTS and "interlaced" not in WEIGHTS


def test_one_component():
    """1 + textures 1 + 2 + 3 + 0, and seven other entries."""
    one = content(
        ["Smooth", "woven", "cracked", "fibrous"], ["row"], ["stone"], ["matt"], ["round"], ["cube"], ["seat"], ["x"]
    )
    assert structure_texture_score(annotation(one)) == 1 + 6 + 7


def test_several_components_and_nothing_said():
    two = annotation(content(["plain"], material=["N/A"]), content(["N/A"], style=["cubist", "N/A", " "]))
    assert structure_texture_score(two) == (1 + 1) + (1 + 1)


def test_without_components():
    assert structure_texture_score({"DescriptionContent": content(["veined"])}) == 1 + 3
    assert structure_texture_score({"Components": [], "DescriptionContent": content()}) == 1


@given(st.lists(st.lists(st.sampled_from(sorted(WEIGHTS)), max_size=6), min_size=1, max_size=40))
def test_never_above_a_hundred(textures):
    expected = sum(1 + sum(WEIGHTS[word] for word in words) for words in textures)
    assert structure_texture_score(annotation(*(content(words) for words in textures))) == min(expected, 100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, 'component 1: has no "DescriptionContent"'),
        ({"Components": "many"}, '"Components" must be a list'),
        (
            annotation(content(), {"PhysicalStructure": {"BaseMorphology": "smooth"}}),
            "component 2: .*must be a list of words",
        ),
        (annotation({"PhysicalStructure": {"BaseMorphology": [1]}}), "must be a list of words"),
        (annotation({"GeometricComposition": []}), '"GeometricComposition"."PlanarContour" must be a list'),
    ],
)
def test_what_is_no_annotation(given, message):
    with pytest.raises(ArtQuantError, match=message):
        structure_texture_score(given)
