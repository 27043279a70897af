"""Attacks on what is read: pictures, model folders, lists of records."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artquant.errors import visible
from artquant.models.model_card import CARD, CARD_MARK

from . import bench, mutate
from .bench import Around, Outcome
from .ground import Ground
from .judge import Case

_CLOSE = 1e-5  # of scores, relative
_LONG = 64  # zeros at the end that no picture has by chance
_UNPACKED = ("plain.bmp", "plain.ppm", "plain.tiff")  # their pixels stand there as they are: zeros are black


def same(one: Any, other: Any) -> bool:
    """Whether two scores are the same number."""
    return (
        isinstance(one, (int, float)) and isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=_CLOSE)
    )


def lines_of(text: str) -> list[Any]:
    """JSON lines; [None] where they are none."""
    try:
        return [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return [None]


def scored(expected: float) -> Callable[[Outcome], bool]:
    """`score --json` said this one score."""

    def right(outcome: Outcome) -> bool:
        lines = lines_of(outcome.output)
        return len(lines) == 1 and isinstance(lines[0], dict) and same(lines[0].get("score"), expected)

    return right


def disturb(draw: random.Random, path: Path, ways: tuple[Any, ...]) -> str:
    """Change a file in one of the ways, bytes or thing; what was done, or "" where it is as it was."""
    way = draw.choice(ways)
    if way in mutate.THINGS:
        way(draw, path)
        return way.__name__
    return way.__name__ if mutate.rewrite(path, way, draw) else ""


def pictures(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A picture in any form is damaged, replaced, or has a strange name."""
    source = draw.choice(ground.pictures)
    name = mutate.strange_name(draw, source.suffix) if draw.random() < 0.15 else source.name.encode()
    place = folder / "pictures" / bytes(name).decode("utf-8", "surrogateescape")
    place.parent.mkdir()
    shutil.copyfile(source, place)
    content = source.name  # whose score is right
    choice = draw.random()
    if choice < 0.1:
        content, done = (other := draw.choice(ground.pictures)).name, "another form under this suffix"
        shutil.copyfile(other, place)
    elif choice < 0.2 and source.name != place.name:
        done = "a strange name alone"
    else:
        ways = mutate.THINGS if draw.random() < 0.15 else mutate.BYTES
        done = disturb(draw, place, ways)
    whole = ground.models["whole"]
    model = ["--model", str(whole), "--device", "cpu"]
    around = Around(as_nobody=done == "become_unreadable")
    if draw.random() < 0.7:
        arguments = ["--quiet", "score", str(place), *model, "--json"]
        right = scored(ground.scores[content])
    else:
        out = folder / "out.jsonl"
        shutil.copyfile(ground.pictures[0], place.parent / "beside.png")
        arguments = ["--quiet", "infer", "--records", str(place.parent), *model, "--workers", "0", "--out", str(out)]
        if around.as_nobody:
            folder.chmod(0o777)
        right = _both(out, {ground.scores[content], ground.scores[ground.pictures[0].name]})
    return Case(
        f"{arguments[1]} {source.name}: {done}",
        [part.encode("utf-8", "surrogateescape") for part in arguments],
        (place.name, repr(place.name)[1:-1], place.stem[:20].strip() or "pictures", "pictures"),
        right,
        around,
        excused=_whole_all_the_same(source, place, done),
    )


def _both(out: Path, scores: set[float]) -> Callable[[Outcome], bool]:
    """`infer` on a folder of two pictures wrote these two scores."""

    def right(outcome: Outcome) -> bool:
        lines = lines_of(out.read_text()) if out.is_file() else []
        found = [line.get("score") for line in lines if isinstance(line, dict)]
        return len(found) == 2 and all(any(same(one, score) for one in found) for score in scores)

    return right


def _whole_all_the_same(source: Path, place: Path, done: str) -> bool:
    """Whether a changed picture is a whole file of other pixels: only PNG has checksums."""
    if done in ("become_neighbour", "become_folder", "become_device", "remove"):
        return done != "become_device"  # `infer` takes the pictures that are there, in a folder below too
    if source.suffix == ".png" or not place.is_file():
        return False
    if done == "zero_end":
        data = place.read_bytes()
        return source.name in _UNPACKED or len(data) - len(data.rstrip(b"\0")) < _LONG
    return done in ("flip_bits", "zero_range", "drop_range", "repeat_range", "append")


