"""The server's page in a real browser, against a server without a model."""

import csv
import json
import re

import pytest
from accessible import faults
from browser import until
from page_stub import ATTRIBUTES, MODEL, PAGE, PARAGRAPHS, stub_server

SAMPLES = PAGE / "samples"
TOWN, SEA, VASE = (SAMPLES / f"{name}.jpg" for name in ("town", "seascape", "still_life"))
LAST = "document.querySelector('.card:last-child')"
DONE = "document.querySelectorAll('.text h5').length === 3"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HTTP_ERROR = "Failed to load resource"  # the browser's own line of a status that is none of the 200s


@pytest.fixture
def stub():
    with stub_server() as server:
        yield server


@pytest.fixture
def page(browser, stub):
    """The page with a model that is ready; afterwards: no complaint, nothing asked elsewhere."""
    with browser.page(stub.address) as shown:
        shown.wait("document.querySelector('#facts').children.length > 0")
        yield shown
        assert [one for one in shown.complaints() if not one.startswith(HTTP_ERROR)] == []
        assert [url for url in shown.requests() if not url.startswith(stub.address)] == []


def add(page, *files):
    page.choose("#files", *files)
    page.wait(f"document.querySelectorAll('.card').length >= {len(files)}")


def choose(page, selector, value):
    page.run(
        f"(() => {{ const list = document.querySelector('{selector}'); list.value = '{value}';"
        " list.dispatchEvent(new Event('change')) })()"
    )


def go_offline(page, offline=True):
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.send("Network.emulateNetworkConditions", offline=offline, **conditions)


def by_code(page, event, holder, files):
    """Hand files to the page in an event, as the browser does for a drop or a paste."""
    made = ", ".join(f"new File(['x'.repeat({size})], '{name}', {{type: '{kind}'}})" for name, size, kind in files)
    page.run(
        f"(() => {{ const carried = new DataTransfer(); for (const file of [{made}]) carried.items.add(file);"
        f" document.querySelector('#drop').dispatchEvent(new {event}, {{bubbles: true, {holder}: carried}})) }})()"
    )


def test_a_sample_on_a_first_visit(page):
    assert "demo scores" in page.text("#facts") and "1 to 10 (bad, poor, fair, good, excellent)" in page.text("#facts")
    assert "4,000 drawn pictures" in page.text("#facts")
    assert page.text("#empty") == "No pictures yet."
    assert page.run("[...document.querySelectorAll('#samples img')].every(one => one.naturalWidth > 100)")
    page.click("#explain")
    assert "rank correlation of 0.87" in page.text("#explanation") and faults(page) == []
    page.press("Escape")
    page.click("#sample-list button")
    page.wait(DONE)
    assert page.text(".score").split() == ["6.42", "good", "±", "0.61"]
    assert page.text(".percentile") == "Higher than 63 % of the model's test pictures"
    spoken = page.run("document.querySelector('.bars').getAttribute('aria-label')")
    assert spoken == "bad 2%, poor 8%, fair 33%, good 49%, excellent 8%"
    rows = page.text(".attributes ul").split("\n")
    assert rows[rows.index("▲ strongest") - 2] != "" and page.text(".told-apart") == ""
    marked = "[...document.querySelectorAll('.attributes li')].filter(one => one.querySelector('.mark').innerText)"
    assert page.run(f"{marked}.map(one => one.querySelector('.name').innerText)") == ["Light and shadow", "Mood"]
    assert page.run("[...document.querySelectorAll('.text p')].map(one => one.innerText)") == list(PARAGRAPHS)
    assert "a model's opinion" in page.text("footer") and "weights 0123abcd0123," in page.text("footer")


