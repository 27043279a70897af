"""A report in a real browser: sorting, filtering, turning pages, by keyboard, on a phone; nobody is asked."""

import json

import pytest
from accessible import faults
from PIL import Image

from artquant.cli import main

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202egpj.png"
COUNT = 120
NAMES = "[...document.querySelectorAll('#rows tr')].map(one => one.querySelector('th span').textContent)"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A report on pictures of which one is missing and one is named by somebody who means harm."""
    folder = tmp_path_factory.mktemp("report")
    names = [HOSTILE.replace("/", "_"), *(f"{number}.png" for number in range(1, COUNT))]
    for number, name in enumerate(names[:-1]):
        Image.new("RGB", (64, 48), (number * 2, 90, 120)).save(folder / name)
    lines = [
        {
            "id": str(number),
            "image": name,
            "score": 1 + number % 60 / 10,
            "std": 0.5 + number / 100,
            "gt_score": 1 + (number * 7) % 60 / 10,
            "attributes": {"Color": {"score": 2 + number / 50}},
        }
        for number, name in enumerate(names)
    ]
    said = [{"image": names[0], "description": HOSTILE}, {"image": "7.png", "description": "A calm harbour."}]
    for name, records in (("p.jsonl", lines), ("said.jsonl", said)):
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    arguments = ["--predictions", "p.jsonl", "--images", "", "--descriptions", "said.jsonl", "--out", "r.html"]
    placed = [word if word.startswith("--") else str(folder / word) for word in arguments]
    assert main(["--quiet", "report", *placed, "--bootstrap", "20", "--examples", "4"]) == 0
    return folder / "r.html"


@pytest.fixture
def page(browser, file):
    """The report; afterwards: no complaint, and no request but for itself."""
    with browser.page(file.as_uri()) as shown:
        shown.wait("document.querySelectorAll('#rows tr').length === 50")
        yield shown
        assert shown.complaints() == [] and shown.requests() == [file.as_uri()]


def fill(page, selector, value):
    page.run(
        f"(() => {{ const field = document.querySelector('{selector}'); field.value = {json.dumps(value)};"
        " field.dispatchEvent(new Event('input')) })()"
    )


def sort_by(page, title):
    page.run(f"[...document.querySelectorAll('#heads button')].find(one => one.textContent === '{title}').click()")


def test_sorting_filtering_and_turning_pages(page):
    assert page.text("#count") == "1 to 50 of 120 pictures" and page.run(NAMES)[1] == "1.png"
    sort_by(page, "Predicted")
    assert page.run(NAMES)[:2] == ["59.png", "119.png"]
    assert page.run("[...document.querySelectorAll('[aria-sort]')].map(one => one.ariaSort)") == ["descending"]
    sort_by(page, "Predicted")
    assert page.run(NAMES)[1] == "60.png"
    page.click("#on")
    page.click("#on")
    assert page.text("#count") == "101 to 120 of 120 pictures" and page.run("document.querySelector('#on').disabled")
    sort_by(page, "Name")
    assert page.text("#count").startswith("1 to 50") and page.run(NAMES)[1:3] == ["1.png", "2.png"]
    fill(page, "#words", "CALM harb")
    assert page.run(NAMES) == ["7.png"] and page.text("#count") == "1 to 1 of 1 pictures (of 120)"
    page.click("#reset")
    column = page.run("[...document.querySelector('#column').options].findIndex(one => one.text === 'Color')")
    fill(page, "#column", str(column))
    fill(page, "#least", "4.3")
    assert page.run(NAMES) == ["115.png", "116.png", "117.png", "118.png", "119.png"]
    fill(page, "#most", "4.2")
    assert page.text("#count") == "No picture is so; widen the filter."


def test_what_others_wrote_is_text(page):
    fill(page, "#words", "alert(1)")
    assert page.run(NAMES) == [HOSTILE.replace("/", "_").replace("\u202e", "\\u202e")]
    page.click("#rows summary")
    assert page.text("#rows details p").startswith("</script><script>alert(1)")
    assert (
        page.run("document.scripts.length") == 2 and page.run("document.querySelectorAll('img[onerror]').length") == 0
    )


def test_pictures_are_shown_or_said_to_be_missing(page):
    assert page.run("[...document.images].every(one => one.naturalWidth > 0)")
    assert "No picture: cannot read picture" in page.text(".missing") and "119.png" in page.text(".missing")
    assert "1 pictures could not be shown" in page.text("footer")


def test_by_keyboard(page):
    page.run("document.querySelector('#words').focus()")
    for _ in range(5):
        page.press("Tab")
    assert page.run("document.activeElement.id") == "reset"
    page.run("document.querySelector('#heads button').focus()")
    page.press("Tab")
    page.press("Enter")
    assert page.run("document.activeElement.textContent") == "Predicted"
    assert page.run(NAMES)[0] == "59.png"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, False), (360, True)])
def test_for_all(page, width, dark):
    page.look(width, 740, dark)
    page.click("#attributes")
    assert page.run(WIDE) == 0 and faults(page) == []