def found_by_check(ground: Ground, model: Path) -> Callable[[], bool]:
    """Whether `artquant check MODEL` finds a fault in a folder, as it does not in the undisturbed one."""

    def found() -> bool:
        before = bench.run(["--quiet", "check", str(ground.models["whole"])], Around(limit=30))
        return before.status == 0 and bench.run(["--quiet", "check", str(model)], Around(limit=30)).status in (1, 2)

    return found


def models(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A file of a model folder, or of the base below an adapter, is damaged, replaced or gone.

    Half of the folders are like others' and earlier ones: no list of their files tells what was changed.
    """
    name = draw.choice(("whole", "adapter", "adapter", "base"))
    copy = folder / "model"
    shutil.copytree(ground.folder / "base" if name == "base" else ground.models[name], copy)
    listed = draw.random() < 0.5
    if not listed:
        _take_list_away(copy)
    file = draw.choice([file for file in sorted(copy.rglob("*")) if file.is_file()])
    json_ways = (mutate.wrong_json,) * 12 if file.suffix == ".json" else ()
    done = disturb(draw, file, (*json_ways, *mutate.BYTES, *mutate.THINGS))
    model = (
        ["--model", str(ground.models["adapter"]), "--base", str(copy)] if name == "base" else ["--model", str(copy)]
    )
    picture = ground.pictures[0]
    # Of an adapter Python is started, which nobody may not start where it lies in root's home.
    around = Around(as_nobody=done == "become_unreadable" and name == "whole")

    return Case(
        f"score with {name}{'' if listed else ' without a list'}: {file.relative_to(copy)}: {done}",
        ["--quiet", "score", str(picture), *model, "--json", "--device", "cpu"],
        (str(copy), file.name),
        scored(ground.scores[picture.name if name == "whole" else f"adapter/{picture.name}"]),
        around,
        excused=not listed,
        found=found_by_check(ground, copy),
    )


def _take_list_away(folder: Path) -> None:
    for name, keys in ((CARD, ("files", "sha256")), ("config.json", (CARD_MARK,))):
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({key: values[key] for key in values if key not in keys}))


def records(draw: random.Random, ground: Ground, folder: Path) -> Case:
    """A list, annotation file or predictions file is damaged, or holds other values."""
    command = draw.choice((_infer, _infer, _eval, _eval, _prepare, _descriptions, _check))
    file, arguments, right = command(draw, ground, folder)
    named = draw.random() < 0.1
    if named:
        strange = folder / bytes(mutate.strange_name(draw, file.suffix)).decode("utf-8", "surrogateescape")
        arguments = [str(strange) if part == str(file) else part for part in arguments]
        file = file.rename(strange)
    done = "a strange name alone"
    if not named or draw.random() < 0.3:
        json_ways = (mutate.wrong_json,) * 10 if file.suffix != ".csv" else ()
        bytes_ways = (*mutate.BYTES, mutate.other_encoding)
        done = disturb(draw, file, (*json_ways, *bytes_ways, *mutate.THINGS))
    around = Around(as_nobody=done == "become_unreadable", folder=folder)
    if around.as_nobody:
        folder.chmod(0o777)
    content = file.read_bytes() if file.is_file() and not str(file.resolve()).startswith("/dev") else b""
    return Case(
        f"{arguments[1]}: {done}",
        [part.encode("utf-8", "surrogateescape") for part in arguments],
        (
            file.name,
            repr(file.name)[1:-1],
            " ".join(file.name.split()),
            visible(file.name),
            file.stem[:20].strip() or str(folder),
        ),
        lambda outcome: right(outcome, content),
        around,
    )


Right = Callable[[Outcome, bytes], bool]
Given = tuple[Path, list[str], Right]


def _values(content: bytes) -> list[dict[str, Any]]:
    """Records of a JSON list or JSON lines. Raises ValueError: they are none."""
    try:
        found = json.loads(content)
    except ValueError:
        found = [json.loads(line) for line in content.splitlines() if line.strip()]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("no records")
    return found


def _infer(draw: random.Random, ground: Ground, folder: Path) -> Given:
    file, out = folder / "list.json", folder / "out.jsonl"
    shutil.copyfile(ground.records("few"), file)
    model = ["--model", str(ground.models["whole"]), "--device", "cpu", "--workers", "0"]

    def right(outcome: Outcome, content: bytes) -> bool:
        """Every record's picture has the score that it always has."""
        try:
            wanted = [ground.scores[one["image"]] for one in _values(content)]
        except (ValueError, KeyError, TypeError):
            return False
        got = [line.get("score") for line in lines_of(out.read_text())] if out.is_file() else []
        return len(got) == len(wanted) and all(map(same, got, wanted))

    arguments = ["--quiet", "infer", "--records", str(file), "--images", str(ground.images), *model]
    return file, [*arguments, "--out", str(out)], right


def _eval(draw: random.Random, ground: Ground, folder: Path) -> Given:
    predictions, truth = folder / "predictions.jsonl", folder / "truth.json"
    shutil.copyfile(ground.folder / "predictions.jsonl", predictions)
    shutil.copyfile(ground.records("few"), truth)
    file = draw.choice((predictions, truth))

    def right(outcome: Outcome, content: bytes) -> bool:
        """The mean absolute error is that of the two files as they stand."""
        try:
            said = json.loads(outcome.output)[0]
            other = truth if file == predictions else predictions
            pair = [_values(content), _values(other.read_bytes())]
            guesses, facts = pair if file == predictions else pair[::-1]
            known = {one["id"]: one["gt_score"] for one in facts}
            errors = [abs(one["score"] - known[one.get("id", one.get("image"))]) for one in guesses]
            return said["n"] == len(known) and abs(said["metrics"]["MAE"]["value"] - sum(errors) / len(errors)) < 1e-4
        except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError):
            return False

    arguments = ["--quiet", "eval", "--predictions", str(predictions), "--truth", str(truth), "--json"]
    return file, [*arguments, "--bootstrap", "10"], right