def test_what_was_not_measured_is_not_said(page, stub):
    stub.answers["town.jpg"] = {"attributes": dict.fromkeys(ATTRIBUTES, 6.0)}
    add(page, TOWN)
    page.wait("document.querySelector('.told-apart')?.innerText === 'The model does not tell these apart.'")
    stub.model |= {"test": dict.fromkeys(MODEL["test"]), "can": ["score", "attributes"], "trained_on": None}
    page.send("Page.reload")
    page.wait("document.querySelector('#no-text')?.innerText === 'This model is not trained to describe.'")
    add(page, TOWN)
    page.wait("document.querySelector('.score strong')?.innerText === '6.42'")
    assert page.text(".percentile") == "" and "was not measured" in page.text(".told-apart")
    assert page.run("document.querySelector('.words').hidden && document.querySelector('#levels').hidden")
    assert "not stated" in page.text("#facts")


def test_many_steps_are_summed_and_without_words_the_scale_is_said(page, stub):
    stub.model |= {"scale": {"low": 0, "high": 100, "words": None, "values": None}}
    page.send("Page.reload")
    page.wait("document.querySelector('#facts')?.innerText.includes('0 to 100')")
    stub.answers["town.jpg"] = {"score": 64.2, "probs": [0.01] * 100}
    add(page, TOWN)
    page.wait("document.querySelectorAll('.column').length === 20")
    assert page.text(".score").split() == ["64.20", "of", "100", "±", "0.61"]
    assert page.text(".bars").split() == ["0\u20134.04", "96\u2013100"]


def test_scores_first_texts_after_and_stop(page, stub):
    stub.flow.clear()
    stub.scoring.clear()
    stub.queue = 7
    add(page, TOWN, SEA, VASE, TOWN, SEA, VASE)  # more than are scored at once
    page.wait("document.querySelector('.state').innerText === 'Waiting: 3 before this one'")
    assert page.text(".card:last-child .state") == "Waiting: 8 before this one"
    assert page.text("#progress") == "0 of 6 done"
    stub.scoring.set()
    page.wait("document.querySelector('.text').innerText.startsWith('A street')")
    asked = [url.split("?")[0].removeprefix(stub.address) for url in page.requests() if "?" in url]
    assert asked == ["v1/score"] * 6 + ["v1/describe"]
    page.wait(f"{LAST}.querySelector('.text-state').innerText === 'The text comes next'")
    page.click(".stop")
    page.wait("document.querySelector('.text-state').innerText === 'Stopped: the text is incomplete.'")
    page.wait("document.querySelectorAll('.text')[1].innerText.startsWith('A street')")
    stub.flow.set()
    page.wait("document.querySelectorAll('.text h5').length === 15")
    page.click(".describe")
    page.wait("document.querySelectorAll('.text h5').length === 18")
    assert page.text("#progress") == "6 of 6 done"


def test_loading_busy_and_offline_servers_are_waited_for(page, stub, tmp_path):
    moved = tmp_path / "moved.jpg"
    moved.write_bytes(SEA.read_bytes())
    stub.status = "loading"
    page.send("Page.reload")
    page.wait("document.querySelector('#banner')?.innerText.startsWith('The model is loading')")
    add(page, TOWN, moved)
    assert page.text(".state") == "The model is loading; this picture waits"
    moved.unlink()
    go_offline(page)
    page.wait("document.querySelector('.state').innerText === 'Waiting for the server to answer'")
    go_offline(page, False)
    stub.status, stub.busy = "ready", 1
    page.wait(DONE)
    assert stub.busy == 0 and stub.sent == ["town.jpg"]
    assert "no longer where it was" in page.text(".card:last-child .fault")
    page.click(".card:last-child .remove")
    go_offline(page)
    add(page, SEA)
    page.wait(f"{LAST}.querySelector('.state').innerText === 'Waiting for the server to answer'")
    assert page.text("#banner").startswith("The server does not answer")
    go_offline(page, False)
    page.wait("document.querySelectorAll('.text h5').length === 6 && document.querySelector('#banner').hidden")


