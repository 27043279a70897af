"""What tells one base from another."""

import os
import shutil

import pytest

from artquant.models.fingerprint import fingerprint, processor_fingerprint


@pytest.fixture
def copy(tiny_base, tmp_path):
    return shutil.copytree(tiny_base, tmp_path / "copy")


def flip(file, position):
    """Change one bit of one byte."""
    with file.open("r+b") as stream:
        stream.seek(position)
        [byte] = stream.read(1)
        stream.seek(position)
        stream.write(bytes([byte ^ 1]))


def test_where_and_when_do_not_count(tiny_base, copy):
    os.utime(copy / "model.safetensors", (0, 0))
    (copy / "README.md").write_text("read me")
    assert fingerprint(copy) == fingerprint(str(tiny_base)) and len(fingerprint(copy)) == 64


@pytest.mark.parametrize("position", [9, 5000, -1])
def test_one_bit_of_the_weights_counts(tiny_base, copy, position):
    file = copy / "model.safetensors"
    flip(file, position % file.stat().st_size)
    assert fingerprint(copy) != fingerprint(tiny_base)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer.model", "tokenizer_config.json"])
def test_one_bit_of_what_scores_depend_on_counts(tiny_base, copy, name):
    flip(copy / name, 5)
    assert processor_fingerprint(copy) != processor_fingerprint(tiny_base)
    assert fingerprint(copy) == fingerprint(tiny_base)


def test_configuration_and_file_names_count(tiny_base, copy):
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    changed = fingerprint(copy)
    assert changed != fingerprint(tiny_base)
    (copy / "model.safetensors").rename(copy / "weights.safetensors")
    assert fingerprint(copy) not in (changed, fingerprint(tiny_base))


def test_large_files_are_sampled_at_both_ends_and_by_size(tmp_path):
    """Two GiB that take no room on the disk."""
    file = tmp_path / "pytorch_model.bin"
    found = set()
    for size in (2 << 30, (2 << 30) + 1):
        with file.open("wb") as stream:
            stream.truncate(size)
        found.add(fingerprint(tmp_path))
    for position in (0, (2 << 30)):
        flip(file, position)
        found.add(fingerprint(tmp_path))
    assert len(found) == 4
