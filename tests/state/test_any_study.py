"""Jobs of any study: their labels, metrics and facts, what a trial drew, and the processes that worked on it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from fts.state import queries, replay, transitions
from fts.state.db import Database
from fts.state.errors import BadRow, LabelClash, ResumeMismatch, UnreadableHistory, WrongStatus
from fts.state.transitions import SameQuestion
from fts.state.transitions.reported_facts import MAX_FACTS
from fts.state.values import Cause, Claim, Direction, TrialStatus
from fts.study.study import PatchTST
from tests.state.helpers import claimed, enqueued, interrupt, spec, verbs, worker

MD5 = "ab" * 16
INT = {"kind": "int", "low": 1, "high": 4}


def digits(**changes: Any) -> dict[str, Any]:
    """A job of a study that has nothing to do with daily bars."""
    row: dict[str, Any] = {
        "study": "digits", "experiment": "digits_mnist_S", "kind": "cell", "cell": "mnist/S",
        "labels": {"size": "S", "dataset": "mnist"}, "metric": "accuracy", "direction": "maximize",
        "trials_wanted": 3, "spec": {"n": 1}, "question_md5": MD5,
    }  # fmt: skip
    return row | changes


def begun(db: Database, **changes: Any) -> tuple[Claim, int]:
    transitions.enqueue(db, [digits()])
    claim = claimed(db)
    trial = transitions.start_trial(db, claim, 0, params={}, effective={}, seed=1, **changes)
    return claim, trial


def test_a_job_of_another_study_keeps_its_labels_in_their_order(db: Database) -> None:
    transitions.enqueue(db, [digits()])
    job = queries.job(db, 1)
    assert (job.study, job.cell, job.metric, job.direction) == ("digits", "mnist/S", "accuracy", "maximize")
    assert list(job.labels.items()) == [("size", "S"), ("dataset", "mnist")]
    assert (job.budget, job.horizon, job.task, job.tier) == ("", 0, "", "")
    assert db.execute_sql("SELECT budget, horizon, study, cell FROM v_queue").fetchall() == [
        (None, None, "digits", "mnist/S")
    ]
    assert "patchtst" not in queries.studies(db)


def test_a_job_without_a_study_is_one_of_daily_bars(db: Database) -> None:
    transitions.enqueue(db, [spec(3, spec={"objective": "val_auc", "cv": "walk-forward:5"})])
    transitions.enqueue(db, [spec(1) | {"budget": "20M", "kind": "replicate"}])
    first, second = (queries.job(db, n) for n in (1, 2))
    assert (first.study, first.cell, first.metric, first.direction) == ("patchtst", "2M/h3 wf5", "val_auc", "maximize")
    assert (first.budget, first.horizon, first.task, first.tier) == ("2M", 3, "threshold_1pct", "a25")
    assert (second.cell, second.metric, second.direction) == ("20M/h1 seeds", "val_loss", "minimize")
    assert db.execute_sql("SELECT budget, horizon FROM v_queue").fetchall() == [("2M", 3), ("20M", 1)]
    assert queries.studies(db)["patchtst"].declaration["step"] == "epoch"


def test_labels_may_say_all_of_a_job_of_daily_bars(db: Database) -> None:
    row = spec(3)
    labels = {name: row.pop(name) for name in ("budget", "horizon", "task", "tier")}
    transitions.enqueue(db, [row | {"study": "patchtst", "labels": labels}])
    assert queries.job(db, 1).cell == "2M/h3"


@pytest.mark.parametrize(
    "changes",
    [
        {"study": "no name"}, {"study": ".."}, {"cell": "a\nb"}, {"cell": "x" * 201}, {"labels": [1]},
        {"labels": {"size": [1]}}, {"labels": {"size": None}}, {"labels": {"size": math.nan}}, {"labels": {"": 1}},
        {"labels": {"size": "a\x1b[2J"}}, {"labels": {"size": 10**200}}, {"direction": "up"}, {"metric": "\0"},
        {"metric": 5}, {"question_md5": "x"}, {"kind": "../x"},
    ],
)  # fmt: skip
def test_what_no_job_can_be_is_refused(db: Database, changes: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        transitions.enqueue(db, [digits(**changes)])
    assert queries.jobs(db) == ()


def test_the_same_question_is_found_by_its_stored_identity(db: Database) -> None:
    rule = SameQuestion(of=lambda spec: str(spec.get("n")), md5=lambda spec: f"md5 of {spec['n']} {spec['trials']}")
    one = digits(spec={"n": 1, "trials": 3}, spec_md5="a")
    transitions.enqueue(db, [one], rule=rule)
    more = digits(spec={"n": 7, "trials": 5}, spec_md5="b", trials_wanted=5)  # another spelling of the same question
    (found,) = transitions.enqueue(db, [more], rule=rule)
    assert (found.job_id, found.created, found.extended_from) == (1, False, 3)
    other = digits(spec={"n": 1, "trials": 5}, spec_md5="c", question_md5="cd" * 16)
    assert transitions.enqueue(db, [other], rule=rule)[0].created
    old = digits(spec={"n": 1, "trials": 3}, spec_md5="d", question_md5=None)  # of schema 1: the rule decides
    assert not transitions.enqueue(db, [old], rule=rule)[0].created
    turned = digits(
        spec={"n": 1, "trials": 3}, spec_md5="g", question_md5=None, labels={"dataset": "mnist", "size": "S"}
    )
    assert not transitions.enqueue(db, [turned], rule=rule)[0].created
    elsewhere = digits(spec={"n": 1, "trials": 3}, spec_md5="e", question_md5=None, labels={"size": "M"})
    assert transitions.enqueue(db, [elsewhere], rule=rule)[0].created
    stranger = digits(spec={"n": 1, "trials": 3}, spec_md5="f", study="letters")
    assert transitions.enqueue(db, [stranger], rule=rule)[0].created


def test_the_jobs_of_a_matrix_are_found_by_an_index(db: Database) -> None:
    rule = SameQuestion(of=lambda spec: str(spec["n"]), md5=lambda spec: f"md5 of {spec['n']}")
    rows = [digits(spec={"n": n, "trials": 3}, question_md5=f"{n:032x}") for n in range(150)]
    transitions.enqueue(db, rows, rule=rule)
    db.execute_sql("UPDATE job SET status = 'done'")
    steps: list[int] = []
    db.connection().set_progress_handler(lambda: steps.append(1), 100)
    found = transitions.enqueue(db, rows, rule=rule)
    db.connection().set_progress_handler(None, 0)
    assert [one.job_id for one in found] == [*range(1, 151)]
    assert len(steps) < 600, "in hundreds of instructions; each row would read all jobs"


def test_a_direction_knows_what_is_better() -> None:
    low, high = Direction.MINIMIZE, Direction.MAXIMIZE
    assert low.better(1.0, 2.0) and high.better(2.0, 1.0) and not low.better(1.0, 1.0)
    assert low.better(1.0, math.nan) and not low.better(math.nan, 1.0)
    assert (low.best([2.0, None, 1.0, math.nan]), high.best(iter([1.0, 2.0])), low.best([])) == (1.0, 2.0, None)
    assert sorted([1.0, 3.0, 2.0], key=high.key) == [3.0, 2.0, 1.0]


def test_the_best_of_a_job_follows_its_direction(db: Database) -> None:
    claim, trial = begun(db)
    for number, value in enumerate((0.5, 0.9, 0.7)):
        trial = trial if number == 0 else transitions.start_trial(
            db, claim, number, params={}, effective={}, seed=number
        )  # fmt: skip
        new = transitions.finish_trial(
            db, claim, trial, "complete", Cause.FINISHED, value=value, facts={"gates": number}
        )
        assert new is (number < 2)
    job = queries.job(db, 1)
    assert (job.best_trial, job.best_value) == (1, 0.9)
    assert [t.facts for t in queries.trials(db, 1)] == [{"gates": 0}, {"gates": 1}, {"gates": 2}]
    assert {(t.metric, t.direction) for t in queries.trials(db, 1)} == {("accuracy", Direction.MAXIMIZE)}
    assert replay.rebuild(db, db.now()).jobs[0].best_trial == 1


def test_a_function_reports_steps_from_zero_with_gaps(db: Database) -> None:
    claim, trial = begun(db)
    for step, value in ((0, 0.5), (10, math.nan), (5, math.inf)):
        row = {"epoch": step, "value": value, "metrics": {"f1": 0.25, "odd": math.nan}}
        transitions.record_epoch(db, claim, trial, row)
    transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.5, "metrics": {"odd": math.nan, "f1": 0.25}})
    first, second, third = queries.epochs(db, trial)
    assert [(e.epoch, e.step, e.value) for e in (first, second, third)] == [
        (0, 0, 0.5),
        (5, 5, math.inf),
        (10, 10, None),
    ]
    assert first.number("f1") == 0.25 and first.number("odd") is None and first.number("value") is None
    assert first.number("val_loss") is None and first.number("nobody") is None and math.isnan(first.metrics["odd"])
    assert queries.trial_by_id(db, trial).epochs == 3
    assert queries.curves(db, 1)[0].epochs == {0: 0.5}
    with pytest.raises(ResumeMismatch, match=r"value was 0.5, now 0.6"):
        transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.6, "metrics": {"f1": 0.25}})
    assert "resume_mismatch" in verbs(db)


@pytest.mark.parametrize(
    "row",
    [
        {"epoch": -1, "value": 1.0}, {"epoch": 0}, {"epoch": 0, "val_loss": 0.5}, {"value": 1.0},
        {"epoch": 0, "value": "x"}, {"epoch": 0, "value": True}, {"epoch": 0, "metrics": [1]},
        {"epoch": 0, "metrics": {"f1": "x"}}, {"epoch": 0, "metrics": {"": 1.0}},
        {"epoch": 0, "metrics": {"\x1b": 1.0}},
        {"epoch": 0, "metrics": {f"m{n}": 0.1 for n in range(30_000)}}, {"epoch": 0, "value": 1.0, "unknown": 1},
    ],
)  # fmt: skip
def test_what_is_no_epoch_is_refused(db: Database, row: dict[str, Any]) -> None:
    claim, trial = begun(db)
    with pytest.raises(BadRow):
        transitions.record_epoch(db, claim, trial, row)
    assert queries.epochs(db, trial) == ()


def test_as_many_facts_as_a_trial_may_have_can_be_reported_at_its_start(db: Database) -> None:
    claim, trial = begun(db)
    transitions.record_started(db, claim, trial, facts := {"big": "x" * (MAX_FACTS - 20)})
    assert queries.trial_by_id(db, trial).facts == queries.events(db)[-1].data["facts"] == facts


@pytest.mark.parametrize(
    "facts", [{"": 1}, {"a\nb": 1}, {"x" * 101: 1}, {"big": "x" * 400_000}, {"odd": object()}, {5: 1}]
)
def test_what_is_no_fact_is_refused(db: Database, facts: dict[str, Any]) -> None:
    claim, trial = begun(db)
    with pytest.raises(BadRow):
        transitions.record_progress(db, claim, trial, facts)
    assert queries.trial_by_id(db, trial).facts == {}


def test_facts_are_merged_and_not_finite_ones_left_out(db: Database) -> None:
    claim, trial = begun(db, gates=1, nested={"a": [1.5, math.inf]})
    transitions.record_started(db, claim, trial, {"host": "lab", "tokens": 2**40})
    transitions.record_progress(db, claim, trial, {"tokens": 7, "gates": None})
    found = queries.trial_by_id(db, trial)
    assert found.facts == {"nested": {"a": [1.5, None]}, "tokens": 7} and found.host == "lab"


def test_brackets_in_a_text_are_no_levels_and_more_levels_than_a_reader_accepts_are_refused(db: Database) -> None:
    """An attribute, the last line of an exception, or a report of a command may be any text."""
    texts = {"open": "[" * 100, "json": '{"a":' * 50, "quoted": 'a"[[\\' * 50, "end": "\\"}
    claim, trial = begun(db, attrs=texts)
    found = queries.trial_by_id(db, trial)
    assert found.facts == {"attrs": texts} and found.unreadable is None
    deep: list[Any] = []
    for _ in range(41):
        deep = [deep]
    with pytest.raises(BadRow, match="facts has more than 40 levels"):
        transitions.record_progress(db, claim, trial, {"deep": deep})
    transitions.finish_trial(db, claim, trial, TrialStatus.FAILED, Cause.CODE_ERROR, message="[" * 100)
    ended = next(event for event in reversed(queries.events(db)) if event.verb == "trial_failed")
    assert ended.data["message"] == "[" * 100


def test_long_texts_of_digits_are_read_and_numbers_beyond_any_float_are_left_out(db: Database) -> None:
    """Three hundred features as a text of zeros and ones."""
    bits = "01" * 400
    claim, trial = begun(db, attrs={"bits": bits, "count": 10**400, "lowest": -(10**400), "large": 10**200})
    found = queries.trial_by_id(db, trial)
    assert found.facts == {"attrs": {"bits": bits, "count": None, "lowest": None, "large": 10**200}}
    assert found.unreadable is None
    transitions.record_draw(db, claim, trial, 0, "features", bits, {"kind": "choice", "choices": [bits, bits[1:]]})
    assert queries.draws(db, trial)[0].distribution["choices"] == [bits, bits[1:]]


# Draws


def test_a_draw_is_on_record_and_a_parameter_at_once(db: Database) -> None:
    claim, trial = begun(db)
    assert (
        transitions.record_draw(db, claim, trial, 0, "lr", 0.1 + 0.2, {"kind": "float", "low": 0, "high": 1})
        == 0.1 + 0.2
    )
    assert transitions.record_draw(db, claim, trial, 1, "layers", 3, INT) == 3
    assert transitions.record_draw(db, claim, trial, 1, "layers", 3, dict(reversed(INT.items()))) == 3
    assert [(d.k, d.name, d.value) for d in queries.draws(db, trial)] == [(0, "lr", 0.1 + 0.2), (1, "layers", 3)]
    assert queries.draws(db, trial)[1].distribution == INT
    assert queries.trial_by_id(db, trial).params == {"lr": 0.1 + 0.2, "layers": 3}
    assert "drifted" not in verbs(db)


def test_another_value_for_a_recorded_draw_changes_nothing_and_leaves_an_event(db: Database) -> None:
    claim, trial = begun(db)
    transitions.record_draw(db, claim, trial, 0, "layers", 3, INT)
    assert transitions.record_draw(db, claim, trial, 0, "layers", 4, INT) == 3
    assert transitions.record_draw(db, claim, trial, 0, "depth", 3, INT) == 3
    assert transitions.record_draw(db, claim, trial, 0, "layers", 3, INT | {"high": 9}) == 3
    assert queries.trial_by_id(db, trial).params == {"layers": 3}
    assert verbs(db).count("drifted") == 3


@pytest.mark.parametrize(
    ("k", "name", "value"),
    [
        (-1, "x", 1),
        (0, "", 1),
        (0, 5, 1),
        (0, "x", [1]),
        (0, "x", math.nan),
        (0, "x", object()),
        (0, "x", 1e150),
        (0, "x", -(10**150)),
        (True, "x", 1),
    ],
)
def test_what_is_no_draw_is_refused(db: Database, k: int, name: Any, value: Any) -> None:
    claim, trial = begun(db)
    with pytest.raises(BadRow):
        transitions.record_draw(db, claim, trial, k, name, value, INT)
    with pytest.raises(WrongStatus, match="draw 0 comes next, not 1"):
        transitions.record_draw(db, claim, trial, 1, "x", 1, INT)
    assert queries.draws(db, trial) == ()


def test_a_trial_that_fails_and_runs_again_keeps_its_draws(db: Database) -> None:
    claim, trial = begun(db, gates=1)
    transitions.record_draw(db, claim, trial, 0, "layers", 3, INT)
    transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.5})
    transitions.finish_trial(db, claim, trial, "failed", Cause.CODE_ERROR)
    transitions.fail_job(db, claim, Cause.CODE_ERROR, "odd")
    transitions.retry(db, [1])
    claim = claimed(db)
    transitions.rerun_trial(db, claim, trial)
    found = queries.trial_by_id(db, trial)
    assert (found.params, found.epochs, found.facts) == ({"layers": 3}, 0, {})
    assert [draw.value for draw in queries.draws(db, trial)] == [3]
    assert transitions.record_draw(db, claim, trial, 0, "layers", 3, INT) == 3


def test_a_draw_that_cannot_be_read_stops_the_search(db: Database) -> None:
    claim, trial = begun(db)
    transitions.record_draw(db, claim, trial, 0, "layers", 3, INT)
    db.execute_sql("UPDATE draw SET value = '[1]'")
    with pytest.raises(UnreadableHistory, match="draw 0 of trial 1: unreadable; `fts doctor`"):
        queries.draws(db, trial)


# Attempts


def test_each_process_that_worked_on_a_trial_is_a_row(db: Database) -> None:
    claim, trial = begun(db)
    transitions.record_progress(db, claim, trial, {"pid": 41, "host": "lab", "pid_started": 1.0})
    transitions.record_progress(db, claim, trial, {"peak_bytes": 5})
    transitions.record_progress(db, claim, trial, {"pid": 42, "host": "lab"})  # restarted with a smaller batch
    interrupt(db, claim, Cause.DRAINED)
    transitions.resume_trial(db, claim, trial)
    transitions.record_progress(db, claim, trial, {"pid": 43, "host": "hut"})
    transitions.record_attempt_ended(db, claim, trial, "out of memory")
    transitions.record_progress(db, claim, trial, {"pid": 44, "host": "hut"})
    transitions.finish_trial(db, claim, trial, "complete", Cause.FINISHED, value=0.5)
    found = queries.attempts(db, trial)
    assert [(a.n, a.host, a.pid, a.how) for a in found] == [
        (1, "lab", 41, "replaced"), (2, "lab", 42, "drained"), (3, "hut", 43, "out of memory"),
        (4, "hut", 44, "complete"),
    ]  # fmt: skip
    assert all(a.ended_at is not None and a.began_at <= a.ended_at for a in found)
    assert {a.token for a in found} == {claim.token}


def test_the_attempt_of_a_lost_worker_ends_with_its_claim(db: Database) -> None:
    claim, trial = begun(db)
    transitions.release_job(db, claim, Cause.LOST_WORKER)
    claim = claimed(db)
    transitions.resume_trial(db, claim, trial, pid=9)
    assert [(a.n, a.token, a.how) for a in queries.attempts(db, trial)] == [(1, 1, "lost worker"), (2, 2, None)]


# Studies


def test_a_declaration_is_what_the_study_said_last(db: Database) -> None:
    transitions.declare_study(db, "digits", {"axes": [{"name": "size"}], "step": "step"})
    transitions.declare_study(db, "digits", {"axes": [], "step": "round"})
    assert queries.snapshot(db).studies["digits"].declaration == {"axes": [], "step": "round"}
    transitions.declare_study(db, "patchtst", {"step": "own"})
    enqueued(db)
    assert queries.studies(db)["patchtst"].declaration == {"step": "own"}
    with pytest.raises(BadRow):
        transitions.declare_study(db, "no name", {})


@pytest.mark.parametrize("group", ["axes", "metrics", "facts"])
def test_a_study_whose_columns_nobody_could_tell_apart_is_refused(db: Database, group: str) -> None:
    size, kind = {"name": "size"}, {"name": "kind", "label": "size"}
    hidden = kind | {"shown": ["csv", "json"]}
    for wrong, told in (
        ([size, size], f"the study digits declares 'size' twice among its {group}: remove or rename one"),
        ([size, kind], f"declares two {group}, 'size' and 'kind', with the heading 'size': give one of them another"),
    ):
        with pytest.raises(BadRow, match=told):
            transitions.declare_study(db, "digits", {group: wrong})
    for right in ([size, kind | {"unit": "s"}], [size, hidden], [size | {"label": "kind"}, hidden]):
        transitions.declare_study(db, "digits", {group: right})
    transitions.declare_study(db, "patchtst", PatchTST().declaration())


def test_only_axes_that_decide_the_labels_clash(db: Database) -> None:
    """Size S and size M of one data set train on the same labels; two tasks must not."""
    same = {"label_md5": MD5, "data_md5": MD5}
    rows = [digits(labels={"size": s, "task": t}, spec={"n": n}) for n, (s, t) in enumerate(("Sa", "Ma", "Sb"))]
    transitions.enqueue(db, rows)
    crew = worker(db, slots=3)
    claims = [claimed(db, crew) for _ in rows]
    trials = [transitions.start_trial(db, claim, 0, params={}, effective={}, seed=1) for claim in claims]
    for claim, trial in zip(claims, trials, strict=True):
        transitions.record_started(db, claim, trial, same)  # nobody has said which axes decide them
    transitions.declare_study(db, "digits", {"label_axes": ["task"]})
    with pytest.raises(LabelClash, match=r"\(task a\) has exactly the labels of digits_mnist_S \(task b\)"):
        transitions.record_started(db, claims[0], trials[0], same)


# What nobody should have written


@pytest.mark.parametrize(
    "labels", ['{"budget":[1]}', "[]", '"x"', "{", '{"horizon":1e999}', '{"budget":null}', "9" * 400]
)
def test_labels_that_cannot_be_read_blind_no_look(db: Database, labels: str) -> None:
    enqueued(db, 2)
    db.execute_sql("PRAGMA ignore_check_constraints = 1")
    db.execute_sql("UPDATE job SET labels = ? WHERE id = 1", (labels,))
    odd, plain = sorted(queries.jobs(db), key=lambda job: job.id)
    assert odd.unreadable is not None and "labels is" in odd.unreadable and odd.labels == {}
    assert (odd.budget, odd.horizon, plain.budget, plain.horizon) == ("", 0, "2M", 2)
    assert len(db.execute_sql("SELECT * FROM v_queue").fetchall()) == 2
    claim = claimed(db)
    assert claim.job_id == 2 and queries.job(db, 1).status.value == "failed"


def test_a_study_and_facts_that_cannot_be_read_blind_no_look(db: Database) -> None:
    claim, trial = begun(db)
    transitions.record_epoch(db, claim, trial, {"epoch": 0, "value": 0.5})
    transitions.declare_study(db, "digits", {})
    db.execute_sql("PRAGMA ignore_check_constraints = 1")
    db.execute_sql("UPDATE study SET declaration = '[]'")
    db.execute_sql("UPDATE trial SET facts = ?", (json.dumps({"x": 1}).replace("1", "1e999"),))
    db.execute_sql('UPDATE epoch SET metrics = \'{"f1": "x"}\'')
    shown = queries.snapshot(db)
    assert shown.studies["digits"].declaration == {} and shown.trials[0].facts == {} and shown.epochs[0].metrics == {}
    assert {row.name for row in shown.unreadable} == {"trial 1", "epoch 0 of trial 1"}
