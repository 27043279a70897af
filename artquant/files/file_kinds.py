"""What a file is, by how it begins, where it is called something else; with what to do about it."""

from __future__ import annotations

from typing import NamedTuple


class FileKind(NamedTuple):
    """A kind of file that is no table in text."""

    name: str  # "a PDF"
    advice: str  # what to do, one clause


_AGAIN = "download the file itself"
_PAGE = FileKind("a web page or XML", f"{_AGAIN} (on GitHub: by the button 'Raw')")
_ANSWER = FileKind("a server's answer instead of the file", "check its address and download it again")
_PICTURE = FileKind("a picture", "name the file that holds the scores")
_ARCHIVE = "unpack it and name the file in it"
_SEVEN_ZIP = FileKind("a 7z archive", _ARCHIVE)
_ARROW = FileKind("an Arrow table", "save it as parquet: pyarrow.parquet.write_table(TABLE, 'NEW.parquet')")
_PICKLE = FileKind(
    "a Python pickle, which may run code when it is opened",
    "if you trust who made it: python -c \"import pandas; pandas.read_pickle('FILE').to_csv('NEW.csv')\"",
)
_HDF5 = FileKind("an HDF5 file (or MATLAB 7.3)", "save the table in it as CSV, such as with h5py")
_OFFICE = FileKind("an old Office document (such as .xls)", "save it as .xlsx or CSV in a spreadsheet program")
_UTF_16 = FileKind("text in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW")
_R_DATA = FileKind("data of R", "save it as CSV: write.csv(TABLE, 'NEW.csv', row.names = FALSE)")

# What compressed files begin with; `artquant prepare` opens them.
GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

_PICKLED_TEXT = (b"(dp0\n", b"(dp1\n", b"(lp0\n", b"(lp1\n", b"ccopy_reg\n", b"cnumpy")  # of protocol 0
_KINDS: tuple[tuple[bytes, FileKind], ...] = (
    (b"<", _PAGE),
    (b"version https://git-lfs", FileKind("a pointer of Git LFS, not the file itself", "fetch it: git lfs pull")),
    (b"404: Not Found", _ANSWER),
    (b"404 Not Found", _ANSWER),
    (b"Not Found", _ANSWER),
    (b"Entry not found", _ANSWER),
    (b"Repository not found", _ANSWER),
    (b"Invalid username or password", _ANSWER),
    (ZIP, FileKind("a ZIP archive", "unpack it (unzip FILE) and name the file in it")),
    (b"PK\x05\x06", FileKind("an empty ZIP archive", _AGAIN)),
    (GZIP, FileKind("compressed by gzip", "unpack it: gunzip FILE")),
    (BZIP2, FileKind("compressed by bzip2", "unpack it: bunzip2 FILE")),
    (XZ, FileKind("compressed by xz", "unpack it: unxz FILE")),
    (b"\x28\xb5\x2f\xfd", FileKind("compressed by Zstandard", "unpack it: unzstd FILE")),
    (b"7z\xbc\xaf\x27\x1c", _SEVEN_ZIP),
    (b"Rar!\x1a\x07", FileKind("a RAR archive", _ARCHIVE)),
    (
        PARQUET,
        FileKind(
            "a parquet table",
            "save it as JSON lines: pandas.read_parquet('FILE').to_json('NEW.jsonl', orient='records', lines=True)",
        ),
    ),
    (b"ARROW1\0\0", _ARROW),
    (b"\xff\xff\xff\xff", _ARROW),
    (b"%PDF", FileKind("a PDF", "look for the table as CSV or JSON, or copy it into one")),
    (b"{\\rtf", FileKind("an RTF document", "save it as plain text")),
    (
        b"SQLite format 3\0",
        FileKind("an SQLite database", "save its table: sqlite3 -header -csv FILE 'SELECT * FROM NAME' > NEW.csv"),
    ),
    (b"MATLAB 5.0", FileKind("a MATLAB file", "save the table in it as CSV, such as with scipy.io.loadmat")),
    (b"\x89HDF\r\n\x1a\n", _HDF5),
    (b"\x93NUMPY", FileKind("an array of NumPy", "save names and scores together as CSV")),
    (b"RDX3\n", _R_DATA),
    (b"RDX2\n", _R_DATA),
    (b"RDA3\n", _R_DATA),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OFFICE),
    (b"\x89PNG", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"II*\0", _PICTURE),
    (b"MM\0*", _PICTURE),
    (b"BM", _PICTURE),
    (b"RIFF", FileKind("a picture, film or sound (RIFF)", "name the file that holds the scores")),
    (b"\x7fELF", FileKind("a program", "name the file that holds the scores")),
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"\0\0\0\0", FileKind("filled with zeros, as by a broken download or a power cut", "download it again")),
)
_TAR = FileKind("a tar archive", "unpack it (tar -xf FILE) and name the file in it")
BARE_UTF_16 = FileKind("text in UTF-16 without its mark", "name its encoding: --encoding utf-16-le (or -be)")
BINARY = FileKind("binary data", "save it as CSV or JSON, encoded in UTF-8")
_WORDS = (b"BM", b"RIFF", b"GIF8", b"MATLAB 5.0", BZIP2, PARQUET)  # a text may begin with these too
# What text has no use for; bytes of 0x1b (escape) and the like come in logs.
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\v\f\r\x1a\x1b")
START = 4096  # bytes of a file that are looked at


def kind_of_file(start: bytes) -> FileKind | None:
    """What a file is that begins with these bytes, `START` of them; None: nothing but text, as far as can be seen."""
    if start[257:262] == b"ustar":
        return _TAR
    if start.startswith(_PICKLED_TEXT) or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        return _PICKLE
    text = start.lstrip()
    for signature, kind in _KINDS:
        if text.startswith(signature) and (signature not in _WORDS or _CONTROLS.intersection(text[:64])):
            return kind
    return None


def binary_kind(start: bytes) -> FileKind | None:
    """The same, and binary data of unknown kind where there are bytes that text has no use for."""
    if (kind := kind_of_file(start)) is not None:
        return kind
    if any(start[place::2].count(0) > len(start) // 4 for place in (0, 1)):
        return BARE_UTF_16
    return BINARY if _CONTROLS.intersection(start) else None
