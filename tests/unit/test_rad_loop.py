"""The loop of one picture, its rules, sources, prompts and store; models are played by the test."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from artquant.config.load import load_config
from artquant.errors import ArtQuantError
from artquant.rad.chat import CallRefused, Picture, Reply, Usage
from artquant.rad.loop import Task, describe_picture, is_canary, try_judges
from artquant.rad.outcome import Draft, Entry, Outcome
from artquant.rad.prompts import PLACES, Prompts
from artquant.rad.rules import count_words, rule_faults
from artquant.rad.settings import RadConfig
from artquant.rad.source import drawn, facts_of, read_entries, statistics
from artquant.rad.store import Call, open_store
from artquant.texts.descriptions import PARTS

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "demo" / "rad.yaml"
ENTRY = Entry("a.png", 7.5, {"Color": 8.0}, None, "I like the blue.")
PICTURE = Picture(b"bytes", "image/png", "0" * 64)
LONG = "a calm blue sea below a wide pale evening sky with one small white boat at the left edge"


def config(*overrides: str) -> RadConfig:
    return load_config(CONFIG, overrides, RadConfig)


def task(*overrides: str) -> Task:
    return Task(config(*overrides), Prompts(), statistics([ENTRY, Entry("b.png", 2.5, {"Color": 3.0})]))


class Play:
    """Models that answer by a script: per role a function of the round and the parts asked."""

    def __init__(self, **roles):
        self.roles = {
            "writer": lambda round_, parts: {part: f"{part} {round_}: {LONG}" for part in parts},
            "judge": lambda round_, parts: {part: {"mark": 9, "reason": "agrees"} for part in parts},
            "reader": lambda round_, parts: {"score": 7.0},
            "witness": lambda round_, parts: {"claims": []},
        } | roles
        self.asked = []

    async def __call__(self, role, round_, request):
        self.asked.append((role, round_, request))
        return request.schema.model_validate(self.roles[role](round_, tuple(request.schema.model_fields)))


def described(play: Play, *overrides: str) -> Outcome:
    return asyncio.run(describe_picture(task(*overrides), ENTRY, PICTURE, play))


def test_what_agrees_is_kept_in_one_round():
    play = Play()
    outcome = described(play)
    assert outcome.state == "kept" and list(outcome.texts) == list(PARTS) and outcome.score_read == 7.0
    assert [role for role, *_ in play.asked] == ["writer", "judge", "witness", "reader"]
    seen = {role: request for role, _, request in play.asked}
    assert seen["writer"].picture is PICTURE and seen["witness"].picture is PICTURE
    assert seen["judge"].picture is None and seen["reader"].picture is None
    facts = next(line for line in seen["writer"].text.splitlines() if line.startswith("{"))
    assert json.loads(facts)["score"] == 7.5 and json.loads(facts)["comment"] == "I like the blue."
    assert "7.5" not in seen["reader"].text.replace('"mean": 7.5', "")


def test_only_what_was_rejected_goes_back_with_the_reason():
    def judge(round_, parts):
        bad = {"mark": 3, "reason": "too much praise"}
        return {part: bad if part == "emotion" and round_ < 3 else {"mark": 8, "reason": ""} for part in parts}

    play = Play(judge=judge)
    outcome = described(play)
    assert outcome.state == "kept" and outcome.texts["emotion"].startswith("emotion 3")
    assert outcome.texts["perception"].startswith("perception 1")
    writers = [request for role, _, request in play.asked if role == "writer"]
    assert [tuple(request.schema.model_fields) for request in writers] == [PARTS, ("emotion",), ("emotion",)]
    assert "too much praise" in writers[1].text and "perception 1" in writers[1].text
    rejected = [draft for draft in outcome.drafts if not draft.kept]
    assert [(draft.round, draft.mark) for draft in rejected] == [(1, 3), (2, 3)]
    assert [role for role, *_ in play.asked].count("witness") == 1, "asked once all agree with the scores"


@pytest.mark.parametrize(("bad", "state", "kept"), [("perception", "dropped", 0), ("cognition", "partly", 1)])
def test_what_never_agrees_is_dropped_with_all_that_builds_on_it(bad, state, kept):
    play = Play(judge=lambda _, parts: {part: {"mark": 2.0 if part == bad else 9, "reason": "no"} for part in parts})
    outcome = described(play, "loop.rounds=2")
    assert outcome.state == state and len(outcome.texts) == kept and outcome.reason == f"{bad}, judge: no"


def test_rules_come_before_the_judge_and_objections_of_others_go_back():
    def writer(round_, parts):
        texts = {part: f"{part} {round_}: {LONG}" for part in parts}
        return texts | ({"cognition": "I would rate it 8/10. " + LONG} if round_ == 1 else {})

    def witness(round_, parts):
        return {"claims": ["one small WHITE boat."] if round_ == 2 else []}

    play = Play(writer=writer, witness=witness)
    outcome = described(play)
    assert [tuple(r.schema.model_fields) for role, n, r in play.asked if role == "judge" and n == 1] == [
        ("perception", "emotion")
    ]
    assert [tuple(r.schema.model_fields) for role, n, r in play.asked if role == "writer"] == [
        *(PARTS, ("cognition",), PARTS)
    ]
    assert outcome.state == "kept"
    assert {who for draft in outcome.drafts for who, _ in draft.objections} == {"rule", "witness"}


def test_a_reading_that_is_far_off_is_an_objection_only_where_it_is_asked_for():
    far = {"reader": lambda *_: {"score": 2.0}}
    assert described(Play(**far)).state == "kept"
    outcome = described(Play(**far), "loop.reading_error=0.2", "loop.rounds=1")
    assert outcome.state == "dropped" and "too little" in outcome.reason


def test_a_hidden_score_is_told_to_the_judge_alone():
    play = Play()
    described(play, "loop.hidden_score=true")
    told = {role: json.loads(request.text.split("\n{")[1].split("\n")[0].join(["{", ""])) for role, _, request in
            play.asked if role in ("writer", "judge")}  # fmt: skip
    assert told["writer"]["tone"] == "high" and "score" not in told["writer"] and "attributes" not in told["writer"]
    assert told["judge"]["score"] == 7.5


def test_judges_are_tried_with_another_pictures_score_and_file():
    play = Play(judge=lambda _, parts: {part: {"mark": 2, "reason": "no"} for part in parts})
    canaries = asyncio.run(try_judges(task(), dict.fromkeys(PARTS, LONG), Entry("b.png", 2.5, {}), PICTURE, play))
    assert [(canary.role, canary.other, canary.caught) for canary in canaries] == [
        *(("judge", "b.png", True), ("witness", "b.png", False))
    ]
    tried = task("loop.canaries=0.2")
    share = sum(is_canary(tried, f"{number}.png") for number in range(2000)) / 2000
    assert 0.17 < share < 0.23


def test_replies_lead_to_the_same_calls_again():
    first, second = Play(), Play()
    described(first), described(second)
    assert [(role, n, r.key) for role, n, r in first.asked] == [(role, n, r.key) for role, n, r in second.asked]
    other = dataclasses.replace(first.asked[0][2], text="other")
    assert other.key != first.asked[0][2].key


def test_rules():
    words = ((3, 10), (3, 10), (3, 10))
    texts = {
        "perception": "A calm blue sea at night.",
        "cognition": "A calm blue sea at night. And more.",
        "emotion": "Joy",
    }
    assert list(rule_faults(texts, words)) == ["cognition", "emotion"]
    assert "image" in rule_faults({"perception": "one two three <image> four"}, words)["perception"]
    for mark in ("</s>", "<|im_end|>", "<b>", "\x1b[31m", "\0", "\u202e"):
        assert repr(mark)[1:5] in rule_faults({"emotion": f"one two three {mark}"}, words)["emotion"]
    assert rule_faults({"emotion": "one two three"}, words) == {}
    assert rule_faults({"emotion": "is 1 < two\r\n\tand > three"}, words) == {}
    assert (count_words("It's a sea, calm."), count_words("静かな海"), count_words("")) == (5, 4, 0)


def test_facts_and_sources(tmp_path):
    records = tmp_path / "score.json"
    source = dataclasses.replace(config().source, records=records, category="form")
    rows = [
        {"image": f"{n}.png", "gt_score": n, "categories": {"form": "oil" if n % 2 else "ink"}} for n in range(1, 11)
    ]
    records.write_text(json.dumps(rows))
    entries = read_entries(source)
    told = statistics(entries)
    facts = facts_of(entries[0], told, source)
    assert facts["statistics"] == {"mean": 5.5, "std": 2.87, "pictures": 10,
        "percentiles": {"5": 1.45, "25": 3.25, "50": 5.5, "75": 7.75, "95": 9.55}}  # fmt: skip
    assert facts["category"]["name"] == "oil" and facts["category"]["mean"] == 5.0 and facts["score"] == 1
    tones = [facts_of(entry, told, source, hidden=True)["tone"] for entry in entries]
    assert tones == ["low"] * 4 + ["middle"] * 3 + ["high"] * 3
    assert len(drawn(entries, 4, 1)) == 4 and drawn(entries, None, 1) == entries


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"gt_score": 3}, "image"),
        ({"image": "1.png"}, "gt_score"),
        ({"image": "1.png", "gt_score": 11}, "beyond 1 to 10"),
        ({"image": "../1.png", "gt_score": 3}, "leads out"),
        ({"image": "./0.png", "gt_score": 3}, "the same image"),
        ({"image": "1.png", "gt_score": 3, "attributes": {"\ud800": 3}}, "half a character"),
        ({"image": "1.png", "gt_score": 3, "attributes": {"Color": "x"}}, "Color"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path, row, named):
    records = tmp_path / "score.json"
    records.write_text(json.dumps([{"image": "0.png", "gt_score": 3}, row]))
    with pytest.raises(ArtQuantError, match=named) as raised:
        read_entries(dataclasses.replace(config().source, records=records))
    assert f"{records} record 2" in str(raised.value)


def test_prompts_are_files_that_can_be_replaced(tmp_path):
    assert set(Prompts().texts) == set(PLACES)
    (tmp_path / "judge.txt").write_text("Judge: $facts\n$texts\nat $$1")
    assert Prompts(tmp_path).filled("judge", facts={"a": 1}, texts={}, parts="") == 'Judge: {"a": 1}\n{}\nat $1'
    for name, text, said in (
        ("judge", "$facts", "texts is missing"),
        ("judge", "$facts $texts $score", "score is not filled in"),
        ("judge", "$facts $texts at $1", "stands alone"),
        ("critic", "", "no prompt has this name"),
    ):
        (tmp_path / "judge.txt").unlink(missing_ok=True)
        (tmp_path / f"{name}.txt").write_text(text)
        with pytest.raises(ArtQuantError, match=said):
            Prompts(tmp_path)


def test_what_is_stored_comes_back(tmp_path):
    drafts = (
        Draft("perception", 1, "a", 3.0, (("judge", "no"),), False),
        Draft("perception", 2, "b", 8.0, (), True),
    )
    with open_store(tmp_path / "rad.sqlite") as store:
        store.begin([ENTRY, Entry("b.png", 2.0, {}), Entry("c.png", 5.0, {})], made_with={"x": "1"})
        call = Call("a.png", 1, "writer", "k")
        store.sending(call, "local", "m")
        store.sending(call, "local", "m")
        assert store.reply(call) is None
        kept = store.answered(call, Reply("text\ud800", Usage(5, 7), "id"), 0.5)
        assert store.reply(call) == kept == Reply("text?", Usage(5, 7), "id")
        store.finish(Outcome("a.png", "partly", "why", drafts))
        store.finish(Outcome("b.png", "failed", "refused"))
        with pytest.raises(ArtQuantError, match="outcome already"):
            store.finish(Outcome("a.png", "kept"))
        assert [entry.image for entry in store.waiting()] == ["c.png"]
        assert store.reopen("failed") == 1 and store.states() == {"partly": 1, "waiting": 2}
    with open_store(tmp_path / "rad.sqlite", read_only=True) as store:
        [(entry, outcome)] = store.outcomes()
        assert entry == ENTRY and outcome == Outcome("a.png", "partly", "why", drafts)
        assert outcome.texts == {"perception": "b"} and store.about("made_with") == {"x": "1"}
        assert (store.totals()[""].attempts, store.totals("role")["writer"].cost) == (2, 0.5)
        ends = [[entry.image for entry in end] for end in store.ends(0.5, 50)]
        assert ends == [["b.png", "c.png"], ["a.png", "c.png"]]
    (tmp_path / "other.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ArtQuantError, match=r"other\.sqlite"), open_store(tmp_path / "other.sqlite", read_only=True):
        pass


def test_a_call_that_is_refused_ends_the_picture_alone():
    def refuse(*_):
        raise CallRefused("filtered")

    with pytest.raises(CallRefused, match="filtered"):
        described(Play(judge=refuse))
