"""Lists all commands with help and examples; imports a command's module only when that command is called.

`fts status` must answer within 0.1 s, so nothing here imports torch, optuna, pandas or textual.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import select
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts import __version__
from fts.frozen import dataclass
from fts.jobs.api.load import installed, loadable
from fts.jobs.api.nearest import nearest
from fts.jobs.cli.newcomer import command_without_dashes, what_to_name
from fts.jobs.cli.synonyms import command_hint
from fts.jobs.settings import Places, places
from fts.jobs.study_file.words import names_a_function, names_a_study

if TYPE_CHECKING:
    from collections.abc import Iterator


MANY = 10**9  # from here on the end of a range is a technical limit, and only an error names it


class Whole(click.IntRange):
    """A whole number within a range, shown in the help as `1 to 1,000`, or as `1 or more` if nobody reaches its end."""

    name = "integer"  # instead of click's `integer range`

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = click.INT.convert(value, param, ctx)
        assert self.min is not None and self.max is not None, "every range of ours has both ends"
        if number > self.max:  # here the end matters
            self.fail(f"{number} is not in the range {self.min:,} to {self.max:,}.", param, ctx)
        whole: int = super().convert(number, param, ctx)
        return whole

    def _describe_range(self) -> str:  # instead of click's 1<=x<=1000
        assert self.max is not None, "every range of ours has both ends"
        return f"{self.min:,} or more" if self.max >= MANY else f"{self.min:,} to {self.max:,}"


class Fraction(click.FloatRange):
    """A number within a range, shown in the help as `0.05 to 3,600`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):  # it is neither below nor above an end
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return f"{self.min:,g} to {self.max:,g}"


@dataclass(frozen=True)
class NotEmpty:
    """Refuses `--cell ""`: an unset shell variable is not the same as a missing option."""

    then: Any = None  # the option's own callback

    def __call__(self, ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value == "" or (isinstance(value, tuple) and "" in value):
            raise click.BadParameter("it is empty; give a value, or leave it out", ctx, parameter)
        return value if self.then is None else self.then(ctx, parameter, value)


COUNT = Whole(1, 10**9)  # number of rows, jobs, backups
ROW = Whole(0, 2**63 - 1)  # the range of row numbers in the database
AS_JSON = click.option("--json", "as_json", is_flag=True, help="one JSON object, with schema and taken_at")


@dataclass(frozen=True)
class Entry:
    """One command in the list."""

    order: int  # position within its section; commands of a study are sorted between ours
    name: str
    where: str  # "module:attribute"; a module without a dot is below fts.jobs.cli
    help: str
    of_study: bool = False  # the module name is absolute, even without a dot


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Begin",
        (
            Entry(5, "init", "init:init", "write a study file and an example, to begin with"),
            Entry(7, "check", "check:check", "try a study with real trials before you enqueue it"),
            Entry(50, "worker", "work:worker", "run the queue until stopped (Ctrl-C loses nothing)"),
        ),
    ),
    (
        "Look",
        (
            Entry(10, "status", "status:status", "state of the queue, finish time, what happened"),
            Entry(20, "tui", "fts.tui.commands:tui", "the monitor, full screen"),
            Entry(30, "queue", "show:queue", "every job in the order it will run"),
            Entry(40, "trials", "show:trials", "the trials of one cell"),
            Entry(50, "curve", "show:curve", "losses epoch by epoch, as numbers or as a plot"),
            Entry(60, "logs", "logs:logs", "what a trial printed; -f follows"),
            Entry(70, "events", "show:events", "who changed what, and when"),
            Entry(80, "watch", "watch:watch", "one line per change, as it happens"),
            Entry(100, "why", "show:why", "why a job is not running"),
            Entry(120, "results", "results:results", "best value per cell, with interval and baseline"),
            Entry(130, "best", "best:best", "the best trial of a cell, as a command line or as Python"),
            Entry(115, "nodes", "nodes:nodes", "machines that run trials for a worker; drain, quarantine, release"),
            Entry(110, "hardware", "hardware:hardware", "memory, heat and use over time, as the workers measured them"),
        ),
    ),
    (
        "Change the queue",
        (
            Entry(10, "move", "change:move", "move jobs earlier, later, or to a place in the queue"),
            Entry(20, "next", "change:next_", "run these jobs next"),
            Entry(30, "pause", "change:pause", "pause jobs (running: checkpoint, free memory), or --queue"),
            Entry(40, "resume", "change:resume", "resume jobs at the same step, or --queue"),
            Entry(50, "cancel", "change:cancel", "take jobs out of the queue"),
            Entry(60, "retry", "change:retry", "put failed jobs back in the queue; keep their trials"),
            Entry(70, "note", "change:note", "write a note into the journal"),
            Entry(80, "ack", "change:ack", "mark what has ended as seen"),
            Entry(90, "undo", "change:undo", "undo the last change, also after a restart"),
            Entry(100, "redo", "change:redo", "redo the last undone change"),
        ),
    ),
    (
        "Stop",
        (
            Entry(10, "drain", "change:drain", "stop workers after their current trial, or job (--after job)"),
            Entry(20, "stop", "change:stop", "stop workers at the next step, with a checkpoint"),
        ),
    ),
    (
        "Results and records",
        (
            Entry(70, "log", "log_command:log_command", "report metrics from a command that is a trial"),
            Entry(75, "import", "import_:import_", "import the trials of an Optuna study, as history"),
            Entry(78, "report", "report:report", "write one page per study: figures, statistics, what they show"),
            Entry(80, "export", "maintain:export", "rewrite the JSON and CSV files from the database"),
            Entry(85, "mirror", "mirror:mirror", "copy to TensorBoard, MLflow or Weights & Biases; -f follows"),
            Entry(90, "snapshot", "fts.tui.commands:snapshot", "a screen of the monitor as svg, png or txt"),
        ),
    ),
    (
        "Maintain",
        (
            Entry(10, "completion", "completion:completion", "complete words with Tab in bash, zsh or fish"),
            Entry(12, "service", "service:service", "a worker that starts with the machine (systemd, launchd)"),
            Entry(15, "notify", "notify:notify", "messages to your phone, by mail or by a command"),
            Entry(20, "doctor", "maintain:doctor", "what is wrong here, and what to do about it"),
            Entry(30, "backup", "maintain:backup", "copy the database while it is in use"),
            Entry(40, "restore", "maintain:restore", "replace the database by a backup"),
            Entry(50, "gc", "maintain:gc", "delete files that no trial needs any more"),
            Entry(60, "db", "maintain:db", "path, shell, or one query on the database"),
            Entry(70, "serve", "fts.tui.commands:serve", "the monitor in a browser, read-only, this machine only"),
            Entry(75, "metrics", "metrics:metrics", "metrics for Prometheus and a health check, over HTTP"),
        ),
    ),
)
CORE: dict[str, Entry] = {entry.name: entry for _, entries in SECTIONS for entry in entries}


