"""Any input of `infer` and `score`: the same pictures give the same scores, whatever they come in."""

import csv
import io
import json
import shutil
import tarfile

import pytest

from artquant.files.json_files import read_json_lines

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
COUNT = 6


@pytest.fixture(scope="module")
def model(two_stages):
    """A trained model folder."""
    return two_stages / "scores" / "model"


@pytest.fixture(scope="module")
def inputs(lab, tmp_path_factory):
    """A folder of pictures, and the same in every other form."""
    folder = tmp_path_factory.mktemp("collections")
    names = [f"{'sub/' if number % 2 else ''}{number}.png" for number in range(COUNT)]
    (folder / "pictures" / "sub").mkdir(parents=True)
    for number, name in enumerate(names):
        shutil.copy(lab.images / f"{number:05d}.png", folder / "pictures" / name)
    (folder / "pictures" / ".hidden.png").write_bytes(b"")
    files = [folder / "pictures" / name for name in names]
    (folder / "list.txt").write_text("".join(f"pictures/{name}\n" for name in names), encoding="utf-8")
    with (folder / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("File_Name", "note"), *((f"pictures/{name}", "a,\nb") for name in names)])
    (folder / "list.jsonl").write_text("".join(json.dumps({"image": f"pictures/{name}"}) + "\n" for name in names))
    with tarfile.open(folder / "t.tar", "w") as archive:
        for file, name in zip(files, names, strict=True):
            archive.add(file, name)
    content = [file.read_bytes() for file in files]
    bare = pyarrow.table({"data": content, "id": names})
    parquet.write_table(bare, folder / "bytes.parquet", row_group_size=4)
    structs = [{"bytes": data, "path": name} for data, name in zip(content, names, strict=True)]
    parquet.write_table(pyarrow.table({"image": structs}), folder / "datasets.parquet", row_group_size=4)
    return folder


