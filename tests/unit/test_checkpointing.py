"""Checkpoints are whole or not there."""

import json
import os
import shutil

import pytest

from artquant.errors import ArtQuantError
from artquant.train.checkpointing import MANIFEST, CheckpointStore, not_written, read_manifest

WEIGHTS = "trainable.safetensors"
STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "states/own.pt")


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def write(store: CheckpointStore, step: int, **description):
    folder = store.partial(step)
    (folder / "states").mkdir(parents=True)
    for name in STATE:
        (folder / name).write_bytes(b"s" * 50)
    (folder / WEIGHTS).write_bytes(b"w" * (100 + step))
    return store.commit(step, **description)


def test_a_committed_checkpoint(store):
    assert store.last() is None
    checkpoint = write(store, 7, ranks=2)
    assert checkpoint == store.path(7) == store.last()
    manifest = read_manifest(checkpoint)
    assert (manifest["step"], manifest["ranks"]) == (7, 2)
    assert {name: facts["size"] for name, facts in manifest["files"].items()} == {
        **dict.fromkeys(STATE, 50),
        WEIGHTS: 107,
    }
    assert not store.partial(7).exists()


def test_the_newest_are_kept_by_number(store):
    for step in (9, 10, 100):
        write(store, step)
    assert sorted(path.name for path in store.folder.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-100"]
    assert store.last() == store.path(100)


def test_what_is_being_written_is_no_checkpoint(store):
    write(store, 3)
    store.partial(6).mkdir(parents=True)
    (store.partial(6) / WEIGHTS).write_bytes(b"half")
    assert store.last() == store.path(3)
    store.discard_partial()
    assert not store.aside.exists()


def unlisted(manifest, name):
    """A manifest as an earlier version wrote it, sizes alone, without a file."""
    values = json.loads(manifest.read_text())
    sizes = {known: facts["size"] for known, facts in values["files"].items() if known != name}
    manifest.write_text(json.dumps({"step": values["step"], "files": sizes}))


@pytest.mark.parametrize(
    "damage",
    [
        *("cut", "grown", "gone", "zeroed", "no manifest", "half a manifest", "another manifest", "another step"),
        *(f"without {name}" for name in (*STATE[:-1], WEIGHTS)),
    ],
)
def test_damaged_checkpoints_are_passed_over(store, caplog, damage):
    write(store, 3)
    newest = write(store, 6)
    weights, manifest = newest / WEIGHTS, newest / MANIFEST
    without = damage.removeprefix("without ")
    {
        damage: lambda: ((newest / without).unlink(), unlisted(manifest, without)),
        "zeroed": lambda: weights.write_bytes(b"\0" * weights.stat().st_size),
        "another step": lambda: manifest.write_text(manifest.read_text().replace('"step": 6', '"step": 5')),
        "cut": lambda: os.truncate(weights, 50),
        "grown": lambda: weights.write_bytes(b"w" * 500),
        "gone": weights.unlink,
        "no manifest": manifest.unlink,
        "half a manifest": lambda: os.truncate(manifest, 20),
        "another manifest": lambda: manifest.write_text(json.dumps([1, 2])),
    }[damage]()
    assert store.last() == store.path(3)
    assert f"{newest} is passed over: " in caplog.text


def test_manifests_of_earlier_versions(store):
    """They hold sizes alone."""
    unlisted(write(store, 3) / MANIFEST, "")
    assert store.last() == store.path(3)


def test_what_lacks_a_file_is_not_committed(store):
    folder = store.partial(3)
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"w")
    with pytest.raises(ArtQuantError, match=r"written without trainer_state.json"):
        store.commit(3)
    assert store.last() is None
    best = CheckpointStore(store.folder, keep=1, weights_only=True)
    assert best.commit(3) == best.last()


def test_a_damaged_one_of_the_same_step_is_replaced(store):
    os.truncate(write(store, 6) / WEIGHTS, 3)
    assert store.last() is None
    assert write(store, 6) == store.last()


def test_later_steps_are_discarded(store):
    for step in (3, 6):
        write(store, step)
    store.discard_after(3)
    assert store.last() == store.path(3) and not store.path(6).exists()


def test_what_a_kill_left_beyond_the_number_to_keep_goes_too(store):
    for step in (3, 6):
        write(store, step)
    shutil.copytree(store.path(3), store.path(1))  # not yet deleted when the process ended
    store.discard_after(6)
    assert sorted(path.name for path in store.folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]


def test_other_folders_are_left_alone(store):
    write(store, 3)
    for name in ("checkpoint-best", "runs"):
        (store.folder / name).mkdir()
    write(store, 4)
    write(store, 5)
    assert (store.folder / "checkpoint-best").is_dir() and (store.folder / "runs").is_dir()


def test_the_error_says_what_is_left(store):
    error = OSError(28, "No space left on device")
    assert "there is none from before" in str(not_written(store, 3, error))
    write(store, 3)
    message = str(not_written(store, 6, error))
    assert f"{store.path(6)}: the checkpoint could not be written" in message
    assert f"the last whole one is {store.path(3)}" in message and "No space left" in message


def test_a_crash_while_renaming(store, monkeypatch):
    """Nothing of the one before is touched until the new one is in place."""
    write(store, 3)
    replace = os.replace

    def full(source, target):
        if target == store.path(6):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(store, 6)
    monkeypatch.undo()
    assert store.last() == store.path(3)
    shutil.rmtree(store.aside)
    assert write(store, 6) == store.last()
