"""Reads a study as pandas tables, also while a worker runs: `fts.load("outputs/fts.db")`. Never writes.

    s = fts.load()                           # $FTS_DB, else outputs/fts.db
    s.trials("mnist/S")                      # a DataFrame: axes by name, params.*, metrics.*, facts.*
    s.trials.records("mnist/S")              # the same as a list of dicts, without pandas
    s.pivot("size", "data", "val_loss")      # the best trial of each cell
    s.predictions("mnist/S")                 # of the best trial, or of trial=7: index, y_true, y_pred
    s.artifact("mnist/S", "model.bin")       # the path of a file that the trial kept
    optuna.visualization.matplotlib.plot_optimization_history(s.optuna("mnist/S"))

Every call reads the database again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec

from fts.installing import installing
from fts.jobs.api.names import axis_columns
from fts.jobs.api.nearest import hint
from fts.jobs.records import columns
from fts.jobs.records.frames import KINDS, loses_digits
from fts.jobs.records.results import spent
from fts.jobs.records.searches import begun_cells
from fts.jobs.settings import places
from fts.jobs.status.formatting import without_best
from fts.state import queries
from fts.state.db import open_for_reading
from fts.state.pareto_front import best_of, front

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from optuna import Study

    from fts.jobs.status.declared import Declared
    from fts.state.db import Database
    from fts.state.values import Epoch, Job, Trial

Rows = list[dict[str, Any]]
P = ParamSpec("P")
GROUPS = ("metrics", "facts", "params")  # where a name without a group is looked up, in this order


class NoSuchCell(LookupError):
    """The name matches no cell or several, or the cell does not have what was requested."""


class NoPandas(ImportError):
    """A DataFrame was requested, but pandas is not installed."""


def load(db: str | Path | None = None) -> Loaded:
    """Opens a database for reading (default: $FTS_DB, else outputs/fts.db). Raises NoDatabase."""
    found = Loaded(places(db).db)
    with found.reading():  # raises for a bad file here instead of at the first table
        return found


CELL = {  # column of a cell -> field of its job
    "job": "id", "study": "study", "experiment": "experiment", "cell": "cell", "status": "status", "metric": "metric",
    "direction": "direction", "best_value": "best_value", "best_trial": "best_trial", "trials_wanted": "trials_wanted",
    "complete": "trials_complete", "pruned": "trials_pruned", "failed": "trials_failed", "created_at": "created_at",
    "started_at": "started_at", "ended_at": "ended_at",
}  # fmt: skip
EPOCH = ("job", "study", "experiment", "cell", "trial", "step", "value", "at")


class Table(Generic[P]):
    """A table: `s.trials(...)` returns a DataFrame, `s.trials.records(...)` the same rows as a list of dicts."""

    def __init__(self, read: Callable[P, Rows], always: Iterable[str] = ()) -> None:
        self._read = read
        self._always = dict.fromkeys(always)  # the columns of a table without rows, so that it can be filtered as any
        self.__doc__ = read.__doc__
        self.__name__ = read.__name__.lstrip("_")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        pandas = _pandas()
        rows = self._read(*args, **kwargs)
        head, lines = columns.aligned(rows or [self._always])
        table: pd.DataFrame = pandas.DataFrame(lines if rows else [], columns=head)
        if rows:
            _keep_digits(table, {name: [line[n] for line in lines] for n, name in enumerate(head)})
        return table

    def records(self, *args: P.args, **kwargs: P.kwargs) -> Rows:
        return self._read(*args, **kwargs)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # copy, pickle and notebooks ask for such names
            raise AttributeError(name)
        called = f"{self.__dict__.get('__name__', 'table')}()"
        raise AttributeError(f"{name} is not of this table but of its DataFrame: write {called}.{name}")

    def __getitem__(self, column: object) -> NoReturn:
        raise TypeError(f"a table is called before it has columns: write {self.__name__}()[{column!r}]")

    def __repr__(self) -> str:
        return f"<table {self.__name__}: call it for a DataFrame, .records() for a list>"


class Pivot(Table[P]):
    """A table of two axes. The first is the DataFrame's index."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        pandas = _pandas()
        rows = self._read(*args, **kwargs)
        down, *across = rows[0]
        table: pd.DataFrame = pandas.DataFrame(rows).set_index(down)
        table = table.where(table.notna(), float("nan")).infer_objects()  # a column with only None is not numeric
        _keep_digits(table, {name: [row.get(name) for row in rows] for name in across})
        table.columns = pandas.Index(across, name=dict(enumerate(args)).get(1, kwargs.get("columns")))
        return table


