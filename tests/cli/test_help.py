"""The help of every command: options explained, defaults shown, ranges in plain numbers, an example that works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest

from fts.data.tasks import TASKS
from fts.features.tiers import TIERS
from fts.jobs.cli.app import entries
from fts.jobs.cli.app import fts as group
from fts.jobs.python import python
from fts.model.budgets import BUDGETS
from fts.study import choices
from fts.study.cell import CHOICES
from tests.fts_process import ROOT


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command a person can type, `data build` included."""
    context = click.Context(group)
    for name in entries():
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())
        else:
            yield name, command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_option_has_help_and_shows_its_default(name: str):
    command = ALL[name]
    context = click.Context(command, info_name=name)
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        record = option.get_help_record(context)
        assert record is not None and option.help, f"fts {name} {option.opts[0]} has no help"
        text = record[1]
        assert "x<=" not in text and "<=x" not in text and "x>" not in text, text  # click's own range
        if not option.is_flag and isinstance(option.default, int | float | str) and not option.multiple:
            assert f"default: {option.default}" in text, f"fts {name} {option.opts[0]}: {text}"


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_that_it_would_accept(name: str):
    command = ALL[name]
    example = (command.epilog or "").removeprefix("Example: ")
    if name == "completion":
        assert "fts completion bash" in example
        return
    words = shlex.split(example)
    assert words[: 1 + len(name.split())] == ["fts", *name.split()], example
    rest = words[1 + len(name.split()) :]
    parser = command.make_parser(click.Context(command))
    parser.parse_args(list(rest))  # every option exists and has its value
    files = [p for p in command.params if isinstance(p.type, click.Path)]
    if not files:
        command.make_context(name, list(rest), parent=click.Context(group, obj=None))


def test_budgets_and_tasks_are_named(capsys):
    text = " ".join(str(option.help) for option in ALL["enqueue"].params if isinstance(option, click.Option))
    assert all(budget in text for budget in BUDGETS) and all(task in text for task in TASKS)
    assert set(choices.TIERS) == set(TIERS) and set(choices.PRUNERS) == set(CHOICES["pruner"])


@pytest.mark.parametrize("name", ["data", "db"])
def test_summaries_in_a_group_are_not_cut(fts, name: str):
    assert "..." not in fts(name, "--help").out.partition("Commands:")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(fts, shell: str):
    said = fts("completion", shell)
    assert said.code == 0 and "_FTS_COMPLETE" in said.out and re.search(r"\bfts\b", said.out)


def test_completion_offers_commands_and_options():
    for words, offered in (("fts enq", "enqueue"), ("fts enqueue --hor", "--horizons"), ("fts serve --the", "--theme")):
        done = subprocess.run(
            python("-m", "fts.jobs.cli"), capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "_FTS_COMPLETE": "bash_complete", "COMP_WORDS": words,
                 "COMP_CWORD": str(len(words.split()) - 1)},
        )  # fmt: skip
        assert f"plain,{offered}" in done.stdout.splitlines(), done
