"""A question is asked once: what has a job is found whatever became of it, and more trials go on where it ended."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.api.halving import BEFORE_FREEZING, HALVING, Halving
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.progress_events import JobDone, ProgressEvent, TrialEnded
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.errors import CannotUndo, TrialsChanged
from fts.state.replay import rebuild
from fts.state.values import Cause, Job
from fts.study.cell import CellSpec
from fts.study.matrix import enqueue_cells, write
from fts.study.warm_start import with_warm_trials
from tests.chaos.study import LENIENT, difference, job_identity
from tests.cli.study import CELL, Said, cell, claim, finish_trial, make_study, runner, start_trial, store_data
from tests.jobs.science import cells_of, make_data, opened, run_queue

FEW, MORE = 3, 5
STARTUP = 10  # trials that TPE draws before it learns, and more than the median rule waits for


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("extended") / "data").root


def searches(places: Places, more: int) -> list[CellSpec]:
    """TPE with the median rule, both past their start-up, and random proposals with halving."""
    (usual,) = cells_of(places, trials=FEW + more, epochs=3, seed=3)
    usual = replace(usual, space=usual.space | {"warmup_steps": {"kind": "choice", "choices": [5, 20]}})
    return [
        replace(usual, trials=STARTUP - 1 + more, pruner="median"),
        replace(usual, sampler="random", pruner="halving", halving=LENIENT),
    ]


def test_an_extended_search_is_the_one_that_had_all_its_trials_from_the_beginning(tmp_path: Path, data: Path):
    places = Places(tmp_path / "outputs" / "fts.db", data)
    db = opened(places)
    assert [entry.job_id for entry in write(db, searches(places, 0), who="test")] == [1, 2]
    run_queue(places, ExtendedThenAgain(db, searches(places, MORE - FEW)), slots=1)
    jobs = {job.id: job for job in queries.jobs(db)}
    assert {number: (job.attempt, str(job.status)) for number, job in jobs.items()} == {
        1: (2, "done"), 2: (2, "done"), 3: (1, "done"), 4: (1, "done"),
    }  # fmt: skip
    begun = [event for event in queries.events(db, limit=1000) if event.verb == "trial_started"]
    assert len(begun) == 2 * (STARTUP - 1 + (MORE - FEW) + MORE), "no trial was run twice"
    for number in (1, 2):
        whole = next(job for job in (jobs[3], jobs[4]) if job.spec == jobs[number].spec)
        extended, undisturbed = (job_identity(db, places, job) for job in (jobs[number], whole))
        assert difference(undisturbed, extended) is None
    db.close()


class ExtendedThenAgain(Console):
    """Wants more trials of a search once it is done, and once those are, the whole search again from its beginning."""

    def __init__(self, db: Database, wanted: list[CellSpec]) -> None:
        super().__init__(io.StringIO())
        self.db, self.wanted = db, dict(enumerate(wanted, 1))
        self.extended: set[int] = set()

    def tell(self, event: ProgressEvent) -> None:
        super().tell(event)
        if isinstance(event, JobDone) and (spec := self.wanted.get(event.job.id)):
            write(self.db, [spec], who="test", again=event.job.id in self.extended)
            self.extended.add(event.job.id)


def test_a_worker_notices_that_more_trials_are_wanted_while_the_last_one_ends(tmp_path: Path, data: Path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    places = Places(tmp_path / "outputs" / "fts.db", data)
    (spec,) = cells_of(places, trials=1, epochs=1)
    db = opened(places)
    job = write(db, [spec])[0].job_id
    said = Extending(db, spec, [2, 3])
    assert run_job(places, WorkerSettings(poll_s=0.1, stall={}), job, said) == 0
    done = queries.job(db, job)
    assert (str(done.status), done.trials_complete, done.trials_wanted, done.attempt) == ("done", 3, 3, 1)
    assert [event.message for event in queries.events(db, limit=100) if event.verb == "finished"] == [
        "all trials have ended"
    ]


class Extending(Console):
    """Wants one more trial whenever the last one has ended, before the supervisor can finish the job."""

    def __init__(self, db: Database, spec: CellSpec, wanted: list[int]) -> None:
        super().__init__(live=False)
        self.db, self.spec, self.left = db, spec, wanted

    def tell(self, event: ProgressEvent) -> None:
        super().tell(event)
        if isinstance(event, TrialEnded) and self.left:
            (found,) = write(self.db, [replace(self.spec, trials=self.left.pop(0))])
            assert found.status == "running" and found.extended_from is not None


def test_a_job_is_never_done_with_trials_missing_however_the_extension_and_its_end_fall_together(tmp_path: Path):
    """Two connections at once: either the job ends first and is queued again, or its end is refused."""
    db = make_study(tmp_path, budgets=(), horizons=())
    refused = 0
    for n in range(12):
        spec = replace(CELL, seed=n, trials=1)
        write(db, [spec])
        claimed = claim(db)
        finish_trial(db, claimed, start_trial(db, claimed), 0.5)
        more = threading.Thread(target=in_another_connection, args=(db.path, replace(spec, trials=2)))
        more.start()
        ended = transitions.finish_job(db, claimed, wanted=1)
        more.join()
        job = queries.job(db, claimed.job_id)
        assert (job.trials_wanted, job.spec["trials"]) == (2, 2)
        assert str(job.status) == ("queued" if ended else "running")
        refused += not ended
        transitions.cancel(db, [job.id])
        if not ended:
            transitions.cancel_running(db, claimed)
    print(f"{refused} of 12 ends were refused")


def in_another_connection(path: Path, spec: CellSpec) -> None:
    other = open_database(path)
    write(other, [spec])
    other.close()


# -- every state is recognised


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = make_study(tmp_path, budgets=("2M",), horizons=(1,))
    yield db
    db.close()


def begin(db: Database) -> Any:
    claimed = claim(db)
    finish_trial(db, claimed, start_trial(db, claimed), 0.5)
    return claimed


def done(db: Database) -> None:
    claimed = begin(db)
    for number in (1, 2):
        finish_trial(db, claimed, start_trial(db, claimed, number), 0.6)
    transitions.finish_job(db, claimed)


def cancelled(db: Database) -> None:
    claimed = begin(db)
    transitions.cancel(db, [1])
    transitions.cancel_running(db, claimed)


def failed(db: Database) -> None:
    transitions.fail_job(db, begin(db), Cause.CODE_ERROR, "it broke")


def paused(db: Database) -> None:
    transitions.pause(db, [1])


STATES: dict[str, tuple[Callable[[Database], Any], str]] = {
    "queued": (lambda db: None, "`fts worker` runs it"),
    "running": (begin, "`fts status`"),
    "paused": (paused, "`fts resume 1`"),
    "done": (done, "`--again`"),
    "failed": (failed, "`fts retry 1`"),
    "cancelled": (cancelled, "`fts retry 1`"),
}


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("trials", [3, 1])
def test_the_same_question_is_found_in_every_state_and_says_what_brings_it_back(
    db: Database, tmp_path: Path, status: str, trials: int
):
    act, cure = STATES[status]
    act(db)
    before = queries.events(db, limit=100)
    for dry_run in (True, False):
        spec = replace(cell("2M", 1), trials=trials, code_commit="f" * 40)
        (line,) = enqueue_cells(db, Places(db.path, tmp_path), [spec], check=False, dry_run=dry_run)
        assert (line.job_id, line.created, line.status, line.extended_from) == (1, False, status, None)
        assert line.told.startswith("2M/h1 ") and "job 1, " in line.told and cure in line.told
        assert ("asked for" in line.told) == (trials == 1)
    assert queries.events(db, limit=100) == before and len(queries.jobs(db)) == 1, "nothing was written"


@pytest.mark.parametrize("status", STATES)
def test_more_trials_extend_the_job_in_place_and_undo_takes_that_back(db: Database, tmp_path: Path, status: str):
    STATES[status][0](db)
    before, spec = queries.job(db, 1), replace(cell("2M", 1), trials=6)
    over = status in ("done", "failed", "cancelled")
    for dry_run in (True, False):
        (line,) = enqueue_cells(db, Places(db.path, tmp_path), [spec], check=False, dry_run=dry_run)
        assert (line.job_id, line.created, line.extended_from) == (1, False, 3)
        assert "job 1 from 3 to 6 trials" in line.told and ("queued again" in line.told) == over
        assert (queries.job(db, 1) == before) == dry_run
    after = queries.job(db, 1)
    assert (str(after.status), after.trials_wanted) == ("queued" if over else status, 6)
    assert after.spec == before.spec | {"trials": 6}
    assert stored_md5(db) == spec.identity, "the index of live specifications goes by it"
    assert len([event for event in queries.events(db, limit=100) if event.verb == "extended"]) == 1
    transitions.undo(db)
    assert same_but_for_clocks(queries.job(db, 1)) == same_but_for_clocks(before)
    assert stored_md5(db) == cell("2M", 1).identity
    transitions.redo(db)
    assert queries.job(db, 1).trials_wanted == 6 and stored_md5(db) == spec.identity


def stored_md5(db: Database) -> str:
    (found,) = db.execute_sql("select spec_md5 from job where id = 1").fetchone()
    return str(found)


def same_but_for_clocks(job: Job) -> dict[str, Any]:
    return {name: value for name, value in asdict(job).items() if name != "lease_until"}


@pytest.mark.parametrize("status", STATES)
def test_more_seeds_of_the_winner_are_an_extension_too_where_a_person_asks_for_them(
    db: Database, tmp_path: Path, status: str
):
    claimed = STATES[status][0](db)
    before, over = queries.job(db, 1), status in ("done", "failed", "cancelled")
    places, asked = Places(db.path, tmp_path), replace(cell("2M", 1), winner_seeds=3)
    enqueue_cells(db, places, [cell("2M", 1)], check=False, new_seeds=3)
    assert queries.job(db, 1) == before, "the usual number is for new cells"
    (line,) = enqueue_cells(db, places, [asked], check=False)
    back = f"it was {status}" if status in ("done", "cancelled") else f"it {'had' if over else 'is'} {status}"
    assert line.told.startswith(f"2M/h1 is extended: job 1 runs its winner with 2 other seeds, too; {back}")
    after = queries.job(db, 1)
    assert (str(after.status), after.trials_wanted) == ("queued" if over else status, before.trials_wanted)
    assert after.spec == before.spec | {"winner_seeds": 3} and stored_md5(db) == asked.identity
    if status == "running":
        assert transitions.finish_job(db, claimed, spec=before.spec) is None, "its end would forget them"
    else:
        transitions.undo(db)
        assert same_but_for_clocks(queries.job(db, 1)) == same_but_for_clocks(before)


def test_an_extension_is_not_taken_back_once_it_runs(db: Database):
    done(db)
    write(db, [replace(cell("2M", 1), trials=6)])
    claimed = claim(db)
    with pytest.raises(CannotUndo, match="has started since"):
        transitions.undo(db)
    write(db, [replace(cell("2M", 1), trials=8)])
    start_trial(db, claimed, 3)
    transitions.undo(db)
    assert queries.job(db, 1).trials_wanted == 6, "nothing of the two has begun"
    write(db, [replace(cell("2M", 1), trials=7)])
    for number in (3, 4, 5):
        trial = queries.trial(db, 1, 3).id if number == 3 else start_trial(db, claimed, number)
        finish_trial(db, claimed, trial, 0.6)
    start_trial(db, claimed, 6)
    with pytest.raises(CannotUndo, match="trial 6 of job 1 has begun since"):
        transitions.undo(db)


def test_a_trial_that_nobody_wants_any_more_is_not_begun(db: Database):
    claimed = begin(db)
    write(db, [replace(cell("2M", 1), trials=6)])
    transitions.undo(db)
    with pytest.raises(TrialsChanged, match="3 trials now, not 6"):
        transitions.start_trial(
            db, claimed, 1, params={}, effective={}, architecture="x", objective="val_loss", seed=1, wanted=6
        )


def test_the_way_back_of_an_event_changes_no_more_than_the_number_of_trials(db: Database):
    """Anybody may edit a row; the specification decides folders and what runs."""
    done(db)
    write(db, [replace(cell("2M", 1), trials=6)])
    (number, sound) = db.execute_sql("select id, inverse from event order by id desc limit 1").fetchone()
    before = queries.job(db, 1)
    for change in ({"spec": "{}"}, {"spec_md5": "../x"}, {"trials_wanted": 0}, {"trials_wanted": 2}, {"budget": "2B"}):
        hostile = json.loads(sound)
        hostile["jobs"][0]["set"] |= change
        db.execute_sql("update event set inverse = ? where id = ?", (json.dumps(hostile), number))
        with pytest.raises(CannotUndo):
            transitions.undo(db)
        assert queries.job(db, 1) == before
    hostile = json.loads(sound)
    del hostile["jobs"][0]["set"]["trials_wanted"]
    db.execute_sql("update event set inverse = ? where id = ?", (json.dumps(hostile), number))
    with pytest.raises(CannotUndo):
        transitions.undo(db)


def test_a_past_time_shows_the_number_of_trials_of_then(db: Database):
    done(db)
    (then,) = db.execute_sql("select max(at) from event").fetchone()
    while db.now() == then:  # the clock has steps
        pass
    write(db, [replace(cell("2M", 1), trials=6)])
    transitions.undo(db)
    transitions.redo(db)
    (past,), (now,) = rebuild(db, then).jobs, queries.jobs(db)
    assert (str(past.status), past.trials_wanted, str(now.status), now.trials_wanted) == ("done", 3, "queued", 6)


def test_again_makes_a_new_job_of_what_is_over_and_the_newer_one_answers_next_time(db: Database):
    done(db)
    (second,) = write(db, [cell("2M", 1)], again=True)
    assert (second.job_id, second.created) == (2, True)
    (third,) = write(db, [cell("2M", 1)], again=True)
    assert (third.job_id, third.created, third.status) == (2, False, "queued"), "just this waits already"
    (found,) = write(db, [cell("2M", 1)])
    assert found.job_id == 2
    transitions.cancel(db, [2])
    (found,) = write(db, [cell("2M", 1)])
    assert (found.job_id, found.status) == (1, "done"), "a cancelled one does not hide what was found"
    (more,) = write(db, [replace(cell("2M", 1), trials=5)])
    assert (more.job_id, more.extended_from) == (1, 3)


# -- what the same question is


OTHERS = {
    "horizon": 3, "task": "threshold_2pct", "tier": "a20", "dataset": "X.dataset.a25", "data_md5": "1" * 32,
    "epochs": 3, "space": {}, "kind": "train", "seed": 1, "sampler": "random", "pruner": "median", "budget": "20M",
    "halving": HALVING, "objective": "val_auc", "loss": "focal", "focal_gamma": 3.0, "pos_weight": True,
    "patience": 11, "min_delta": 0.5, "effective_batch": 128, "grad_clip": 2.0, "context": 90, "patch": 5, "stride": 10,
    "norm": "none", "channel_independent": True, "precision": "bf16", "min_positives": 3, "max_steps": 7,
    "split": {"train": 0.5}, "cv": "walk-forward:5", "warm_start": ({"dropout": 0.1},), "origin": {"job": 1},
    "parallel": 2, "longest": 120,
}  # fmt: skip
SAME = {
    "experiment": "another_name", "trials": 7, "code_commit": "f" * 40, "code_dirty": True, "diverged": "worst",
    "winner_seeds": 3, "winner_folds": "4of6",
}  # fmt: skip


def test_every_field_of_a_cell_either_decides_its_numbers_or_does_not():
    assert set(OTHERS) | set(SAME) == set(asdict(CELL)), "a new field belongs to one of the two"
    for name, value in OTHERS.items():
        assert replace(CELL, **{name: value}).question != CELL.question, name
    for name, value in SAME.items():
        assert replace(CELL, **{name: value}).question == CELL.question, name


def test_a_specification_older_than_a_field_asks_what_it_meant():
    told = replace(CELL, pruner="halving", halving=BEFORE_FREEZING)
    old = {name: value for name, value in told.to_json().items() if name in ("pruner", *CELL.to_json())}
    for name in ("halving", "precision", "cv", "warm_start", "origin", "max_steps", "channel_independent"):
        del old[name]
    assert CellSpec.from_json(old).question == told.question
    assert replace(told, halving=Halving(keep=0.4)).question != told.question


def test_rows_of_an_older_fts_are_found_and_keep_what_they_say(db: Database):
    done(db)
    spec = queries.job(db, 1).spec
    short = {name: value for name, value in spec.items() if name not in ("precision", "origin", "warm_start")}
    db.execute_sql("update job set spec = ?", (json.dumps(short),))
    assert write(db, [cell("2M", 1)])[0].job_id == 1
    write(db, [replace(cell("2M", 1), trials=6)])
    assert queries.job(db, 1).spec == short | {"trials": 6}
    db.execute_sql("update job set spec = '[]'")
    assert write(db, [cell("2M", 1)])[0].created, "what cannot be read answers nothing"


def test_trials_borrowed_from_neighbours_do_not_make_a_cell_that_is_there_another_one(db: Database):
    """The neighbours have got on since: `--warm-start` typed again would borrow others."""
    lent = ({"architecture": "d16-L1-h2-ff32"},)
    write(db, [replace(cell("20M", 1), warm_start=lent)])
    cold, warm = with_warm_trials(db, [cell("2M", 1), cell("20M", 1)])
    assert (cold.warm_start, warm.warm_start) == ((), lent)
    assert [entry.job_id for entry in write(db, [cold, warm])] == [1, 2]
    assert [spec.warm_start for spec in with_warm_trials(db, [cold, warm], again=True)] == [(), ()], (
        "nobody has anything to lend"
    )


# -- the commands


def test_fts_enqueue_says_of_each_cell_what_it_becomes(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "data"))
    store_data(tmp_path)
    fts = runner(tmp_path, capsys)
    assert fts("enqueue", "tiny/h1", "--trials", "3", "--no-check", "--tier", "a25").code == 0
    db = open_database(tmp_path / "outputs" / "fts.db")
    done(db)
    dry: Said = fts(
        "enqueue",
        "--matrix",
        "--budgets",
        "tiny,2M",
        "--horizons",
        "1,3",
        "--trials",
        "3",
        "--no-check",
        "--tier",
        "a25",
        "-n",
    )
    assert "tiny/h1 is done: job 1, 3 trials, best .5000; `--again` searches it again from the start" in dry.err
    assert dry.out.count("would be enqueued") == 5 and "already there (done)" in dry.out and dry.code == 0
    fts("enqueue", "tiny/h1", "--trials", "3", "--epochs", "70", "--no-check", "--tier", "a25")
    anew: Said = fts("enqueue", "tiny/h1", "--trials", "3", "--again", "--no-check", "--tier", "a25", "-n")
    assert "would be enqueued" in anew.out and "can change its epochs" not in anew.err, "it repeats job 1"
    assert fts("undo").code == 0
    same: Said = fts("enqueue", "tiny/h1", "--trials", "3", "--no-check", "--tier", "a25")
    assert same.code == 0 and "0 of 1 enqueued, 1 is already there: nothing to do" in same.err
    more: Said = fts("enqueue", "tiny/h1", "--trials", "6", "--no-check", "--tier", "a25")
    assert "tiny/h1 is extended: job 1 from 3 to 6 trials; it was done and is queued again" in more.err
    again: Said = fts("enqueue", "tiny/h1", "--trials", "6", "--no-check", "--tier", "a25", "--again", "--json")
    assert '"created": false' in again.out and '"state": "queued"' in again.out
    other: Said = fts("enqueue", "tiny/h1", "--trials", "3", "--epochs", "60", "--no-check", "--tier", "a25")
    assert other.code == 0 and "; job 2 has 70 epochs, and no job can change its epochs: the learning" in other.err
    assert len(queries.jobs(db)) == 3
    db.close()


EMPTY = ("", " ", ",", "2M,", ",2M", "2M,,20M")


@pytest.mark.parametrize("command", [("enqueue", "--matrix", "--budgets"), ("enqueue", "--matrix", "--horizons"),
                                     ("plan", "--memory", "--budgets")])  # fmt: skip
def test_an_empty_list_is_refused_because_a_variable_may_not_be_set(tmp_path: Path, capsys, command: tuple[str, ...]):
    fts = runner(tmp_path, capsys)
    for value in EMPTY:
        value = value.replace("20M", "3").replace("2M", "1") if command[-1] == "--horizons" else value
        said: Said = fts(*command, value)
        assert said.code == 2 and "expected" in said.err and len(said.err.strip().splitlines()) == 1, (value, said)
    assert not (tmp_path / "outputs" / "fts.db").exists()


@pytest.mark.parametrize("value", ["1.5", "1_0", "one", "+1", "-1", "１", "0", "300", "1;3", "1 3"])  # noqa: RUF001
def test_horizons_are_plain_numbers(tmp_path: Path, capsys, value: str):
    said: Said = runner(tmp_path, capsys)("enqueue", "--matrix", "--horizons", value, "--no-check", "--tier", "a25")
    assert said.code in (2, 6) and len(said.err.strip().splitlines()) == 1
