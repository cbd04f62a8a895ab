"""`fts final`: opens the test set once, on request, and records who opened it and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.change import writing
from fts.jobs.cli.maintain import confirm
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import one_cell
from fts.jobs.status.formatting import iso
from fts.state import queries, transitions
from fts.state.user import this_person
from fts.study.model_card import against
from fts.study.own import refuse_another

if TYPE_CHECKING:
    from fts.state.db import Database
    from fts.state.values import Job, Opening


@click.command()
@click.argument("cell")
@click.option("-y", "--yes", is_flag=True, help="skip the confirmation")
@AS_JSON
def final(cell: str, yes: bool, as_json: bool) -> None:
    """Open CELL's test set for its winner and evaluate the final model on it; this cannot be undone.

    The first call asks for confirmation. From then on results and report show that the test set was opened. If there is
    no final model yet (`fts train`), it is trained first and evaluated afterwards. A second call shows the result.
    """
    from fts.study.models import evaluate_once  # here, not above: --help needs none of it

    with writing() as db:
        job = refuse_another(one_cell(queries.jobs(db), cell), "final")
        opened = queries.opening(db, job.experiment) or open_test_set(db, job, yes)
        if opened.job_id != job.id:
            say(
                f"the test set was opened for job {opened.job_id}; job {job.id} has the same name, so this shows the "
                f"result of job {opened.job_id}; a test set cannot be opened twice"
            )
            job = queries.job(db, opened.job_id)
        if evaluate_once(db, here(), job.experiment, this_person()) is None:
            enqueue_training(db, job, opened)
        opened = queries.opening(db, job.experiment) or opened
    if as_json:
        return emit_json("opening", opened)
    return emit(sentence(opened))


def open_test_set(db: Database, job: Job, yes: bool) -> Opening:
    """Asks for confirmation, and opens the test set for the cell's winner.

    Raises Abort on no, WrongStatus without a winner, ManifestError without the data: the test set must not be opened
    when it cannot be evaluated.
    """
    from fts.study.winners import require_data, train_spec, winner

    best = winner(db, job)
    require_data(here().data, train_spec(job, best))
    confirm(
        f"Open the test set of {job.experiment} for trial {best.number}? It can be opened only once. After "
        "that every choice for this cell is biased, and every table will say so.",
        yes,
    )
    transitions.unseal(db, job.id, best.number, this_person())
    opened = queries.opening(db, job.experiment)
    assert opened is not None, "what was just written is there"
    return opened


def enqueue_training(db: Database, job: Job, opened: Opening) -> None:
    """Enqueues the final training of the winner; when it has ended, the model is evaluated on the opened test set."""
    from fts.study.matrix import write
    from fts.study.winners import train_spec, winner

    (line,) = write(db, [train_spec(job, winner(db, job, opened.trial))])
    state = "queued" if line.created else "already queued"
    say(f"its final training is {state} as job {line.job_id}; the evaluation follows when `fts worker` has run it")


def sentence(opened: Opening) -> str:
    trial = f"trial {opened.trial} of job {opened.job_id}"
    text = f"{opened.experiment}: test set opened by {opened.who} at {iso(opened.at)} for {trial}"
    if opened.scores is None:
        return f"{text}; not evaluated yet"
    scores = opened.figures
    return (
        f"{text}\nAUC {scores['auc']:.4f} [{scores['auc_low']:.4f}, {scores['auc_high']:.4f}], log loss "
        f"{scores['loss']:.4f} [{scores['loss_low']:.4f}, {scores['loss_high']:.4f}], class prior "
        f"{scores['prior_loss']:.4f}, on {scores['n']} windows with {scores['n_pos']} positives"
        f"{against(scores)}"
    )