def _prepare(draw: random.Random, ground: Ground, folder: Path) -> Given:
    file, out = folder / "table.csv", folder / "meta"
    shutil.copyfile(ground.folder / "table.csv", file)

    def right(outcome: Outcome, content: bytes) -> bool:
        """Every picture has the score that stands beside it in the table."""
        try:
            try:
                text = content.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = content.decode("latin-1")
            rows = list(csv.DictReader(io.StringIO(text)))
            wanted = {row["image"].strip(): float(row["score"]) for row in rows}
            lists = [_values(file.read_bytes()) for file in out.glob("*.json") if file.name != "dataset.json"]
            got = {one["image"]: one["gt_score"] for one in (one for found in lists for one in found)}
        except (ValueError, KeyError, TypeError, AttributeError, UnicodeError):
            return False
        return got.keys() == wanted.keys() and all(same(got[name], wanted[name]) for name in got)

    columns = ["--score-column", "score", "--range", "1,6", "--test-fraction", "0.25"]
    return file, ["--quiet", "prepare", "generic", str(file), *columns, "--out", str(out)], right


def _descriptions(draw: random.Random, ground: Ground, folder: Path) -> Given:
    file, out = folder / "structured.json", folder / "levels"
    shutil.copyfile(ground.records("structured"), file)

    def right(outcome: Outcome, content: bytes) -> bool:
        """Every picture's first level is its perception."""
        try:
            wanted = [(one["image"], " ".join(one["perception"].split())) for one in _values(content)]
            written = _values((out / "descriptions_level_1.json").read_bytes())
            got = [(one["image"], " ".join(one["conversations"][1]["value"].split())) for one in written]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return False
        return got == wanted

    return file, ["--quiet", "descriptions", "split", str(file), "--out", str(out)], right


def _check(draw: random.Random, ground: Ground, folder: Path) -> Given:
    """What it finds is its result: it only must not fall."""
    file = folder / "score.json"
    shutil.copyfile(ground.records(draw.choice(("score", "descriptions_level_1"))), file)
    arguments = ["--quiet", "check", "--records", str(file), "--no-pictures"]
    return file, arguments, lambda outcome, content: bool(outcome.output)
