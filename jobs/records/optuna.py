"""Exports cells as Optuna studies into an Optuna storage. Writing again replaces them."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import re
import warnings
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.records.exports import numbered_name, shown_of
from fts.jobs.records.searches import begun_cells
from fts.jobs.records.trial_roles import role_of
from fts.jobs.status import trial_facts
from fts.state import queries
from fts.state.files import forbidden, open_log, private_files, reason_of, refusal
from fts.state.values import Draw, Epoch, Job, Trial, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import optuna

SHOWN = (  # fields of a trial that become user attributes in Optuna
    "val_loss", "val_auc", "auc_low", "auc_high", "n_params", "n_train", "n_val", "n_pos", "prior_loss", "best_epoch",
    "last_value", "train_seconds", "cause", "label_md5", "data_md5", "effective_md5", "code_commit",
)  # fmt: skip
OF_SPEC = ("dataset", "data_md5", "code_md5")  # fields of a job's specification that become user attributes
ENDED = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)
JOB = "job"  # user attribute of every study that fts has written since 2026-11-23
BEFORE = {"budget", "horizon", "task", "tier", "data_md5"}  # the user attributes of one that it wrote before
SQLITE = "sqlite:///"
SQLITE_FILE = re.compile(r"sqlite(?:\+\w+)?:///(?:file:)?([^?]*)")
SECRET = re.compile(r"(?<=://)[^:/@]*(:[^@]*)?@")  # user and password of an address


GONE = "Record does not exist."  # Optuna's KeyError for a study or trial that somebody else has deleted


class NoStorage(ValueError):
    """A storage URL that Optuna cannot use; the message says why."""


class StorageChanged(RuntimeError):
    """Another program replaced the studies of the storage during the export."""


def to_optuna(db: Any, url: str, tell: Callable[[str], None] | None = None) -> list[str]:
    """Writes one study per cell to the storage `url` (sqlite:///x.db), named by its experiment; returns the names.

    Replaces what fts has written there under that name, and no other study. Omits trials that have not ended, which
    would stay running for ever in a storage, and trials that Optuna cannot store; calls `tell` for the latter. Raises
    NoStorage for a URL that it cannot use, and StorageChanged if another program writes the same studies.
    """
    if is_file_of(url, db.path):
        raise NoStorage(f"{db.path} is the database of fts itself, which an export must not change; name another file")
    import optuna  # here, not above: 0.4 s, and only this export needs it
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with private_files(), _alone(db.path.parent):  # a new file of SQLite is private, as every other export
            return _written(optuna, db, url, tell)
    except (optuna.exceptions.DuplicatedStudyError, KeyError) as error:
        if isinstance(error, KeyError) and error.args != (GONE,):
            raise
        raise StorageChanged(f"another program wrote to {shown(url)} during this export; run it again") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        if (closed := _closed(url)) is not None:
            raise NoStorage(f"Optuna cannot use {shown(url)!r}: {closed}") from error
        reason = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
        raise NoStorage(
            f"Optuna cannot use {shown(url)!r}: {reason}; expected an address such as sqlite:///optuna.db"
        ) from error


def _closed(url: str) -> str | None:
    """Says why this user may not write to the SQLite file of a storage; None: they may, or it is another storage."""
    if (found := SQLITE_FILE.match(url)) is None:
        return None
    path = Path(found[1]).absolute()
    if path.is_file():
        return None if os.access(path, os.R_OK | os.W_OK) else forbidden(path)
    error = refusal(path.parent, 1)
    return reason_of(error, path) if error is not None and error.errno in (errno.EACCES, errno.EROFS) else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for another export of the same database to Optuna: both would delete and fill the same studies.

    The file stays, as that of a slot does. A folder that cannot be written to is no reason to export nothing.
    """
    with ExitStack() as held:
        with suppress(OSError):
            place = open_log(folder / "optuna-export.lock")
            held.callback(os.close, place)
            fcntl.flock(place, fcntl.LOCK_EX)
        yield


def opened(url: str) -> optuna.storages.RDBStorage:
    """Opens the storage. Optuna fills the URL with str.format, so that a path with braces would end in a KeyError."""
    import optuna  # here, not above: see to_optuna

    literal = url.replace("{", "{{").replace("}", "}}")
    return optuna.storages.RDBStorage(literal.replace("{{SCHEMA_VERSION}}", "{SCHEMA_VERSION}"))


def _written(optuna: Any, db: Any, url: str, tell: Callable[[str], None] | None) -> list[str]:
    storage = opened(url)
    summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    there = {summary.study_name: is_ours(summary) for summary in summaries}
    cells = begun_cells(queries.jobs(db))
    names = {job.id: name_of(job, cells) for job in cells}
    if foreign := next((name for name in names.values() if not there.get(name, True)), None):
        raise NoStorage(
            f"{shown(url)} has a study {foreign!r} that fts has not written, and the export would replace it; "
            "name another file"
        )
    written = []
    for job in cells:
        name, history = names[job.id], queries.history(db, job.id)
        if name in there:
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(storage=storage, study_name=name, directions=_directions(job))
        _fill(study, db, job, history, tell)
        written.append(name)
    return written


def is_ours(study: optuna.study.StudySummary) -> bool:
    """Returns whether an export may replace the study: fts has written it, or it is empty, as after a kill."""
    attributes = set(study.user_attrs)
    return JOB in attributes or attributes == BEFORE or not (study.n_trials or attributes)


def name_of(job: Job, cells: Sequence[Job]) -> str:
    """Returns the experiment; with the job's number if it is that of another of these cells, with other axes."""
    same = [other for other in cells if other.experiment == job.experiment]
    return job.experiment if shown_of(same) is job else numbered_name(job)


def shown(url: str) -> str:
    """Returns the address without user and password."""
    return SECRET.sub("", url)


def file_of(url: str) -> Path | None:
    """Returns the file of an address of SQLite, also with a driver or options; None for other addresses."""
    found = SQLITE_FILE.fullmatch(url.partition("?")[0])
    return None if found is None else Path(found[1])


def is_file_of(url: str, path: Path) -> bool:
    """Returns whether the address is that of this SQLite file."""
    try:
        return (file := file_of(url)) is not None and file.samefile(path)
    except (OSError, ValueError):  # there is no such file yet
        return False


def in_memory(db: Any, job: Job, tell: Callable[[str], None] | None = None) -> optuna.Study:
    """Returns the ended trials of a cell as an Optuna study in memory, for plots and importances."""
    import optuna  # here, not above: see to_optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=job.experiment, directions=_directions(job))
    _fill(study, db, job, queries.history(db, job.id), tell)
    return study


def _directions(job: Job) -> list[optuna.study.StudyDirection]:
    import optuna  # here, not above: see to_optuna

    return [optuna.study.StudyDirection[direction.value.upper()] for direction in job.goals.values()]


def _fill(study: Any, db: Any, job: Job, history: Any, tell: Callable[[str], None] | None) -> None:
    study.set_user_attr(JOB, job.id)  # first: an export that is killed leaves a study without it only while it is empty
    for name, label in job.labels.items():
        study.set_user_attr(f"axis.{name}" if name in (JOB, *OF_SPEC) else name, label)
    if len(job.goals) > 1 and not job.metric.startswith("values_"):  # "values_" is Optuna's own default name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna has called it experimental for years
            study.set_metric_names(list(job.goals))
    for name in OF_SPEC:
        if name in job.spec:
            study.set_user_attr(name, job.spec[name])
    drawn = queries.drawn(db, job.id) if job.spec.get("space") is None else {}
    for trial, epochs in history:
        try:
            if trial.status in ENDED and role_of(trial) is None:  # extra trials could become the study's best
                study.add_trial(_frozen(job, trial, epochs, drawn.get(trial.id, ())))
        except (ValueError, TypeError, KeyError, AttributeError) as odd:
            if odd.args == (GONE,):
                raise
            if tell is not None:
                tell(f"left out: t{trial.number} of {job.experiment}, which Optuna cannot store ({odd})")


def _frozen(job: Job, trial: Trial, epochs: tuple[Epoch, ...], draws: Sequence[Draw]) -> optuna.trial.FrozenTrial:
    """Converts one ended trial for Optuna, with its facts and metrics as user attributes.

    Its distributions are those of its cell's space, or for a define-by-run trial those of its draws.
    """
    from fts.jobs.search.past_trial import PastTrial
    from fts.jobs.search.sampler import frozen

    curve = {epoch.epoch: epoch.value for epoch in epochs if epoch.value is not None and math.isfinite(epoch.value)}
    own = {draw.name: draw.distribution for draw in draws}
    metrics, constraints = trial_facts.metrics_of(trial), trial_facts.violations_of(trial)
    past = PastTrial(
        trial.number, trial.params, str(trial.status), trial.value, curve,
        distributions=own, metrics=metrics, constraints=constraints,
    )  # fmt: skip
    made = frozen(job.spec.get("space") or {}, past, {name: str(goal) for name, goal in job.goals.items()})
    made.user_attrs = {
        **trial_facts.attributes_of(trial),
        "trial": f"{job.experiment}:t{trial.number}",
        "badges": list(trial.badges),
        **{name: value for name in SHOWN if (value := getattr(trial, name)) is not None},
        **{f"metrics.{name}": value for name, value in trial_facts.metrics_of(trial).items()},
        **{f"facts.{name}": value for name, value in trial_facts.own_facts_of(trial).items()},
    }
    made.datetime_start = datetime.fromtimestamp(trial.started_at)
    made.datetime_complete = datetime.fromtimestamp(trial.ended_at or trial.started_at)
    return made
