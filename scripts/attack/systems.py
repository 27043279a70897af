"""Attacks on where things are written: full, unwritable and strange places, and other people's files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import bench, mutate
from .bench import Around, Outcome
from .ground import Ground, working
from .judge import Case

OUT = {"infer": "out.jsonl", "init-model": "made", "prepare": "meta", "descriptions": "levels", "export": "exported",
        "train": "runs", "eval": "evaluation", "merge": "merged", "demo-data": "drawn"}  # fmt: skip
# What is said about a result and differs between two: paths, times, versions.
_ABOUT = ("artquant.json", "dataset.json", "README.md", "config.yaml", "run.yaml", "provenance.json")


def tree(path: Path) -> dict[str, str]:
    """A digest of every file of a result; of speeds and paths nothing."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    found = {}
    for file in files:
        name = "" if file == path else str(file.relative_to(path))
        if not file.is_file() or file.name in _ABOUT or any(part.startswith(".") for part in file.parts[-3:]):
            continue
        if file.suffix in (".jsonl", ".safetensors", ".bin", ".model") or (file.suffix == ".json" and "/" not in name):
            found[name] = hashlib.sha256(_content(file)).hexdigest()
    return found


def _content(file: Path) -> bytes:
    if file.name != "history.jsonl":
        return file.read_bytes()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kept = ("step", "loss", "grad_norm", "learning_rate")
    return json.dumps([{key: line.get(key) for key in kept} for line in lines]).encode()


def writing(ground: Ground, folder: Path) -> dict[str, list[str]]:
    """A command line of each command that writes; {OUT} is where."""
    lines = {name: line for name, line in working(ground, folder).items() if name in OUT}
    lines["eval"] += ["--out", str(folder / "evaluation")]
    adapter = str(ground.models["adapter"])
    lines["merge"] = ["export", adapter, "--to", "merged", "--out", str(folder / "merged")]
    lines["train"] = ["train", str(ground.config), f"output={folder / 'runs'}"]
    lines["demo-data"] = ["demo-data", "--images", "12", "--workers", "1", "--out", str(folder / "drawn")]
    return lines


def undisturbed(
    ground: Ground, name: str, line: Callable[[Ground, Path], dict[str, list[str]]] = writing, kept: str = "undisturbed"
) -> dict[str, str]:
    """The digests of what a command writes where nothing disturbs it; made once, and kept under this name."""
    folder = ground.folder / kept
    if not (folder / OUT[name]).exists():
        folder.mkdir(exist_ok=True)
        outcome = bench.run(["--quiet", *line(ground, folder)[name]], Around(limit=300))
        if outcome.status:
            raise SystemExit(f"{name}: status {outcome.status}: {outcome.error}")
    return tree(folder / OUT[name])


@dataclass
class _Place:
    """Where a command is to write, and what stands there."""

    out: Path
    done: str
    around: Around
    harm: Callable[[], str] = lambda: ""
    may: bool = True  # a result may come of it


