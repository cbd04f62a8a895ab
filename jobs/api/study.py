"""The interface of a study. Every method has a default, so a study overrides only what it needs.

The runner (worker, supervisor, command line, monitor) imports no study by itself. It calls
`fts.jobs.api.load.study(name)`, which finds the study by its entry point in the group `fts.studies`, and then uses only
the methods below. A job of a function or command needs no entry point (fts.jobs.api.function).
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fts.frozen import dataclass
from fts.jobs.api.names import axis_columns
from fts.jobs.api.spec import BadSpec, TrialSpec, seed_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fts.jobs.api.halving import Halving

MINIMIZE, MAXIMIZE = "minimize", "maximize"


@dataclass(frozen=True)
class Axis:
    """One axis of the matrix, such as `budget` with the values 2M, 20M, 200M. Tables keep their order."""

    name: str
    label: str = ""  # heading in tables; empty: the name
    values: tuple[str | int | float, ...] = ()  # values known in advance; tables show any others after them, sorted


@dataclass(frozen=True)
class Metric:
    """One number that a trial reports at each epoch."""

    name: str
    label: str = ""
    goal: str | None = None  # minimize | maximize; None: recorded and drawn, not optimised
    format: str = ".4f"


@dataclass(frozen=True)
class Fact:
    """One fact recorded about a trial in addition to its parameters and its value."""

    name: str
    label: str = ""
    unit: str = ""
    format: str = ""
    shown: tuple[str, ...] = ("csv", "json", "frame")  # where it appears: table, screen, csv, json, report, frame


@dataclass(frozen=True)
class Column:
    """One column of a table of trials or steps (read by fts.jobs.records.columns)."""

    label: str  # heading
    field: str  # val_auc, params.lr, metrics.acc, facts.n_tokens; for an interval, two fields separated by a space
    format: str = ""  # score, score3, number, drawn, count, minutes, parameters, interval, times, or a Python format
    right: bool = True  # align right: the column holds numbers


@dataclass(frozen=True)
class Table:
    """The table that `fts results` shows for one study."""

    columns: tuple[str, ...]
    rows: list[list[str]]  # formatted for people
    right: tuple[str, ...]  # names of the columns that hold numbers
    records: list[Any]  # the rows with every digit, for --json
    csv: str  # the rows as CSV text
    least: tuple[str, ...] = ()  # columns that a narrow terminal drops, in the order in which they are dropped
    notes: tuple[str, ...] = ()  # sentences printed below the table


@dataclass(frozen=True)
class Command:
    """A command that this study adds to the command line."""

    section: str  # section of `fts --help`: Begin, Look, ..., or a new title, which comes last
    order: int  # position within the section
    name: str
    where: str  # "package.module:attribute" of a click command; imported when the command is called
    help: str
    examples: Mapping[str, str] = field(default_factory=dict)  # `data build` -> a complete command line


@dataclass(frozen=True)
class Program:
    """The program that runs a trial, and where it runs."""

    words: tuple[str, ...]  # arguments of the interpreter: ("-m", "fts.jobs.trial.function")
    python: str | None = None  # the interpreter; None: the worker's
    folder: str | None = None  # working directory; None: the worker's
    env: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False  # the next trial may run in the same process
    leaves_in: str | None = None  # its trials leave state in the process: reused only by programs with the same text
    reads_log: bool = False  # it reads its metrics from the trial's output, so no output may be dropped
    forks_for: str | None = None  # a template may fork it, unless this folder shadows a module the template imported
    reads_history: bool = False  # its trials draw parameters themselves, or read the earlier trials of the search
    relays: bool = False  # it passes a stop on to the processes it started; else the supervisor signals the whole tree
    sync: tuple[str, ...] = ()  # files and folders in `folder` that are sent to a node in addition to the worker's
    data: tuple[str, ...] = ()  # data sets in `folder`, of any size; a node caches them by md5


@dataclass(frozen=True)
class Plan:
    """How a trial fits into its memory limit."""

    recipe: dict[str, Any] | None  # settings that lower its memory (micro-batch, ...), stored in its row
    need: int  # bytes


LEARN = "learn"  # of memory: estimate from recorded peaks; of stall: limit from the recorded gaps between reports
IDLE = "idle"  # of stall: a trial counts as stuck when its processor is idle


@dataclass(frozen=True)
class Resources:
    """Limits of one trial, for a study that does not override Study.plan. The runner enforces them."""

    memory: str | int | None = None  # LEARN, FILE.py:FUNCTION, or a number of bytes; None: Study.plan decides
    on_oom: str | None = None  # alone | shrink | fail | prune; None: Study.can_shrink decides
    stall_s: float | None = None  # longest time without a report; None: stuck when its processor is idle
    trial_timeout_s: float | None = None  # working time of all its attempts together
    timeout_s: float | None = None  # for the whole cell: no trial starts after it
    gpu: int = 0  # number of GPUs, exclusive, or shared if memory is declared
    threads: int | None = None  # None: a share of the machine's threads
    learns_stall: bool = False  # stuck after ten times the longest gap between two reports so far


class CannotFit(ValueError):
    """No recipe of a trial fits into its memory limit. `needed` is the size of the smallest one in bytes."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class Cell(Protocol):
    """A job's specification as the runner reads it. Frozen, and unchanged by a round trip through JSON."""

    @property
    def experiment(self) -> str: ...  # prefix of its file names; letters, digits and _.-
    @property
    def kind(self) -> str: ...  # cell, or another kind of the study
    @property
    def trials(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def metric(self) -> str: ...  # the metric that is optimised
    @property
    def direction(self) -> str: ...  # minimize | maximize
    @property
    def sampler(self) -> str: ...
    @property
    def pruner(self) -> str: ...
    @property
    def halving_rule(self) -> Halving: ...
    @property
    def diverged(self) -> str: ...  # how the sampler counts a diverged trial: ignored | worst
    @property
    def space(self) -> dict[str, dict[str, Any]] | None: ...  # None: define-by-run, the trial process draws
    @property
    def warm_start(self) -> Sequence[dict[str, Any]]: ...  # fixed parameters of the first trials
    @property
    def steps(self) -> int | None: ...  # the most epochs a trial runs; None: unknown
    @property
    def identity(self) -> str: ...  # md5 of the specification; no two live jobs have the same
    @property
    def question(self) -> str: ...  # md5 of the fields that determine the results of its trials
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Finished:
    """The argument of the hooks that run after a trial or a job."""

    db: Any  # fts.state.db.Database
    places: Any  # fts.jobs.settings.Places
    job: Any  # fts.state.values.Job, as it is now
    who: str  # "worker 3", for the events


class Study:
    """Base class of every study. Jobs store `name`; a study overrides the methods it needs."""

    name: str = ""
    axes: ClassVar[tuple[Axis, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = ()
    facts: ClassVar[tuple[Fact, ...]] = ()
    step: ClassVar[str] = "epoch"  # what one report is called
    commands: ClassVar[tuple[Command, ...]] = ()
    first_steps: ClassVar[tuple[str, ...]] = ()  # the first commands to type; printed by `fts init NAME`
    columns: ClassVar[Mapping[str, tuple[Column, ...]]] = {}  # of the tables jobs, trials, steps; else as declared
    is_bare: ClassVar[bool] = False  # True: the study of a function or command, without a written Study class
    drops_checkpoints: ClassVar[bool] = False  # True: delete a trial's checkpoints when it is complete or pruned
    enqueue_form: ClassVar[str] = ""  # "module:class" of an Offer (fts.jobs.form.offers) for the monitor's enqueue form

    # -- the cell

    def cell(self, spec: Mapping[str, Any]) -> Cell:
        """Reads a job's specification from JSON. Raises BadSpec if no version of the study can have written it."""
        raise BadSpec(f"the study {self.name!r} reads no specifications")

    def labels(self, cell: Cell) -> dict[str, str | int | float]:
        """Returns the cell's value on each axis, by axis name."""
        return {}

    def title(self, cell: Cell) -> str:
        """Returns the cell's name for people: its labels, such as `mnist/S`; without axes the experiment's name."""
        return "/".join(str(value) for value in self.labels(cell).values()) or cell.experiment

    def row(self, cell: Cell) -> dict[str, Any]:
        """Returns the job row of a cell, as `fts.state.transitions.enqueue` takes it."""
        return {
            "study": self.name,
            "experiment": cell.experiment,
            "kind": cell.kind,
            "cell": self.title(cell),
            "labels": self.labels(cell),
            "metric": cell.metric,
            "direction": cell.direction,
            "question_md5": cell.question,
            "trials_wanted": cell.trials,
            "spec": cell.to_json(),
            "spec_md5": cell.identity,
        }

    # -- the trial, before it runs

    def params(self, cell: Cell, number: int) -> dict[str, Any] | None:
        """Returns the fixed parameters of trial `number`, or None if the sampler draws them."""
        return dict(cell.warm_start[number]) if number < len(cell.warm_start) else None

    def effective(self, cell: Cell, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what determines the result, except the seed. Raises UnusedParameter for an unused parameter."""
        return dict(params)

    def describe(self, cell: Cell, params: Mapping[str, Any]) -> str:
        """Returns the trial in a word or two for a table, such as `d512-L6-h8-ff2048`; empty: show its parameters."""
        return ""

    def seed(self, cell: Cell, number: int) -> int:
        """Returns the trial's seed (63 bits), which determines everything random in it."""
        return seed_for(cell.seed, number, "train")

    def reuses(self, cell: Cell) -> bool:
        """May a trial copy the result of an earlier trial with the same effective configuration?"""
        return cell.space is not None

    # -- where and how it runs

    def program(self, cell: Cell) -> Program:
        """Returns the program that runs a trial and speaks fts.jobs.api.protocol."""
        return Program(("-m", "fts.jobs.trial.function"))

    def request(self, spec: TrialSpec, db: Any, places: Any) -> dict[str, Any]:
        """Returns the JSON sent to the trial process: the specification and what this study adds to it."""
        return spec.to_json()

    def resources(self, cell: Cell) -> Resources:
        """Returns the limits of one trial."""
        return Resources()

    def memory_program(self, cell: Cell) -> Program:
        """Returns the program that computes a trial's memory (fts.jobs.trial.memory)."""
        return Program(("-m", "fts.jobs.trial.memory"))

    def plan(
        self, cell: Cell, params: Mapping[str, Any], stored: dict[str, Any] | None, limit: int, device: str
    ) -> Plan | None:
        """Returns how the trial fits into `limit` bytes; None: unknown until it has run. Raises CannotFit.

        `stored` is the recipe in the trial's row, None before the first attempt.
        """
        return None

    def leaner(self, cell: Cell, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the next recipe that needs less memory, or None if there is none."""
        return None

    def can_shrink(self, cell: Cell) -> bool:
        """Does the study have recipes that need less memory?"""
        return False

    def batch(self, cell: Cell, recipe: Mapping[str, Any]) -> str:
        """Returns the recipe in one word for the events, such as `64x4`."""
        return ""

    # -- afterwards

    def after_trial(self, finished: Finished) -> None:
        """Called after a trial has ended and is recorded, at most once: a kill before the call leaves it out.

        An error in this code is reported as an event of the trial; the trial keeps its result and the job continues.
        """

    def after_job(self, finished: Finished) -> None:
        """Called when all trials of a job have ended, before the job is set to done. After a kill it is called again.

        An error in this code fails the job. Its trials keep their results, and `fts retry` calls this method again.
        """

    def on_result(self, finished: Finished, facts: Mapping[str, Any]) -> None:
        """Called when a trial has reported its result, before the result is recorded. After a kill it is called again.

        An error in this code interrupts the trial; the third one in a row fails the job.
        """

    # -- for people

    def checks(self, places: Any) -> Iterator[tuple[str, str, str | None]]:
        """Yields checks for `fts doctor`: (status ok, warn or bad; a sentence; what to do about it, or None)."""
        return iter(())

    def results(self, db: Any, jobs: Sequence[Any]) -> Table | None:
        """Returns the table of `fts results` for these jobs of the study. None: the standard table."""
        return None

    def tables(self, db: Any, places: Any, folder: Path) -> list[Path] | None:
        """Writes the study's tables for `fts export --parquet` and returns the files. None: the standard tables."""
        return None

    def report(self, db: Any, places: Any, folder: Path, now: float | None) -> Path | None:
        """Writes a second page for `fts report`, beside the standard one, and returns its path. None: no such page."""
        return None

    def report_sections(self, found: Any) -> list[Any]:
        """Returns sections (fts.jobs.report.page.Section) to add to the standard report. `found` is a StudyReport."""
        return []

    def may_export(self, job: Any) -> bool:
        """May the job's names be used in file names? The caller has already checked its experiment."""
        return True

    def best_file(self, job: Any) -> str:
        """Returns a second file name for a job's best_params.json, one that names the job."""
        return f"{job.experiment}_best.json"

    def job_record(self, job: Any) -> dict[str, Any]:
        """Returns the job's fields for the exported file of each of its trials."""
        found = {"experiment": job.experiment, "kind": job.kind, "study": job.study, "cell": job.cell}
        return found | axis_columns(job.labels, found)

    def best_record(self, job: Any, best: Any, margin: Any | None) -> dict[str, Any] | None:
        """Returns the content of best_params.json. None: the standard record."""
        return None

    def results_file(self, places: Any) -> Path | None:
        """Returns the path of the summary table of all ended jobs. None: hpo/STUDY_results.csv in the outputs."""
        return None

    def result_columns(self) -> tuple[str, ...]:
        """Returns the columns of that table; empty: those of its rows."""
        return ()

    def result_row(self, job: Any, trials: Sequence[Any], energy_wh: float | None, margin: Any | None) -> Any | None:
        """Returns one row of that table, by column. None: the standard row."""
        return None

    def declaration(self) -> dict[str, Any]:
        """Returns axes, metrics and facts as JSON. Stored with the study, so that readers need not import its code."""
        from dataclasses import asdict  # here: the runner seldom calls this

        return {
            "axes": [asdict(axis) for axis in self.axes],
            "metrics": [asdict(metric) for metric in self.metrics],
            "facts": [asdict(fact) for fact in self.facts],
            "step": self.step,
        }


def trial_log(logs: Path, experiment: str, job_id: int, number: int) -> Path:
    """Returns the log file of a trial."""
    return logs / f"{experiment}_{job_id}_t{number:04d}.log"