OF_FILES = {  # commands for a study file; without one, the name means the command of a study or of a function
    "enqueue": Entry(0, "enqueue", "enqueue_study:enqueue_study", "enqueue a study file"),
    "run": Entry(0, "run", "run:run", "run one cell of a study file here and now"),
    "check": Entry(0, "check", "check:check_study", "try a study file before you enqueue it"),
}

EXAMPLES = {
    "init": "fts init function",
    "check": "fts check train.py:objective -m data=mnist,cifar",
    "check STUDY.toml": "fts check study.toml --cell mnist/S",
    "check -- COMMAND": "fts check --metric val_loss -- python train.py --lr {lr:1e-5..1e-1:log}",
    "worker": "fts worker --detach --until-empty",
    "enqueue FILE.py:FUNCTION": "fts enqueue train.py:objective --trials 100 -m size=S,M,L",
    "enqueue STUDY.toml": "fts enqueue study.toml --cell mnist/S --set budget.trials=80",
    "run STUDY.toml": "fts run study.toml --cell mnist/S",
    "enqueue -- COMMAND": "fts enqueue --metric val_loss -- python train.py --lr {lr:1e-5..1e-1:log}",
    "log": "fts log epoch=3 val_loss=0.41",
    "status": "fts status --plain",
    "tui": "fts tui --readonly",
    "queue": "fts queue state:failed",
    "trials": "fts trials mnist/S",
    "curve": "fts curve mnist/S:t3 --plot",
    "logs": "fts logs mnist/S:t3 --grep epoch -n 20",
    "events": "fts events --since 10h",
    "watch": "fts watch --until-idle",
    "why": "fts why mnist/S",
    "hardware": "fts hardware --since 1d",
    "nodes": "fts nodes release gpu1",
    "move": "fts move mnist/S top",
    "next": "fts next 7",
    "pause": "fts pause size:L",
    "resume": "fts resume --queue",
    "cancel": "fts cancel 3-5",
    "retry": "fts retry state:failed",
    "note": "fts note the fan was cleaned",
    "ack": "fts ack",
    "undo": "fts undo",
    "redo": "fts redo",
    "drain": "fts drain --after job",
    "stop": "fts stop",
    "results": "fts results size:S --wide",
    "best": "fts best mnist/S --python",
    "import": "fts import sqlite:///optuna.db --study old",
    "report": "fts report train",
    "export": "fts export --optuna sqlite:///optuna.db",
    "mirror tensorboard": "fts mirror tensorboard runs --follow",
    "mirror mlflow": "fts mirror mlflow http://127.0.0.1:5000",
    "mirror wandb": "fts mirror wandb .",
    "snapshot": "fts snapshot --screen results --to results.svg",
    "completion": "fts completion bash",
    "service install": "fts service install --slots 2 --dry-run",
    "service status": "fts service status",
    "service remove": "fts service remove",
    "notify add": "fts notify add ntfy://my-secret-topic",
    "notify list": "fts notify list",
    "notify remove": "fts notify remove ntfy",
    "notify test": "fts notify test",
    "notify quiet": "fts notify quiet 22:00-07:00 --but 'worker lost'",
    "notify watch": "fts notify watch",
    "doctor": "fts doctor",
    "backup": "fts backup",
    "restore": "fts restore",
    "gc": "fts gc --dry-run",
    "db path": "fts db path",
    "db query": 'fts db query "select * from v_trials" --csv',
    "db shell": "fts db shell",
    "serve": "fts serve --port 8001",
    "metrics": "fts metrics --port 8003",
}


