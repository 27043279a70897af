"""`artquant descriptions` on demo data and on files that do not fit."""

import json

import pytest

from artquant.files.json_files import read_json, write_json


def test_demo_levels_join_and_split_again(lab, tmp_path, capsys):
    levels = [lab.records(f"descriptions_level_{level}") for level in (1, 2, 3)]
    assert lab.artquant("descriptions", "join", *levels, "--out", tmp_path / "structured.json") == 0
    assert "32 pictures: 32 of level 1, 32 of level 2, 32 of level 3" in capsys.readouterr().out
    assert lab.artquant("descriptions", "split", tmp_path / "structured.json", "--out", tmp_path) == 0
    for path in levels:
        before, after = read_json(path), read_json(tmp_path / path.name)
        assert [r["conversations"][1] for r in before] == [r["conversations"][1] for r in after]
        assert [(r["id"], r["image"], r["attributes"]) for r in before] == [
            (r["id"], r["image"], r["attributes"]) for r in after
        ]


def test_wrong_order_is_an_error_of_one_line(lab, tmp_path, capsys):
    levels = [lab.records(f"descriptions_level_{level}") for level in (2, 1, 3)]
    assert lab.artquant("descriptions", "join", *levels, "--out", tmp_path / "s.json") == 2
    error = capsys.readouterr().err
    assert "record 1" in error and error.count("\n") == 1 and not (tmp_path / "s.json").exists()


def test_separator_with_blank_line(lab, tmp_path):
    write_json(tmp_path / "s.json", [{"image": "a.png", "perception": "P", "cognition": "C", "emotion": "E"}])
    options = ("--separator", "\\n\\n", "--subject", "photo", "--out", tmp_path)
    assert lab.artquant("descriptions", "split", tmp_path / "s.json", *options) == 0
    [record] = read_json(tmp_path / "descriptions_level_3.json")
    assert record["conversations"][1]["value"] == "P\n\nC\n\nE" and "photo" in record["conversations"][0]["value"]


def test_statistics(lab, capsys):
    level = lab.records("descriptions_level_3")
    assert lab.artquant("descriptions", "stats", level, "--model", lab.base, "--max-length", 10, "--json") == 0
    found = json.loads(capsys.readouterr().out)[str(level)]
    assert (found["count"], found["empty"], found["over_max_length"]) == (32, 0, 1.0)
    assert found["tokens"]["min"] >= found["words"]["min"] > 10
    assert lab.artquant("descriptions", "stats", level) == 0
    assert "32 texts, 0 empty" in capsys.readouterr().out
    assert lab.artquant("descriptions", "stats", level, "--model", level.parent) == 2
    assert f"{level.parent}: the tokenizer cannot be loaded" in capsys.readouterr().err


def test_leaks(lab, tmp_path, capsys):
    assert lab.artquant("descriptions", "leaks", lab.records("descriptions_level_3")) == 0
    capsys.readouterr()
    write_json(tmp_path / "s.json", [{"image": "a.png", "perception": "Red. I rate this 7/10."}])
    assert lab.artquant("descriptions", "leaks", tmp_path / "s.json", "--json") == 1
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["record"], found["id"], found["kind"], found["text"]) == (1, "a.png", "rating", "7/10")


@pytest.mark.parametrize(
    "content", [b"<html><body>404</body></html>", b"\xff\xfe\x00", b"", b"[]", b"[1]", b'[{"a": 1}]']
)
@pytest.mark.parametrize("action", ["split", "join", "stats", "leaks"])
def test_rubbish_is_refused_in_one_line(lab, tmp_path, capsys, content, action):
    path = tmp_path / "rubbish.json"
    path.write_bytes(content)
    options = ("--out", tmp_path / "out") if action in ("split", "join") else ()
    assert lab.artquant("descriptions", action, path, *options) == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1
