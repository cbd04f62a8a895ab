"""What the runner asks of a study. Every method has a default, so that a bare function is a study.

The runner (worker, supervisor, command line, monitor) knows no study: it asks `fts.jobs.api.load.study(name)` and
speaks to what it gets through these methods alone. A study is found by its entry point in the group `fts.studies`;
a job of a function or command needs none (fts.jobs.api.function).
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from fts.frozen import dataclass
from fts.jobs.api.spec import BadSpec, TrialSpec, seed_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fts.jobs.api.halving import Halving

MINIMIZE, MAXIMIZE = "minimize", "maximize"


@dataclass(frozen=True)
class Axis:
    """One axis of the matrix: `budget` with 2M, 20M ... in the order in which tables show them."""

    name: str
    label: str = ""  # as a heading; empty: the name
    values: tuple[str | int | float, ...] = ()  # known in advance; others come after them, sorted


@dataclass(frozen=True)
class Metric:
    """One number of each epoch."""

    name: str
    label: str = ""
    goal: str | None = None  # minimize | maximize; None: recorded and drawn, not optimised
    format: str = ".4f"


@dataclass(frozen=True)
class Fact:
    """One thing known of a trial beside its parameters and its value."""

    name: str
    label: str = ""
    unit: str = ""
    format: str = ""
    shown: tuple[str, ...] = ("csv", "json", "frame")  # of: table, screen, csv, json, report, frame


@dataclass(frozen=True)
class Column:
    """One column of a table of trials or of steps (fts.jobs.records.columns reads it)."""

    label: str  # its heading
    field: str  # val_auc, params.lr, metrics.acc, facts.n_tokens; two with a blank between for an interval
    format: str = ""  # score, score3, number, drawn, count, minutes, parameters, interval, times, or Python's own: .1f
    right: bool = True  # it holds numbers


@dataclass(frozen=True)
class Table:
    """What `fts results` shows of one study."""

    columns: tuple[str, ...]
    rows: list[list[str]]  # as people read them
    right: tuple[str, ...]  # columns that hold numbers
    records: list[Any]  # the same with every digit, for --json
    csv: str  # the same as text with commas
    least: tuple[str, ...] = ()  # columns that a narrow terminal leaves out, the first first
    notes: tuple[str, ...] = ()  # sentences below the table


@dataclass(frozen=True)
class Command:
    """A command of the command line that only this study has."""

    section: str  # of `fts --help`: Begin, Look, ..., or a title of the study's own, which stands at the end
    order: int  # within the section
    name: str
    where: str  # "package.module:attribute", a click command; imported when it is called
    help: str
    examples: Mapping[str, str] = field(default_factory=dict)  # `data build` -> a whole command line


@dataclass(frozen=True)
class Program:
    """What runs a trial: words behind the interpreter, and where."""

    words: tuple[str, ...]  # ("-m", "fts.jobs.trial.function")
    python: str | None = None  # the interpreter; None: the worker's own
    folder: str | None = None  # where it starts; None: where the worker stands
    env: Mapping[str, str] = field(default_factory=dict)
    reused: bool = False  # the next trial may use the same process
    leaves_in: str | None = None  # of what its trials leave something in that process; None: they leave nothing
    reads_log: bool = False  # it reads its metrics from what the trial prints: nothing of that may be dropped
    forks_for: str | None = None  # a template may fork it, if nothing in this folder hides what the template imported
    relays: bool = False  # it asks what it has started to stop; else the supervisor asks its whole tree
    sync: tuple[str, ...] = ()  # files and folders of its folder that are sent to a node, beside those of the worker
    data: tuple[str, ...] = ()  # data sets in its folder, however large; a node keeps them by md5


@dataclass(frozen=True)
class Plan:
    """How a trial fits into the memory it may use; bytes."""

    recipe: dict[str, Any] | None  # how it runs (micro-batch, ...), as stored in its row
    need: int


LEARN = "learn"  # the memory of a trial follows from the peaks on record, its longest silence from the reports
IDLE = "idle"  # a trial is stuck when its processor is


@dataclass(frozen=True)
class Resources:
    """What a trial may take, where its study has no plan of its own; the runner keeps it within that."""

    memory: str | int | None = None  # LEARN, FILE.py:FUNCTION, or promised bytes; None: as Study.plan says
    on_oom: str | None = None  # alone | shrink | fail | prune; None: as Study.can_shrink says
    stall_s: float | None = None  # without a report; None: by an idle processor
    trial_timeout_s: float | None = None  # of work, all attempts together
    timeout_s: float | None = None  # of the whole cell: no new trial begins after it
    gpu: int = 0  # devices that are its own, or shared by declared memory
    threads: int | None = None  # None: a share of the machine's
    learns_stall: bool = False  # ten times the longest gap between two reports so far


class CannotFit(ValueError):
    """No recipe of a trial fits into the memory it may use; `needed` are the bytes of the leanest one."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class Cell(Protocol):
    """A job's specification as the runner reads it: frozen, and equal after a way through JSON."""

    @property
    def experiment(self) -> str: ...  # names its files; letters, digits and _.-
    @property
    def kind(self) -> str: ...  # cell, or another kind of the study
    @property
    def trials(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def metric(self) -> str: ...  # of an epoch, that decides
    @property
    def direction(self) -> str: ...  # minimize | maximize
    @property
    def sampler(self) -> str: ...
    @property
    def pruner(self) -> str: ...
    @property
    def halving_rule(self) -> Halving: ...
    @property
    def diverged(self) -> str: ...  # what the sampler learns from a diverged trial: ignored | worst
    @property
    def space(self) -> dict[str, dict[str, Any]] | None: ...  # None: define-by-run, the trial process draws
    @property
    def warm_start(self) -> Sequence[dict[str, Any]]: ...  # parameters of the first trials
    @property
    def steps(self) -> int | None: ...  # epochs a trial runs at most; None: nobody knows
    @property
    def identity(self) -> str: ...  # md5; two live jobs never share it
    @property
    def question(self) -> str: ...  # md5 of what decides the numbers of each trial
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Finished:
    """What a hook of a study gets after a trial or a job: open database, places, the job as it is now."""

    db: Any  # fts.state.db.Database
    places: Any  # fts.jobs.settings.Places
    job: Any  # fts.state.values.Job
    who: str  # "worker 3", for the journal


class Study:
    """The contract. A study overrides what it knows better; `name` is what jobs store."""

    name: str = ""
    axes: ClassVar[tuple[Axis, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]] = ()
    facts: ClassVar[tuple[Fact, ...]] = ()
    step: ClassVar[str] = "epoch"  # what one report stands for
    commands: ClassVar[tuple[Command, ...]] = ()
    first_steps: ClassVar[tuple[str, ...]] = ()  # what a newcomer types: `fts init NAME` says it
    columns: ClassVar[Mapping[str, tuple[Column, ...]]] = {}  # of the tables jobs, trials, steps; else: as declared
    is_bare: ClassVar[bool] = False  # a function's or a command's: nobody has written it
    enqueue_form: ClassVar[str] = ""  # "module:class" of an Offer (fts.jobs.form.offers) for the monitor's form

    # -- the cell

    def cell(self, spec: Mapping[str, Any]) -> Cell:
        """The specification of a job. Raises BadSpec for one that no version of the study has written."""
        raise BadSpec(f"the study {self.name!r} reads no specifications")

    def labels(self, cell: Cell) -> dict[str, str | int | float]:
        """Where the cell stands on each axis, by the axis's name."""
        return {}

    def title(self, cell: Cell) -> str:
        """What a person calls the cell: its labels, `mnist/S`; without axes the study's name."""
        return "/".join(str(value) for value in self.labels(cell).values()) or cell.experiment

    def row(self, cell: Cell) -> dict[str, Any]:
        """The job of a cell, as `fts.state.transitions.enqueue` takes it."""
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
        """Fixed parameters of trial `number`; None: the sampler draws them."""
        return dict(cell.warm_start[number]) if number < len(cell.warm_start) else None

    def effective(self, cell: Cell, params: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that decides the result but the seed. Raises UnusedParameter for what nothing consumes."""
        return dict(params)

    def describe(self, cell: Cell, params: Mapping[str, Any]) -> str:
        """The trial in one word or two, for a table: `d512-L6-h8-ff2048`; empty: its parameters say it."""
        return ""

    def seed(self, cell: Cell, number: int) -> int:
        """63 bits, from which everything random in the trial follows."""
        return seed_for(cell.seed, number, "train")

    def reuses(self, cell: Cell) -> bool:
        """May a trial take over the result of an earlier one of identical effective configuration?"""
        return cell.space is not None

    # -- where and how it runs

    def program(self, cell: Cell) -> Program:
        """The program that speaks fts.jobs.api.protocol."""
        return Program(("-m", "fts.jobs.trial.function"))

    def request(self, spec: TrialSpec, db: Any, places: Any) -> dict[str, Any]:
        """What the trial process gets: the JSON of the specification, with what only this study adds."""
        return spec.to_json()

    def resources(self, cell: Cell) -> Resources:
        """What a trial may take."""
        return Resources()

    def memory_program(self, cell: Cell) -> Program:
        """The program that calls the function which says a trial's memory (fts.jobs.trial.memory)."""
        return Program(("-m", "fts.jobs.trial.memory"))

    def plan(
        self, cell: Cell, params: Mapping[str, Any], stored: dict[str, Any] | None, limit: int, device: str
    ) -> Plan | None:
        """How the trial fits into `limit` bytes; None: nobody can say before it has run. Raises CannotFit.

        `stored` is the recipe it began with.
        """
        return None

    def leaner(self, cell: Cell, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """The next recipe that needs less memory; None: there is none."""
        return None

    def can_shrink(self, cell: Cell) -> bool:
        """Is there any recipe to make leaner?"""
        return False

    def batch(self, cell: Cell, recipe: Mapping[str, Any]) -> str:
        """The recipe in a word, for the journal: `64x4`."""
        return ""

    # -- afterwards

    def after_trial(self, finished: Finished) -> None:
        """A trial has ended and is on record."""

    def after_job(self, finished: Finished) -> None:
        """Every trial that was wanted has ended; the job is about to be done."""

    def on_result(self, finished: Finished, facts: Mapping[str, Any]) -> None:
        """A trial has told its result, which is not on record yet."""

    # -- for people

    def checks(self, places: Any) -> Iterator[tuple[str, str, str | None]]:
        """For `fts doctor`: status (ok, warn, bad), a sentence, what to do about it."""
        return iter(())

    def results(self, db: Any, jobs: Sequence[Any]) -> Table | None:
        """`fts results`: what these jobs of the study found. None: the table that every study has."""
        return None

    def tables(self, db: Any, places: Any, folder: Path) -> list[Path] | None:
        """`fts export --parquet`: writes the study's jobs as tables into the folder; the files written.

        None: the tables that every study has.
        """
        return None

    def report(self, db: Any, places: Any, folder: Path, now: float | None) -> Path | None:
        """`fts report`: writes a page of its own beside the one that every study has. None: it has none."""
        return None

    def report_sections(self, found: Any) -> list[Any]:
        """Sections (fts.jobs.report.page.Section) behind those that every study has; `found` is its StudyReport."""
        return []

    def may_export(self, job: Any) -> bool:
        """May the job's names become names of files? Its experiment has been looked at already."""
        return True

    def best_file(self, job: Any) -> str:
        """The second name of a job's best_params.json, which says whose it is."""
        return f"{job.experiment}_best.json"

    def job_record(self, job: Any) -> dict[str, Any]:
        """What stands of its job in the exported file of each trial."""
        return {"experiment": job.experiment, "kind": job.kind, "study": job.study, "cell": job.cell, **job.labels}

    def best_record(self, job: Any, best: Any, margin: Any | None) -> dict[str, Any] | None:
        """best_params.json. None: the record that every study has."""
        return None

    def results_file(self, places: Any) -> Path | None:
        """The summary table of all ended jobs. None: hpo/STUDY_results.csv in the outputs."""
        return None

    def result_columns(self) -> tuple[str, ...]:
        """The columns of that table; none: as its rows have them."""
        return ()

    def result_row(self, job: Any, trials: Sequence[Any], energy_wh: float | None, margin: Any | None) -> Any | None:
        """One line of that table, by column. None: the line that every study has."""
        return None

    def declaration(self) -> dict[str, Any]:
        """Axes, metrics and facts as JSON: stored with the study, so that a reader needs none of its code."""
        from dataclasses import asdict  # here: a runner seldom asks

        return {
            "axes": [asdict(axis) for axis in self.axes],
            "metrics": [asdict(metric) for metric in self.metrics],
            "facts": [asdict(fact) for fact in self.facts],
            "step": self.step,
        }


def trial_log(logs: Path, experiment: str, job_id: int, number: int) -> Path:
    """Where a trial prints."""
    return logs / f"{experiment}_{job_id}_t{number:04d}.log"