@lru_cache(maxsize=1)
def sections() -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Returns all commands by section: ours and those of the installed studies."""
    more = [command for study in loadable().values() for command in study.commands]
    found = []
    own = dict.fromkeys(command.section for command in more if command.section not in dict(SECTIONS))
    for title, ours in (*SECTIONS, *((title, ()) for title in own)):
        theirs = [
            Entry(c.order, c.name, c.where, c.help, of_study=True)
            for c in more
            if c.section == title and c.name not in CORE
        ]
        found.append((title, tuple(sorted([*ours, *theirs], key=lambda entry: entry.order))))
    return tuple(found)


def entries() -> dict[str, Entry]:
    """Returns all commands by name."""
    return {entry.name: entry for _, section in sections() for entry in section}


def _examples_of_studies() -> dict[str, str]:
    commands = [command for study in loadable().values() for command in study.commands]
    return {name: example for command in commands for name, example in command.examples.items()}


class LazyGroup(click.Group):
    """Imports a command's module when the command is called, and prints the help from the list above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in entries().items() if exists(entry)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = CORE.get(name) or entries().get(name)
        if entry is None:
            return None
        return self._load(entry)

    def _load(self, entry: Entry, example: str = "") -> click.Command:
        """Imports the command and adds its short help, its example (`example` names another entry) and --db."""
        name = entry.name
        module, attribute = entry.where.split(":")
        ours = not entry.of_study and "." not in module
        command: click.Command = getattr(
            importlib.import_module(f"fts.jobs.cli.{module}" if ours else module), attribute
        )
        command.name, command.short_help = name, entry.help
        with_examples(command, example or name)
        with_db(command)
        refuse_empty_values(command)
        if is_completing():
            from fts.jobs.cli.completion_words import add_completion  # here: only while a shell completes

            add_completion(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in CORE and name not in entries() and name not in OF_FILES:
            raise click.UsageError(f"there is no command {name!r}{_nearest(name)}", ctx)
        if name in ("enqueue", "check") and "--" not in args[1:] and (said := command_without_dashes(name, args[1:])):
            raise click.UsageError(said, ctx)
        if name in ("check", "enqueue") and not args[1:] and not ctx.resilient_parsing:
            raise click.UsageError(what_to_name(name, Path.cwd(), entries()), ctx)
        if name == "enqueue" and "--" in args[1:]:
            of_command = Entry(0, name, "enqueue_command:enqueue_command", "enqueue a command")
            return name, self._load(of_command, "enqueue -- COMMAND"), args[1:]
        if name == "check" and "--" in args[1:]:
            of_command = Entry(0, name, "check:check_command", "try a command before you enqueue it")
            return name, self._load(of_command, "check -- COMMAND"), args[1:]
        if name in OF_FILES and names_a_study(args[1:]):
            return name, self._load(OF_FILES[name], f"{name} STUDY.toml"), args[1:]
        if name == "run" and name not in entries():
            return name, self._load(OF_FILES[name], f"{name} STUDY.toml"), args[1:]
        if name == "enqueue" and (names_a_function(args[1:]) or "enqueue" not in entries()):
            of_function = Entry(0, name, "enqueue:enqueue", "enqueue a function")
            return name, self._load(of_function, "enqueue FILE.py:FUNCTION"), args[1:]
        return super().resolve_command(ctx, args)

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        with exit_0_on_closed_stdout():  # `fts --help` and `fts --version` print here
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with exit_0_on_closed_stdout():
                return super().invoke(ctx)
        except click.BadOptionUsage as error:
            if error.ctx is None and ctx.invoked_subcommand is not None:  # click's parser knows no command
                found = self.get_command(ctx, ctx.invoked_subcommand)
                error.ctx = None if found is None else click.Context(found, ctx, ctx.invoked_subcommand)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in sections():
            offered = [(entry.name, entry.help) for entry in section if exists(entry)]
            if offered:
                with formatter.section(title):
                    formatter.write_dl(offered)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A cell is named by its values, such as mnist/S or 2M/h1, or by its job number. "
    "First steps: fts init; fts check study.toml; fts enqueue study.toml; fts worker; fts status. "
    "A function of your own: fts check train.py:objective; fts enqueue train.py:objective --trials 20. "
    "The PatchTST study: fts demo. Or: fts data build; fts enqueue --matrix.",
)
@click.option(
    "--db", "db", metavar="PATH", callback=NotEmpty(), help="the database (default: $FTS_DB, else outputs/fts.db)"
)
@click.version_option(__version__, message="fts %(version)s")
@click.pass_context
def fts(ctx: click.Context, db: str | None) -> None:
    """Runs a matrix of hyperparameter searches for days, loses nothing, and shows its progress."""
    ctx.obj = places(db)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


