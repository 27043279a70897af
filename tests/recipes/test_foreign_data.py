"""Data as they come from other systems and tools: through check, train and infer alike."""

import json
import shutil
import unicodedata

import pytest

COMPOSED = unicodedata.normalize("NFC", "Café/Ångström.png")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.fixture
def four(lab, tmp_path):
    """A folder of pictures, and files of four score records and of two pictures to score, over them."""
    images = shutil.copytree(lab.images, tmp_path / "images")
    (images / DECOMPOSED).parent.mkdir()
    records = json.loads(lab.records("score").read_text(encoding="utf-8"))[:4]
    (images / records[1]["image"]).rename(images / DECOMPOSED)
    records[1]["image"] = COMPOSED
    held_out = json.loads(lab.records("test").read_text(encoding="utf-8"))[:2]
    (images / held_out[1]["image"]).rename(images / (name := unicodedata.normalize("NFD", "Bäume.png")))
    held_out[1]["image"] = unicodedata.normalize("NFC", name)
    return images, records, held_out


def written(lab, folder, images, records, held_out, **settings):
    """A configuration that trains on the records for a step."""
    for name, content in (("score", records), ("test", held_out)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    stage = lab.stage("scores", {folder / "score.json": 1}, max_steps=1, **settings)
    stage["data"][0]["images"] = str(images)
    return lab.write(folder, stage, infer={"records": str(folder / "test.json"), "images": str(images), "workers": 0})


def test_accents_in_the_other_form_are_the_same_name(lab, four, tmp_path, capsys):
    images, records, held_out = four
    config = written(lab, tmp_path, images, records, held_out)
    assert lab.artquant("--quiet", "check", config, "--workers", 0, "--no-duplicates") == 0, capsys.readouterr().out
    assert lab.artquant("train", "--config", config) == 0
    out = tmp_path / "out.jsonl"
    assert lab.artquant("infer", "--config", config, "--out", out) == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2
    capsys.readouterr()
    # Learned under one form and held out under the other is a leak.
    written(lab, tmp_path, images, records, [{"id": "a", "image": DECOMPOSED, "gt_score": 5}])
    assert lab.artquant("--quiet", "check", config, "--json", "--no-pictures") == 1
    assert json.loads(capsys.readouterr().out)["counts"] == {"leak-same-picture": 1}


def test_other_capitals_are_said(lab, two_stages, four, tmp_path, capsys):
    images, records, held_out = four
    other = images / DECOMPOSED.replace(".png", ".PNG")
    (images / DECOMPOSED).rename(other)
    said = f"there is {other.name!r}"
    config = written(lab, tmp_path, images, records, held_out)
    assert lab.artquant("--quiet", "check", config, "--workers", 0, "--no-duplicates") == 1
    assert said in capsys.readouterr().out
    assert lab.artquant("--quiet", "train", "--config", config) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "runs" / "run" / "scores" / "model").exists()
    (tmp_path / "list.json").write_text(json.dumps([{"image": COMPOSED}]), encoding="utf-8")
    asked = ("--model", two_stages / "scores" / "model", "--records", tmp_path / "list.json", "--images", images)
    assert lab.artquant("--quiet", "infer", *asked, "--out", tmp_path / "out.jsonl", "--workers", 0) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line and f"{tmp_path / 'list.json'} record 1" in line


def test_files_of_other_tools(lab, tmp_path, capsys):
    """LLaVA's list and LLaMA-Factory's lines are learned; a tag in a description is found, and refused."""
    described = json.loads(lab.records("descriptions_level_1").read_text(encoding="utf-8"))[:8]
    files = tmp_path / "llava.json", tmp_path / "factory.jsonl"
    said = [(record["image"], record["conversations"][1]["value"]) for record in described]
    question = "<image>\nDescribe this painting."
    turns = [[{"from": "human", "value": question}, {"from": "gpt", "value": answer}] for _, answer in said]
    listed = [
        {"id": str(number), "image": image, "conversations": turn}
        for number, ((image, _), turn) in enumerate(zip(said[:4], turns, strict=False))
    ]
    lines = [
        {
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "images": [image],
        }
        for image, answer in said[4:]
    ]

    def write() -> None:
        files[0].write_text(json.dumps(listed), encoding="utf-8")
        files[1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    write()
    config = lab.write(tmp_path, lab.stage("descriptions", {files[0]: 1, files[1]: 1}, max_steps=2))
    assert lab.artquant("--quiet", "check", config, "--no-pictures") == 0, capsys.readouterr().out
    assert lab.artquant("train", "--config", config) == 0
    assert len(lab.history(tmp_path / "runs" / "run", "descriptions")) == 2
    capsys.readouterr()
    lines[2]["messages"][1]["content"] += " <image>"
    listed[1]["image"] = [said[0][0], said[1][0]]
    write()
    assert lab.artquant("--quiet", "check", config, "--no-pictures") == 1
    out = capsys.readouterr().out
    assert f"{files[1]} record 3" in out and "the gpt turn must not hold <image>" in out
    assert f"{files[0]} record 2" in out and '"image" names 2 pictures' in out
    shutil.rmtree(tmp_path / "runs")
    assert lab.artquant("--quiet", "train", "--config", config) == 2
    assert f"{files[0]} record 2 (id '1'): \"image\" names 2 pictures" in capsys.readouterr().err
    listed[1]["image"] = said[1][0]
    write()
    assert lab.artquant("--quiet", "train", "--config", config) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{files[1]} record 3: the gpt turn must not hold <image>" in line
