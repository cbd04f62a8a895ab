"""Where final models are, and which of them may be evaluated on the test set."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from fts.jobs.api.spec import trial_folder
from fts.jobs.status.formatting import iso
from fts.state import queries, transitions
from fts.state.errors import WrongStatus
from fts.state.files import new_folder, refuse_links, sync_file
from fts.state.values import Job, Opening, TrialStatus
from fts.study.own import own_jobs

if TYPE_CHECKING:
    from pathlib import Path

    from fts.jobs.settings import Places
    from fts.state.db import Database
    from fts.study.cell import CellSpec


def opened_by(db: Database, train: CellSpec) -> str | None:
    """Returns who opened the test set for the model that this job trains; None if it may not be evaluated.

    Only the trial it was opened for is evaluated, and only once: a second model would be a choice made on test data.
    """
    opened = queries.opening(db, str(train.origin.get("experiment")))
    if opened is None or opened.scores is not None or not _repeats_opened_trial(train.origin, opened):
        return None
    return opener(opened)


def _repeats_opened_trial(origin: dict[str, Any], opened: Opening) -> bool:
    """Whether a final training repeats the opened trial; cells of another seed or tier may have the same name."""
    return (origin.get("job"), origin.get("trial")) == (opened.job_id, opened.trial)


def opener(opened: Opening) -> str:
    return f"{opened.who} at {iso(opened.at)}"


def evaluate_once(db: Database, places: Places, experiment: str, who: str) -> dict[str, Any] | None:
    """Evaluates the final model of an opened cell on its test set, once; None if no such model is trained yet.

    Raises WrongStatus while the test set is sealed, and what evaluate_test raises.
    """
    opened = queries.opening(db, experiment)
    if opened is None:
        raise WrongStatus(f"the test set of {experiment} is sealed; `fts final CELL` opens it")
    if opened.scores is not None:
        return opened.scores
    folder = next((model_folder(places, job) for job in final_jobs(db, opened)), None)
    if folder is None or not folder.is_dir():
        return None
    from fts.study.sealed import evaluate_test  # here, not above: torch, and only this command needs it

    scores = evaluate_test(folder, places.data, opener(opened))
    transitions.record_test(db, experiment, scores, who)
    return scores


def final_jobs(db: Database, opened: Opening) -> list[Job]:
    """Returns the finished train jobs of the trial that the test set was opened for, newest first."""
    jobs = [
        job
        for job in own_jobs(db, ["done"])
        if job.kind == "train" and _repeats_opened_trial(job.spec["origin"], opened)
    ]
    return sorted(jobs, key=lambda job: -job.id)


def model_folder(places: Places, train: Job) -> Path:
    """Returns outputs/models/2M_h1_threshold_1pct_t7, the folder of a final model for people.

    Adds the cell's job number, ..._t7_job12, if another cell of that name (another seed, another tier) was first.
    """
    origin = train.spec["origin"]
    folder = places.outputs / "models" / f"{train.experiment.removeprefix('train_')}_t{origin['trial']}"
    return (
        folder
        if _job_of_model(folder) in (None, origin.get("job"))
        else folder.with_name(f"{folder.name}_job{origin['job']}")
    )


def _job_of_model(folder: Path) -> int | None:
    """Returns the job number of the cell whose model is in the folder; None if unknown."""
    try:
        job = json.loads((folder / "config.json").read_text())["origin"]["job"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # missing or damaged
        return None
    return job if isinstance(job, int) else None


def publish(db: Database, places: Places, train: Job) -> Path | None:
    """Copies the model of a finished train job to its folder for people, atomically; None if there is no model."""
    trained = queries.trials(db, train.id)
    source = trial_folder(places.outputs, train.experiment, train.id, 0) / "model"
    if not trained or trained[0].status is not TrialStatus.COMPLETE or not source.is_dir():
        return None
    target = model_folder(places, train)
    refuse_links(target, places.outputs)
    with new_folder(target, places.outputs) as draft:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        for path in draft.iterdir():
            sync_file(path)
    return target
