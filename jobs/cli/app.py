"""The list of all commands, in the order and the words a newcomer reads them; each is imported when it is called.

`fts status` must answer within a tenth of a second, so nothing here imports torch, optuna, pandas or textual.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fts.jobs.settings import Places, places


class Whole(click.IntRange):
    """A whole number between two others, which the help writes as `1 to 1,000`."""

    def _describe_range(self) -> str:  # click's own says 1<=x<=1000
        return f"{self.min:,} to {self.max:,}"


class Fraction(click.FloatRange):
    """A number between two others, which the help writes as `0.05 to 3,600`."""

    def _describe_range(self) -> str:
        return f"{self.min:,g} to {self.max:,g}"


COUNT = Whole(1, 10**9)  # of rows, jobs, backups: none of something is no question
ROW = Whole(0, 2**63 - 1)  # a number that a row of the database can have
AS_JSON = click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at")


@dataclass(frozen=True)
class Entry:
    name: str
    where: str  # "module:attribute", below fts.jobs.cli without a dot; or "action:ID" for an action of the registry
    help: str


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Begin",
        (
            Entry("demo", "work:demo", "real S&P 500 data through queue and worker, in minutes"),
            Entry("data", "fts.study.cli.data:data", "build, list, verify and register data sets"),
            Entry("budgets", "fts.study.cli.enqueue:budgets", "the model sizes and the architectures in each"),
            Entry("enqueue", "fts.study.cli.enqueue:enqueue", "put one cell, or the whole matrix, in line"),
            Entry("worker", "work:worker", "run the queue until stopped (Ctrl-C loses nothing)"),
            Entry("run", "work:run", "run one cell here and now, without the queue"),
        ),
    ),
    (
        "Look",
        (
            Entry("status", "status:status", "state of the queue, finish time, what happened"),
            Entry("tui", "fts.tui.commands:tui", "the monitor, full screen"),
            Entry("queue", "show:queue", "every job in the order it will run"),
            Entry("trials", "show:trials", "the trials of one cell"),
            Entry("curve", "show:curve", "losses epoch by epoch, as numbers or as a plot"),
            Entry("logs", "logs:logs", "what a trial printed; -f follows"),
            Entry("events", "show:events", "who changed what, and when"),
            Entry("watch", "watch:watch", "one line per change, as it happens"),
            Entry(
                "plan",
                "fts.study.cli.plan:plan",
                "expected cost and gain of each remaining cell; --memory: bytes and recipe",
            ),
            Entry("why", "show:why", "why a job is not running"),
            Entry("hardware", "hardware:hardware", "memory, heat and use over time, as the workers measured them"),
            Entry("results", "show:results", "best value per cell, with interval and baseline"),
        ),
    ),
    (
        "Change the queue",
        (
            Entry("move", "change:move", "earlier, later, or to a place in line"),
            Entry("next", "change:next_", "run these next"),
            Entry("pause", "change:pause", "pause jobs (running: checkpoint, free memory), or --queue"),
            Entry("resume", "change:resume", "resume jobs at the same step, or --queue"),
            Entry("cancel", "change:cancel", "take jobs out of the queue"),
            Entry("retry", "change:retry", "put failed jobs back in line; keep their trials"),
            Entry("note", "change:note", "write a line into the journal"),
            Entry("ack", "change:ack", "mark what has ended as seen"),
            Entry("undo", "change:undo", "take back the last change, also after a restart"),
            Entry("redo", "change:redo", "take back the last undo"),
        ),
    ),
    (
        "Stop",
        (
            Entry("drain", "change:drain", "workers stop after this trial (--after job: after this job)"),
            Entry("stop", "change:stop", "workers stop at the next step, with a checkpoint"),
        ),
    ),
    (
        "Results and records",
        (
            Entry("report", "fts.study.cli.report:report", "one page with figures, tables and provenance"),
            Entry("train", "fts.study.cli.winners:train", "final model of a cell's winner, on training and validation"),
            Entry("predict", "fts.study.cli.winners:predict", "probabilities of a final model for new bars"),
            Entry(
                "replicate", "fts.study.cli.winners:replicate", "the winner again with other seeds: how much is luck"
            ),
            Entry("final", "fts.study.cli.final:final", "evaluate a cell's final model on its test set, once"),
            Entry("unseal", "fts.study.cli.winners:unseal", "open a cell's test set: once, and it cannot be undone"),
            Entry("script", "fts.study.cli.script:script", "write a script that runs one cell by hand"),
            Entry("export", "maintain:export", "rewrite the JSON and CSV files from the database"),
            Entry("snapshot", "fts.tui.commands:snapshot", "a screen of the monitor as svg, png or txt"),
        ),
    ),
    (
        "Maintain",
        (
            Entry("completion", "completion:completion", "print the script that completes words in bash, zsh or fish"),
            Entry("doctor", "maintain:doctor", "what is wrong here, and what to do about it"),
            Entry("backup", "maintain:backup", "copy the database while it is in use"),
            Entry("restore", "maintain:restore", "put a backup in the database's place"),
            Entry("gc", "maintain:gc", "delete files that no trial needs any more"),
            Entry("db", "maintain:db", "path, shell, or one query on the database"),
            Entry("serve", "fts.tui.commands:serve", "the monitor in a browser, read-only, this machine only"),
        ),
    ),
)
ENTRIES: dict[str, Entry] = {entry.name: entry for _, entries in SECTIONS for entry in entries}


EXAMPLES = {
    "demo": "fts demo",
    "data build": "fts data build bars.csv --ticker SPY",
    "data list": "fts data list",
    "data register": "fts data register vix.csv --ticker VIX",
    "data verify": "fts data verify",
    "budgets": "fts budgets 2M",
    "enqueue": "fts enqueue --matrix --budgets 2M,20M --horizons 1,3 --trials 30",
    "worker": "fts worker --detach --until-empty",
    "run": "fts run 2M/h1 --trials 3",
    "status": "fts status --plain",
    "tui": "fts tui --readonly",
    "queue": "fts queue state:failed",
    "trials": "fts trials 2M/h1",
    "curve": "fts curve 2M/h1:t3 --plot",
    "logs": "fts logs 2M/h1:t3 --grep epoch -n 20",
    "events": "fts events --since 10h",
    "watch": "fts watch --until-idle",
    "plan": "fts plan 2M --memory",
    "why": "fts why 2M/h1",
    "hardware": "fts hardware --since 1d",
    "results": "fts results 2M --wide",
    "move": "fts move 20M/h1 top",
    "next": "fts next 7",
    "pause": "fts pause 2B",
    "resume": "fts resume --queue",
    "cancel": "fts cancel 3-5",
    "retry": "fts retry state:failed",
    "note": "fts note the fan was cleaned",
    "ack": "fts ack",
    "undo": "fts undo",
    "redo": "fts redo",
    "drain": "fts drain --after job",
    "stop": "fts stop",
    "report": "fts report",
    "train": "fts train 2M/h1",
    "predict": "fts predict 2M_h1_threshold_1pct_t7 bars.csv",
    "replicate": "fts replicate 2M/h1 --seeds 5",
    "final": "fts final 2M/h1",
    "unseal": "fts unseal 2M/h1",
    "script": "fts script 2M/h1 --out scripts",
    "export": "fts export --optuna sqlite:///optuna.db",
    "snapshot": "fts snapshot --screen results --to results.svg",
    "completion": 'eval "$(fts completion bash)"',
    "doctor": "fts doctor",
    "backup": "fts backup",
    "restore": "fts restore",
    "gc": "fts gc --dry-run",
    "db path": "fts db path",
    "db query": 'fts db query "select * from v_trials" --csv',
    "db shell": "fts db shell",
    "serve": "fts serve --port 8001",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for, and prints the help from the list above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in ENTRIES if exists(ENTRIES[name])]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = ENTRIES.get(name)
        if entry is None:
            return None
        module, attribute = entry.where.split(":")
        command: click.Command = getattr(
            importlib.import_module(module if "." in module else f"fts.jobs.cli.{module}"), attribute
        )
        command.name, command.short_help = name, entry.help
        with_examples(command, name)
        with_db(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in ENTRIES:
            raise click.UsageError(f"there is no command {name!r}{_nearest(name)}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        with readers_may_leave():  # `fts --help` and `fts --version` are answered here
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with readers_may_leave():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in SECTIONS:
            offered = [(entry.name, entry.help) for entry in entries if exists(entry)]
            if offered:
                with formatter.section(title):
                    formatter.write_dl(offered)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A cell is named 2M/h1, or phase6a_2M_h1_threshold_1pct, or by its job number. "
    "First steps: fts demo. Or: fts data build; fts enqueue --matrix; fts worker; fts status.",
)
@click.option("--db", "db", metavar="PATH", help="the database (default: $FTS_DB, else outputs/fts.db)")
@click.version_option(package_name="fts", message="fts %(version)s")
@click.pass_context
def fts(ctx: click.Context, db: str | None) -> None:
    """Runs a matrix of hyperparameter searches for days, loses nothing, and shows its progress."""
    ctx.obj = places(db)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """click would end with 1, and `fts events | head` is no failure."""
    try:
        yield
    except BrokenPipeError:
        if nobody_reads():
            raise click.exceptions.Exit(0) from None
        raise  # of some other pipe


def nobody_reads() -> bool:
    """Has the other end of stdout been closed?"""
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


def with_db(command: click.Command) -> None:
    """Lets `--db PATH` stand behind the command's name too, where most people type it."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        with_db(inner)
    if not any(parameter.name == "db" for parameter in command.params):
        command.params.append(
            click.Option(["--db"], metavar="PATH", hidden=True, expose_value=False, callback=_other_database)
        )


def with_examples(command: click.Command, name: str) -> None:
    """Puts an example behind the help of a command, or of each command of a group."""
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            with_examples(each, f"{name} {inner}")
    elif name in EXAMPLES:
        command.epilog = f"Example: {EXAMPLES[name]}"


def _other_database(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = places(value)


def exists(entry: Entry) -> bool:
    """Is there a module for it? A command whose part is not installed is not offered."""
    module = entry.where.split(":")[0]
    return "." in module or Path(__file__).with_name(f"{module}.py").exists()


def _nearest(name: str) -> str:
    import difflib  # here: needed only on this way out

    near: Sequence[str] = difflib.get_close_matches(name, ENTRIES, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def here() -> Places:
    """The places of the command that is running."""
    found = click.get_current_context().obj
    assert isinstance(found, Places)
    return found
