"""Texts that give the score away, and ordinary criticism."""

import pytest

from artquant.demo.dataset import write_demo_data
from artquant.errors import ArtQuantError
from artquant.files.json_files import read_json
from artquant.texts.leaks import KINDS, Leak, find_leaks

LEAKS = {
    "rating": """I rate this 7/10. | 8 out of 10 | a solid 6-7/10 | 85/100
        Composition: 8/10 | On a scale of 1 to 10, this is a seven. | seventy-five out of a hundred
        I only gave this 1/10.""",
    "score": """This deserves a score of 6.5 for its color. | It is rated 7 overall. | Rating: 5 | **Score:** 7.5
        "score": 7.5, | The aesthetic score is 6.5. | I'd give it an 8.
        I would give it eight out of ten. | Color: 7.5 | Score = 80 | I am giving you 7 because it is sharp.
        It deserves a relatively high rating. | The rating here is 3. | The reason I rated 9 was the face.""",
    "points": "It earns 7.5 points. | 7 points. | 6.5 points | I give this picture eight points.",
    "stars": """Four stars. | I give this painting four stars. | ★★★☆☆
        gives it 3 out of 5 stars | A 4.5-star work. | a five-star painting | to me eight and a half stars here
        8½ stars""",
    "percent": "I rate it 85% | Overall: 85% | Quality: 70 percent | It scores eighty percent.",
    "grade": """Overall grade: B+. | I give it an A. | This is an A- painting. | Full marks for the color.
        A solid 8 for me.""",
    "verdict": """Overall quality: good. | Overall Quality: **Good** | The work shows excellent quality.
        The quality is poor. | The quality of this painting is not good. | This is a good painting overall.
        A bad picture. | The painting is excellent. | Rated fair by most viewers. | Overall rating: poor
        I would rate this painting as good. | of poor quality | my verdict: bad | Overall, it feels good.
        The overall picture is good, but flat. | making it an excellent work | The overall effect is good.
        The layers are thin, and the overall visual effect of the picture is still good | It's a good picture, but flat
        and it is considered a good work | The lines are firm, a good painting | All aspects of the work are good
        Well drawn, good in all aspects. | It can be called a rare and excellent work | the overall feeling is very poor
        A very good shot. | This is a good portrait of your sister. | I believe it to be an excellent image.
        The image is not good, and the boat is lost. | Overall, good. | with a good overall sense
        and excellent painting works | Thanks Ann, this is a very good image Ann.""",
}
CRITICISM = """Good use of color and a bad crop. | Two figures stand before 3 trees. | An 18th century room in 8K.
    The horizon follows the rule of thirds at 1/3 of the height. | The 10 apples and poor lighting conditions depicted.
    The quality of light is good. | The line quality is excellent. | The tonal quality is poor in the shadows.
    A fair maiden with a good dog. | The overall composition is good. | Poor people in the street.
    4/5 of the canvas is sky. | Print 85/100, signed. | Edition 7/10 of a series. | painted on 7/10/1885
    Four stars shine in the night sky. | Three out of five apples are red. | 85% of the surface is blue.
    Details: 3 trees and a house. | A musical score of 4 pages lies there. | A score of 20 people dance.
    The star with 8 points of light. | Two vanishing points. | It gives the picture two layers of depth.
    The two figures give the painting balance. | A good picture of rural life is painted here. | Shot at 1/100 s.
    good painting technique and a good sense of order | This work is in good condition. | open 24/7
    The colors of the picture are good. | The artistic conception of the picture is very good.
    A five-star flag hangs above the gate. | The light has an ethereal quality, and the overall effect is calm.
    Shutter speed is 1/100 or so. | the gray scale from 1-10 | a poor quality lens | It tells of a lens of poor quality.
    The camera has poor quality. | an ISO rating of 100 | The focus overall looks good. | Overall the lighting is good.
    The overall composition is good, and the overall atmosphere of the picture is good. | Keep up the good work!
    It could be a good image. | A tripod helps to get a good shot. | Good job! | a good choice of subject for this image
    This work is excellent in its brush strokes. | The overall tone is good.
    The letter B+ is painted on the wall. | The color grading is warm. | It gives a B movie feeling.
    The composition is excellent. | on a large scale | good quality paper | an excellent quality of line"""


def sentences(table: str) -> list[str]:
    return [sentence.strip() for sentence in table.replace("\n", "|").split("|")]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, table in LEAKS.items() for text in sentences(table)])
@pytest.mark.parametrize("padding", ["", "The light is warm and the trees are tall. " * 10])
def test_leaks_are_found(kind, text, padding):
    whole = f"{padding}{text}\n{padding}"
    leaks = find_leaks(whole)
    assert kind in {leak.kind for leak in leaks}
    assert {leak.kind for leak in leaks} <= set(KINDS)
    assert all(whole[leak.start :].startswith(leak.text) and leak.text in text for leak in leaks)


@pytest.mark.parametrize("text", sentences(CRITICISM))
@pytest.mark.parametrize("padding", ["", "The light is warm and the trees are tall. " * 10])
def test_criticism_is_no_leak(text, padding):
    assert find_leaks(padding + text + " " + padding) == []


@pytest.mark.parametrize("spaces", [1, 20, 50, 60, 200])
def test_what_follows_is_seen_wherever_the_search_stops(spaces):
    """Texts are searched in stretches around clues; the end of a stretch is not the end of the text."""
    for filler in range(150):
        text = f"good {'x' * filler} is a good painting{' ' * spaces}"
        assert find_leaks(f"{text}technique is shown here") == []
        assert [leak.text for leak in find_leaks(text)] == ["is a good painting"]


def test_words_of_another_scale():
    assert find_leaks("The quality is superb.") == []
    assert find_leaks("The quality is superb.", ("superb", "so-so")) == [Leak("verdict", "The quality is superb", 0)]
    assert find_leaks("The quality is good.", ("superb", "so-so")) == []
    with pytest.raises(ArtQuantError, match="rating words"):
        find_leaks("text", ())


def test_letters_that_grow_in_lower_case_do_not_shift_the_place():
    assert find_leaks("İİİ. Rating: 5") == [Leak("score", "Rating: 5", 5)]


def test_overlapping_leaks_count_once():
    assert [leak.text for leak in find_leaks("I rate this 7/10, overall rating: good")] == [
        "7/10",
        "overall rating: good",
    ]


def test_demo_descriptions_have_no_leaks(tmp_path):
    write_demo_data(tmp_path, 200, 0, workers=1, progress=False)
    for level in (1, 2, 3):
        records = read_json(tmp_path / f"meta/descriptions_level_{level}.json")
        assert not any(find_leaks(record["conversations"][1]["value"]) for record in records)
