"""`artquant descriptions` on demo data and on files that do not fit."""

import json

import pytest

from artquant.files.json_files import read_json, write_json


def test_separator_with_blank_line(lab, tmp_path):
    write_json(tmp_path / "s.json", [{"image": "a.png", "perception": "P", "cognition": "C", "emotion": "E"}])
    options = ("--separator", "\\n\\n", "--subject", "photo", "--out", tmp_path)
    assert lab.artquant("descriptions", "split", tmp_path / "s.json", *options) == 0
    [record] = read_json(tmp_path / "descriptions_level_3.json")
    assert record["conversations"][1]["value"] == "P\n\nC\n\nE" and "photo" in record["conversations"][0]["value"]


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
@pytest.mark.parametrize("action", ["split", "leaks"])
def test_rubbish_is_refused_in_one_line(lab, tmp_path, capsys, content, action):
    path = tmp_path / "rubbish.json"
    path.write_bytes(content)
    options = ("--out", tmp_path / "out") if action == "split" else ()
    assert lab.artquant("descriptions", action, path, *options) == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1
