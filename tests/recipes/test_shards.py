"""Collections: planned, scored by any workers, disturbed, merged."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from artquant.cli import infer_devices, main, shard_plans
from artquant.data.predictions import NotFinite, Prediction, origin_file, read_predictions
from artquant.errors import ArtQuantError
from artquant.infer.each_scored import EachScored
from artquant.infer.scorer import Scorer
from artquant.listing.entry import Entry
from artquant.listing.given import expanded
from artquant.listing.where import Where
from artquant.shards import merge
from artquant.shards.claims import Claims
from artquant.shards.manifest import Run
from artquant.shards.merge import write_merged
from artquant.shards.plan import write_plan
from artquant.shards.results import without_score, write_result
from artquant.shards.scoring import ShardScorer
from artquant.shards.work import score_shard, work

COUNT, SIZE = 25, 4


def read(entries):
    """Batches of three; the seventh picture cannot be read."""
    for start in range(0, len(entries), 3):
        yield [
            (one, len(one.id), "torn" if one.id.startswith("7.") else None, None) for one in entries[start : start + 3]
        ]


class Network:
    """Scores by the length of a name."""

    def score_pictures(self, pictures, attributes=()):
        return [Prediction(float(one), 0.5, {"probs": {"a": 0.25}}) for one in pictures]


def score(entries):
    return score_shard(entries, read, Network())


@pytest.fixture
def run(tmp_path) -> Run:
    entries = [Entry(f"{number}.png", f"{number}.png", str(tmp_path / f"{number}.png")) for number in range(COUNT)]
    write_plan(entries, tmp_path / "run", SIZE, {"model": "stub"}, {})
    return Run.open(tmp_path / "run")


def merged(run: Run, name: str) -> bytes:
    out = run.folder.parent / name
    write_merged(run, out)
    return out.read_bytes()


def test_each_picture_stands_once_in_order_with_its_error(run):
    assert work(run, score, (2, 3)) == COUNT
    rows = [json.loads(line) for line in merged(run, "all.jsonl").splitlines()]
    assert [row["id"] for row in rows] == [f"{number}.png" for number in range(COUNT)]
    assert [row["id"] for row in rows if row["score"] is None] == ["7.png"] and rows[7]["error"] == "torn"
    assert len(read_predictions(run.folder.parent / "all.jsonl")) == COUNT - 1
    assert work(run, score) == 0  # all is done
    assert not [name for name in os.listdir(run.claims) if not name.startswith(".")]


def test_a_table_is_known_as_ours_from_its_first_moment_on(run, monkeypatch):
    out = run.folder.parent / "all.csv"
    work(run, score)

    def interrupted(*_):
        assert origin_file(out).is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(merge, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_merged(run, out)
    assert not origin_file(out).exists()


def test_runs_are_no_inputs_of_a_pattern(run):
    (run.folder.parent / "a.png").touch()
    for pattern in ("*", "**/*"):
        assert list(expanded(run.folder.parent / pattern)) == [run.folder.parent / "a.png"]


def test_workers_keep_apart_until_a_lease_is_over(run):
    claim = Claims(run.claims, 60).take("000002")
    assert claim is not None and Claims(run.claims, 60).take("000002") is None
    os.utime(run.claims / "000002.1", (time.time() - 100,) * 2)
    later = Claims(run.claims, 60).take("000002")
    assert later is not None and later.generation == 2 and Claims(run.claims, 60).take("000002") is None
    with claim:  # it was stopped, and goes on
        pass
    assert Claims(run.claims, 60).take("000002") is None
    with later:
        pass
    assert os.listdir(run.claims) == [".clock"]


def test_a_worker_that_was_stopped_past_its_lease_does_no_harm(run):
    def slow(entries):
        """Another worker takes the shard over and finishes everything meanwhile."""
        for file in run.claims.glob("0*"):
            os.utime(file, (time.time() - 100,) * 2)
        work(run, score)
        return score(entries)

    work(run, slow)
    once = merged(run, "stopped.jsonl")
    shutil.rmtree(run.folder / "results")
    (run.folder / "results").mkdir()
    work(run, score)
    assert merged(run, "calm.jsonl") == once


def test_an_archive_that_vanishes_under_a_worker_is_not_taken_for_torn_pictures(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    archive = tmp_path / "t.tar"
    archive.write_bytes(b"1234")
    entries = [Entry(f"{one}.png", f"{one}.png", "../t.tar", one, 1) for one in range(4)]
    write_plan(entries, tmp_path / "run", 2, {"model": "stub"}, {})
    run = Run.open(tmp_path / "run")

    def torn(entries):
        archive.rename(tmp_path / "elsewhere")
        return [{"id": one.id, "image": one.path, "score": None, "error": "cannot be read"} for one in entries]

    with pytest.raises(ArtQuantError, match=r"t\.tar: cannot be read"):
        work(run, torn)
    assert not list((run.folder / "results").iterdir())
    (tmp_path / "elsewhere").rename(archive)
    assert work(run, score) == 4


def test_a_score_that_is_not_finite_is_its_pictures_own(run):
    class Overflowing(Network):
        processor = SimpleNamespace(picture=lambda image: 1)
        grey = 1.0

        def score_pictures(self, pictures, attributes=()):
            if 6 in pictures or (pictures == [1] and self.grey != 1):  # names of two digits
                raise NotFinite("not finite")
            return super().score_pictures(pictures)

    work(run, lambda entries: score_shard(entries, read, EachScored(Overflowing())))
    rows = [json.loads(line) for line in merged(run, "all.jsonl").splitlines()]
    assert [row["score"] for row in rows] == [None if n == 7 or n > 9 else 5.0 for n in range(COUNT)]
    assert "not finite" in rows[10]["error"] and without_score(run) == COUNT - 9
    broken = Overflowing()
    broken.grey = None
    with pytest.raises(NotFinite):  # the model's own fault
        EachScored(broken).score_pictures([6])


def test_a_full_disk_is_one_line_and_loses_nothing(run, monkeypatch):
    from artquant.shards import results

    def full(path):
        raise OSError(28, "No space left on device")

    work_done = []
    with monkeypatch.context() as patched, pytest.raises(ArtQuantError, match="No space left"):
        work(run, lambda entries: work_done.append(1) or _fill(patched, results, full, work_done, entries))
    assert len(list((run.folder / "results").iterdir())) == 2  # of the two shards before; no part
    assert work(run, score) == COUNT - 2 * SIZE


def _fill(patched, results, full, work_done, entries):
    if len(work_done) == 3:
        patched.setattr(results, "force_to_disk", full)
    return list(score(entries))


@pytest.mark.parametrize(
    "file, change, said",
    [
        ("lists/000001.jsonl", lambda text: text.replace("5.png", "6.png"), "was changed since the run was planned"),
        ("results/000001.jsonl", lambda text: text.replace("0.5", "0.6"), "was changed since it was written"),
        ("results/000001.jsonl", lambda text: text[: len(text) // 2], "is no whole result"),
        ("results/000001.jsonl", lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'), "another model"),
        ("results/000001.jsonl", lambda text: text.replace('"errors": 1', '"errors": null'), "is no whole result"),
        ("results/000001.jsonl", lambda text: text.replace('"float"', '"int"'), "is no whole result"),
        ("manifest.json", lambda text: text.replace('"how": {}', '"how": null'), "was changed"),
        ("manifest.json", lambda text: text.replace('"pictures": 25', '"pictures": 250'), "was changed"),
    ],
)
def test_what_was_changed_is_named_and_nothing_is_written(run, file, change, said):
    work(run, score)
    path = run.folder / file
    path.write_text(change(path.read_text()))
    with pytest.raises(ArtQuantError, match=said):
        write_merged(Run.open(run.folder), run.folder.parent / "all.csv")
    assert sorted(path.name for path in run.folder.parent.iterdir()) == ["run"]


def test_a_merge_replaces_nothing_that_is_not_its_own(run):
    work(run, score)
    merged(run, "all.csv")
    (run.folder.parent / "all.csv").unlink()
    merged(run, "all.csv")
    (run.folder.parent / "ids.txt.origin.json").write_text("[1]")
    with pytest.raises(ArtQuantError, match="not of a merge"):
        write_merged(run, run.folder.parent / "ids.txt", Where.parse("score > 5"))
    assert not (run.folder.parent / "ids.txt").exists()


def test_an_id_twice_is_named(tmp_path):
    entries = [Entry("a", "a", "a"), Entry("b", "b", "b"), Entry("a", "c", "c")]
    with pytest.raises(ArtQuantError, match="pictures 1 and 3 of the list have the same id 'a'"):
        write_plan(entries, tmp_path / "run", 2, {"model": "stub"}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def ground(two_stages, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    shutil.copytree(two_stages / "scores" / "model", folder / "model")
    (folder / "pictures").mkdir()
    for number in range(5):
        Image.new("RGB", (40, 40 + number), (number * 40, 90, 20)).save(folder / "pictures" / f"{number}.png")
    shutil.copytree(folder / "pictures", folder / "more")
    (folder / "pictures" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    return folder


def test_the_command_line(ground, two_stages, capsys, monkeypatch):
    monkeypatch.setattr(shard_plans, "choose_batch_size", lambda scorer, attributes: 2)  # as by a GPU's memory
    run, model, pictures = ground / "run", ground / "model", ground / "pictures"
    plan = ["--quiet", "shard", "plan", str(pictures), "--model", str(model), "--out", str(run), "--size", "4"]
    assert main([*plan, "--draft-to", "100"]) == 0  # of pictures that are smaller, or no JPEGs
    manifest = Run.open(run).manifest
    assert manifest.how["batch_size"] == manifest.origin["batch_size"] == 2
    assert manifest.how["draft_to"] == manifest.origin["draft_to"] == 100
    assert main(["--quiet", "shard", "merge", str(run), "--out", str(ground / "all.csv")]) == 2
    assert "2 of 2 shards have no result yet" in capsys.readouterr().err
    assert main(["--quiet", "shard", "run", str(run), "--devices", "cpu"]) == 0
    assert main(["shard", "status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["done"], found["pictures_done"], found["errors"]) == (2, 6, 1)
    for name in ("all.csv", "all.jsonl", "all.parquet"):
        assert main(["--quiet", "shard", "merge", str(run), "--out", str(ground / name)]) == 0
    assert main(["--quiet", "shard", "merge", str(run), "--out", str(ground / "ids.txt"), "--where", "score > 0"]) == 0
    assert (ground / "ids.txt").read_text().split() == [f"{number}.png" for number in range(5)]
    assert main(["--quiet", "infer", "--records", str(pictures), "--model", str(model), "--batch-size", "2",
                 "--out", str(ground / "infer.jsonl")]) in (0, 1)  # fmt: skip
    alone = read_predictions(ground / "infer.jsonl")
    assert {id: one.prediction.score for id, one in read_predictions(ground / "all.jsonl").items()} == {
        id: pytest.approx(one.prediction.score, rel=1e-6) for id, one in alone.items()
    }
    assert main(["--quiet", *plan[1:]]) == 2 and "is there already" in capsys.readouterr().err
    shutil.rmtree(run / "results")
    (run / "results").mkdir()
    pictures.rename(ground / "elsewhere")
    assert main(["--quiet", "shard", "run", str(run)]) == 2 and "put it back" in capsys.readouterr().err
    (ground / "elsewhere").rename(pictures)
    other = two_stages / "descriptions" / "model"
    assert main(["--quiet", "shard", "run", str(run), "--model", str(other)]) == 2
    assert "what is here has other weights" in capsys.readouterr().err


def test_one_command_for_several_devices_goes_on_where_it_was_ended(ground, monkeypatch, capsys):
    ended = []

    def alone(planned, devices, worker, others, quiet):
        """A worker in this process; the first time it is ended after half of the shards."""
        assert Claims(planned.claims, 60).by_shard() == {}
        score = ShardScorer(planned, "cpu")
        if not ended:
            ended.append(planned.folder)
            write_result(planned, 0, list(score(planned.entries(0))))
            return 137
        ended.append(work(planned, score))
        return 0

    monkeypatch.setattr(infer_devices, "run_on_devices", alone)
    monkeypatch.setattr(infer_devices, "_planned_apart", infer_devices._planned)
    command = ["--quiet", "infer", "--model", str(ground / "model"), "--devices", "cpu,auto", "--batch-size", "1"]
    out = ["--out", str(ground / "each.csv"), "--records"]
    assert main([*command, *out, str(ground / "more")]) == 137 and not (ground / "each.csv").exists()
    assert main([*command, *out, str(ground / "pictures")]) == 2
    assert "was begun with other pictures" in capsys.readouterr().err
    assert main([*command, "--attribute", "colour", "--anyway", *out, str(ground / "more")]) == 2
    assert "what is here has other attributes" in capsys.readouterr().err
    left = ground / "each.csv.shards"
    shutil.copytree(left, ground / "copy")
    Claims(left / "claims", 60).take("000003")  # of a worker that was killed: nobody waits for its lease
    assert main([*command, *out, str(ground / "more")]) == 0 and ended == [left, 4]
    assert not left.exists()
    shutil.move(ground / "copy", left)  # it was killed when the table was whole
    (left / "mine.txt").write_text("somebody's")
    assert main([*command, *out, str(ground / "more")]) == 0
    assert "0 pictures scored, 5 were there" in capsys.readouterr().out
    assert os.listdir(left) == ["mine.txt"]
    (ground / "noted.csv.origin.json").write_text("{}")
    assert main([*command, "--out", str(ground / "noted.csv"), "--records", str(ground / "more")]) == 2
    assert "not of a merge" in capsys.readouterr().err and not (ground / "noted.csv.shards").exists()
    for changed in (["--where", "score > 2"], ["--range", "0,1"]):
        assert main([*command, *changed, *out, str(ground / "more")]) == 2
        assert "is there, and of another model, other settings or other pictures" in capsys.readouterr().err
    assert main([*command, "--out", str(ground / "torn.jsonl"), "--records", str(ground / "pictures")]) == 1
    assert "6 pictures scored, 1 of them without a score" in capsys.readouterr().out


def test_descriptions_are_a_column(ground, capsys):
    model, pictures = ground / "model", ground / "pictures"
    plan = ["--quiet", "shard", "plan", str(pictures), "--model", str(model), "--max-new-tokens", "4", "--out"]
    assert main([*plan, str(ground / "mute")]) == 2 and "add --describe" in capsys.readouterr().err
    assert main([*plan, str(ground / "told"), "--describe", "1", "--anyway"]) == 0
    assert main(["--quiet", "shard", "run", str(ground / "told")]) == 0
    assert main(["--quiet", "shard", "merge", str(ground / "told"), "--out", str(ground / "told.csv")]) == 0
    with (ground / "told.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    scorer = Scorer.from_pretrained(model, device="cpu")
    texts = scorer.describe([ground / "pictures" / row["id"] for row in rows[:5]], 1, max_new_tokens=4)
    assert [row["description"].lstrip("'") for row in rows] == [*texts, ""] and rows[5]["error"]


@pytest.mark.slow
def test_ray_makes_the_same_table_and_says_when_nothing_is_free(ground, capfd):
    ray = pytest.importorskip("ray")
    for name in ("alone", "actors"):
        plan = ["--quiet", "shard", "plan", str(ground / "more"), "--model", str(ground / "model"), "--size", "2"]
        assert main([*plan, "--out", str(ground / name)]) == 0
    assert main(["--quiet", "shard", "run", str(ground / "alone")]) == 0
    assert main(["--quiet", "shard", "run", str(ground / "actors"), "--ray", "--actors", "2"]) == 0
    for name in ("alone", "actors"):
        assert main(["--quiet", "shard", "merge", str(ground / name), "--out", str(ground / f"{name}.jsonl")]) == 0
    assert (ground / "alone.jsonl").read_bytes() == (ground / "actors.jsonl").read_bytes()
    ray.init(num_cpus=1, include_dashboard=False)
    held = ray.remote(num_cpus=1)(lambda: time.sleep(60)).remote()
    ray.wait([held], timeout=5)
    command = ["shard", "run", str(ground / "actors"), "--ray", ray.get_runtime_context().gcs_address]
    done = subprocess.run([sys.executable, "-m", "artquant", *command], capture_output=True, text=True, timeout=60)
    ray.shutdown()
    assert done.returncode == 2 and "none is free" in done.stderr
