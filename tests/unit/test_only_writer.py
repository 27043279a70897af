"""Whatever is written: by one process at a time, as a whole, and nothing else is touched."""

import json
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import pytest
from safetensors.torch import save_file

from artquant.data.prepared import require_as_prepared, require_levels
from artquant.errors import ArtQuantError
from artquant.files.json_files import write_text
from artquant.files.line_file import LineFile
from artquant.files.only_writer import only_writer
from artquant.files.whole_files import require_settled, whole_files
from artquant.files.whole_folder import whole_folder
from artquant.labels.rating_scale import APDD_SCALE

FORK = multiprocessing.get_context("fork")  # processes that need not import torch again


def in_a_process(what, *arguments, wait=True):
    process = FORK.Process(target=what, args=arguments)
    process.start()
    if wait:
        process.join()
    return process


def hold(path, started):
    with only_writer(path):
        started.set()
        signal.pause()


@pytest.fixture
def held():
    """Lets another process hold a lock."""
    processes = []

    def start(path):
        started = FORK.Event()
        processes.append(in_a_process(hold, path, started, wait=False))
        assert started.wait(20)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.join()


class TestLock:
    @pytest.mark.parametrize("through", ["path", "link"])
    def test_who_works_is_named_and_a_killed_one_blocks_nobody(self, held, tmp_path, through):
        (tmp_path / "link").symlink_to(tmp_path / "path")
        holder = held(tmp_path / "path")
        with pytest.raises(ArtQuantError) as error, only_writer(tmp_path / through):
            pass
        who = f"(PID {holder.pid} on {socket.gethostname()})"
        assert str(error.value).startswith(f"{tmp_path / through}: another process is writing it {who}; ")
        holder.kill()
        holder.join()
        with only_writer(tmp_path / through):
            pass
        assert os.listdir(tmp_path) == ["link"]

    @pytest.mark.parametrize("writer", [whole_folder, whole_files])
    def test_folders_have_it_too(self, held, tmp_path, writer):
        held(tmp_path / "out")
        with pytest.raises(ArtQuantError, match="another process is writing it"), writer(tmp_path / "out"):
            pytest.fail("it began")
        assert not (tmp_path / "out").exists()

    def test_a_file_of_its_name_that_is_none_of_ours_stays(self, tmp_path):
        (tmp_path / ".out.lock").write_text("mine")
        with pytest.raises(ArtQuantError, match="no lock of ours"), only_writer(tmp_path / "out"):
            pass
        assert (tmp_path / ".out.lock").read_text() == "mine"


def replace_set(folder, names, removed=()):
    with whole_files(folder, removed) as new:
        for name in names:
            write_text(new / name, f"new {name}")