@pytest.fixture
def infer(lab, model, capsys):
    """`artquant infer` of inputs: the status, what is said and what in error."""

    def run(out, *records, options=()):
        arguments = ("--model", model, "--out", out, "--workers", 0, "--batch-size", COUNT, "--records", *records)
        status = lab.artquant("--quiet", "infer", *options, *arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def scores_of(file) -> dict[str, float]:
    return {line["id"].removeprefix("pictures/"): line["score"] for _, line in read_json_lines(file)}


def test_every_form_gives_the_same_scores(infer, inputs, tmp_path):
    assert infer(tmp_path / "folder.jsonl", inputs / "pictures")[0] == 0
    wanted = scores_of(tmp_path / "folder.jsonl")
    assert len(wanted) == COUNT
    for name in ("list.txt", "list.csv", "list.jsonl", "t.tar", "bytes.parquet", "datasets.parquet"):
        status, _, error = infer(tmp_path / f"{name}.jsonl", inputs / name)
        assert (status, error) == (0, "")
        assert scores_of(tmp_path / f"{name}.jsonl") == pytest.approx(wanted, abs=1e-5), name
    pattern = inputs / "pictures" / "**" / "*.png"
    assert infer(tmp_path / "pattern.jsonl", pattern)[0] == 0
    found = scores_of(tmp_path / "pattern.jsonl")
    assert {name.partition("pictures/")[2]: score for name, score in found.items()} == pytest.approx(wanted, abs=1e-5)


def test_tables_hold_every_picture_and_go_on(infer, inputs, tmp_path):
    shutil.copytree(inputs / "pictures", tmp_path / "p")
    broken = tmp_path / "p" / "=broken.png"
    broken.write_bytes(b"no picture")
    out = tmp_path / "out.csv"
    for done in ("6 pictures scored, 1 skipped", "0 pictures scored, 6 were there, 1 skipped"):
        status, said, error = infer(out, tmp_path / "p")
        assert status == 1 and done in said and len(error.splitlines()) == 1 and str(broken) in error
        rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
        assert len(rows) == COUNT + 1 and [*rows[0]][:4] == ["id", "path", "score", "std"]
        assert rows[-1]["id"] == "'=broken.png" and rows[-1]["score"] == "" and str(broken) in rows[-1]["error"]
        assert rows[0]["path"] == str(tmp_path / "p" / rows[0]["id"])
    assert infer(tmp_path / "out.parquet", tmp_path / "p")[0] == 1
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["score"].to_pylist()[:COUNT] == [float(row["score"]) for row in rows[:COUNT]]
    assert "readout" in json.loads(table.schema.metadata[b"artquant"])
    status, _, error = infer(tmp_path / "strict.csv", tmp_path / "p", options=("--strict",))
    assert status == 2 and len(error.splitlines()) == 1 and not (tmp_path / "strict.csv").exists()


def test_ids_alone_where_a_condition_holds(infer, inputs, tmp_path):
    assert infer(tmp_path / "all.jsonl", inputs / "t.tar")[0] == 0
    scores = scores_of(tmp_path / "all.jsonl")
    limit = sorted(scores.values())[2]
    out = tmp_path / "ids.txt"
    where = f"score > {limit} and std >= 0 or score < 0"
    assert infer(out, inputs / "t.tar", options=("--where", where))[0] == 0
    assert out.read_text().splitlines() == [name for name, score in scores.items() if score > limit]
    status, _, error = infer(out, inputs / "t.tar", options=("--where", "points > 3"))
    assert status == 2 and "no column 'points'; there are score" in error and len(out.read_text().splitlines()) == 3
    status, _, error = infer(
        tmp_path / "new" / "ids.csv", inputs / "pictures", options=("--where", "score > 1 and d > 2")
    )
    assert status == 2 and "no column 'd'" in error and not (tmp_path / "new").exists()  # before any picture was scored
    some = tmp_path / "some.csv"
    for done in ("5 pictures scored", "0 pictures scored, 5 were there"):
        status, said, _ = infer(some, inputs / "t.tar", options=("--only", out, "--sample", 2))
        assert status == 0 and done in said
    found = [row["id"] for row in csv.DictReader(io.StringIO(some.read_text()))]
    assert found[:3] == out.read_text().splitlines() and len({*found} - {*found[:3]}) == 2
    out.write_text("none.png\n")
    status, _, error = infer(tmp_path / "none.csv", inputs / "t.tar", options=("--only", out))
    assert status == 2 and "nowhere in the list" in error and not (tmp_path / "none.csv").exists()


def test_what_is_refused(infer, inputs, tmp_path):
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "names.txt").write_text("a;b\n1;2\n")
    cut = tmp_path / "cut.tar"
    cut.write_bytes((inputs / "t.tar").read_bytes()[:1000])
    twice = pyarrow.table({"a": [b"1"], "b": [b"2"]})
    parquet.write_table(twice, tmp_path / "two.parquet")
    good, out = inputs / "t.tar", tmp_path / "out.jsonl"
    for message, to, records, options in (
        ("end it in one of .csv .parquet .jsonl", tmp_path / "out.xls", good, ()),
        ("was not written by this command", tmp_path / "mine.csv", good, ()),
        ("is no condition", out, good, ("--where", "__import__('os') > 1")),
        ("end it in one of .txt", out, good, ("--where", "score > 1")),
        ("names no column of pictures", out, tmp_path / "names.txt", ()),
        ("cut off", out, cut, ()),
        ("'a', 'b' may all hold pictures", out, tmp_path / "two.parquet", ()),
        ("no column 'c' of pictures", out, tmp_path / "two.parquet", ("--columns", "picture=c")),
        ("nothing of this pattern", out, tmp_path / "*.webp", ()),
    ):
        status, _, error = infer(to, records, options=options)
        assert status == 2 and len(error.splitlines()) == 1 and message in error, message
    assert (tmp_path / "mine.csv").read_text() == "mine" and not out.exists()
    status, _, error = infer(out, good, good)
    assert status == 2 and "the same id as a picture before it" in error


def test_score_takes_them_too(lab, inputs, model, capsys):
    arguments = (
        "score",
        "--json",
        "--model",
        model,
        inputs / "t.tar",
        inputs / "datasets.parquet",
        inputs / "list.txt",
    )
    assert lab.artquant("--quiet", *arguments) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    each = [[one["score"] for one in found[start::COUNT]] for start in range(COUNT)]
    assert len(found) == 3 * COUNT and all(max(scores) - min(scores) < 1e-5 for scores in each)
