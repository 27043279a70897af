"""Files that users name: regular, bounded and text; output to the terminal; processes that end with theirs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artquant.config.plain_yaml import YamlProblem, parse_yaml
from artquant.data.records import read_image_records
from artquant.errors import ArtQuantError, visible
from artquant.files.json_files import read_json, read_json_lines
from artquant.files.json_stream import iterate_json
from artquant.files.opened import FileUnreadable, read_whole

REPOSITORY = Path(__file__).resolve().parents[2]
READERS = [read_whole, read_json, lambda path: list(read_json_lines(path)), lambda path: list(iterate_json(path))]


@pytest.mark.parametrize("read", READERS)
def test_pipes_and_devices_are_not_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/full"):
        with pytest.raises(FileUnreadable, match="a pipe or a device"):
            read(path)
    with pytest.raises(FileUnreadable, match="Is a directory"):
        read(tmp_path)


def test_more_than_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(bytes(3000))
    with pytest.raises(FileUnreadable, match="more than 1 KiB"):
        read_whole(tmp_path / "a", 1 << 10)


@pytest.mark.parametrize("read", READERS[1:])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nests_only_so_far(tmp_path, read, opening):
    closing = "]" if opening == "[" else "}"
    for depth, fits in ((90, True), (110, False), (100_000, False)):
        (tmp_path / "a").write_text(("[" if opening == "{" else "") + opening * depth + "1" + closing * depth)
        if fits:
            assert read(tmp_path / "a")
        else:
            with pytest.raises(ArtQuantError, match=r"nested deeper|recursion") as caught:
                read(tmp_path / "a")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\n\n<!DOCTYPE html>\n<p>404</p>", "a web page"),
        (b"PK\x03\x04\x14\0\0\0\x08\0\xff\xfe\n", "a ZIP archive"),
        (b"\x1f\x8b\x08\0\xff", "compressed by gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (bytes(5000), "filled with zeros"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path, data, what):
    (tmp_path / "truth.json").write_bytes(data)
    with pytest.raises(ArtQuantError, match=what):
        list(iterate_json(tmp_path / "truth.json"))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
BOMB += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGED = "a0: &a0 {x: 1, y: 2}\n"
MERGED += "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "aliases counted"),
        (MERGED, "aliases counted"),
        ("a: &a {b: *a}", "stands for itself"),
        ("a: 017", "base 60 or 8"),
        ("a: 12:30:45", "base 60 or 8"),
        ("a: 1:30.5", "base 60 or 8"),
        ("a: !!python/object/apply:os.system [x]", "is a tag"),
        ("a: !!bool x", "is a tag"),
    ],
)
def test_yaml_that_is_no_setting(text, reason):
    started = time.monotonic()
    with pytest.raises(YamlProblem, match=reason):
        parse_yaml(text)
    assert time.monotonic() - started < 5


def test_plain_yaml_stays(tmp_path):
    assert parse_yaml("{a: &x [1, 0, -0.5, '017', 1e-4], b: *x}")["b"] == [1, 0, -0.5, "017", "1e-4"]


def run(arguments: list, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "artquant", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, **options)


@pytest.fixture
def leaking(tmp_path):
    """A file whose findings are printed, many and with an escape sequence in its name."""
    record = {"image": "a.jpg", "perception": "I rate this 7/10. " * 400}
    (tmp_path / "a\x1b[31m.json").write_text(json.dumps([record] * 40))
    return ["descriptions", "leaks", tmp_path / "a\x1b[31m.json"]


def test_output_that_is_full_or_closed(leaking):
    with open("/dev/full", "wb") as full:
        done = run(leaking, stdout=full)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert b"standard output: cannot be written: No space left on device" in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    done = run(leaking, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_names_cannot_steer_the_terminal(leaking):
    done = run(leaking, stdout=subprocess.PIPE)
    assert done.returncode == 1 and b"\x1b" not in done.stdout and b"a\\x1b[31m.json" in done.stdout
    assert visible(os.fsdecode(b"caf\xe9\n.jpg")) == "caf\\xe9\\x0a.jpg"


def test_names_that_are_no_unicode_have_ids(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    (tmp_path / "a.jpg").touch()
    assert [record.id for record in read_image_records(tmp_path)] == ["a.jpg", "caf\\xe9.jpg"]
    (tmp_path / "caf\\xe9.jpg").touch()
    with pytest.raises(ArtQuantError, match="the same id"):
        read_image_records(tmp_path)


def test_no_way_out_of_the_folder_through_a_link(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "pictures" / "link").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "list.json").write_text(json.dumps([{"image": "link/../x.jpg"}]))
    with pytest.raises(ArtQuantError, match="out of the image folder through a link"):
        read_image_records(tmp_path / "list.json", tmp_path / "pictures")


def test_processes_end_with_their_parent():
    code = """
import os, signal, time
from artquant.files.child_processes import process_pool
if __name__ == "__main__":
    pool = process_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 60)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    child = Path("/proc", done.stdout.strip())
    for _ in range(50):
        if not child.exists():
            return
        time.sleep(0.1)
    pytest.fail("the process is still there")