def killed_at(call, folder, names, removed):
    """Replace a set of files in a process that is killed at its n-th change of a name."""
    calls = iter(range(call))
    for name in ("replace", "unlink", "mkdir", "rmdir"):
        original = getattr(os, name)

        def counted(*arguments, original=original, **options):
            if next(calls, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(os, name, counted)
    replace_set(folder, names, removed)


class TestSetsOfFiles:
    @pytest.mark.parametrize("call", range(14))
    def test_a_kill_leaves_the_old_or_the_new(self, tmp_path, call):
        """Whatever can be read belongs together; what is half done is refused, and done by the next call."""
        folder = tmp_path / "out"
        folder.mkdir()
        for name in ("a", "b", "gone", "other"):
            (folder / name).write_text(f"old {name}")
        process = in_a_process(killed_at, call, folder, ["a", "b", "c"], ["gone"])
        old = {name: f"old {name}" for name in ("a", "b", "gone", "other")}
        new = {name: f"new {name}" for name in ("a", "b", "c")} | {"other": "old other"}
        found = {file.name: file.read_text() for file in folder.iterdir() if file.is_file() and file.name[0] != "."}
        if found not in (old, new):
            with pytest.raises(ArtQuantError, match="run that command again"):
                require_settled(folder / "a")
        replace_set(folder, ["a", "b", "c"], ["gone"])
        require_settled(folder / "a")
        assert {file.name: file.read_text() for file in folder.iterdir()} == new
        assert process.exitcode in (0, -signal.SIGKILL)

    def test_an_error_leaves_the_old(self, tmp_path):
        (tmp_path / "a").write_text("old")
        with pytest.raises(ZeroDivisionError), whole_files(tmp_path) as new:
            write_text(new / "a", "new")
            raise ZeroDivisionError
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a": "old"}


class TestOneLine:
    """What file systems refuse is one line that names it."""

    @pytest.mark.parametrize("name", ["file/out", "n" * 256, "file/deep/out"])
    @pytest.mark.parametrize("writer", [whole_folder, whole_files])
    def test_places_that_cannot_be(self, tmp_path, writer, name):
        (tmp_path / "file").touch()
        with (
            pytest.raises(ArtQuantError, match=r"cannot be written: (Not a dir|File name|File exists)") as error,
            writer(tmp_path / name),
        ):
            pytest.fail("it began")
        assert str(tmp_path) in str(error.value) and os.listdir(tmp_path) == ["file"]

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
    def test_a_full_disk(self, tmp_path):
        import torch

        out, full = tmp_path / "model", pytest.raises(ArtQuantError, match=r"model: cannot be written: .*No space left")
        with full, whole_folder(out) as partial:
            (partial / "weights").symlink_to("/dev/full")
            (partial / "weights").write_bytes(b"0")
        with pytest.raises(ArtQuantError, match="model: cannot be written"), whole_folder(out) as partial:
            save_file({"a": torch.zeros(2)}, partial / "none" / "weights.safetensors")
        assert os.listdir(tmp_path) == []


class TestLines:
    def written(self, path, *values):
        with LineFile(path, "id") as lines:
            assert len(list(lines.read())) >= 0
            lines.mend()
            lines.append(values)
            lines.finish()

    @pytest.mark.parametrize("rest", ["", '{"i', '{"id": "c", "sco', '{"id": "c"}'])
    def test_goes_on_after_a_killed_run(self, tmp_path, rest):
        file = tmp_path / "out.jsonl"
        self.written(file, {"id": "a"})
        file.write_text(file.read_text() + rest)
        self.written(file, {"id": "b"})
        whole = ['{"id": "c"}'] if rest.endswith("}") else []
        assert file.read_text().splitlines() == ['{"id": "a"}', *whole, '{"id": "b"}']

    @pytest.mark.parametrize(
        "content", [b"a\nlast line", b"\x89PNG\r\n\x1a\n\0\0", b"%PDF-1", b"id,score\n", b"{}\nhalf"]
    )
    def test_what_is_not_its_own_stays(self, tmp_path, content):
        file = tmp_path / "out"
        file.write_bytes(content)
        with pytest.raises(ArtQuantError, match="name another output file"), LineFile(file, "id") as lines:
            list(lines.read())
        assert file.read_bytes() == content

    @pytest.mark.parametrize("change", ["deleted", "emptied", "replaced", "longer"])
    def test_what_is_changed_meanwhile_is_said(self, tmp_path, change):
        file = tmp_path / "out.jsonl"
        with LineFile(file, "id") as lines:
            lines.append([{"id": "a"}])
            match change:
                case "deleted":
                    file.unlink()
                case "emptied":
                    os.truncate(file, 0)
                case "replaced":
                    write_text(file, file.read_text())
                case "longer":
                    file.write_text(file.read_text() * 2)
            before = file.read_bytes() if file.exists() else None
            for again in (lambda: lines.append([{"id": "b"}]), lines.finish):
                with pytest.raises(ArtQuantError, match=r"out.jsonl: was deleted, emptied or changed .*same command"):
                    again()
        assert (file.read_bytes() if file.exists() else None) == before

    def test_pipes_and_folders_are_no_outputs(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for name in ("pipe", "."):
            with pytest.raises(ArtQuantError, match=r"no regular file|cannot be written"):
                LineFile(tmp_path / name, "id")


class TestPrepared:
    def test_lists_of_another_draw_are_refused(self, prepared, tmp_path):
        prepared("baid", test_fraction=0.4, seed=0)
        out = tmp_path / "out"
        test = (out / "test.json").read_bytes()
        require_as_prepared(out / "test.json")
        (out / "test.json").write_bytes(test.replace(b"jpg", b"png"))
        with pytest.raises(ArtQuantError, match=r"test.json: is not the file that dataset.json beside it lists"):
            require_as_prepared(out / "test.json")
        (out / "test.json").rename(out / "changed.json")
        for name in ("changed.json", "score.json", "none.json"):
            require_as_prepared(out / name)

    @pytest.mark.parametrize(
        "card", ["{", "[]", '{"files": {"score.json": 1}}', '{"artquant": "1", "files": {"r": 2}}']
    )
    def test_other_peoples_cards_say_nothing(self, tmp_path, card):
        Path(tmp_path / "dataset.json").write_text(card)
        Path(tmp_path / "score.json").write_text(json.dumps([1]))
        require_as_prepared(tmp_path / "score.json")
        require_levels(tmp_path / "score.json", APDD_SCALE)
