"""What `infer` writes is its own, of one model and of the pictures as they are; anything else stays as it was."""

import json
import os
import shutil

import pytest
from cards import unlisted
from PIL import Image

from artquant.files.json_files import read_json_lines
from artquant.files.only_writer import only_writer


@pytest.fixture(scope="module")
def model(plain, tmp_path_factory):
    """A trained model folder that a test may change and put right again; no card of it says that it was changed."""
    return unlisted(shutil.copytree(plain / "scores" / "model", tmp_path_factory.mktemp("outputs") / "model"))


@pytest.fixture
def pictures(lab, tmp_path):
    """A folder with three pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        shutil.copy(lab.images / f"{index:05d}.png", folder)
    return folder


@pytest.fixture
def infer(lab, model, pictures, tmp_path, capsys):
    """`artquant infer` of these pictures: the status and what is said in error."""

    def run(*options, out=tmp_path / "out.jsonl"):
        where = ("--model", model, "--records", pictures, "--out", out, "--workers", 0, "--device", "cpu")
        status = lab.artquant("--quiet", "infer", *where, *options)
        return status, capsys.readouterr().err

    return run


CONTENTS = {
    "text": b"a\nlast line",
    "one line": b"half a line",
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "document": b"%PDF-1.7",
    "table": b"id,score\n",
    "records": b'[{"id": "00000.png", "score": 3}]\n',
    "predictions": b'{"id": "00000.png", "score": 3.0}\n',
    "half of one": b'{"id": "00000.png", "sc',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_files_of_others_stay(infer, tmp_path, content):
    out = tmp_path / "out.jsonl"
    out.write_bytes(content)
    for other in ({}, {"out.jsonl.origin.json": b'{"a": 1}'}, {"out.jsonl.pictures.jsonl": b"mine"}):
        for name, value in other.items():
            (tmp_path / name).write_bytes(value)
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
        status, error = infer()
        assert status == 2 and len(error.splitlines()) == 1 and str(out) in error
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_lines_of_another_with_an_origin_beside_stay(infer, tmp_path):
    assert infer() == (0, "")
    out = tmp_path / "out.jsonl"
    line = out.read_text().splitlines(keepends=True)[0]
    for content, message in ((line * 2, "line 2: the id '00000.png' a second time"), ("a\nlast line", "line 1")):
        out.write_text(content)
        status, error = infer()
        assert status == 2 and message in error and out.read_text() == content


@pytest.mark.parametrize("change", ["deleted", "emptied", "replaced"])
def test_an_output_that_is_changed_meanwhile(infer, tmp_path, monkeypatch, change):
    from artquant.infer.scorer import Scorer

    out, score = tmp_path / "out.jsonl", Scorer.score_pictures

    def changing(self, *arguments):
        if out.exists():
            {"deleted": out.unlink, "emptied": lambda: os.truncate(out, 0), "replaced": replaced}[change]()
        return score(self, *arguments)

    def replaced():
        text = out.read_text()
        out.unlink()
        out.write_text(text)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score_pictures", changing)
        status, error = infer("--batch-size", 1)
    assert status == 2 and len(error.splitlines()) == 1 and f"{out}: was deleted, emptied or changed" in error
    assert infer() == (0, "")
    assert [line["id"] for _, line in read_json_lines(out)] == ["00000.png", "00001.png", "00002.png"]


def test_a_picture_that_is_replaced_is_noticed(infer, pictures, tmp_path):
    (tmp_path / "aside").mkdir()
    shutil.move(pictures / "00002.png", tmp_path / "aside")
    assert infer() == (0, "")
    shutil.move(tmp_path / "aside" / "00002.png", pictures)
    os.utime(pictures / "00001.png", (0, 0))  # copied anew
    kept = (pictures / "00000.png").read_bytes()
    shutil.copy(pictures / "00001.png", pictures / "00000.png")
    status, error = infer()
    assert status == 2 and f"1 pictures were replaced since they were read (first: {pictures / '00000.png'})" in error
    (pictures / "00000.png").write_bytes(kept)
    assert infer() == (0, "")
    assert len(list(read_json_lines(tmp_path / "out.jsonl"))) == 3


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer_config.json", "config.json"])
def test_what_scores_depend_on_is_compared(lab, infer, model, pictures, tmp_path, name):
    """What one preprocessor has begun, another does not go on with."""
    assert infer() == (0, "")
    done = (tmp_path / "out.jsonl").read_bytes()
    file = model / name
    before = file.read_bytes()
    file.write_text(json.dumps(json.loads(before) | {"a_key_that_nobody_reads": 1}))
    try:
        status, error = infer()
    finally:
        file.write_bytes(before)
    assert status == 2 and len(error.splitlines()) == 1
    assert f"made with other {'weights' if name == 'config.json' else 'processor'}" in error
    assert (tmp_path / "out.jsonl").read_bytes() == done


def test_eight_bits_do_not_go_on_with_other_scores(infer, tmp_path):
    assert infer("--quantize", "dynamic_int8") == (0, "")
    done = (tmp_path / "out.jsonl").read_bytes()
    status, error = infer()
    assert status == 2 and "made with other quantize" in error
    assert infer("--quantize", "dynamic_int8") == (0, "") and (tmp_path / "out.jsonl").read_bytes() == done


def test_drafts_do_not_go_on_with_other_scores(infer, pictures, tmp_path):
    for file in pictures.glob("*.png"):
        with Image.open(file) as image:
            image.convert("RGB").resize((800, 800)).save(file.with_suffix(".jpg"))
        file.unlink()
    assert infer("--draft-to", 50) == (0, "")
    done = [line["score"] for _, line in read_json_lines(tmp_path / "out.jsonl")]
    status, error = infer()
    assert status == 2 and "made with other draft_to" in error
    assert infer("--draft-to", 50) == (0, "")
    assert infer(out=tmp_path / "full.jsonl") == (0, "")
    full = [line["score"] for _, line in read_json_lines(tmp_path / "full.jsonl")]
    assert full == pytest.approx(done, abs=0.5) and full != done
    assert infer("--draft-to", 801, out=tmp_path / "as.jsonl") == (0, "")  # none is as large
    assert [line["score"] for _, line in read_json_lines(tmp_path / "as.jsonl")] == full


def test_published_lists_replace_their_like_alone(infer, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    status, error = infer("--published", tmp_path / "notes.txt")
    assert status == 2 and "notes.txt: is there and holds something else" in error
    assert (tmp_path / "notes.txt").read_text() == "mine"
    for _ in range(2):
        assert infer("--published", tmp_path / "list.json") == (0, "")


def test_training_beside_training(lab, plain, tmp_path, capsys):
    """A process of ranks asks for its stage, the command for the whole run."""
    config = lab.write(tmp_path, lab.scores())
    run = tmp_path / "runs" / "run"
    child = "from artquant.files.only_writer import only_writer as o; import sys, time\nwith o(sys.argv[1]): print(1, "
    for held in (run, run / "scores"):
        process = lab.start(["-c", f"{child}flush=True); time.sleep(600)", held])
        try:
            process.stdout.readline()
            assert lab.artquant("--quiet", "train", "--config", config) == 2
        finally:
            process.kill()
            process.communicate()
        error = capsys.readouterr().err
        assert f"{held}: another process is writing it (PID {process.pid} on " in error
        assert not (run / "config.yaml").exists()
    assert lab.artquant("--quiet", "train", "--config", config) == 0
    assert lab.same_weights(plain, run) and not list(tmp_path.rglob("*.lock"))


def test_evaluations_replace_their_like_alone(lab, infer, tmp_path, capsys):
    records = [{"id": f"{index:05d}.png", "image": f"{index:05d}.png", "gt_score": index} for index in range(3)]
    (tmp_path / "truth.json").write_text(json.dumps(records))
    assert infer() == (0, "")
    pair = ("--predictions", tmp_path / "out.jsonl", "--truth", tmp_path / "truth.json", "--bootstrap", 0, "--no-plot")
    evaluate = ("eval", *pair, "--out", tmp_path / "evaluation")
    for _ in range(2):
        assert lab.artquant("--quiet", *evaluate) == 0
    assert [file.name for file in (tmp_path / "evaluation").iterdir()] == ["metrics.json"]
    (tmp_path / "evaluation" / "metrics.json").write_text('{"accuracy": 1}')
    assert lab.artquant("--quiet", *evaluate) == 2
    assert "metrics.json: is there and was written by no evaluation" in capsys.readouterr().err
    with only_writer(tmp_path / "file"):
        (tmp_path / "file").touch()
    assert lab.artquant("--quiet", *evaluate[:-1], tmp_path / "file") == 2
    assert f"{tmp_path / 'file'}: is a file; name a folder" in capsys.readouterr().err
