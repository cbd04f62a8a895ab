"""Makes form fields from the declarations behind the command line and study.toml.

of_command(command) for the options of a click command, of_file(tables) for the keys that --set changes.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.bare_cell import CHOICES, BareCell
from fts.jobs.api.form import CHOICE, FLAG, SEVERAL, TEXT, YES, Field
from fts.jobs.api.spec import BadSpec
from fts.jobs.axis_words import parse_axis, parse_constraint, parse_goal, parse_parameter
from fts.jobs.cli import limits
from fts.jobs.cli.errors import sentence_of
from fts.jobs.study_file import changes, keys, toml
from fts.jobs.study_file.freezing import USUAL_TRIALS
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Typed = dict[str, str]  # field -> text that a person has typed; absent: the default
NOT_HERE = ("dry_run", "as_json", "db", "wanted", "settings", "help")  # options without a field: the form sets them
USUAL = re.compile(r"\s*\[(?:default: )?([^\[\]]*)\]$")  # default value at the end of an option's help text
TABLES = ("budget", "search", "resources")  # tables of a study file whose keys get a field
SEED = "study.seed"
READERS: dict[str, Callable[[str], Any]] = {  # parsers of options that click keeps as texts
    "axes": parse_axis,
    "parameters": parse_parameter,
    "goals": parse_goal,
    "constraints": parse_constraint,
}


def options(command: click.Command, leave: Iterable[str] = ()) -> list[click.Option]:
    """Returns the options of a command that get a field."""
    return [
        one
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden and one.name not in (*NOT_HERE, *leave)
    ]


def of_command(
    command: click.Command, leave: Iterable[str] = (), first: Mapping[str, str] | None = None
) -> list[Field]:
    """Returns a field for each option. `first`: initial values in place of the command's defaults."""
    with click.Context(command, info_name="enqueue", resilient_parsing=True) as context:
        return [_of_option(option, context, first or {}) for option in options(command, leave)]


def _of_option(option: click.Option, context: click.Context, first: Mapping[str, str]) -> Field:
    name = str(option.name)
    record = option.get_help_record(context)
    help_text = record[1] if record else ""
    usual = USUAL.search(help_text)
    kind = TEXT
    choices: tuple[str, ...] = ()
    if option.secondary_opts:
        kind, choices = CHOICE, ("", max(option.opts, key=len), max(option.secondary_opts, key=len))
    elif option.is_flag:
        kind = FLAG
    elif option.multiple:
        kind = SEVERAL
    elif isinstance(option.type, click.Choice):
        kind, choices = CHOICE, tuple(str(choice) for choice in option.type.choices)
    default = first.get(name, _default(option, context, kind))
    long = max(option.opts, key=len)
    return Field(
        name=name,
        label=long,
        kind=kind,
        help=f"{help_text}{'; separate several values by blanks' if kind == SEVERAL else ''}",
        default=default,
        usual="" if usual is None else usual[1].split(";")[0].strip(),
        choices=choices,
        metavar=option.metavar or "",
    )


def _default(option: click.Option, context: click.Context, kind: str) -> str:
    found = option.get_default(context)
    if kind not in (TEXT, CHOICE) or option.secondary_opts or found is None or not isinstance(found, str | int | float):
        return ""
    return f"{found:g}" if isinstance(found, float) else str(found)


def words_of(command: click.Command, typed: Mapping[str, str], leave: Iterable[str] = ()) -> list[str]:
    """Converts what was typed to arguments of the command line. Raises BadSpec for an unclosed quote."""
    words = []
    for option in options(command, leave):
        text = typed.get(str(option.name))
        if text is None:
            continue
        flag = max(option.opts, key=len)
        if option.secondary_opts:
            words += [text] if text else []
        elif option.is_flag:
            words += [flag] if text == YES else []
        elif option.multiple:
            words += [word for each in split(text, flag) for word in (flag, each)]
        elif text.strip():
            words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words