@contextlib.contextmanager
def exit_0_on_closed_stdout() -> Iterator[None]:
    """Exits with 0 when the reader of stdout has gone: `fts events | head` is no failure, click would exit with 1."""
    try:
        yield
    except BrokenPipeError:
        if stdout_is_closed():
            raise click.exceptions.Exit(0) from None
        raise  # another pipe broke


def stdout_is_closed() -> bool:
    """Returns whether the other end of stdout has been closed."""
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


def is_completing() -> bool:
    """Returns whether a shell runs this process to complete a word."""
    return "_FTS_COMPLETE" in os.environ


def with_db(command: click.Command) -> None:
    """Accepts `--db PATH` after the command's name too, where most people type it."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        with_db(inner)
    if not any(parameter.name == "db" for parameter in command.params):
        command.params.append(
            click.Option(["--db"], metavar="PATH", hidden=True, expose_value=False, callback=_use_database)
        )


def refuse_empty_values(command: click.Command) -> None:
    """Makes the options of the command, and of the commands in a group, refuse an empty value."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        refuse_empty_values(inner)
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_flag and not isinstance(option.callback, NotEmpty):
            option.callback = NotEmpty(option.callback)


def with_examples(command: click.Command, name: str) -> None:
    """Adds an example below the help of a command, or of each command of a group; a group lists uncut sentences."""
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            each.short_help = " ".join((each.help or "").split("\n\n")[0].split())  # click would cut it
            with_examples(each, f"{name} {inner}")
    elif example := EXAMPLES.get(name) or _examples_of_studies().get(name):
        command.epilog = f"Example: {example}"


def _use_database(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = places(value)


def exists(entry: Entry) -> bool:
    """Returns whether the command's module is installed; other commands are not listed."""
    module = entry.where.split(":")[0]
    return entry.of_study or "." in module or Path(__file__).with_name(f"{module}.py").exists()


def _nearest(name: str) -> str:
    known = [word for word, entry in entries().items() if exists(entry)]
    if (theirs := command_hint(name, known)) is not None:
        return f"; {theirs}"
    near = nearest(name, known)
    lost = ", ".join(sorted({*installed()} - {*loadable()}))
    why = f"; the commands of {lost} are missing, because it cannot be loaded: `fts doctor` says why" if lost else ""
    return f"; did you mean {near!r}?{why}" if near else why


def here() -> Places:
    """Returns the paths that the running command uses."""
    found = click.get_current_context().obj
    assert isinstance(found, Places)
    return found
