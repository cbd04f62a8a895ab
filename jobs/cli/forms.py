"""Knows the forms of `fts enqueue`, `fts check` and `fts run`: a function, a study file or a command, with options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fts.jobs.cli.synonyms import option_hint

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "STUDY.toml"
FORMS = {  # metavar of its argument -> name of the form, words that select it, template with an option
    "FILE.py:FUNCTION": ("a function", ("train.py:objective",), "{path} train.py:objective {option} ..."),
    FILE: ("a study file", ("study.toml",), "{path} study.toml {option} ..."),
    "-- COMMAND [WORD]...": ("a command", ("--", "COMMAND"), "{path} {option} ... -- COMMAND"),
}
KEYS = {  # option of a function or command -> its place in a study file; options named like their key are not listed
    "--axis": "[matrix]", "-m": "[matrix]", "--space": "[space]", "--metric": "[metrics]", "--direction": "[metrics]",
    "--goal": "[metrics]", "--constraint": "[metrics]", "--regex": "[metrics]", "--baseline": "[baseline]",
    "--steps": "budget.epochs",
}  # fmt: skip


def help_of(context: click.Context | None) -> str:
    """Returns the command line that shows the options of this form: `fts enqueue study.toml --help`."""
    if context is not None and context.parent is not None and not isinstance(context.parent.command, click.Group):
        return f"fts {context.info_name} --help"  # another command passed the words on
    form = "" if context is None else _form(context.command)
    how = FORMS[form][2] if form in FORMS else "{path} {option} ..."
    return how.format(path=context.command_path if context else "fts", option="--help").replace(" ...", "")


def of_another_form(error: click.NoSuchOption) -> str | None:
    """Says which form of the command has the option and how to write it there; None if no form has it."""
    context = error.ctx
    group = context.parent.command if context is not None and context.parent is not None else None
    if context is None or not isinstance(group, click.Group):  # words that `fts service` passed to `fts worker`
        return None
    form = _form(context.command)
    if form == FILE and (key := _key(error.option_name)) is not None:
        change = f"change {key} there" if key.startswith("[") else f"give --set {key}=..., or change it there"
        return f"{error.option_name} is a key of the study file: {change}"
    having = [FORMS[each] for each, command in _forms(context, group) if error.option_name in _options(command)]
    if not having:
        return None
    lines = (how.format(path=context.command_path, option=error.option_name) for _, _, how in having)
    return f"{error.option_name} needs {' or '.join(what for what, _, _ in having)}: {'; '.join(lines)}"


def _forms(context: click.Context, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yields the forms that this command of the group has."""
    for form, (_, words, _) in FORMS.items():
        _, command, _ = group.resolve_command(context.parent or context, [str(context.command.name), *words])
        if command is not None and _form(command) == form:
            yield form, command


def _form(command: click.Command) -> str:
    return next((str(one.metavar) for one in command.params if isinstance(one, click.Argument)), "")


def _options(command: click.Command) -> set[str]:
    return {word for option in command.params if isinstance(option, click.Option) for word in option.opts}


def _key(option: str) -> str | None:
    """Returns `budget.trials` for --trials, also for the names that other programs give to the option."""
    from fts.jobs.study_file.keys import TABLES  # here: only an error needs it

    option = option_hint(option, (f"--{name}" for name in ("trials", "direction", "parallel", "metric"))) or option
    option = option.removeprefix("did you mean ").rstrip("?").split()[0]
    if option in KEYS:
        return KEYS[option]
    name = option.lstrip("-").replace("-", "_")
    return next((f"{table}.{name}" for table, known in TABLES.items() if known is not None and name in known), None)