def split(text: str, flag: str) -> list[str]:
    """Splits the values of an option that can be given several times. Raises BadSpec."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadSpec(f"{flag} has {quoted(text)}, an unclosed quote: {error}") from None


def problems_of(command: click.Command, typed: Mapping[str, str], leave: Iterable[str] = ()) -> dict[str, str]:
    """Returns by field why its value is refused, with the command line's message. Checks each value by itself."""
    found = {}
    for option in options(command, leave):
        text = typed.get(str(option.name))
        if text is None or option.is_flag or option.secondary_opts or not text.strip():
            continue
        try:
            with click.Context(command, info_name="enqueue") as context:
                _read(option, text, context)
        except Exception as error:  # noqa: BLE001  # an option may raise any exception for a bad value
            found[str(option.name)] = without_place(error)
    return found


def without_place(error: Exception) -> str:
    """Returns the message without the option's name, which the form shows above it."""
    if isinstance(error, click.BadParameter):
        return f"{error.message.rstrip('.')}"
    return sentence_of(error)


def _read(option: click.Option, text: str, context: click.Context) -> None:
    name = str(option.name)
    values = split(text, max(option.opts, key=len)) if option.multiple else text
    option.process_value(context, values)
    if name in READERS:
        for value in values:
            READERS[name](value)
    elif name in limits.NAMES:
        limits.read({name: text})


# ---------------------------------------------------------------- keys of a study file


def known_keys() -> dict[str, keys.TableKey]:
    """Returns the keys of a study file that get a field, `budget.trials` first."""
    found = {SEED: keys.STUDY["seed"]}
    for table in TABLES:
        found |= {f"{table}.{name}": key for name, key in (keys.TABLES[table] or {}).items()}
    trials = "budget.trials"
    return {trials: found[trials], **found}


def of_file(tables: Mapping[str, Any]) -> list[Field]:
    """Returns a field for each key, with the file's value."""
    return [_of_key(at, key, tables) for at, key in known_keys().items()]


def _of_key(at: str, key: keys.TableKey, tables: Mapping[str, Any]) -> Field:
    table, _, name = at.partition(".")
    inner = tables.get(table)
    there = isinstance(inner, dict) and name in inner
    value = plain(inner[name]) if there and isinstance(inner, dict) else ""
    usual = "as in the file" if there else usual_of(at)
    choices = tuple(CHOICES[name]) if name in CHOICES else ()
    kind = CHOICE if choices else TEXT
    if kind == CHOICE:
        choices = ("", *choices) if not value else choices
    return Field(at, at, kind, f"{key.expected}  [{usual or 'not set'}]", value, usual, choices)


def usual_of(at: str) -> str:
    """Returns the default of a key that the file does not set; empty: none."""
    if at == "budget.trials":
        return str(USUAL_TRIALS)
    named = [field for field, place in changes.NAMES.items() if place == at]
    defaults = {one.name: one.default for one in dataclasses.fields(BareCell)}
    found = next((defaults[name] for name in named if isinstance(defaults.get(name), str | int | float)), None)
    return "" if found is None else str(found)


def plain(value: Any) -> str:
    """Formats a value as it is typed after `--set KEY=`, where a word needs no quotes."""
    return value if isinstance(value, str) else toml.value_text(value)


def settings_of(typed: Mapping[str, str]) -> list[str]:
    """Returns the arguments of --set."""
    return [f"{name}={text.strip()}" for name, text in typed.items() if name in known_keys() and text.strip()]


def problems_of_keys(typed: Mapping[str, str]) -> dict[str, str]:
    """Returns by key why its value is refused."""
    found = {}
    known = known_keys()
    for setting in settings_of(typed):
        name = setting.partition("=")[0]
        try:
            tables, at = toml.with_value({}, setting)
            keys.value_of(at, tables[at[0]][at[1]], known[name])
        except BadSpec as error:
            found[name] = str(error)
    return found


def only_known(fields: Sequence[Field], typed: Mapping[str, str]) -> Typed:
    """Returns the typed texts that belong to a field and differ from its default."""
    known = {field.name: field for field in fields}
    return {
        name: text for name, text in typed.items() if name in known and text != known[name].default and text is not None
    }
