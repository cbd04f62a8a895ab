"""Opens a text file of bars: decompresses and decodes it and splits it into cells, or says what else the file is."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fts.data.faults import BadBars
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGEST = 1 << 30  # bytes of text: 20 million daily bars; a compressed file may be larger than the memory
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|", " ": "space"}
_COMMENTS = ("#", "//")
_OTHER = (  # first bytes of files that are not text -> what it is, and the cure
    (b"PK\x03\x04", "a zip file", ""),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as CSV"),
    (b"BZh", "compressed by bzip2", "unpack it first"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it first"),
    (b"(\xb5/\xfd", "compressed by zstd", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"SQLite format 3", "a SQLite database", "export the table as CSV"),
)


@dataclass(frozen=True)
class Cells:
    """A text file as rows of cells."""

    rows: list[list[str]]
    separator: str
    encoding: str  # for people: UTF-8
    notes: tuple[str, ...] = ()  # what was dropped, such as comment lines


def read_cells(path: Path, score: Callable[[list[list[str]]], int]) -> Cells:
    """Returns the cells of a file, split by the separator with the best `score` of the first rows. Raises BadBars."""
    text, encoding, notes = decode(unpack(path.read_bytes(), path.name), path.name)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    declared = None
    if lines[0].lower().startswith("sep=") and len(lines[0]) == 5:  # Excel's own first line
        declared, lines = lines[0][4], lines[1:]
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    if not kept:
        kept = [line.lstrip(" #/") for line in lines if line.strip()]
    if not kept:
        raise BadBars(f"{path.name}: cannot be read as csv (the file is empty)")
    if commented := _header_in_comment(lines, kept, score):
        kept = [commented, *kept]
    if all(line[0] == line[-1] == '"' and line.count('"') == 2 for line in kept):  # each line is quoted as a whole
        kept = [line[1:-1] for line in kept]
    if (dropped := sum(1 for line in lines if line.strip()) - len(kept)) > 0:
        notes = (*notes, f"{dropped} comment line{'s' * (dropped > 1)} left out")
    separators = (declared,) if declared else SEPARATORS
    sample = kept[:60]
    cut = {sign: _split(sample, sign, path.name) for sign in separators}
    best = max(separators, key=lambda sign: (score(cut[sign]), min(map(len, cut[sign]), default=0)))
    spaced = [" ".join(line.split()) for line in sample]
    if not declared and score(cut[best]) < 2 and score(_split(spaced, " ", path.name)) >= 4:
        return Cells(_split([" ".join(line.split()) for line in kept], " ", path.name), " ", encoding, notes)
    return Cells(_split(kept, best, path.name, strict=True), best, encoding, notes)


def _header_in_comment(lines: list[str], kept: list[str], score: Callable[[list[list[str]]], int]) -> str | None:
    """Returns the header if it is in a comment line: `# Date,Open,High,Low,Close,Volume`."""
    if any(score(_split(kept[:60], sign, "")) >= 3 for sign in SEPARATORS):
        return None
    for line in lines[:50]:
        bare = line.lstrip(" #/")
        if line.lstrip().startswith(_COMMENTS) and any(score(_split([bare], sign, "")) >= 3 for sign in SEPARATORS):
            return bare
    return None


def _split(lines: list[str], separator: str, name: str, strict: bool = False) -> list[list[str]]:
    """Splits lines into cells. `strict`: an unclosed quote is an error; otherwise it takes the rest of the file."""
    text = io.StringIO("\n".join(lines), newline="")
    try:
        rows = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=strict)
        return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise BadBars(f"{name}: cannot be read as csv ({error})") from None


def unpack(data: bytes, name: str) -> bytes:
    """Returns the only file in a .gz or .zip; other bytes unchanged. Raises BadBars for data that is not text."""
    if data[:2] == b"\x1f\x8b":
        return _gunzip(data, name)
    if data[:4] == b"PK\x03\x04":
        return _unzip(data, name)
    for start, what, cure in _OTHER:
        if data.startswith(start):
            raise BadBars(f"{name}: is {what}, no csv; {cure}")
    start_of_text = data[:400].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start_of_text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadBars(f"{name}: is a web page, no csv; download the file again, perhaps after logging in")
    if start_of_text.startswith((b"{", b"[")):
        sentence = " ".join(data[:160].decode("utf-8", "replace").split())
        raise BadBars(f"{name}: is JSON, no csv ({quoted(sentence, 120)}); ask the source for CSV")
    return data


def _gunzip(data: bytes, name: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as source:
            return _limited(source.read(LARGEST + 1), name)
    except (OSError, EOFError, zlib.error) as error:
        raise BadBars(f"{name}: the gzip file is damaged or incomplete ({error}); copy it again") from None


def _unzip(data: bytes, name: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
            if any(one.filename == "[Content_Types].xml" for one in files):
                raise BadBars(f"{name}: is an Excel workbook, no csv; save it as CSV")
            if len(files) != 1:
                names = ", ".join(one.filename for one in files[:5]) or "none"
                raise BadBars(f"{name}: the zip holds {len(files)} files ({names}), expected one; unpack it first")
            if files[0].flag_bits & 1:
                raise BadBars(f"{name}: the zip is encrypted; unpack it first")
            with archive.open(files[0]) as source:
                return _limited(source.read(LARGEST + 1), name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadBars(f"{name}: the zip cannot be unpacked ({error}); unpack it first, or copy it again") from None


def _limited(data: bytes, name: str) -> bytes:
    if len(data) > LARGEST:
        raise BadBars(f"{name}: holds more than {LARGEST >> 30} GiB of text; cut it to the bars that you need")
    return data


def decode(data: bytes, name: str) -> tuple[str, str, tuple[str, ...]]:
    """Returns text, encoding and notes. Raises BadBars for bytes that are not text."""
    for mark, codec, words in (
        (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
        (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
        (b"\xff\xfe", "utf-16", "UTF-16"),
        (b"\xfe\xff", "utf-16", "UTF-16"),
    ):
        if data.startswith(mark):
            return _no_nul(data.decode(codec, "replace"), name), words, ()
    for codec, zeros in (("utf-16-le", data[1:400:2]), ("utf-16-be", data[0:400:2])):
        if len(zeros) > 8 and zeros.count(0) > 0.8 * len(zeros):
            return _no_nul(data.decode(codec, "replace"), name), "UTF-16", ()
    try:
        return _no_nul(data.decode("utf-8"), name), "UTF-8", ()
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        return _no_nul(text, name), "Windows-1252", ()


def _no_nul(text: str, name: str) -> str:
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise BadBars(f"{name}: line {line} holds zero bytes: the file is damaged or not a text; copy it again")
    return text
