"""What a terminal shows: the cells that the bytes of a monitor paint, read as lines of text."""

from __future__ import annotations

import re
import unicodedata

PART = re.compile(
    r"\x1b\[(?P<numbers>[?>=]?[\d;:]*)(?P<end>[@-~])|\x1b[\]P_^X].*?(?:\x07|\x1b\\)|\x1b[()].|\x1b[^\[\]P_^X()]|(?P<text>[^\x1b])",
    re.S,
)


class Grid:
    """Enough of a terminal for what Textual sends: moves, erasures and text; colours are thrown away."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.x = self.y = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Paints what was received; an escape code or a character that has not ended waits for its end."""
        data = self._rest + data
        cut = data.rfind(b"\x1b", max(0, len(data) - 64))
        whole = data if cut < 0 or PART.match(data[cut:].decode(errors="replace")) else data[:cut]
        while whole and whole[-1] >= 0x80 and not _decodes(whole[-4:]):
            whole = whole[:-1]
        self._rest = data[len(whole) :]
        for found in PART.finditer(whole.decode(errors="replace")):
            if found["text"]:
                self._put(found["text"])
            elif found["end"] and found["numbers"][:1] not in ("?", ">", "="):
                self._move(found["numbers"], found["end"])

    def _put(self, char: str) -> None:
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.y, self.x = min(self.y + 1, self.rows - 1), 0
        elif char >= " " and self.x < self.columns:
            self.cells[self.y][self.x] = char
            self.x += 2 if unicodedata.east_asian_width(char) in "WF" else 1

    def _move(self, numbers: str, end: str) -> None:
        given = [int(n) if n else 0 for n in re.split("[;:]", numbers)]
        if end in "Hf":
            row, column = (*given, 1, 1)[:2] if len(given) > 1 else (given[0], 1)
            self.y, self.x = min(max(row, 1), self.rows) - 1, max(column, 1) - 1
        elif end == "C":
            self.x += max(given[0], 1)
        elif end == "J":
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        elif end == "K":
            self.cells[self.y][self.x :] = [" "] * (self.columns - self.x)

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.cells)


def _decodes(end: bytes) -> bool:
    """Whether the last character is whole."""
    for first in range(len(end)):
        if end[first] & 0xC0 != 0x80:
            try:
                end[first:].decode()
            except UnicodeDecodeError:
                return False
            return True
    return False
