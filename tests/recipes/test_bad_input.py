"""What users get wrong, through the command line: one line that names file and record, and an exit status."""

import json
import shutil
import struct

import numpy as np
import pytest
from cards import unlisted
from PIL import Image
from plain_pictures import REDUCED, chunk, tiff


@pytest.fixture(scope="module")
def model(two_stages):
    """A trained model folder."""
    return two_stages / "scores" / "model"


@pytest.fixture
def refused(lab, capsys):
    """Runs a command that must fail; returns its only line on stderr."""

    def run(*arguments) -> str:
        capsys.readouterr()
        assert lab.artquant("--quiet", *arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        command = arguments[0]
        assert line.startswith(f"artquant {command}: error: ")
        return line

    return run


def spoil(kind: str, file, source) -> None:
    """Write a picture that cannot be used."""
    data = source.read_bytes()
    if kind == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "text":
        file.write_text("<html>404 not found</html>", encoding="utf-8")
    elif kind == "one_pixel":
        Image.new("RGB", (1, 1)).save(file)
    elif kind == "huge":  # a header alone: 10 gigapixels
        header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


KINDS = {
    "truncated": "damaged or incomplete",
    "empty": "the file is empty",
    "missing": "no such file",
    "text": "not a picture",
    "one_pixel": "1 x 1 pixels is too small",
    "huge": "more than 100 million",
}


@pytest.mark.parametrize(("kind", "message"), KINDS.items())
def test_unusable_picture(lab, refused, model, tmp_path, kind, message):
    good = lab.images / "00000.png"
    shutil.copy(good, tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    spoil(kind, bad, good)
    records = tmp_path / "list.json"
    records.write_text(json.dumps([{"image": "good.png"}, {"id": "a bad one", "image": "bad.png"}]), encoding="utf-8")
    out = tmp_path / "out.jsonl"
    line = refused("infer", "--model", model, "--records", records, "--out", out, "--workers", 0)
    assert str(bad) in line and f"{records} record 2" in line and "'a bad one'" in line and message in line
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1
    line = refused("score", "--model", model, bad)
    assert str(bad) in line and message in line


def test_other_pictures_are_scored_all_the_same(lab, model, tmp_path, capsys):
    pictures = (lab.images / "00000.png", tmp_path / "none.png", lab.images / "00001.png")
    assert lab.artquant("score", "--json", "--model", model, *pictures) == 2
    printed = capsys.readouterr()
    found = [json.loads(line)["image"] for line in printed.out.splitlines()]
    assert found == [str(pictures[0]), str(pictures[2])]
    [line] = printed.err.splitlines()
    assert str(pictures[1]) in line


def test_worker_process_and_no_other_noise(lab, model, tmp_path):
    """In a process of its own, pictures read by others: nothing but the one line."""
    bad, records = tmp_path / "bad.png", tmp_path / "list.jsonl"
    spoil("truncated", bad, lab.images / "00000.png")
    records.write_text('{"image": "bad.png"}\n', encoding="utf-8")
    arguments = ("--model", model, "--records", records, "--out", tmp_path / "out.jsonl", "--workers", 1)
    done = lab.run("-m", "artquant", "--quiet", "infer", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert str(bad) in line and f"{records} record 1" in line


def usable_pictures(folder, source):
    """Pictures in unusual forms, each with its meaning as plain RGB."""
    plain = Image.open(source).convert("RGB")
    cmyk = plain.convert("CMYK")
    cmyk.save(folder / "cmyk.tif")
    yield folder / "cmyk.tif", cmyk.convert("RGB")

    grey = plain.convert("L")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "grey16.png")
    yield folder / "grey16.png", grey.convert("RGB")

    palette = plain.quantize(16)
    palette.save(folder / "palette.png", transparency=0)
    white = palette.convert("RGB")
    white.paste((255, 255, 255), mask=Image.fromarray((np.asarray(palette) == 0).astype(np.uint8) * 255))
    yield folder / "palette.png", white

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    plain.save(folder / "turned.png", exif=exif)
    yield folder / "turned.png", plain.transpose(Image.Transpose.ROTATE_270)

    values = 65535 - np.asarray(grey)[..., None].astype(np.int64) * 257
    (folder / "white_is_zero.tif").write_bytes(tiff((values, 16, {262: 0})))
    yield folder / "white_is_zero.tif", grey.convert("RGB")

    turned = plain.transpose(Image.Transpose.ROTATE_180)
    thumbnail = (np.asarray(plain.resize((12, 8))), 8, {262: 2, 254: REDUCED})
    (folder / "thumbnail.tif").write_bytes(tiff(thumbnail, (np.asarray(turned), 8, {262: 2})))
    yield folder / "thumbnail.tif", turned


def test_unusual_pictures_have_their_meaning(lab, model, tmp_path, capsys):
    source = lab.images / "00000.png"
    pictures = [source]
    for index, (file, meaning) in enumerate(usable_pictures(tmp_path, source)):
        meaning.save(tmp_path / f"plain-{index}.png")
        pictures += [file, tmp_path / f"plain-{index}.png"]
    assert lab.artquant("score", "--json", "--model", model, *pictures) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    first, *rest = (json.loads(line)["logits"] for line in printed.out.splitlines())
    assert len(rest) == 12
    for unusual, plain in zip(rest[::2], rest[1::2], strict=True):
        assert unusual == plain
    assert all(logits != first for logits in rest[2:])  # grey, transparent and turned pictures look different


def change(records: list[dict], kind: str) -> None:
    """Spoil the third record."""
    record = records[2]
    if kind == "duplicate id":
        record["id"] = records[0]["id"]
    elif kind == "missing key":
        del record["conversations"]
    elif kind == "score out of range":
        record["gt_score"] = 71.5
    elif kind == "probabilities":
        record["level_probs"] = [0.2, 0.2, 0.2, 0.2, 0.1]
    elif kind == "picture":
        record["image"] = "nowhere.png"
    elif kind == "two pictures":
        record["conversations"][0]["value"] += "<|image|>"


LISTS = {
    "duplicate id": "the same id as record 1",
    "missing key": '"conversations" is missing',
    "score out of range": "71.5 is outside 1 to 10",
    "probabilities": "sums to 0.9 instead of 1",
    "picture": "nowhere.png",
    "two pictures": "exactly one <|image|>, got 2",
}


@pytest.mark.parametrize(("kind", "message"), LISTS.items())
def test_unusable_training_list(lab, refused, tmp_path, kind, message):
    records = json.loads(lab.records("score").read_text(encoding="utf-8"))
    change(records, kind)
    file = tmp_path / "score.json"
    file.write_text(json.dumps(records), encoding="utf-8")
    line = refused("train", "--config", lab.write(tmp_path, lab.stage("scores", {file: 1})))
    assert f"{file} record 3" in line and repr(records[2]["id"]) in line and message in line
    assert not (tmp_path / "runs" / "run" / "scores" / "model").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": "a", "image": "00000.png"}, {"id": "a", "image": "00001.png"}]', "record 2 (id 'a'): the same id"),
        ('[{"id": "a", "image": "00000.png"}, {"id": "b"}]', "record 2 (id 'b'): key \"image\" is missing"),
        ('[{"image": "00000.png"}, {"image": "00001.png"', "line 1 column"),
        ('[{"image": "../secret.png"}]', "record 1: \"image\" '../secret.png' leads out"),
        ("", "holds no records"),
    ],
)
def test_unusable_list_of_pictures(lab, refused, model, tmp_path, text, message):
    records, out = tmp_path / "list.json", tmp_path / "out.jsonl"
    records.write_text(text, encoding="utf-8")
    line = refused("infer", "--model", model, "--records", records, "--images", lab.images, "--out", out)
    assert str(records) in line and message in line
    assert not out.exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_picture_in_training(lab, tmp_path, capsys, workers):
    images = tmp_path / "images"
    shutil.copytree(lab.images, images)
    records = json.loads(lab.records("score").read_text(encoding="utf-8"))
    bad = images / records[4]["image"]
    whole = bad.read_bytes()
    spoil("truncated", bad, bad)
    stage = lab.scores(max_steps=-1, epochs=1, save_steps=2, workers=workers)
    stage["data"][0]["images"] = str(images)
    config = lab.write(tmp_path, stage)
    capsys.readouterr()
    assert lab.artquant("train", "--config", config) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    line = error.splitlines()[-1]  # before it, the progress bar
    assert line.startswith("artquant train: error: cannot read picture")
    assert str(bad) in line and f"{lab.records('score')} record 5" in line and repr(records[4]["id"]) in line
    assert not (tmp_path / "runs" / "run" / "scores" / "model").exists()

    bad.write_bytes(whole)
    assert lab.artquant("train", "--config", config) == 0
    assert [line["step"] for line in lab.history(tmp_path / "runs" / "run", "scores")] == list(range(1, 9))


