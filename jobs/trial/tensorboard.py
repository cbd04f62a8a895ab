"""Reads scalars from TensorBoard's event files while they grow, using only the standard library.

A file is a sequence of records: length (8 bytes), its checksum, the event (a protocol buffer), its checksum. This reads
the fields `step` and `summary` of an event, and the fields `tag`, `simple_value` and `tensor` of a summary's values.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER, FOOTER = 12, 4  # bytes around an event
LARGEST = 64 << 10  # bytes of an event; larger ones hold pictures and histograms and are skipped
POLYNOMIAL = 0x82F63B78  # of CRC-32C, reversed
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
FLOAT, DOUBLE = 1, 2  # types of a tensor
STEP, SUMMARY, VALUE, TAG, SIMPLE_VALUE, TENSOR = 2, 5, 1, 1, 2, 8  # fields
DTYPE, CONTENT, FLOATS, DOUBLES = 1, 4, 5, 6  # of a tensor


class BadRecord(ValueError):
    """The file is not a valid event file from this position on."""


class EventFile:
    """One event file, read record by record. An incomplete record is left for the next read."""

    def __init__(self, path: Path) -> None:
        self.path, self.position, self.bad = path, 0, False

    def new(self) -> Iterator[tuple[int, str, float]]:
        """Yields (step, tag, value) of the new scalars. Raises BadRecord, once."""
        if self.bad:
            return
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            while self.position + HEADER <= size:
                file.seek(self.position)
                header = file.read(HEADER)
                (length,) = struct.unpack("<Q", header[:8])
                if masked_crc(header[:8]) != struct.unpack("<I", header[8:])[0]:
                    raise self._refused("has a wrong checksum")
                if self.position + HEADER + length + FOOTER > size:
                    return  # it is being written
                event = file.read(length) if length <= LARGEST else b""
                if event and masked_crc(event) != struct.unpack("<I", file.read(FOOTER))[0]:
                    raise self._refused("has a wrong checksum")
                start, self.position = self.position, self.position + HEADER + length + FOOTER
                try:
                    yield from scalars(event)
                except (ValueError, IndexError, struct.error):
                    self.position = start
                    raise self._refused("is no event") from None

    def _refused(self, why: str) -> BadRecord:
        self.bad = True
        return BadRecord(f"the record at byte {self.position:,} {why}")


def scalars(event: bytes) -> Iterator[tuple[int, str, float]]:
    fields = list(parts(event))
    step = next((signed(int(value)) for number, value in fields if number == STEP and isinstance(value, int)), 0)
    for number, summary in fields:
        if number == SUMMARY and isinstance(summary, bytes):
            for inner, value in parts(summary):
                found = scalar(value) if inner == VALUE and isinstance(value, bytes) else None
                if found is not None:
                    yield step, *found


def scalar(value: bytes) -> tuple[str, float] | None:
    """Returns tag and number of one value of a summary; None for a picture or histogram."""
    tag, found = "", None
    for number, part in parts(value):
        if number == TAG and isinstance(part, bytes):
            tag = part.decode(errors="replace")
        elif number == SIMPLE_VALUE and isinstance(part, float):
            found = part
        elif number == TENSOR and isinstance(part, bytes):
            found = from_tensor(part)
    return (tag, found) if tag and found is not None else None


def from_tensor(tensor: bytes) -> float | None:
    """Returns the number of a tensor with one element of type float or double, else None."""
    dtype, raw = 0, b""
    for number, part in parts(tensor):
        if number == DTYPE and isinstance(part, int):
            dtype = part
        elif number in (FLOATS, DOUBLES) and isinstance(part, float):
            return part
        elif number in (CONTENT, FLOATS, DOUBLES) and isinstance(part, bytes):
            raw = part
    form = {FLOAT: "<f", DOUBLE: "<d"}.get(dtype)
    return float(struct.unpack(form, raw)[0]) if form and len(raw) == struct.calcsize(form) else None


def parts(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yields the fields of a protocol buffer as (number, value). Raises ValueError or IndexError if it is invalid."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        wire = key & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield key >> 3, value
        elif wire == BYTES:
            length, at = varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is longer than its message")
            yield key >> 3, message[at : at + length]
            at += length
        elif wire in (FIXED32, FIXED64):
            form = "<f" if wire == FIXED32 else "<d"
            yield key >> 3, float(struct.unpack_from(form, message, at)[0])
            at += struct.calcsize(form)
        else:
            raise ValueError(f"wire type {wire}")


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is longer than ten bytes")


def signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = _table()


def masked_crc(content: bytes) -> int:
    """Returns the CRC-32C, rotated and shifted as TensorFlow does."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
