"""`artquant prepare` on files of other forms: named for what they are, or read as the options say."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import sqlite3
import sys
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest

from artquant.cli import main

CSV = "image,gt_score\na.jpg,5\nb.jpg,6.25\n"
SCORES = {"a.jpg": 5.0, "b.jpg": 6.25}


@pytest.fixture
def run(tmp_path, capsys):
    """Prepares a file of that content with options; gives the status, what was said, and the score records."""

    def prepare(content, *options, name="scores.csv", command="generic", ends="1,10"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        out = tmp_path / "out"
        words = ["prepare", command, str(file), "--range", ends, "--out", str(out), "--overwrite", *options]
        status = main(["--quiet", *words])
        said = capsys.readouterr()
        records = json.loads((out / "score.json").read_text("utf-8")) if status == 0 else []
        return status, said.out if status == 0 else said.err, records

    return prepare


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("scores.csv"))
    return stream.getvalue()


def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table scores(image, score)")
    return connection.serialize() if sys.version_info >= (3, 11) else b"SQLite format 3\0"


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


LINES = [{"image": "a.jpg", "gt_score": 5}, {"image": "b.jpg", "gt_score": 6}]
OTHERS = [
    ("\n\n\n<!DOCTYPE html>\n<html lang='en'>", "a web page or XML; download the file itself"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "a pointer of Git LFS.*git lfs pull"),
    ("404: Not Found", "a server's answer instead of the file; check its address"),
    ("Something went wrong", "holds no records but the line 'Something went wrong'"),
    (zipped(a="1", b="2"), "a ZIP archive of a, b; unpack it"),
    (zipped(model__data="1", **{"model__data.pkl": "1"}), "a checkpoint of PyTorch"),
    (zipped(**{"xl__workbook.xml": "<x/>"}), "openpyxl|a damaged workbook"),
    (b"PK\3\4\0\0", "a ZIP archive .*damaged"),
    (tarred(), "a tar archive; unpack it"),
    (gzip.compress(CSV.encode() * 99)[:-20], "compressed, and damaged or cut off.*download it again"),
    (b"PAR1\x15\0\x15cut", "parquet table"),
    (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    (pickle.dumps(SCORES), "a Python pickle, which may run code"),
    (pickle.dumps(SCORES, 0), "a Python pickle, which may run code"),
    (database(), "an SQLite database; save its table: sqlite3"),
    (saved(np.zeros(9)), "an array of NumPy"),
    (b"MATLAB 5.0 MAT-file, Platform\0\1", "a MATLAB file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", r"an old Office document \(such as .xls\)"),
    (bytes(range(9)) * 9, "binary data"),
    (CSV.encode("utf-16-le"), "UTF-16 without its mark; name its encoding: --encoding utf-16-le"),
    (CSV.replace(",", ";"), "between semicolons: add --delimiter semicolon"),
    ("image;gt_score\na.jpg;5,5\nb.jpg;6,25\n", "between semicolons: add --delimiter semicolon"),
    (CSV.replace(",", "\t"), "between tabs: add --delimiter tab"),
    (CSV.replace(",", "="), "between equals signs: add --delimiter equals"),
    (CSV.replace(",", "  "), "between blanks: add --delimiter blank"),
    ("a.jpg,5\nb.jpg,6\n", "its first line seems to be data: add --no-header"),
    ("- image: a.jpg\n  gt_score: 5\n", "seems to be YAML: python -c .*yaml.safe_load"),
    ("| image | gt_score |\n| --- | --- |\n", "a table in Markdown"),
    ('{"image": "a.jpg", "gt_score": 5}{"image": "b.jpg", "gt_score": 5}', "with nothing between them.*jq -c"),
    ("\n".join(json.dumps(line, indent=1) for line in LINES), "over several lines; put each on a line: jq -c"),
    (",\n".join(map(json.dumps, LINES)), "with ',' between them and no brackets"),
    (json.dumps({"images": LINES, "info": {}}, indent=2), r"one JSON object \(with the keys 'images', 'info'\).*jq"),
    (json.dumps({"images": LINES}), "one JSON object.*take them out of it: jq"),
    (json.dumps({"a.jpg": 5, "b.jpg": 6}), "make a list of it: jq 'to_entries"),
    ("[{'image': 'a.jpg', 'gt_score': 5}]", "Python's notation with single quotes"),
    ("name,pic,gt_score\nx,a.jpg,5\n", "no column 'image'.*of the pictures: --image-column pic"),
    ("id,age\n3,1992\n", "none holds names of pictures: is it the right file"),
    ("image,gt_score\na.jpg,5;25\n", "'5;25', not a number"),
]


@pytest.mark.parametrize(("content", "message"), OTHERS, ids=[message[:30] for _, message in OTHERS])
def test_files_that_are_something_else(run, content, message):
    status, said, _ = run(content)
    assert status == 2 and said.count("\n") == 1 and "scores.csv" in said
    assert re.search(message, said), said


PACKED = {
    "gzip": gzip.compress(CSV.encode()),
    "bzip2": bz2.compress(CSV.encode()),
    "xz": lzma.compress(CSV.encode()),
    "UTF-16": CSV.encode("utf-16"),
    "a mark": CSV.encode("utf-8-sig"),
}
OPTIONS = [
    (CSV.replace(",", "\t"), ["--delimiter", "tab"]),
    (CSV.replace(",", "="), ["--delimiter", "="]),
    (CSV.replace(",", "   "), ["--delimiter", "blank"]),
    ('"image"  "gt_score"\n"a.jpg" 5\n"b.jpg"\t6.25\n', ["--delimiter", "blank"]),
    (CSV.replace(",", ";").replace(".2", ",2"), ["--delimiter", "semicolon", "--decimal-comma"]),
    ("a.jpg,5\nb.jpg,6.25\n", ["--no-header", "--image-column", "1", "--score-column", "2"]),
    ("a.jpg 5\nb.jpg 6.25\n", ["--no-header", "--delimiter", "blank", "--image-column", "1", "--score-column", "2"]),
    ("image,gt_score\na,5\nb,6.25\n", ["--image-suffix", ".jpg"]),
    ("name,kind,gt_score\na,jpg,5\nb,jpg,6.25\n", ["--image-name", "{name}.{kind}"]),
    ("image,gt_score\n a.jpg ,5\nhttp://x.y/z/b.jpg?w=1,6.25\n", ["--clean-names"]),
    ("image,gt_score\na.jpg,6\nb.jpg,4.75\n", ["--lower-is-better"]),
    (json.dumps([{"id": f"{name}->{score}", "image": name} for name, score in SCORES.items()]), ["--score-from-id"]),
    ("image,gt_score,x,x\na.jpg,5,1,2\nb.jpg,6.25,3,4\n", []),
    (CSV + "a.jpg,5\n", []),
]


@pytest.mark.parametrize(
    ("content", "options"),
    [*((content, []) for content in PACKED.values()), *OPTIONS],
    ids=[*PACKED, *(" ".join(options) or content[:20] for content, options in OPTIONS)],
)
def test_forms_that_are_read(run, content, options):
    status, said, records = run(content, *options)
    assert status == 0, said
    assert {record["image"]: record["gt_score"] for record in records} == SCORES


def test_parquet(run, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra: pip install 'artquant[tables]'")
    from pyarrow import parquet

    nothing = [float("nan"), 0.5]
    parquet.write_table(
        pyarrow.table({"image": [*SCORES], "gt_score": [*SCORES.values()], "std": nothing}), tmp_path / "x"
    )
    status, said, records = run((tmp_path / "x").read_bytes())
    assert status == 0, said
    assert [(r["gt_score"], r.get("std")) for r in records] == [(5.0, None), (6.25, 0.5)]
    status, said, _ = run((tmp_path / "x").read_bytes()[:-20])
    assert status == 2 and "damaged parquet table" in said


@pytest.mark.parametrize("form", ["workbook", "parquet", "gzip"])
def test_what_unpacks_to_too_much(run, tmp_path, monkeypatch, form):
    file, rows = tmp_path / "packed", ["image,gt_score", *(f"{n}.jpg,5" for n in range(4000))]
    if form == "workbook":
        book = pytest.importorskip("openpyxl", reason="needs the extra: pip install 'artquant[tables]'").Workbook()
        for row in rows:
            book.active.append(row.split(","))
        book.save(file)
    elif form == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="needs the extra: pip install 'artquant[tables]'")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"image": ["a" * 5000 + ".jpg"] * 50, "gt_score": range(50)}), file,
                            use_dictionary=False)  # fmt: skip
    else:
        file.write_bytes(gzip.compress("\n".join(rows).encode()))
    monkeypatch.setattr("artquant.prepare.tables._MOST", file.stat().st_size)
    _, said, _ = run(file.read_bytes())
    assert "unpacks to more than" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "content"), [("pyarrow", b"PAR1\x15"), ("openpyxl", zipped(**{"xl__workbook.xml": ""}))]
)
def test_library_that_is_not_there(run, monkeypatch, module, content):
    monkeypatch.setitem(sys.modules, module, None)
    status, said, _ = run(content)
    assert status == 2 and f"takes {module} to read: pip install 'artquant[tables]'" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://a.org/x/a.jpg", "is a URL; --clean-names takes its last part"),
        (" a.jpg", "has blanks around it; --clean-names"),
        ("sub\\a.jpg", "has backslashes; --clean-names"),
        ("953619", "has no ending of a picture's.*--image-suffix .jpg"),
    ],
)
def test_names_that_no_picture_has(run, name, message):
    status, said, _ = run(f'image,gt_score\n"{name}",5\n')
    assert status == 2
    assert re.search(message, said), said


def test_missing_pictures_are_looked_for_in_all_of_the_folder(run, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "train").mkdir(parents=True)
    for name in ("A.JPG", "b.png"):
        (folder / "train" / name).touch()
    status, said, _ = run(CSV, "--images", str(folder))
    assert status == 2 and f"there is '{folder}/train/A.JPG'" in said and f"is '{folder}/train' the folder" in said
    (folder / "953619").touch()
    assert run("image,gt_score\n953619,5\n", "--images", str(folder))[0] == 0  # files may be called so


RATINGS = "image,who,gt_score,Color\na.jpg,u1,6,1\na.jpg,u2,9,4\nb.jpg,u1,3,2\na.jpg,u1,6,1\n"


def test_rows_of_raters(run):
    options = ("--rater-column", "who", "--attribute-columns", "Color", "--attribute-range", "1,4")
    status, said, records = run(RATINGS, *options, "--method", "votes")
    assert status == 0 and "3 ratings of 2 pictures, 1.5 each" in said and "1 ratings that repeat" in said
    first = records[0]
    assert (first["gt_score"], first["std"], first["votes"]) == (7.5, 1.5, [0, 0, 0, 0, 0, 1, 0, 0, 1, 0])
    assert first["attributes"] == {"Color": 5.5}  # 1 and 4 on 1-4 are 1 and 10 on 1-10
    assert run(RATINGS, "--per-rater")[2][0]["gt_score"] == 7
    status, said, _ = run(RATINGS.replace("u1,6,1\n", "u1,7,1\n", 1), *options)
    assert status == 2 and "record 4: rater 'u1' rates 'a.jpg' again and otherwise" in said
    assert "votes" not in run(RATINGS.replace(",9,", ",8.5,"), "--per-rater")[2][0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [(["--attribute-range", "0,5"], {"x": 2.8, "y": 4.6}), (["--attribute-range", "y=5,0"], {"x": 1.0, "y": 6.4})],
)
def test_ranges_of_attributes(run, options, expected):
    [record] = run("image,gt_score,x,y\na.jpg,5,1,2\n", "--attribute-columns", "x,y", *options)[2]
    assert record["attributes"] == expected
    status, said, _ = run("image,gt_score,x\na.jpg,5,9\n", "--attribute-columns", "x", "--attribute-range", "0,5")
    assert status == 2 and "x 9 is outside 0 to 5" in said


def test_lower_is_better_turns_votes_too(run):
    text = "image,c1,c2,c3\na.jpg,7,2,1\n"
    [record] = run(text, "--vote-columns", "c1,c2,c3", "--lower-is-better", "--method", "votes", ends="1,3")[2]
    assert (record["gt_score"], record["votes"]) == (2.6, [1, 2, 7])
    assert record["level_probs"] == pytest.approx([0.7, 0, 0.2, 0, 0.1])


SPLIT = "image,gt_score,part\n1.jpg,5,0\n2.jpg,5,1\nsub/3.jpg,5,2\n4.jpg,5,0\n"


@pytest.mark.parametrize(
    ("files", "options", "expected"),
    [
        ({}, ["--split-column", "part", "--split-values", "0=train,1=validation,2=test"], (2, 1, 1)),
        ({"t.txt": "2\n3\n"}, ["--test-names", "t.txt"], (2, 0, 2)),
        (
            {"t.json": "[2]", "v.json": '["sub/3.jpg"]'},
            ["--test-names", "t.json", "--validation-names", "v.json"],
            (2, 1, 1),
        ),
        (
            {"s.json": '{"train": ["1.jpg"], "test": ["2.jpg", "9.jpg", "4.jpg"]}'},
            ["--split-names", "s.json"],
            (1, 0, 2),
        ),
    ],
)
def test_splits_by_codes_and_lists(run, tmp_path, monkeypatch, files, options, expected):
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    status, said, _ = run(SPLIT, *options)
    assert status == 0, said
    splits = json.loads((tmp_path / "out" / "dataset.json").read_text("utf-8"))["splits"]
    assert tuple(splits[name]["pictures"] for name in ("train", "validation", "test")) == expected


@pytest.mark.parametrize(
    ("listed", "options", "message"),
    [
        ("x.jpg\ny.jpg\n1.jpg\n", ["--test-names"], "2 of its 3 names for test are no pictures of the files"),
        ('{"train": ["1.jpg"], "test": ["1.jpg"]}', ["--split-names"], "'1.jpg' is for test, but in .* for train"),
        ('{"held": ["1.jpg"]}', ["--split-names"], "'held' is no split; say what it is: --split-values held=test"),
        ("<html>", ["--test-names"], "is a web page"),
        ("[1.5]", ["--test-names"], "is no list of names"),
    ],
)
def test_lists_that_do_not_fit(run, tmp_path, listed, options, message):
    (tmp_path / "list").write_text(listed)
    status, said, _ = run(SPLIT, *options, str(tmp_path / "list"))
    assert status == 2 and re.search(message, said), said


def test_a_split_code_that_nobody_explained(run):
    status, said, _ = run(SPLIT, "--split-column", "part")
    assert status == 2 and "'part' is '0'" in said and "--split-values 0=SPLIT" in said


def test_votes_without_a_score(run):
    lines = json.dumps([{"image": "a.jpg", "votes": [1, 0, 3]}])
    [record] = run(lines, "--method", "votes", ends="1,3")[2]
    assert record["gt_score"] == 2.5


def test_memory_of_a_record(tmp_path):
    """The bound that dataset/README.md states, with the bytes of the file itself: 2,000 rows more of votes."""
    rows = [
        f"{n} {900_000 + n} {' '.join(str((n * k) % 200 + 1) for k in range(1, 11))} 1 22 1396\n"
        for n in range(1, 4001)
    ]
    peaks = []
    for count in (100, 2000, 4000):  # the first loads what is used
        (tmp_path / "AVA.txt").write_text("".join(rows[:count]))
        words = ["prepare", "ava", str(tmp_path / "AVA.txt"), "--out", str(tmp_path / "out"), "--overwrite"]
        tracemalloc.start()
        assert main(["--quiet", *words]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / 2000 < 1024 + 4 * len(rows[-1])
