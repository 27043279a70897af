"""UniPercept's questions with choices, asked of the miniature network (in the shared folder only)."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from artquant.cli import main
from artquant.data.images import load_image
from artquant.files.json_files import read_json_lines
from artquant.infer.answers import generate
from artquant.infer.choices import answers_file
from artquant.infer.scorer import Scorer

NAME = "answer_artimuse-tiny"
# `artquant` with a slow network
SLOW = """
import sys, time

from artquant.cli import main
from artquant.infer.scorer import Scorer

say = Scorer.say


def slowly(self, *arguments):
    time.sleep(0.3)
    return say(self, *arguments)


Scorer.say = slowly
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(shared_folder):
    return shared_folder / "golden" / "artimuse"


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scorer(folder, one_thread):
    return Scorer.from_pretrained(folder / "artimuse-tiny", device="cpu")


@pytest.fixture
def questions(expected, tmp_path):
    """Four questions of different lengths about two pictures, one of them twice."""
    asked = [("golden_gate.jpg", expected["vqa_question"]), ("shipwreck.jpg", expected["vqa_question"])]
    asked += [("shipwreck.jpg", "Which?\nA. Ünder\nB. two"), ("golden_gate.jpg", "Which one of all of these?\nA. a")]
    rows = [{"image": image, "question": question, "answer": "B"} for image, question in [*asked, asked[2]]]
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


@pytest.fixture
def ask(folder, shared_folder, questions, tmp_path, capsys):
    """Asks the questions through the command line; exit status, standard output and errors."""

    def run(*options, out=tmp_path / "out.json", file=questions, model=folder / "artimuse-tiny"):
        where = ["--model", model, "--images", shared_folder / "images", "--out", out, "--workers", "0"]
        status = main(["--quiet", "eval", "--choices", str(file), *map(str, where), *map(str, options)])
        return status, *capsys.readouterr()

    return run


def test_prompt_and_tokens(folder, scorer, expected, shared_folder):
    """The published ids, and greedy tokens after them."""
    with np.load(folder / "expected.npz") as found:
        ids, tokens = found["vqa/input_ids"], found["vqa/tokens"]
    pictures = [load_image(shared_folder / "images" / name) for name in expected["pictures"][:2]]
    row = scorer.row(scorer.loaded.prompt.choosing(expected["vqa_question"]))
    prepared = [scorer.processor.picture(picture) for picture in pictures]
    inputs, said = generate(scorer.loaded, scorer.device, [row] * 2, prepared, 20)
    assert [line == ids.ravel().tolist() for line in inputs["input_ids"].tolist()] == [True, True]
    for line, wanted in zip(said.tolist(), tokens.tolist(), strict=True):
        wanted = [token for token in wanted if token != -1]
        assert len(wanted) > 1 and line[: len(wanted)] == wanted
        assert set(line[len(wanted) :]) <= {scorer.processor.pad_token_id}


def test_published_file_is_evaluated(folder, capsys):
    file = folder / "published_outputs" / "unipercept_vqa.json"
    assert main(["eval", "--choices", str(file), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["answers"], found["n"], found["right"]) == ("answer_unipercept", 2, 0)
    assert (found["no_letter"], found["failed_questions"]) == (2, [f"{file} record 2"])
    assert found["accuracy"] == pytest.approx({"value": 0.0, "low": 0.0, "high": 0.657620}, abs=1e-6)


def test_questions_to_answers(folder, ask, expected, scorer, questions, tmp_path):
    """Different questions in one batch are answered as each alone; the file has the published form."""
    status, printed, errors = ask("--batch-size", "3", "--json")
    assert status == 0 and "4 questions asked, 0 were there" in errors
    assert ask("--batch-size", "1", out=tmp_path / "single.json")[0] == 0
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "single.json").read_text(encoding="utf-8")
    rows, before = json.loads(text), json.loads(questions.read_text(encoding="utf-8"))
    assert text == json.dumps(rows, indent=2, ensure_ascii=False) and "Ü" in text
    assert [{key: row[key] for key in row if key != NAME} for row in rows] == before
    with np.load(folder / "expected.npz") as found:
        tokens = found["vqa/tokens"].tolist()
    wanted = [scorer.processor.decode(line[: line.index(-1) if -1 in line else 20], True).strip() for line in tokens]
    assert [row[NAME] for row in rows[:2]] == [said[0].upper() for said in wanted]
    kept = [line for _, line in read_json_lines(answers_file(tmp_path / "out.json"))]
    assert len(kept) == 4 and all(said.startswith(line["text"]) for said, line in zip(wanted, kept, strict=False))
    [found] = json.loads(printed)
    assert (found["n"], found["letter_alone"] is None) == (5, False)


def test_answers_that_begin_late(ask, monkeypatch, tmp_path):
    """Blanks, special tokens and half characters are waited for, as the published 1,024 tokens do."""
    calls = []

    def say(self, rows, pictures, max_new_tokens):
        calls.append((len(rows), max_new_tokens))
        return {8: ["B", "", "\ufffd", "b"], 1024: ["a", ""]}[max_new_tokens]

    monkeypatch.setattr(Scorer, "say", say)
    status, printed, _ = ask("--json")
    assert status == 0 and calls == [(4, 8), (2, 1024)]
    assert [row[NAME] for row in json.loads((tmp_path / "out.json").read_text())] == ["B", "A", "?", "B", "?"]
    [found] = json.loads(printed)
    assert (found["n"], found["right"], found["failed"]) == (5, 2, 2) and found["letter_alone"]["value"] == 0.4