def _keep_digits(table: pd.DataFrame, values: Mapping[Any, Sequence[Any]]) -> None:
    """Replaces columns in which pandas rounds large whole numbers, such as seeds, because other values are missing.

    They become Int64, or plain objects beside fractions.
    """
    for name, kind in table.dtypes.items():
        if kind.kind == "f" and any(type(one) is int and loses_digits(one) for one in values[name]):
            whole = all(one is None or (type(one) is int and abs(one) < 2**63) for one in values[name])
            table[name] = table[name].astype(object)
            table[name] = _pandas().array(values[name], dtype="Int64" if whole else object)


class Loaded:
    """The tables of one database. A cell is named mnist/S, or by its experiment, job number or study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = Table(self._cells, CELL)
        self.trials = Table(self._trials, KINDS["trials"])
        self.epochs = Table(self._epochs, EPOCH)
        self.best = Table(self._best, KINDS["trials"])
        self.pivot = Pivot(self._pivot)
        self.predictions = Table(self._predictions, ("index", "y_true", "y_pred"))

    def __repr__(self) -> str:
        return f"fts.load({str(self.path)!r})"

    @contextmanager
    def reading(self) -> Iterator[Database]:
        db = open_for_reading(self.path)
        try:
            with db.read():  # one consistent state, even if a worker writes meanwhile
                yield db
        finally:
            db.close()

    def _cells(self) -> Rows:
        """One row per cell with its progress and best result. A cell that was searched again has only its latest search
        with results.
        """
        with self.reading() as db:
            return [_cell_row(job) for job in _shown(db)]

    def _trials(self, cell: str | int | None = None) -> Rows:
        """One row per trial of one cell or of all cells: axes by name, params.*, metrics.*, facts.*."""
        with self.reading() as db:
            return [row for job in _meant(db, cell) for row in _trial_rows(db, job)]

    def _epochs(self, cell: str | int | None = None) -> Rows:
        """One row per report of one cell or of all cells: step, value, metrics.*."""
        with self.reading() as db:
            return [row for job in _meant(db, cell) for row in _epoch_rows(db, job)]

    def _best(self, cell: str | int | None = None) -> Rows:
        """The best trial of one cell, or of each cell. With several goals, all trials of the Pareto front, the best in
        the first goal first. Raises NoSuchCell if the named cell has no complete trial.
        """
        with self.reading() as db:
            jobs = _meant(db, cell)
            found = [row for job in jobs for row in _best_rows(db, job)]
        if not found and cell is not None:
            raise NoSuchCell(f"{cell} has no best trial: {without_best(jobs[0])}")
        return found

    def _pivot(self, rows: str, columns: str, value: str | None = None, **where: Any) -> Rows:
        """The best trial of each cell as a table of two axes; a record: {"size": "S", "mnist": 0.1, "cifar": 0.4}.

        `value` is a metric, fact or parameter (default: the study's metric). `where` fixes other axes:
        s.pivot("size", "data", "loss", tier="x").
        """
        with self.reading() as db:
            jobs = [job for job in _shown(db) if _stands(job, {rows, columns}, where)]
            if not jobs:
                axes = ", ".join(dict.fromkeys(name for job in _shown(db) for name in job.labels)) or "none"
                raise NoSuchCell(f"no cell has the axes {rows} and {columns}{_fixed(where)}; there are: {axes}")
            best = {job.id: _best_rows(db, job) for job in jobs}
            down, across = (_values_of(db, jobs, axis) for axis in (rows, columns))
        _refuse_two_in_one_place(jobs, rows, columns)
        field = _field_of([row for found in best.values() for row in found], jobs, value)
        named = f"metrics.{value}"  # of cells with another main metric
        made: Rows = []
        for place in down:
            line = {rows: place} | dict.fromkeys(across)
            for job in jobs:
                if job.labels[rows] == place and best[job.id]:
                    own = "value" if field == named and job.metric == value else field
                    line[job.labels[columns]] = best[job.id][0].get(own)
            made.append(line)
        return made

    def _predictions(self, cell: str | int, trial: int | None = None) -> Rows:
        """The predictions of a trial (default: the best one): index, y_true, y_pred. Raises NothingKept."""
        from fts.jobs.records.artifacts import read_predictions  # here: loads numpy

        job, meant = self._trial_of(cell, trial)
        return list(read_predictions(places(self.path), job, meant).records())

    def artifact(self, cell: str | int, name: str, trial: int | None = None) -> Path:
        """Returns the path of a file or folder that a trial kept (default: the best one). Raises NothingKept."""
        from fts.jobs.records.artifacts import artifact_of

        job, meant = self._trial_of(cell, trial)
        return artifact_of(places(self.path), job, meant, name)

    def _trial_of(self, cell: str | int, number: int | None) -> tuple[Job, Trial]:
        with self.reading() as db:
            job = one_of(queries.jobs(db), cell)
            trials = queries.trials(db, job.id)
        found = best_of(job, trials) if number is None else next((one for one in trials if one.number == number), None)
        if found is None:
            what = f"best trial: {without_best(job)}" if number is None else f"trial {number}"
            raise NoSuchCell(f"{cell} has no {what}")
        return job, found

    def optuna(self, cell: str | int) -> Study:
        """Returns the ended trials of a cell as an in-memory Optuna study, for its plots and importances."""
        from fts.jobs.records.optuna import in_memory  # here: Optuna takes 0.4 s

        with self.reading() as db:
            return in_memory(db, one_of(queries.jobs(db), cell))


# -- which cells


def _shown(db: Database) -> list[Job]:
    return sorted(begun_cells(queries.jobs(db)), key=lambda job: job.id)


def _meant(db: Database, cell: str | int | None) -> list[Job]:
    return _shown(db) if cell is None else [one_of(queries.jobs(db), cell)]


def one_of(jobs: Sequence[Job], cell: str | int) -> Job:
    """Returns the job that a name means, as in `fts trials NAME`. Raises NoSuchCell."""
    import click  # here and below: not needed for a table of all cells

    from fts.jobs.cli.selection import one_job

    try:
        return one_job(jobs, f"#{cell}" if isinstance(cell, int) else str(cell))
    except click.ClickException as refused:
        raise NoSuchCell(refused.format_message()) from None


def _stands(job: Job, axes: set[str], where: Mapping[str, Any]) -> bool:
    return axes <= set(job.labels) and all(job.labels.get(name) == value for name, value in where.items())


def _fixed(where: Mapping[str, Any]) -> str:
    return f" at {', '.join(f'{name}={value}' for name, value in where.items())}" if where else ""


def _refuse_two_in_one_place(jobs: Sequence[Job], rows: str, columns: str) -> None:
    places: dict[tuple[Any, Any], Job] = {}
    for job in jobs:
        other = places.setdefault((job.labels[rows], job.labels[columns]), job)
        if other is not job:
            differ = [name for name in job.labels if job.labels[name] != other.labels.get(name)]
            cure = f"fix one, such as {differ[0]}={job.labels[differ[0]]!r}" if differ else "read them with s.best()"
            both = f"jobs {other.id} ({other.cell}) and {job.id} ({job.cell})"
            raise NoSuchCell(f"{both} have the same {rows} and {columns}; {cure}")


# -- rows


def _cell_row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, field) for name, field in CELL.items()}
    row |= {"status": str(job.status), "direction": str(job.direction)}
    return _with_axes(row, job)


def _with_axes(row: dict[str, Any], job: Job) -> dict[str, Any]:
    return row | axis_columns(job.labels, {*row, *columns.AFTER})


def _trial_rows(db: Database, job: Job) -> Rows:
    return _records(db, job, queries.trials(db, job.id))


def _best_rows(db: Database, job: Job) -> Rows:
    """Returns one row or none; with several goals the Pareto front, the best in the first goal first."""
    return _records(db, job, front(job, queries.trials(db, job.id)))


def _records(db: Database, job: Job, trials: Sequence[Trial]) -> Rows:
    study = columns.declared(job.study, queries.studies(db).get(job.study))
    seconds = spent(trials, queries.attempts_by_trial(db, job.id))
    return [columns.record(job, trial, study, seconds.get(trial.id), columns.FRAME) for trial in trials]


def _epoch_rows(db: Database, job: Job) -> Rows:
    study = columns.declared(job.study, queries.studies(db).get(job.study))
    made: Rows = []
    for trial, curve in queries.history(db, job.id):
        of_trial = {"job": job.id, "study": job.study, "experiment": job.experiment, "cell": job.cell}
        named = _with_axes(of_trial | {"trial": trial.number, "step": None, "value": None, "at": None}, job)
        for epoch in curve:
            numbers = {f"metrics.{name}": value for name, value in _numbers_of(epoch, study).items()}
            made.append(named | {"step": epoch.epoch, "value": epoch.value, "at": epoch.at} | numbers)
    return made


def _numbers_of(epoch: Epoch, study: Declared) -> dict[str, float]:
    """Returns the metrics of an epoch other than its value, including those with their own database column."""
    declared = {metric.name: epoch.number(metric.name) for metric in study.metrics if metric.name != "value"}
    return {name: value for name, value in declared.items() if value is not None} | epoch.metrics


# -- a table of two axes


def _values_of(db: Database, jobs: Sequence[Job], axis: str) -> list[Any]:
    """Returns the values of an axis in these jobs: declared ones first, in their order, then the others."""
    known = queries.studies(db)
    declared = [
        value
        for name in dict.fromkeys(job.study for job in jobs)
        for one in columns.declared(name, known.get(name)).axes
        if one.name == axis
        for value in one.values
    ]
    there = dict.fromkeys(job.labels[axis] for job in jobs)
    return [*(value for value in dict.fromkeys(declared) if value in there), *(v for v in there if v not in declared)]


def _field_of(found: Rows, jobs: Sequence[Job], value: str | None) -> str:
    """Returns the column that a name means. Raises NoSuchCell if no best trial has it."""
    metrics = {job.metric for job in jobs}
    if value is None:
        if len(metrics) > 1:
            raise NoSuchCell(f"the cells have different metrics: {', '.join(sorted(metrics))}; give `value`")
        return "value"
    if metrics == {value} or value == "value":
        return "value"
    there = {name for row in found for name in row}
    if value in metrics:  # the main metric of some cells: their `value`
        return f"metrics.{value}"
    axes = {name for job in jobs for name in job.labels} - set(KINDS["trials"])  # the value is none of their columns
    for name in (value, *(f"{group}.{value}" for group in GROUPS)):
        if name in there and not (name == value and value in axes):
            return name
    offered = sorted(name for name in there if name.startswith(tuple(f"{group}." for group in GROUPS)))
    near = hint(value, [*metrics, *offered, *(name.partition(".")[2] for name in offered)])
    raise NoSuchCell(
        f"no best trial of these cells has {value!r}; {near}"
        f"expected {', '.join([*sorted(metrics), *offered]) or 'another'}"
    )


def _pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError as missing:
        raise NoPandas(
            f"tables need {missing.name}, which is not installed: `{installing('pandas')}` installs it; "
            "`.records()` gives the same rows without it"
        ) from None
    return pandas
