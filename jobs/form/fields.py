"""The options of `fts enqueue` as fields of a form, read from the same declarations as the command line and study.toml.

of_command(command) for click's options, of_file(tables) for the keys that --set changes.
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
from fts.jobs.cli import limits
from fts.jobs.cli.errors import sentence_of
from fts.jobs.functions import parse_axis, parse_constraint, parse_goal, parse_parameter
from fts.jobs.study_file import changes, keys, toml
from fts.jobs.study_file.freezing import USUAL_TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Typed = dict[str, str]  # field -> what a person has typed; absent: the default
NOT_HERE = ("dry_run", "as_json", "db", "wanted", "settings", "help")  # the form has its own means for these
USUAL = re.compile(r"\s*\[(?:default: )?([^\[\]]*)\]$")  # how click ends the help of an option
TABLES = ("budget", "search", "resources")  # of a study file, that --set changes most
SEED = "study.seed"
READERS: dict[str, Callable[[str], Any]] = {  # of options that click keeps as texts
    "axes": parse_axis,
    "parameters": parse_parameter,
    "goals": parse_goal,
    "constraints": parse_constraint,
}


def options(command: click.Command, leave: Iterable[str] = ()) -> list[click.Option]:
    """The options of a command that a form shows."""
    return [
        one
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden and one.name not in (*NOT_HERE, *leave)
    ]


def of_command(
    command: click.Command, leave: Iterable[str] = (), first: Mapping[str, str] | None = None
) -> list[Field]:
    """A field for each option; `first` are values that the form begins with where the command has another default."""
    with click.Context(command, info_name="enqueue", resilient_parsing=True) as context:
        return [_of_option(option, context, first or {}) for option in options(command, leave)]


def _of_option(option: click.Option, context: click.Context, first: Mapping[str, str]) -> Field:
    name = str(option.name)
    record = option.get_help_record(context)
    told = record[1] if record else ""
    usual = USUAL.search(told)
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
        help=f"{told}{'; several stand with a blank between them' if kind == SEVERAL else ''}",
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
    """What was typed, as words of the command line. Raises BadSpec for a text whose quotes do not end."""
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
    """The values of an option that may be given several times."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadSpec(f"{flag} has {text!r:.80}, an unclosed quote: {error}") from None


def problems_of(command: click.Command, typed: Mapping[str, str], leave: Iterable[str] = ()) -> dict[str, str]:
    """Why a value is refused, by field, as the command line would say it; each is read alone."""
    found = {}
    for option in options(command, leave):
        text = typed.get(str(option.name))
        if text is None or option.is_flag or option.secondary_opts or not text.strip():
            continue
        try:
            with click.Context(command, info_name="enqueue") as context:
                _read(option, text, context)
        except Exception as error:  # noqa: BLE001  # the one net: what a value is refused with is the option's own affair
            found[str(option.name)] = without_place(error)
    return found


def without_place(error: Exception) -> str:
    """The sentence alone: the field stands above it."""
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


def known_keys() -> dict[str, keys.Key]:
    """`budget.trials` and the other keys that a form offers, as the file declares them."""
    found = {SEED: keys.STUDY["seed"]}
    for table in TABLES:
        found |= {f"{table}.{name}": key for name, key in (keys.TABLES[table] or {}).items()}
    trials = "budget.trials"
    return {trials: found[trials], **found}


def of_file(tables: Mapping[str, Any]) -> list[Field]:
    """A field for each key, with the file's value."""
    return [_of_key(at, key, tables) for at, key in known_keys().items()]


def _of_key(at: str, key: keys.Key, tables: Mapping[str, Any]) -> Field:
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
    """What holds where the file does not say it; empty: nothing does."""
    if at == "budget.trials":
        return str(USUAL_TRIALS)
    named = [field for field, place in changes.NAMES.items() if place == at]
    defaults = {one.name: one.default for one in dataclasses.fields(BareCell)}
    found = next((defaults[name] for name in named if isinstance(defaults.get(name), str | int | float)), None)
    return "" if found is None else str(found)


def plain(value: Any) -> str:
    """As it is typed behind `--set KEY=`: a word needs no quotes there."""
    return value if isinstance(value, str) else toml.value_text(value)


def settings_of(typed: Mapping[str, str]) -> list[str]:
    """The words of --set."""
    return [f"{name}={text.strip()}" for name, text in typed.items() if name in known_keys() and text.strip()]


def problems_of_keys(typed: Mapping[str, str]) -> dict[str, str]:
    """Why a value is refused, by key."""
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
    """What still belongs to a field, and is not its default."""
    known = {field.name: field for field in fields}
    return {
        name: text for name, text in typed.items() if name in known and text != known[name].default and text is not None
    }