def test_typing_error_in_the_configuration(lab, refused, tmp_path):
    config = lab.write(tmp_path, lab.scores(bach_size=4))
    line = refused("train", "--config", config)
    assert f"{config}: stages.0.bach_size: no such key; did you mean batch_size?" in line
    config = lab.write(tmp_path, lab.scores())
    line = refused("train", "--config", config, "stages.scores.epoch=1")
    assert "override 'stages.scores.epoch=1'" in line and "did you mean epochs?" in line
    assert not (tmp_path / "runs").exists()


def test_unknown_stage(lab, refused, tmp_path):
    config = lab.write(tmp_path, lab.descriptions(), lab.scores())
    for more in ((), ("--stage", "scores", "--launcher", "torchrun", "--ranks", 2)):
        line = refused("train", "--config", config, "--stage", "score", *more)
        assert "run run: no stage 'score'; known are descriptions, scores" in line
    assert not (tmp_path / "runs").exists()


def test_deepspeed_without_processes(lab, refused, tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    pytest.importorskip("deepspeed")
    file = tmp_path / "zero2.json"
    file.write_text("{}", encoding="utf-8")
    config = lab.write(tmp_path, lab.scores(deepspeed=str(file)))
    line = refused("train", "--config", config, "--launcher", "none")
    assert f"stage scores: {file} needs processes" in line and "--launcher deepspeed" in line
    assert not (tmp_path / "runs").exists()


def test_unknown_prompt(lab, refused, model, tmp_path):
    line = refused("score", "--model", model, "--prompt", "mplug", lab.images / "00000.png")
    assert "unknown prompt 'mplug'; known are artquant, artquant-aspects, published-train, published-score" in line
    line = refused("train", "--config", lab.write(tmp_path, lab.scores(), prompt="mplug"))
    assert "unknown prompt 'mplug'" in line


def test_wrong_model_folders(lab, refused, lora_run, tmp_path):
    picture = lab.images / "00000.png"
    assert f"{tmp_path / 'none'}: not a model folder" in refused("score", "--model", tmp_path / "none", picture)
    assert f"{lab.data}: not a model folder" in refused("score", "--model", lab.data, picture)
    ours = f"{lora_run / 'descriptions' / 'model'} or {lora_run / 'scores' / 'model'}?"
    assert f"{lora_run}: not a model folder (no config.json); did you mean {ours}" in refused(
        "score", "--model", lora_run, picture
    )
    adapter = shutil.copytree(lora_run / "scores" / "model", tmp_path / "adapter")
    (unlisted(adapter) / "artquant.json").unlink()
    assert f"{adapter}: holds a LoRA run" in refused("score", "--model", adapter, picture)
    config = lab.write(tmp_path, lab.scores(), base=str(lab.data))
    assert f"{lab.data}: not a model folder" in refused("train", "--config", config)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", None])
@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "tokenizer.model",
    ],
)
def test_damaged_file_of_a_model(lab, refused, model, tmp_path, name, content):
    """Empty, a pointer that git left in the file's place, and cut short."""
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    file = broken / name
    file.write_bytes(file.read_bytes()[:1000] if content is None else content)
    assert str(broken) in refused("score", "--model", broken, lab.images / "00000.png")


def test_text_longer_than_the_limit(lab, refused, tmp_path):
    config = lab.write(tmp_path, lab.stage("long", {"descriptions_level_3": 1}, max_length=40))
    line = refused("train", "--config", config)
    assert f"{lab.records('descriptions_level_3')} record 1" in line and "more than max_length 40" in line
