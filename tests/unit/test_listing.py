"""Entries of hostile and odd inputs."""

import io
import json
import tarfile

import pytest

from artquant.errors import ArtQuantError
from artquant.listing.entries import entries
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader


def packed(file, *members: tuple[tarfile.TarInfo, bytes]):
    with tarfile.open(file, "w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def test_an_archive_is_listed_by_its_pictures_and_what_is_told_of_them(tmp_path):
    info = tarfile.TarInfo
    told = json.dumps({"id": 7, "gt_score": 5.5, "other": float("nan")}).encode()
    link = info("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = (
        *((info("a/1.x.png"), b"one"), (info("a/1.json"), told), (info("a/1.txt"), b"a caption")),
        *((info("2.png"), b"two"), (info("2.mask.png"), b"mask"), (info("2.json"), told)),
        *((link, b""), (info("/../3.png"), b"three"), (info("._3.png"), b"of macOS"), (info("x.bin"), b"other")),
    )
    file = packed(tmp_path / "t", *members)  # what it is, its content says
    found = list(entries([file]))
    assert [one.id for one in found] == ["7", "2.png", "2.mask.png", "link.png", "/../3.png"]
    assert found[0].gt_score == 5.5 and found[0].path == "a/1.x.png"
    assert all(Entry.from_dict(json.loads(json.dumps(one.to_dict()))) == one for one in found)
    with EntryReader() as reader:
        read = [reader.read_bytes(one) for one in found if one.id != "link.png"]
        assert read == [b"one", b"two", b"mask", b"three"]
        with pytest.raises(ArtQuantError, match="link"):
            reader.read_bytes(found[3])
    assert [one.id for one in entries([file, tmp_path / "none.png"])][1] == f"{file}/2.png"


@pytest.mark.parametrize("size", [700, 1024, 2100])
def test_a_cut_archive_is_said(tmp_path, size):
    file = packed(tmp_path / "t.tar", (tarfile.TarInfo("1.png"), bytes(900)), (tarfile.TarInfo("2.png"), b"2"))
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ArtQuantError, match="cut off"):
        list(entries([file]))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("a.jpg\r\n\n b, c.jpg\n", ["a.jpg", " b, c.jpg"]),
        ("\ufeff[x] a.jpg\nb", ["[x] a.jpg", "b"]),
        ("id;image\n1;a.jpg\n2;b\n", ["1", "2"]),
        ("path\na\nb\n", ["a", "b"]),
        ('path,file\n"a\nb",c\n', "may all name the pictures"),
        ("image,id\na\n", "1 columns where the header has 2"),
        ("image,gt_score\na,much\n", "must be a number"),
        ("a.jpg\n\n" * 1000 + "b\0", "the same id"),
        ("\n" * 5000 + "b\0", "zero character"),
        ("\n\n", "holds no records"),
        ("%PDF-1.7", "a PDF"),
    ],
)
def test_texts(tmp_path, content, wanted):
    file = tmp_path / "list"
    file.write_bytes(content.encode())
    if isinstance(wanted, list):
        assert [one.id for one in entries([file])] == wanted
    else:
        with pytest.raises(ArtQuantError, match=wanted):
            list(entries([file]))


def test_a_pattern_leaves_own_outputs_and_hidden_files(tmp_path):
    for name in ("a.png", ".b.png", "o.jsonl", "o.jsonl.origin.json", "o.jsonl.pictures.jsonl", "t.csv"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "t.csv.part.jsonl.origin.json").write_bytes(b"x")
    assert [one.path for one in entries([tmp_path / "*"])] == [str(tmp_path / "a.png")]


def test_members_behind_damage_or_an_end_are_never_left_out_in_silence(tmp_path):
    pictures = ((tarfile.TarInfo("1.png"), b"1"), (tarfile.TarInfo("2.png"), b"2"))
    whole = packed(tmp_path / "t.tar", *pictures).read_bytes()
    (tmp_path / "damaged.tar").write_bytes(whole[:1024] + b"?" + whole[1025:])
    (tmp_path / "joined.tar").write_bytes(whole + whole)
    with pytest.raises(ArtQuantError, match="damaged at byte 1024"):
        list(entries([tmp_path / "damaged.tar"]))
    with pytest.raises(ArtQuantError, match="more follows its end mark"):
        list(entries([tmp_path / "joined.tar"]))


@pytest.mark.parametrize(
    "text, said",
    [("a.png\rb.png\r", "carriage returns"), ("id,id,image\n1,2,a\n", "two columns"), ("x" * 200_000 + "\n", None)],
)
def test_what_is_no_table_is_told(tmp_path, text, said):
    file = tmp_path / "list.txt"
    file.write_text(text, newline="")
    if said is None:  # too long for a header: a name
        assert len(list(entries([file]))) == 1
    else:
        with pytest.raises(ArtQuantError, match=said):
            list(entries([file]))


def test_tables_with_views_or_with_a_column_twice(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    held = pyarrow.array([b"one", None]).cast(pyarrow.binary_view())
    parquet.write_table(pyarrow.table({"jpg": held, "path": ["1", "2"]}), tmp_path / "views")
    first, _ = entries([tmp_path / "views"])
    assert first.id == "1" and EntryReader().read_bytes(first) == b"one"
    parquet.write_table(pyarrow.table([held, held], names=["x", "x"]), tmp_path / "twice")
    with pytest.raises(ArtQuantError, match="two columns are called 'x'"):
        list(entries([tmp_path / "twice"]))
