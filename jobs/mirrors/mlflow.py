"""Shows trials in an MLflow tracking server or store: an experiment per study, a run per trial.

A cell is also a run, the parent of its trials. Runs are found by a tag, so that a process finds the runs of a killed
one. A run with the tag of the right digest is complete. Any other is compared with the server: missing values are
added, and a run that shows wrong values is deleted and written again.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from fts.installing import installing
from fts.jobs.mirrors.follow import CannotMirror, no_library
from fts.jobs.mirrors.runs import FINAL, md5
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fts.jobs.mirrors.runs import MirroredCell, Run

T = TypeVar("T")
P = ParamSpec("P")
KEY, DIGEST, OF_STUDY = "fts.key", "fts.digest", "fts.study_id"
PATIENCE = {  # MLflow's defaults are seven attempts of two minutes each
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
METRICS, PARAMS, TAGS = 1000, 100, 100  # of one request
PARAM_LENGTH, TAG_LENGTH, NAME_LENGTH = 6000, 5000, 250
STRANGE = re.compile(r"[^\w\-. /]", re.ASCII)  # characters that MLflow refuses in a name
CURES = {  # MLflow's message -> what to do
    re.compile(r"Max retries exceeded|timed out|Connection|NameResolution|too many 5", re.IGNORECASE): (
        "is the server running, and is the address right?"
    ),
    re.compile(r"error code 401|not authenticated", re.IGNORECASE): (
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to those of the server"
    ),
    re.compile(r"error code 403|permission", re.IGNORECASE): "this user may not write there",
}
SECRET = re.compile(r"(?<=://)([^/\s]*|[^/\s:@]+:[^\s@]*)@")
OF_ONE_REQUEST = (  # part of an error that differs at each try -> in its place
    (re.compile(r"API request to (endpoint )?\S+ failed"), "a request failed"),
    (re.compile(r"HTTPS?ConnectionPool\(.*?\): Max retries exceeded with url: \S+ \(Caused by (.*)\)"), r"\1"),
    (re.compile(r"<\S+ object at 0x[0-9a-f]+>"), "the connection"),
)
LIBRARIES = ("mlflow", "sqlalchemy", "requests", "urllib3", "google")
STATUS = {TrialStatus.COMPLETE: "FINISHED", TrialStatus.PRUNED: "KILLED", TrialStatus.FAILED: "FAILED"}
LARGEST = 1.7976931348623157e308  # what an MLflow store saves for infinity
Logged = tuple[str, int, float, int]  # name, step, value, milliseconds


class MLflow:
    """A server such as http://127.0.0.1:5000, or a store such as sqlite:///mlflow.db."""

    def __init__(self, uri: str) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient  # here: takes a second, and only this command needs it
        except ImportError as missing:
            cure = f"`{installing('mlflow-skinny')}` installs the client; the package mlflow also has the server"
            raise no_library(missing, "mlflow", cure) from missing
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.uri = uri
        self.client: Any = self._call(MlflowClient, uri)
        self.experiments: dict[str, str] = {}  # study -> id of its experiment
        self.there: dict[str, Any] = {}  # key -> run on the server
        self.parents: dict[str, str] = {}  # key of a cell -> id of its run
        self.sent: dict[str, list[Logged]] = {}  # key of a live run -> the values that this process has sent

    def begin(self, cells: Sequence[MirroredCell]) -> None:
        for cell in cells:
            if cell.study not in self.experiments:
                self.experiments[cell.study] = self._call(self._experiment, cell.study)
                self._call(self._find, cell)
            self._call(self._put_cell, cell)

    def put(self, run: Run) -> bool:
        return self._call(self._put, run)

    def keep(self, cell: MirroredCell, numbers: set[int]) -> int:
        wanted = {f"{cell.key}-{number}" for number in numbers}
        strange = [key for key in self.there if key.startswith(f"{cell.key}-") and key not in wanted]
        for key in strange:
            self._call(self._delete, key)
        return len(strange)

    def forget(self) -> None:
        for known in (self.experiments, self.there, self.parents, self.sent):
            known.clear()

    def close(self) -> None:
        """Does nothing: the client keeps no connection open."""

    # -- runs on the server

    def _experiment(self, study: str) -> str:
        found = self.client.get_experiment_by_name(study)
        if found is None:
            return str(self.client.create_experiment(study))
        if found.lifecycle_stage != "active":
            raise CannotMirror(
                f"the experiment {study!r} of {without_password(self.uri)} was deleted: restore it "
                f"(`mlflow experiments restore -x {found.experiment_id}`), or have it removed with `mlflow gc`"
            )
        return str(found.experiment_id)

    def _find(self, cell: MirroredCell) -> None:
        """Finds every run of this study. Deletes the later of two runs with one key, caused by a repeated request."""
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiments[cell.study]], f"tags.`{OF_STUDY}` = '{study_id(cell)}'", max_results=1000,
                order_by=["attribute.start_time ASC", "attribute.run_id ASC"], page_token=token,
            )  # fmt: skip
            for run in page:
                if self.there.setdefault(run.data.tags.get(KEY, ""), run).info.run_id != run.info.run_id:
                    self.client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return

    def _delete(self, key: str) -> None:
        self.client.delete_run(self.there.pop(key).info.run_id)
        self.sent.pop(key, None)

    # -- one run

    def _put_cell(self, cell: MirroredCell) -> None:
        """Writes the parent run of a cell's trials, with its axes, goals, and best trial so far."""
        goals = "; ".join(f"{goal} {name}" for name, goal in cell.goals.items())
        notes = {
            "mlflow.note.content": f"fts: job {cell.job}, {cell.shown}; {goals}",
            "fts.goal": goals, "fts.status": cell.status, "fts.best_trial": _text(cell.best),
            "fts.best_value": _text(cell.best_value),
        }  # fmt: skip
        digest = md5([notes, cell.labels, cell.ended_at])
        found = self.there.get(cell.key)
        if found is None:
            tags = {KEY: cell.key, OF_STUDY: study_id(cell), "mlflow.runName": cell.shown}
            found = self.client.create_run(self.experiments[cell.study], start_time=_ms(cell.started_at), tags=tags)
            self.there[cell.key] = found
        self.parents[cell.key] = found.info.run_id
        if found.data.tags.get(DIGEST) == digest:
            return
        self._log(found.info.run_id, params={f"axis.{name}": value for name, value in cell.labels.items()}, tags=notes)
        status = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}.get(cell.status)
        if status is None:
            self.client.update_run(found.info.run_id, status="RUNNING")
        else:
            self.client.set_terminated(found.info.run_id, status, _ms(cell.ended_at or cell.started_at))
        self._mark(found, digest)

    def _put(self, run: Run) -> bool:
        digest = md5([run.digest(), self.parents[run.cell.key]])
        found: Any = self.there.get(run.key)
        if found is not None and found.data.tags.get(DIGEST) == digest:
            return False
        wanted = logged_of(run)
        missing = None if found is None else self._missing(found, run, wanted)
        if missing is None:
            if found is not None:
                self._delete(run.key)
            found, missing = self._create(run), wanted
        tags = {f"fts.{name}": value for name, value in run.notes.items()}
        self._log(found.info.run_id, missing, run.params, tags)
        if run.has_ended:
            ended = _ms(run.ended_at or run.started_at)
            self.client.set_terminated(found.info.run_id, STATUS[run.status], ended)
            self.sent.pop(run.key, None)
        else:
            self.sent[run.key] = wanted
        self._mark(found, digest)
        return True

    def _create(self, run: Run) -> Any:
        tags = {
            KEY: run.key, OF_STUDY: study_id(run.cell), "mlflow.runName": f"{run.cell.shown} t{run.number}",
            "mlflow.parentRunId": self.parents[run.cell.key],
        }  # fmt: skip
        made = self.client.create_run(self.experiments[run.cell.study], start_time=_ms(run.started_at), tags=tags)
        self.there[run.key] = made
        return made

    def _missing(self, found: Any, run: Run, wanted: list[Logged]) -> list[Logged] | None:
        """Returns the values that the server does not show yet; None: it shows wrong values and must be rewritten."""
        known = self.sent.get(run.key)
        if known is not None:
            return wanted[len(known) :] if wanted[: len(known)] == known else None
        now = self.client.get_run(found.info.run_id)
        if now.info.status != "RUNNING" and not run.has_ended:
            return None
        params = {name_of(name): cut(value, PARAM_LENGTH) for name, value in run.params.items()}
        if any(params.get(name) != value for name, value in now.data.params.items()):
            return None
        there = [
            _logged(one.key, one.step, one.value, one.timestamp)
            for name in now.data.metrics
            for one in self.client.get_metric_history(found.info.run_id, name)
        ]
        shown = set(there)
        if shown - set(wanted) or len(shown) != len(there):
            return None
        return [one for one in wanted if one not in shown]

    def _log(
        self,
        run_id: str,
        metrics: Sequence[Logged] = (),
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag  # here: only if the library is installed

        given = [Param(name_of(name), cut(value, PARAM_LENGTH)) for name, value in (params or {}).items()]
        notes = [RunTag(name_of(name), cut(value, TAG_LENGTH)) for name, value in (tags or {}).items()]
        for some in parts(given, PARAMS):
            self.client.log_batch(run_id, params=some)
        for some in parts(notes, TAGS):
            self.client.log_batch(run_id, tags=some)
        for several in parts(metrics, METRICS):
            batch = [Metric(name, value, at, step) for name, step, value, at in several]
            self.client.log_batch(run_id, metrics=batch)

    def _mark(self, found: Any, digest: str) -> None:
        """Marks a run as complete, as the last write."""
        self.client.set_tag(found.info.run_id, DIGEST, digest)
        found.data.tags[DIGEST] = digest

    def _call(self, call: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Calls MLflow. Raises CannotMirror instead of its errors."""
        try:
            return call(*args, **words)
        except Exception as error:
            if isinstance(error, CannotMirror) or not _is_foreign(error):
                raise
            message = without_password(cause_of(error))[:300]
            cure = next((f"; {cure}" for cause, cure in CURES.items() if cause.search(message)), "")
            raise CannotMirror(f"MLflow at {without_password(self.uri)} refused: {message}{cure}") from error


# ---------------------------------------------------------------- conversion to MLflow


def logged_of(run: Run) -> list[Logged]:
    """Returns every number of a run, ordered by step."""
    points = [
        _logged(name_of(name), point.step, value, _ms(point.at))
        for point in run.points
        for name, value in point.values.items()
    ]
    at = _ms(run.ended_at or run.started_at)
    return points + [_logged(name_of(f"{FINAL}/{name}"), run.last_step, v, at) for name, v in run.results.items()]


def _logged(name: str, step: int, value: float, at: int) -> Logged:
    return name, step, math.copysign(LARGEST, value) if math.isinf(value) else value, at


def name_of(name: str) -> str:
    """Returns the name if MLflow accepts it, else a unique one that it accepts."""
    plain = STRANGE.sub("_", name)
    bad = plain != name or len(name) > NAME_LENGTH or plain.startswith((".", "/")) or plain.endswith("/")
    bad = bad or any(part in ("", ".", "..") for part in plain.split("/"))
    if not bad:
        return name
    return f"{plain[: NAME_LENGTH - 9].replace('/', '_').lstrip('.') or 'name'}.{md5(name)[:8]}"


def cut(value: Any, most: int) -> str:
    text = _text(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def study_id(cell: MirroredCell) -> str:
    """Returns an id that distinguishes studies with the same name."""
    return md5([cell.study, round(cell.born, 3)])


def parts(rows: Sequence[T], most: int) -> Iterator[list[T]]:
    for first in range(0, len(rows), most):
        yield list(rows[first : first + most])


def without_password(text: str) -> str:
    """Removes user and password from a URL, or from a text with one, also a password with a slash in it."""
    return SECRET.sub("", text)


def cause_of(error: Exception) -> str:
    """Returns the text of an error on one line, equal for each request that fails for the same reason."""
    text = " ".join(str(error).split())
    for part, instead in OF_ONE_REQUEST:
        text = part.sub(instead, text)
    return text


def _is_foreign(error: Exception) -> bool:
    """Returns whether MLflow, or a library that it uses, raised the error: it names no other kinds than its own."""
    library = type(error).__module__.partition(".")[0]
    return library in LIBRARIES or isinstance(error, ImportError | OSError | ValueError)


def _ms(at: float) -> int:
    return int(at * 1000)
