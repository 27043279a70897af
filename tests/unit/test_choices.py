"""Questions with choices: what is right, how sure that is, and files that are refused."""

import json
import subprocess
import sys

import pytest

from artquant.cli import main
from artquant.errors import ArtQuantError
from artquant.evaluate.choices import chosen_letter, evaluate_choices, read_questions, stored_answers
from artquant.files.only_writer import only_writer


def record(answer="A", **more):
    return {"image": "a.jpg", "question": "Which?\nA. one\nB. two", "answer": answer, **more}


GOOD = record(kind="x", answer_m="A")


@pytest.fixture
def written(tmp_path):
    """Writes a file of questions."""

    def write(value):
        file = tmp_path / "questions.json"
        file.write_text(json.dumps(value), encoding="utf-8")
        return file

    return write


def figures(estimate):
    return [estimate.value, estimate.low, estimate.high]


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), ("b. Blur", "B"), ("\n  d", "D"), ("The second", "T"), ("(A)", "("), ("", "?"), ("  ", "?")],
)
def test_the_published_letter(text, letter):
    assert chosen_letter(text) == letter


def test_shares_and_wilson_intervals(written):
    """Seven of ten, three of four and four of six; (p + z2/2n +- z sqrt(p(1 - p)/n + z2/4n2)) / (1 + z2/n) by hand."""
    said = ["A", "a", "A. one", "B", "All of it", "A", "A!", "The first", "A painting", "?"]
    kinds = ["what"] * 4 + ["why"] * 6
    rows = [record(kind=kind, level=1) for kind in kinds]
    found = evaluate_choices("answer_x", read_questions(written(rows), ("kind", "level")), said)
    assert (found.total.n, found.total.right, found.total.no_letter, found.total.failed) == (10, 7, 2, 1)
    assert figures(found.total.accuracy) == pytest.approx([0.7, 0.396778, 0.892209], abs=1e-6)
    assert found.total.letter_alone.value == 0.6  # "All" is none
    assert list(found.by) == ["kind", "level"] and list(found.by["kind"]) == ["what", "why"]
    assert figures(found.by["kind"]["what"].accuracy) == pytest.approx([0.75, 0.300642, 0.954413], abs=1e-6)
    assert figures(found.by["kind"]["why"].accuracy) == pytest.approx([2 / 3, 0.299993, 0.903229], abs=1e-6)
    assert found.by["level"] == {"1": found.total}
    assert [source.split()[-2:] for source in found.failed] == [["record", "10"]]


def test_pictures_are_resampled_not_questions(written):
    """Fifty questions about each of two pictures, all right or all wrong: a resample has 0, 1/2 or 1."""
    rows = [record(image=name) for name in "ab" for _ in range(50)]
    questions = read_questions(written(rows))
    said = ["A"] * 50 + ["B"] * 50
    drawn = evaluate_choices("x", questions, said, bootstrap=500).total
    assert figures(drawn.accuracy) == [0.5, 0.0, 1.0] and drawn.letter_alone is None
    assert evaluate_choices("x", questions, said).total.accuracy.low == pytest.approx(0.4038315, abs=1e-6)
    alone = evaluate_choices("x", questions[:50], said[:50], bootstrap=500, whole=True).total
    assert figures(alone.accuracy) == [1.0, None, None] == figures(alone.letter_alone)
    with pytest.raises(ArtQuantError, match="0 or more, got -1"):
        evaluate_choices("x", questions, said, bootstrap=-1)


def test_every_answered_model(written, capsys):
    rows = [record(answer_one="A", answer_two="b", answer_kind="x"), record("c", answer_one="C", answer_two="?")]
    rows[1]["answer_kind"] = "y"
    file = written(rows)
    assert main(["eval", "--choices", str(file), "--by", "answer_kind", "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert (one["answers"], one["right"], one["failed_questions"]) == ("answer_one", 2, [])
    assert (two["answers"], two["right"], two["failed_questions"]) == ("answer_two", 0, [f"{file} record 2"])
    assert one["by"]["answer_kind"]["y"]["accuracy"]["value"] == 1 and one["letter_alone"] is None
    assert main(["eval", "--choices", str(file), "--by", "answer_kind"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["answer_one", "2", "2", "1.0000", "[0.342,", "1.000]", "-", "0", "0"]
    assert lines[-1] == f"answer_two: 1 without an answer, counted as wrong: {file} record 2"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"image": "a.jpg"}, ": expected a list of records with image, question and answer, got an object"),
        ([], ": expected a list of records with image, question and answer, got an empty one"),
        ([GOOD, "a"], " record 2: expected an object, got text"),
        ([GOOD, {"image": "a.jpg", "answer": "A"}], ' record 2: key "question" is missing'),
        ([{"question": "b", "answer": "A"}], ' record 1: key "image" is missing'),
        ([{"image": "a.jpg", "question": "b"}], ' record 1: key "answer" is missing'),
        ([GOOD, GOOD | {"answer": "E"}], " record 2: \"answer\" must be one of the letters A to D, got 'E'"),
        ([GOOD | {"answer": "AB"}], " record 1: \"answer\" must be one of the letters A to D, got 'AB'"),
        ([GOOD, record()], ' record 2: key "kind" is missing'),
        ([record(kind=[1])], ' record 1: "kind" must be text, got a list'),
        ([record(kind="x")], ' record 1: no key "answer_NAME"'),
        ([GOOD, record(kind="x")], ' record 2: no text as "answer_m"'),
        ([GOOD | {"answer_m": None}], ' record 1: no text as "answer_m"'),
    ],
)
def test_wrong_files(written, capsys, value, message):
    file = written(value)
    assert main(["eval", "--choices", str(file), "--by", "kind"]) == 2
    [error] = capsys.readouterr().err.splitlines()
    assert f"{file}{message}" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--predictions", "x"], "--predictions is for scores; leave it out with --choices"),
        (["a=b"], "key=value is for scores"),
        (["--weights", "1,2"], "--weights is for scores"),
        (["--images", "x"], "--images goes with --model, the one to ask"),
        (["--workers", "0"], "--workers goes with --model"),
        (["--dtype", "bfloat16"], "--dtype goes with --model"),
        (["--out", "x"], "--out goes with --model"),
        (["--model", "x"], "--model needs --images"),
    ],
)
def test_wrong_use(written, capsys, options, message):
    assert main(["eval", "--choices", str(written([record(answer_m="A")])), *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_settings_of_questions_need_questions(capsys):
    assert main(["eval", "--model", "x", "--predictions", "a", "--truth", "b"]) == 2
    assert "--model goes with --choices" in capsys.readouterr().err


def test_stored_answers_keep_their_order(written):
    rows = [record(answer_b="A", answer_a="B"), record(answer_a="C", answer_b="D")]
    assert stored_answers(read_questions(written(rows))) == {"answer_b": ["A", "D"], "answer_a": ["B", "C"]}


def test_one_process_on_an_output(tmp_path):
    """Another process is refused while one writes, not afterwards; what is in the way has a message."""
    out = tmp_path / "new" / "out.json"
    code = f"from artquant.files.only_writer import only_writer\nwith only_writer({str(out)!r}): pass"

    def other():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return done.stderr.splitlines()[-1] if done.returncode else ""

    with only_writer(out):
        assert "another process is writing it" in other()
    assert other() == "" and not out.parent.exists()
    (tmp_path / "file").touch()
    with pytest.raises(ArtQuantError, match="cannot be written"), only_writer(tmp_path / "file" / "out.json"):
        pass