def test_pictures_that_cannot_be_read(ask, questions, tmp_path):
    rows = json.loads(questions.read_text(encoding="utf-8"))
    rows.insert(1, {"image": "nothing.jpg", "question": "Which?", "answer": "A"})
    questions.write_text(json.dumps(rows), encoding="utf-8")
    status, _, errors = ask()
    assert status == 2 and f"{questions} record 2 (id 'nothing.jpg'): no picture" in errors
    assert not (tmp_path / "out.json").exists()
    status, printed, errors = ask("--skip-unreadable")
    assert status == 1 and "skipped: cannot read picture" in errors and "4 questions asked, 0 were there" in errors
    assert f"1 without an answer, counted as wrong: {questions} record 2" in printed
    assert [row[NAME] == "?" for row in json.loads((tmp_path / "out.json").read_text())] == [False, True, *[False] * 4]
    rows = [row | {"image": "nothing.jpg"} for row in rows]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    status, _, errors = ask("--skip-unreadable", out=tmp_path / "none.json")
    assert status == 2 and "no picture of 6 can be read; check the folder" in errors.splitlines()[-1]


def test_a_damaged_picture_stops_behind_its_batch(ask, questions, shared_folder, tmp_path):
    """What else its batch holds is kept; the picture is tried again, and asked about once it is whole."""
    whole, picture = (shared_folder / "images" / "shipwreck.jpg").read_bytes(), tmp_path / "damaged.jpg"
    picture.write_bytes(whole[:2000])
    rows = json.loads(questions.read_text(encoding="utf-8"))
    questions.write_text(json.dumps([rows[1] | {"image": str(picture)}, *rows]), encoding="utf-8")
    status, _, errors = ask()
    assert status == 2 and f"cannot read picture {picture} (record {questions} record 1" in errors
    picture.write_bytes(whole)
    status, _, errors = ask()
    assert status == 0 and "1 questions asked, 4 were there" in errors
    letters = [row[NAME] for row in json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))]
    assert letters[0] == letters[2]  # the same picture and question


def test_other_outputs_are_left_alone(ask, folder, questions, tmp_path):
    status, _, errors = ask(out=questions)
    assert status == 2 and "is there already and not what this command writes" in errors
    assert ask()[0] == 0
    written = (tmp_path / "out.json").read_text(encoding="utf-8")
    for options in (["--dtype", "bfloat16"], ["--images", tmp_path]):
        status, _, errors = ask(*options)
        assert status == 2 and "made with other" in errors
    status, _, errors = ask(file=tmp_path / "out.json", out=tmp_path / "again.json")
    assert status == 2 and f'out.json record 1: has "{NAME}" already' in errors
    rows = json.loads(questions.read_text(encoding="utf-8"))[:1]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    status, _, errors = ask()
    assert status == 2 and "is there already and not what this command writes for these questions" in errors
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("question", "options", "message"),
    [
        ("<|image|> Which?", (), "record 1: a question needs words, and the picture is put before them"),
        ("<IMG_CONTEXT>?", (), "record 1: the chat template puts 2 <IMG_CONTEXT> for one picture"),
    ],
)
def test_questions_that_cannot_be_asked(ask, questions, question, options, message):
    rows = [{"image": "shipwreck.jpg", "question": question, "answer": "A"}]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    status, _, errors = ask(*options)
    assert status == 2 and message in errors.splitlines()[-1]


def test_killed_and_run_again(ask, folder, shared_folder, questions, tmp_path):
    """While one process asks another is refused; after its end by force the same command goes on at once."""
    asked = json.loads(questions.read_text(encoding="utf-8"))[2]
    rows = [asked | {"question": f"Which?\nA. {number}\nB. two"} for number in range(12)]
    questions.write_text(json.dumps(rows), encoding="utf-8")
    assert ask(out=tmp_path / "unbroken.json")[0] == 0
    script, out = tmp_path / "slow.py", tmp_path / "out.json"
    script.write_text(SLOW, encoding="utf-8")
    where = ["--model", folder / "artimuse-tiny", "--images", shared_folder / "images", "--out", out]
    command = [sys.executable, script, "--quiet", "eval", "--choices", questions, *where, "--batch-size", "1"]
    process = subprocess.Popen(list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while process.poll() is None and not (answers_file(out).is_file() and answers_file(out).stat().st_size):
            time.sleep(0.005)
        status, _, errors = ask()
        assert status == 2 and f"{out}: another process is writing it" in errors
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with answers_file(out).open("a", encoding="utf-8") as stream:
        stream.write('{"image": "shipwr')  # a line that it was killed in
    done = answers_file(out).read_bytes().count(b"\n")
    assert 0 < done < 12 and not out.exists()
    status, _, errors = ask()
    assert status == 0 and f"{12 - done} questions asked, {done} were there" in errors
    assert out.read_text(encoding="utf-8") == (tmp_path / "unbroken.json").read_text(encoding="utf-8")
    assert ask()[0] == 0 and len(answers_file(out).read_bytes().splitlines()) == 12
