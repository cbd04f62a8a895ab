"""Reads the text of a study file, finds the line of a key, and writes tables as TOML."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from fts.jobs.api.spec import BadSpec
from fts.jobs.study_file.faults import At, BadStudy, dotted
from fts.raising import quoted

LONGEST = 1_000_000  # characters of a file
HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
PART = re.compile(r"""(?:^|(?<=\.))(\s*"[^"]*"\s*|\s*'[^']*'\s*|[^.]*)(?:$|\.)""")  # of a dotted key
BARE = re.compile(r"[A-Za-z0-9_-]+")
ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
LINE = 118  # characters; a longer list is written on several lines


def parse(text: str, name: str) -> dict[str, Any]:
    """Parses TOML. Raises BadSpec with the line."""
    if len(text) > LONGEST:
        raise BadSpec(f"{name} has {len(text):,} characters, expected at most {LONGEST:,}")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = f"{name} is not TOML: {error or 'it is nested too deeply'}"
        raise BadSpec(fault + _cure(text, str(error))) from None
    except ValueError:  # Python refuses to read such a number
        raise BadSpec(f"{name} has a number of more than 4,300 digits") from None


def _cure(text: str, error: str) -> str:
    """Returns how to correct a common mistake of people new to TOML; empty: unknown."""
    if error.startswith(("Cannot overwrite a value", "Cannot declare")):
        return "; it is there twice: keep one"
    place = re.search(r"line (\d+), column (\d+)", error)
    lines = text.split("\n")  # as TOML counts them: a separator of Unicode within a text ends no line
    if place is None or int(place[1]) > len(lines):
        return ""
    rest = lines[int(place[1]) - 1][int(place[2]) - 1 :]
    if error.startswith("Invalid value") and (word := re.match(r"[A-Za-z_.~/][^\s,}\]#]*", rest)) is not None:
        lower = word[0].lower()
        return f"; write {lower}" if lower in ("true", "false") else f'; write text in quotes: "{word[0]}"'
    if error.startswith("Unescaped '\\'"):
        return "; in single quotes a backslash has no special meaning: 'loss=(\\d+)'"
    return ""


def lines_of(text: str) -> dict[At, int]:
    """Returns the line of each table and key. Keys of an inline table have the line of that table."""
    found: dict[At, int] = {}
    header: At = ()
    cells = 0
    for number, line in enumerate(text.split("\n"), 1):
        if (match := HEADER.fullmatch(line)) is not None:
            header = _parts(match[2])
            if match[1] == "[[":
                cells += header == ("cell",)
                header = (*header, str(cells))
            elif header[:1] == ("cell",):
                header = ("cell", str(cells), *header[1:])
            found.setdefault(header, number)
        elif (match := KEY.match(line)) is not None:
            path = (*header, *_parts(match[1]))
            for end in range(len(header) + 1, len(path) + 1):
                found.setdefault(path[:end], number)
    return found


def line_of(lines: Mapping[At, int], at: At) -> int | None:
    """Returns the line of a key, or of the innermost table around it; None: no line names it."""
    return next((lines[at[:end]] for end in range(len(at), 0, -1) if at[:end] in lines), None)


def _parts(text: str) -> At:
    """Splits a key at the dots that are not within quotes."""
    return tuple(part.strip().strip("\"'") for part in PART.findall(text))


def with_value(tables: Mapping[str, Any], setting: str) -> tuple[dict[str, Any], At]:
    """Returns the tables with a setting such as `budget.trials=80` applied, and its key. Raises BadSpec."""
    path, equals, text = setting.partition("=")
    at = _parts(path)
    if not equals or len(at) < 2 or not all(at):
        raise BadSpec(f"--set has {quoted(setting)}, expected TABLE.KEY=VALUE, such as budget.trials=80")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()  # on the command line a word needs no quotes
    changed = dict(tables)
    inner: dict[str, Any] = changed
    for place, name in enumerate(at[:-1]):
        before = inner.get(name, {})
        if not isinstance(before, Mapping):
            raise BadSpec(f"--set has {quoted(setting)}, but {dotted(at[: place + 1])} is not a table")
        inner[name] = dict(before)
        inner = inner[name]
    inner[at[-1]] = value
    return changed, at


# -- writing


def written(tables: Mapping[str, Any]) -> str:
    """Returns the tables as TOML that reads back equal. Raises BadStudy for a value that TOML cannot express."""
    parts = []
    for name, table in tables.items():
        if isinstance(table, Mapping):
            parts.append("\n".join([f"[{_key(name)}]", *_body(table, (name,))]))
        elif isinstance(table, Sequence) and not isinstance(table, str) and table and _all_tables(table):
            parts += ["\n".join([f"[[{_key(name)}]]", *_body(each, (name,))]) for each in table]
        else:
            parts.insert(0, f"{_key(name)} = {_value(table, (name,))}")
    return "\n\n".join(parts) + "\n"


def _body(table: Mapping[str, Any], at: At) -> list[str]:
    return [_entry(name, value, (*at, str(name))) for name, value in table.items()]


def _entry(name: Any, value: Any, at: At) -> str:
    line = f"{_key(name)} = {_value(value, at)}"
    if len(line) <= LINE or not isinstance(value, list | tuple):
        return line
    return "\n".join([f"{_key(name)} = [", *(f"    {_value(each, at)}," for each in value), "]"])


def _all_tables(values: Sequence[Any]) -> bool:
    return all(isinstance(each, Mapping) for each in values)


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise BadStudy((), f"a key is {quoted(name)}, expected a string")
    return name if BARE.fullmatch(name) else _text(name)


def value_text(value: Any) -> str:
    """Returns a value as TOML, as it is written after the equals sign."""
    return _value(value, ())


def _value(value: Any, at: At) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else {"inf": "inf", "-inf": "-inf"}.get(repr(value), "nan")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(each, (*at, str(name)))}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each, at) for each in value)}]"
    raise BadStudy(at, f"is {quoted(value)} of type {type(value).__name__}, expected text, a number, a list or a table")


def _text(text: str) -> str:
    """Returns a TOML string: literal if it has backslashes, as regular expressions have; else basic."""
    plain = all(letter >= " " and letter != "\x7f" for letter in text)
    if ("\\" in text or '"' in text) and plain and "'" not in text:
        return f"'{text}'"
    return '"' + "".join(ESCAPED.get(letter) or _letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    return letter if letter >= " " and letter != "\x7f" else f"\\u{ord(letter):04x}"