def test_faults_are_told_with_their_remedy(page, stub, tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    evil.write_bytes(TOWN.read_bytes())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    stub.answers = {
        "seascape.jpg": (413, "too_large"),
        "broken.jpg": {"score": None, "error": {"code": "unreadable", "message": "<script>alert(1)</script>"}},
        "still_life.jpg": {"unfamiliar": True, "score": 3.0},
    }
    stub.breaks = True
    add(page, SEA, broken, VASE, evil)
    page.wait("document.querySelectorAll('.card .fault:not([hidden])').length === 4")
    told = page.text("#cards")
    assert "too large for this server. (The server says: no: too_large <b>)" in told and "Save it smaller" in told
    assert "cannot be read as a picture. (The server says: <script>alert(1)</script>)" in told
    assert "cannot show the picture" in told and "unlike those that the model was trained on" in told
    assert "too much to do. (The server says: the model stopped)" in told and "The text broke off." in told
    assert page.run("document.querySelectorAll('.card b, .card script, h3 img').length") == 0
    assert evil.name in told and faults(page) == []
    stub.breaks = False
    page.click(".card:last-child .again")
    page.wait(DONE)


def test_a_token_is_asked_for(page, stub):
    stub.token = "secret"
    page.send("Page.reload")
    page.wait("document.querySelector('#asking')?.open")
    assert faults(page) == []
    page.run("document.querySelector('#token').value = 'secret'")
    page.click("#token-form button")
    page.wait("document.querySelector('#facts').children.length > 0")
    add(page, TOWN)
    page.wait(DONE)


def test_ways_in(page):
    by_code(page, "DragEvent('drop'", "dataTransfer", [("a.txt", 3, "text/plain"), ("b.png", 0, "image/png")])
    assert page.text("#notice") == "a.txt is no picture: it was left out. b.png is empty: it was left out."
    by_code(page, "DragEvent('drop'", "dataTransfer", [(f"{one}.png", 9, "image/png") for one in range(18)])
    by_code(page, "ClipboardEvent('paste'", "clipboardData", [("pasted.png", 9, "image/png")])
    assert page.run("document.querySelectorAll('.card').length") == 19
    page.click("#camera")
    page.wait("document.querySelector('#viewfinder').videoWidth > 0")
    assert faults(page) == []
    page.click("#shutter")
    page.wait(f"{LAST}.querySelector('h3').innerText === 'photograph 1.jpg'")
    page.wait("!document.querySelector('#taking').open")
    page.choose("#files", TOWN)
    page.wait(
        "document.querySelector('#notice').innerText.startsWith('At most 20 pictures at a time: 1 were left out')"
    )
    page.click("#clear")
    assert page.run("document.querySelectorAll('.card').length") == 0


def test_sort_compare_thumbs_and_grid(page, stub):
    stub.answers = {"seascape.jpg": {"score": 8.5, "std": 0.4}, "still_life.jpg": {"score": 6.5}}
    add(page, TOWN, SEA, VASE)
    page.wait("document.querySelectorAll('.text h5').length === 9")
    names = "[...document.querySelectorAll('.card h3')].map(one => one.innerText)"
    choose(page, "#sort", "high")
    assert page.run(names) == ["seascape.jpg", "still_life.jpg", "town.jpg"]
    page.click(".card:first-child .compared-too")
    assert page.run("document.querySelector('#compare').disabled")
    page.click(".card:last-child .compared-too")
    page.click("#compare")
    assert page.text("#comparison-verdict") == "seascape.jpg scores 2.08 higher than town.jpg."
    assert page.text("#compared").count("Distribution") == 2 and faults(page) == []
    page.click("#comparison .close")
    page.click(".card:first-child .compared-too")
    page.click(".card:nth-child(2) .compared-too")
    page.click("#compare")
    assert "hardly tells the pictures apart" in page.text("#comparison-verdict")
    page.press("Escape")
    page.click(".card:first-child .down")
    page.click("#grid")
    assert page.run("getComputedStyle(document.querySelector('.words')).display") == "none" and faults(page) == []
    page.send("Page.reload")
    page.wait("document.querySelector('#facts')?.children.length > 0 && document.querySelector('#cards.grid')")
    assert page.run("document.querySelector('#samples').hidden")  # no first visit any more
    add(page, SEA)
    page.wait("document.querySelector('.down')?.getAttribute('aria-pressed') === 'true'")


def test_results_leave_the_page(browser, page, stub, tmp_path):
    bad = tmp_path / "=cmd,1.jpg"
    bad.write_bytes(TOWN.read_bytes())
    stub.answers["seascape.jpg"] = (422, "unreadable")
    add(page, bad, SEA)
    page.wait(f"{DONE} && document.querySelector('.fault:not([hidden])')")
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), **page.context)
    for button, name in (("#save-json", "artquant.json"), ("#save-csv", "artquant.csv")):
        page.click(button)
        until((tmp_path / name).is_file, f"no {name}")
    told = json.loads((tmp_path / "artquant.json").read_text())
    assert told["model"]["fingerprint"] == "0123abcd" * 8 and told["results"][1]["error"]["code"] == "unreadable"
    first = told["results"][0]
    assert (first["score"], first["word"], first["percentile"], first["text_whole"]) == (6.42, "good", 63, True)
    rows = list(csv.DictReader((tmp_path / "artquant.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0]["file"] == "'=cmd,1.jpg" and rows[0]["Mood"] == "4.1" and rows[1]["error"] == "unreadable"
    page.run("document.execCommand = () => { window.copied = document.activeElement.value; return true; }")
    page.run("navigator.clipboard.writeText = (said) => Promise.reject(said)")
    page.click(".copy")
    page.wait("document.querySelector('.said').innerText === 'Copied'")
    assert page.run("window.copied").splitlines()[1] == "6.42 good ± 0.61"
    printed = "document.body.className + document.querySelector('.printed h3').innerText"
    page.run(f"window.print = () => {{ window.printed = {printed}; dispatchEvent(new Event('afterprint')) }}")
    page.click(".print-one")
    assert page.run("window.printed") == f"printing-one{bad.name}" and page.run("document.body.className") == ""


def test_every_language_fits_a_phone_by_day_and_night(page):
    page.look(360, 740)
    add(page, TOWN, SEA)
    page.wait("document.querySelectorAll('.text h5').length === 6")
    for language, score in (("de", "6,42 gut"), ("zh", "6.42 良好"), ("en", "6.42 good")):
        choose(page, "#language", language)
        page.wait(f"document.documentElement.lang === '{language}'")
        page.wait(f"document.querySelector('.score').innerText.startsWith('{score}')")
        texts = json.loads((PAGE / "texts" / f"{language}.json").read_text(encoding="utf-8"))
        assert page.text("footer p") == texts["footer.opinion"]
        assert page.run(WIDE) == 0 and faults(page) == []
    page.look(360, 740, dark=True)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 26)" and faults(page) == []


def test_keyboard_alone(page):
    def tab_to(selector):
        for _ in range(40):
            page.press("Tab")
            if page.run(f"document.activeElement.matches('{selector}')"):
                return
        raise AssertionError(f"no way to {selector}")

    tab_to(".skip")
    tab_to("#explain")
    page.press("Enter")
    page.wait("document.activeElement.matches('#explanation .close')")
    page.press("Escape")
    assert page.run("document.activeElement.id") == "explain"
    tab_to("#sample-list button")
    page.press("Enter")
    page.wait(DONE)
    tab_to(".compared-too")
    page.press(" ")
    tab_to(".up")
    page.press("Enter")
    assert page.run("document.querySelector('.up').getAttribute('aria-pressed')") == "true"
    tab_to(".remove")
    page.press("Enter")
    assert page.run("document.querySelectorAll('.card').length") == 0
    assert page.run("document.activeElement.id") == "choose"


def test_the_languages_say_the_same():
    english, *others = (json.loads((PAGE / "texts" / f"{one}.json").read_text("utf-8")) for one in ("en", "de", "zh"))
    for texts in others:
        assert {key for key in texts if not key.startswith("attribute.")} == set(english)
        assert all(set(re.findall(r"{\w+}", texts[key])) == set(re.findall(r"{\w+}", english[key])) for key in english)


def test_scripts_are_short_and_make_no_markup():
    for script in PAGE.glob("*.js"):
        said = script.read_text(encoding="utf-8")
        assert said.count("\n") <= 400 and max(map(len, said.splitlines())) <= 120, script.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|https?://", said), (
            script.name
        )
    markup = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://|<script(?![^>]*src)", markup)
