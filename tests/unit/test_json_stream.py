"""JSON read one value at a time is what it is when read whole; so are the errors."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artquant.files import json_stream
from artquant.files.json_files import JsonError, read_json, read_json_lines
from artquant.files.json_stream import iterate_json
from artquant.files.opened import FileUnreadable

SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def block_size(monkeypatch, size: int) -> None:
    monkeypatch.setattr(json_stream, "_BLOCK", size)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 20])
@FOLDER
@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 0, 1, 3]), st.booleans(), st.booleans(), st.booleans())
def test_lists(tmp_path, monkeypatch, block, values, indent, ascii_only, mark, windows):
    block_size(monkeypatch, block)
    text = " \t\n" + json.dumps(values, indent=indent, ensure_ascii=ascii_only) + "\r\n "
    data = (b"\xef\xbb\xbf" if mark else b"") + (text.replace("\n", "\r\n") if windows else text).encode(
        "utf-8", "surrogatepass"
    )
    file = tmp_path / "list.json"
    file.write_bytes(data)
    try:
        expected = read_json(file)
    except JsonError:  # half a character, which UTF-8 has no room for
        with pytest.raises(JsonError):
            list(iterate_json(file))
        return
    found = list(iterate_json(file))
    assert [value for _, _, value in found] == expected
    for start, end, value in found:
        assert json.loads(data[start:end]) == value


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
@FOLDER
@given(st.lists(st.dictionaries(st.text(max_size=4), SCALARS, max_size=3), min_size=1, max_size=6), st.booleans())
def test_lines(tmp_path, monkeypatch, block, values, windows):
    block_size(monkeypatch, block)
    end_of_line = "\r\n" if windows else "\n"
    text = end_of_line.join(json.dumps(value) + end_of_line * (index % 2) for index, value in enumerate(values))
    file = tmp_path / "lines.jsonl"
    file.write_text(text, encoding="utf-8", newline="")
    data = file.read_bytes()
    found = list(iterate_json(file))
    assert [value for _, _, value in found] == [value for _, value in read_json_lines(file)] == values
    for start, end, value in found:
        assert json.loads(data[start:end]) == value


@pytest.mark.parametrize("block", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    "data",
    [
        b"[1, 2",
        b"[1, 2,]",
        b"[1 2]",
        b"[1, 2] 3",
        b"[1, 2]]",
        b"[,1]",
        b"[[1, 2]",
        b"[",
        b'[{"a": NaN}]',
        b'[{"a": 1, "a": 2}]',
        b'[{"a": "x}]',
        b'["\xc3"]',
        b'["a", "\xff"]',
        b'["\xe2\x82',
        b"[1, -]",
        b"[1, 2e]",
    ],
)
def test_a_list_that_is_not_right_is_refused_as_when_it_is_read_whole(tmp_path, monkeypatch, block, data):
    block_size(monkeypatch, block)
    file = tmp_path / "list.json"
    file.write_bytes(data)
    with pytest.raises(JsonError) as whole:
        read_json(file)
    with pytest.raises(JsonError) as streamed:
        list(iterate_json(file))
    assert str(streamed.value) == str(whole.value)


SPACE = st.text(" \t\n\r", max_size=3)


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
@FOLDER
@given(st.lists(st.tuples(SPACE, VALUES, SPACE), max_size=5), SPACE, SPACE, SPACE)
def test_white_space_anywhere(tmp_path, monkeypatch, block, items, before, inside, after):
    block_size(monkeypatch, block)
    texts = [left + json.dumps(value) + right for left, value, right in items]
    file = tmp_path / "list.json"
    file.write_bytes((before + "[" + (",".join(texts) or inside) + "]" + after).encode())
    found = list(iterate_json(file))
    assert [value for _, _, value in found] == [value for _, value, _ in items]
    for (start, end, _), (_, value, _) in zip(found, items, strict=True):
        assert file.read_bytes()[start:end] == json.dumps(value).encode()


@pytest.mark.parametrize("block", [1, 2, 7])
def test_what_a_block_may_cut(tmp_path, monkeypatch, block):
    block_size(monkeypatch, block)
    values = [-12.5e-7, 1234567890123, 0.125, True, None, "\U0001f3a8 Grün \u2028 \\", {"\U0001f58c": [-1, 2e9]}]
    for ascii_only in (False, True):  # as escapes, an astral character is two
        file = tmp_path / "list.json"
        file.write_text(json.dumps(values, ensure_ascii=ascii_only), encoding="utf-8")
        assert [value for _, _, value in iterate_json(file)] == values


@pytest.mark.parametrize("text", ['[{"a": }, ' + "1, " * 10_000 + "1]", '["' + "a" * 30_000 + '"]'])
def test_few_attempts_at_a_fault_or_a_long_value(tmp_path, monkeypatch, text):
    attempts = []

    class Counting(json.JSONDecoder):
        def raw_decode(self, s, idx=0):
            attempts.append(idx)
            return super().raw_decode(s, idx)

    block_size(monkeypatch, 16)
    monkeypatch.setattr(json_stream, "DECODER", Counting())
    file = tmp_path / "list.json"
    file.write_text(text)
    if "{" in text:
        with pytest.raises(JsonError, match="line 1 column 8"):
            list(iterate_json(file))
    else:
        assert [value for _, _, value in iterate_json(file)] == json.loads(text)
    assert len(attempts) < 20


def test_an_object_is_a_single_line(tmp_path):
    file = tmp_path / "object.json"
    file.write_text('{"a": [1]}')
    assert list(iterate_json(file)) == [(0, 10, {"a": [1]})]
    file.write_text('{\n"a": [1]}')
    with pytest.raises(JsonError, match=r"one JSON object over several lines \(with the keys 'a'\)"):
        list(iterate_json(file))


def test_lines_that_are_not_right_as_values(tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_text('{"a": 1}\n{"b": }\n\n{"c": NaN}\n{"d": 4}')
    values = [value for _, _, value in iterate_json(file, faulty=True)]
    assert values[0] == {"a": 1} and values[3] == {"d": 4} and len(values) == 4
    assert "line 2 column 7: not JSON" in str(values[1]) and "line 4: NaN is not a number" in str(values[2])
    with pytest.raises(JsonError, match="line 2 column 7"):
        list(iterate_json(file))


def test_values_before_the_fault_are_given(tmp_path):
    file = tmp_path / "list.json"
    file.write_text('[{"a": 1}, {"b": 2}, {"c": }]')
    found = []
    with pytest.raises(JsonError, match="line 1 column"):
        for _, _, value in iterate_json(file):
            found.append(value)
    assert found == [{"a": 1}, {"b": 2}]


def test_line_that_is_not_right(tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_text('{"a": 1}\n{"b": }\n')
    with pytest.raises(JsonError, match=f"{file} line 2 column 7: not JSON"):
        list(iterate_json(file))
    file.write_bytes(b'{"a": 1}\n\n{"b": "\xff"}\n')
    with pytest.raises(JsonError, match="line 3: not UTF-8"):
        list(iterate_json(file))


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(FileUnreadable, match="cannot be read: No such file"):
        list(iterate_json(tmp_path / "nowhere.json"))


def test_empty_file(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert list(iterate_json(tmp_path / "empty")) == []
