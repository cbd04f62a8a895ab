"""The registry: every action can be reached by key or palette, has its command, its help, its verb, and does it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import click
import pytest

from fts.jobs.actions import ACTIONS, by_id, by_key, for_key
from fts.jobs.actions.registry import LEVELS, SCOPES
from fts.jobs.cli.app import entries, fts
from fts.state import queries, transitions
from fts.state.errors import WrongStatus
from fts.state.transitions.base import this_person as as_the_ledger_says
from fts.state.user import this_person
from fts.state.values import Verb
from tests.cli.study import add_epoch, claim, finished_cell, make_study, start_trial, start_worker
from tests.tui.values import NOW, make_event, picture

MONITOR_KEYS = set("jkgGhlozfyYwqv?:/nN") | {str(n) for n in range(1, 8)}  # moving, looking, leaving: no actions


@pytest.fixture
def db(tmp_path: Path):
    opened = make_study(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_each_action_has_a_command_that_exists_help_level_scope_and_verb(action):
    assert action.scope in SCOPES and action.level in LEVELS and action.verb in list(Verb)
    assert action.label and action.help.endswith(".")
    program, name, *flags = action.command().replace("PLACE", "1").split()
    assert program == "fts" and name in entries()
    command = fts.get_command(click.Context(fts), name)
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {flag for flag in flags if flag.startswith("--")} <= known


def test_ids_are_unique_and_a_key_means_one_thing():
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    keys = {action.key for action in ACTIONS if action.key}
    assert keys == set("JKtpxrPDuUameW")
    assert not keys & MONITOR_KEYS
    for key in keys:
        assert len({action.scope for action in by_key(key)}) == 1


def test_what_cannot_be_undone_has_no_key():
    assert all(action.key is None for action in ACTIONS if action.level == "L3")


def test_upper_case_acts_on_the_whole_machine_and_asks():
    for action in ACTIONS:
        if action.scope in ("worker", "queue"):
            assert action.asks() and (action.key is None or action.key.isupper())


def test_an_action_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ACTIONS[0].key = "q"  # type: ignore[misc]


def test_importing_the_registry_is_light():
    code = (
        "import sys, fts.jobs.actions; "
        "heavy = {'torch', 'optuna', 'textual', 'pandas', 'numpy', 'huey', 'peewee'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["move_up", "move_down", "next", "pause", "resume", "cancel", "retry"])
def test_an_action_applies_exactly_where_the_memory_accepts_it(db, name: str):
    """Jobs in every state; what `why_not` allows must go through, what it refuses must be refused or change nothing."""
    finished_cell(db)  # job 1
    claim(db)  # job 2 runs
    transitions.pause(db, [4])
    transitions.enqueue(db, [_again(db, 1)])  # job 5 waits
    transitions.cancel(db, [5])
    action, snapshot = by_id(name), queries.snapshot(db)
    for job in snapshot.jobs:
        refused = action.why_not(job, snapshot)
        try:
            change = action.run(db, [job.id], "test", dry_run=True)
            did = not change.message.startswith("nothing to do")
        except WrongStatus:
            did = False
        if refused is None:
            assert did or name.startswith(("move", "next")), f"{name} of job {job.id}: allowed, but {change.message}"
        else:
            assert not did, f"{name} of job {job.id} was refused ({refused}) and worked"


def _again(db, job_id: int) -> dict:
    job = queries.job(db, job_id)
    fields = ("experiment", "kind", "budget", "horizon", "task", "tier", "trials_wanted", "spec")
    return {name: getattr(job, name) for name in fields} | {"spec_md5": "e" * 32}


def test_p_and_big_p_and_big_d_go_both_ways(db):
    snapshot = queries.snapshot(db)
    assert for_key("p", snapshot.jobs[:1], snapshot).id == "pause"
    assert for_key("P", (), snapshot).id == "pause_queue"
    transitions.pause(db, [1])
    transitions.pause_queue(db, "night")
    worker = start_worker(db)
    snapshot = queries.snapshot(db)
    assert for_key("p", [queries.job(db, 1)], snapshot).id == "resume"
    assert for_key("P", (), snapshot).id == "resume_queue"
    assert for_key("D", (), snapshot).id == "drain"
    transitions.ask_worker(db, worker, "drain_trial")
    assert for_key("D", (), queries.snapshot(db)).id == "undrain"
    assert for_key("Z", (), snapshot) is None


def test_the_price_of_a_running_trial_is_named(db):
    claimed = claim(db)
    trial = start_trial(db, claimed)
    add_epoch(db, claimed, trial, 1, 0.5)
    snapshot = queries.snapshot(db)
    running = [job for job in snapshot.jobs if job.id == 1]
    cancel = by_id("cancel")
    assert cancel.level_for(running) == "L2"
    price = cancel.price(snapshot, running)
    assert "t0 of 2M/h1 (epoch 1) stops; without a retry 2 s of training are lost; 3 trials" in price
    waiting = [job for job in snapshot.jobs if job.id == 2]
    assert cancel.level_for(waiting) == "L1" and cancel.price(snapshot, waiting) is None
    assert "after t0 of 2M/h1, at the latest" in by_id("drain").price(snapshot)
    assert "3 jobs in the queue; 1 running job continues" in by_id("pause_queue").price(snapshot)


def test_greyed_keys_answer_with_the_reason(db):
    finished_cell(db)
    snapshot = queries.snapshot(db)
    done = next(job for job in snapshot.jobs if job.id == 1)
    assert by_id("cancel").why_not(done, snapshot) == "2M/h1 is done"
    assert by_id("cancel").why_not(None, snapshot) == "no job is chosen"
    assert by_id("resume_queue").why_not(None, snapshot) == "the queue is not paused"


def test_every_change_leaves_its_verb_in_the_journal(db):
    start_worker(db)
    for name, ids, args in [
        ("move_down", [1], {}), ("next", [3], {}), ("pause", [1], {}), ("resume", [1], {}), ("cancel", [2], {}),
        ("retry", [2], {}), ("pause_queue", [], {}), ("resume_queue", [], {}), ("drain", [], {}), ("undrain", [], {}),
        ("drain_job", [], {}), ("stop", [], {}), ("undo", [], {}), ("redo", [], {}), ("note", [1], {"text": "hot"}),
    ]:  # fmt: skip
        action = by_id(name)
        change = action.run(db, ids, "test", **args)
        event = queries.events(db, limit=1)[0]
        assert (event.verb, event.who, event.id) == (action.verb, "test", change.event_id), name


def test_the_command_line_twin_names_the_jobs(db):
    jobs = queries.jobs(db)[:2]
    assert by_id("pause").command(jobs) == "fts pause 1 2"
    assert by_id("move_to").command([3], place=2) == "fts move 3 2"
    assert by_id("pause_queue").command() == "fts pause --queue"
    assert by_id("ack").command(jobs) == "fts ack", "the key acknowledges everything"
    assert by_id("note").command(jobs, text='a "b"  $HOME') == "fts note 'a \"b\"  $HOME' --job 1"
    for text in ("-5 is bad", "--job 7"):  # no option
        typed = shlex.split(by_id("note").command(jobs, text=text))
        found = fts.get_command(click.Context(fts), "note").make_context("note", typed[2:]).params
        assert (" ".join(found["text"]), found["cell"]) == (text, "1"), typed


def test_the_journal_and_the_glance_agree_who_is_at_the_keyboard():
    assert this_person() == as_the_ledger_says()


def test_undo_asks_about_old_changes_and_those_of_others_and_names_their_jobs():
    """A worker that cancels a running job does it for the person who asked."""
    event = make_event(
        99, NOW - 10, "cancelled", 5, who="worker 1", message="cancelled: killed by user, stopped at a checkpoint",
        data={"asked_by": "you@spark"}, inverse={"jobs": [{"id": 5}]},
    )  # fmt: skip

    def price(user="you@spark", **changes):
        events = (*picture().events, replace(event, **changes))
        return by_id("undo").price(replace(picture(), events=events, user=user), [])

    assert price() is None
    assert price("ada@lab") == f"job 5: {event.message}: 10 s ago by you@spark"
    assert price(at=NOW - 400) == f"job 5: {event.message}: 7 min ago by you@spark"
    paused = {"who": "ada@lab", "data": {}, "message": "job 5 (phase6a_20M_h3_threshold_1pct): paused"}
    assert price(**paused) == f"{paused['message']}: 10 s ago by ada@lab", "it names its job itself"
    several = {**paused, "verb": "paused", "inverse": {"jobs": [{"id": n} for n in range(1, 9)]}}
    assert price(**several) == "paused, of jobs 1, 2, 3, 4, 5 and 3 more: 10 s ago by ada@lab"
    undone = make_event(101, NOW - 10, "undone", 5, message="undo of 'x'", who="ada@lab", inverse={"jobs": [{"id": 5}]})
    snapshot = replace(picture(), events=(*picture().events, undone))
    assert by_id("redo").price(replace(snapshot, user="ada@lab"), []) is None
    assert by_id("redo").price(snapshot, []) == "job 5: undo of 'x': 10 s ago by ada@lab"
    foreign = {**paused, "inverse": {"jobs": [{"id": [1]}, {"id": {}}, {}, 7, {"id": 5}]}}
    assert price(**foreign) == price(**paused), "a row that no fts wrote"