def systems(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A command that writes, where it cannot, or where another's file is."""
    name = draw.choice(sorted(OUT))
    wanted = undisturbed(ground, name)
    usual = folder / OUT[name]
    way = draw.choice(
        (
            _full,
            _full,
            _full_disk,
            _full_disk,
            _unwritable,
            _file_for_folder,
            _strange,
            _foreign,
            _foreign,
            _output,
            _special,
        )
    )
    place = way(draw, folder, usual, name)
    arguments = [part.replace(str(usual), str(place.out)) for part in writing(ground, folder)[name]]

    def right(outcome: Outcome) -> bool:
        return place.may and wanted.items() <= tree(place.out).items()

    error_names = (str(place.out), repr(str(place.out))[1:-1], place.out.name[:20], place.out.parent.name, "output")
    return Case(
        f"{name}: {place.done}",
        [part.encode("utf-8", "surrogateescape") for part in ("--quiet", *arguments)],
        error_names,
        right,
        place.around,
        harm=place.harm,
    )


def _limit(name: str) -> float:
    return 60.0 if name == "train" else 10.0


def _full(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """No file may grow beyond a size."""
    largest = draw.choice((0, draw.randrange(1, 400), draw.randrange(400, 20_000), draw.randrange(20_000, 700_000)))
    return _Place(usual, f"no file over {largest} bytes", Around(largest_file=largest, limit=_limit(name)))


def _full_disk(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """A file system with room for so much, or so many files; where none may be mounted, as `_full`."""
    disk = folder / "disk"
    disk.mkdir()
    pages = round(2 ** draw.uniform(0, 10))
    room = draw.choice((f"size={4 * pages}k", f"size={4 * pages}k", f"nr_inodes={draw.randint(1, 40)}"))
    mount = ["mount", "-t", "tmpfs", "-o", f"{room},mode=755", "attack", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        return _full(draw, folder, usual, name)
    return _Place(disk / usual.name, f"a disk of {room}", Around(limit=_limit(name)))


def _unwritable(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """A folder that only root may write, as nobody."""
    folder.chmod(0o755)
    if draw.random() < 0.3:
        usual.mkdir() if name != "infer" else usual.write_text("")
    return _Place(usual, "a folder that it may not write", Around(as_nobody=True, limit=_limit(name)), may=False)


def _file_for_folder(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """Above the output, or in its place, stands another kind of thing."""
    in_place = draw.random() < 0.4
    (folder / "thing").write_text("mine")
    around = Around(limit=_limit(name))
    if not in_place:
        return _Place(folder / "thing" / "below", "below a file", around, _kept(folder / "thing"), may=False)
    if name == "infer":
        usual.mkdir()
        return _Place(usual, "a folder in the file's place", around, may=False)
    usual.write_text("mine")
    return _Place(usual, "a file in the folder's place", around, _kept(usual), may=False)


def _strange(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """A name of any kind, up to one that no file system takes."""
    stem = mutate.strange_name(draw, usual.suffix) if draw.random() < 0.7 else b"n" * draw.choice((240, 250, 256, 5000))
    if name == "train":  # of a setting YAML takes the blanks at its ends away
        stem = stem.strip() or b"name"
    return _Place(folder / os.fsdecode(stem), f"the name {stem[:20]!r}", Around(limit=_limit(name), folder=folder))


def _foreign(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """Another's file is there already, or stands in the output's folder under a name that is to be written."""
    contents = (
        b"a\nlast line",
        b"\x89PNG\r\n\x1a\n" + draw.randbytes(99),
        b"%PDF-1.4\n%%EOF",
        b"a,b\n1,2",
        b"{}\n",
        b'{"id": 1}',
    )
    content = draw.choice((*contents, draw.randbytes(40)))
    around = Around(limit=_limit(name))
    if name == "infer":
        usual.write_bytes(content)
        return _Place(usual, f"another's file {content[:9]!r}", around, _kept(usual), may=False)
    usual.mkdir()
    names = {"prepare": "score.json", "descriptions": "descriptions_level_1.json", "eval": "metrics.json"}
    other = usual / draw.choice(("notes.txt", names.get(name, "config.json")))
    other.write_bytes(content)
    return _Place(usual, f"a folder with {other.name}", around, _kept(other) if name != "eval" else lambda: "")


def _output(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """Standard output is full, or nobody reads it."""
    output = draw.choice(("/dev/full", "closed"))
    return _Place(usual, f"standard output {output}", Around(output=output, limit=_limit(name)))


def _special(draw: random.Random, folder: Path, usual: Path, name: str) -> _Place:
    """A device, fifo or link in the output's place, or no working folder."""
    what = draw.choice(("fifo", "/dev/full", "/dev/null", "loop", "link to nowhere"))
    around = Around(limit=_limit(name))
    if what == "fifo":
        os.mkfifo(usual)
    elif what == "loop":
        usual.symlink_to(usual.name)
    elif what == "link to nowhere":
        usual.symlink_to(folder / "gone" / "at" / "all")
    else:
        return _Place(Path(what), what, around, may=what == "/dev/null")
    return _Place(usual, what, around, may=what == "link to nowhere")


def _kept(path: Path) -> Callable[[], str]:
    """What became of a file that is not ours; "" where it is as it was."""
    before = path.read_bytes()

    def harm() -> str:
        if not path.is_file():
            return f"{path.name} is gone"
        return "" if path.read_bytes() == before else f"{path.name} was changed: {path.read_bytes()[:60]!r}"

    return harm


def clean(folder: Path) -> None:
    """Delete a case's folder, whatever stands in it."""
    if (folder / "disk").is_mount():
        subprocess.run(["umount", "--lazy", str(folder / "disk")], check=True)
    shutil.rmtree(folder, ignore_errors=True)
