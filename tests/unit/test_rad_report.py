"""The report on a collection: one page that fetches and runs nothing, whatever models wrote."""

import json
from html.parser import HTMLParser

import pytest
from PIL import Image

from artquant.errors import ArtQuantError
from artquant.rad.outcome import Canary, Draft, Entry, Outcome
from artquant.rad.report import report_lines, write_report
from artquant.rad.store import open_store

HOSTILE = (
    "</blockquote><script>alert(1)</script><img src=http://127.0.0.1/x onerror='alert(2)'>\ud800\u202e\x00 & \"q\""
)
PARTS = ("perception", "cognition", "emotion")


class Page(HTMLParser):
    """Elements, what they refer to, and whether all are closed."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.attributes, self.texts = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs
        self.open += [] if tag in ("img", "meta") else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def drafts(text, mark=8.0):
    return tuple(Draft(part, 1, f"{text} {part}", mark, (), True) for part in PARTS)


@pytest.fixture
def store(tmp_path):
    entries = [Entry(f"{number}.png", 1.0 + number, {}) for number in range(6)]
    Image.new("RGB", (900, 600), "teal").save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    with open_store(tmp_path / "rad.sqlite") as opened:
        opened.begin(entries, config={"run": f"one {HOSTILE[:40]}", "endpoints": {"e": {"key": "NAME_OF_KEY"}}})
        yield opened


def fill(store):
    canaries = (Canary("judge", "5.png", True), Canary("witness", "5.png", False))
    store.finish(Outcome("0.png", "kept", "", drafts("A calm sea."), canaries, 2.0))
    before = Draft("emotion", 1, "It deserves 7/10 <b>", 4.0, (("judge", "praises <i>too</i> much"),), False)
    after = Draft("emotion", 2, "Quiet, after all.", 9.0, (), True)
    store.finish(Outcome("1.png", "kept", "", (*drafts("A wild sea.")[:2], before, after), (), 1.0))
    # What a store cannot hold (half characters) comes from no reply.
    text = HOSTILE.replace("\ud800", "")
    dropped = Draft("perception", 1, text, 2.0, (("judge", text),), False)
    store.finish(Outcome("2.png", "dropped", f"perception, judge: {text}", (dropped,)))
    store.finish(Outcome("3.png", "failed", text))
    store.finish(Outcome("4.png", "unreadable", text))


def test_the_page_needs_nothing_and_runs_nothing(store, tmp_path):
    fill(store)
    out = tmp_path / "new" / "report.html"
    write_report(store, tmp_path, out)
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and not {"script", "link", "iframe", "object", "b>"} & set(page.found)
    referred = [value for key, value in page.attributes if key in ("src", "href", "xlink:href", "action", "data")]
    assert len(referred) == 1 and referred[0].startswith("data:image/jpeg;base64,")
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    for said in ("It deserves 7/10 <b>", "judge: praises <i>too</i> much", "Quiet, after all.", "Repaired"):
        assert any(said in data for data in page.texts), said
    assert any(data.startswith("No picture") for data in page.texts) or "No picture: " in page.texts
    assert page.found.count("svg") == page.found.count("desc") + 9  # the keys of three charts beside the charts


def test_the_summary_counts_and_compares(store, tmp_path):
    fill(store)
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{"image": f"{number}.png", "perception": "The same."} for number in range(4)]))
    summary = write_report(store, tmp_path, tmp_path / "report.html", [other])
    values = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert values["states"] == {"kept": 2, "dropped": 1, "failed": 1, "unreadable": 1, "waiting": 1}
    assert [one["pictures"] for one in values["sets"]] == [2, 4]
    assert values["sets"][1]["near_duplicates"] == 1 and values["ranks"]["near_duplicates"] == [1, 2]
    first = next(one for one in summary.judges.accepted if (one.part, one.round) == ("emotion", 1))
    assert (first.written, first.accepted) == (2, 1)
    judge = summary.judges.canaries[0]
    assert (judge.caught, judge.tried) == (1, 1) and judge.low == pytest.approx(1 / (1 + 1.96**2), abs=1e-3)
    lines = report_lines(summary)
    assert lines[0].endswith("2 kept, 1 dropped, 1 failed, 1 unreadable, 1 waiting")
    with pytest.raises(ArtQuantError, match="would overwrite"):
        write_report(store, tmp_path, tmp_path / "new" / ".." / "other.json", [other])
    assert any(line.startswith("Near-duplicates") and line.endswith("100.0%") for line in lines)


def test_a_collection_of_which_nothing_is_kept_has_a_report(store, tmp_path):
    summary = write_report(store, tmp_path, tmp_path / "report.html")
    assert summary.sets[0].pictures == 0 and summary.sets[0].words_srcc is None
    assert Page((tmp_path / "report.html").read_text(encoding="utf-8")).open == []
