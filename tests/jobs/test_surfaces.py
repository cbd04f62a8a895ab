"""Every sentence of a glance names commands on the command line and keys in the monitor, and counts in good English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from fts.jobs.cli.app import entries
from fts.jobs.status import summary as glances
from fts.jobs.status.disk_usage import Kept
from fts.jobs.status.formatting import MB
from fts.jobs.status.headline import lines, plain
from fts.jobs.status.log_excerpt import LastLines
from fts.jobs.status.sentences import sentences
from fts.jobs.status.surface import COMMANDS, Surface, by, command
from fts.state.values import Cause, SeenForecast, Snapshot
from fts.tui import bindings, pictures
from fts.tui.data.view import SCREENS, Details, View
from fts.tui.render.text import as_text
from tests.jobs.test_glance_verdict import RUNNING, SITUATIONS
from tests.tui.test_any_size import PAINTERS
from tests.tui.values import (
    HOUR,
    NOW,
    make_epochs,
    make_event,
    make_job,
    make_sample,
    make_snapshot,
    make_trial,
    make_worker,
    picture,
)

SIZES = [(39, 7), (60, 15), (80, 24), (120, 40), (200, 60)]
KEPT = Kept(118 * MB, 74 * MB)
# a single letter or digit that reads as a key: "W starts one", "`a` marks", "r retries, 5 log"
KEY_WORD = re.compile(
    r"`[A-Za-z0-9?/:]`|\b(?:[WPDUaeprtuwxJKmy1-7]|ctrl\+r) "
    r"(?:starts|resumes|retries|writes|shows|log|reads|fills|enqueues|marks|= seen|seen|to mark|withdraws)\b"
)


def states() -> dict[str, Snapshot]:
    """The situations of the verdict, and those in which one thing is there of everything."""
    done = make_job(1, "2M", 1, "done", trials_wanted=1, trials_complete=1, best_value=0.65, best_trial=0,
                    started_at=NOW - HOUR, ended_at=NOW - 60)  # fmt: skip
    found = {name: situation[0] for name, situation in SITUATIONS.items()}
    running = make_job(1, status="running", trials_wanted=1, **RUNNING)
    waiting = make_job(2, horizon=3, trials_wanted=1)
    leaving = {
        order: make_snapshot(
            jobs=(running, waiting), workers=(make_worker(asked=order),), samples=(make_sample(),),
            trials=(make_trial(1, 1, 0, "running", epochs=1),), epochs=make_epochs(1, 1, 0.6, NOW - 30),
            events=(make_event(1, NOW - 60, "worker_asked", who="the file outputs/logs/STOP_HPO",
                               data={"workers": [1], "asked": order}),),
        )
        for order in ("drain_job", "drain_trial", "stop")
    }  # fmt: skip
    slipped = SeenForecast(NOW - HOUR, NOW + HOUR, (1, 2), {"2M": 1.0})
    ended = replace(done, status="failed", cause=Cause.CODE_ERROR, message="broke", trials_complete=0, trials_failed=1)
    once = (
        make_event(1, NOW - 50, "finished", 1), make_event(2, NOW - 49, "trial_complete", 1),
        make_event(3, NOW - 48, "guard", data={"new": "frozen", "worker_id": 1}),
        make_event(4, NOW - 40, "guard", data={"new": "normal", "worker_id": 1}),
    )  # fmt: skip
    return found | leaving | {
        "one result": make_snapshot(jobs=(done,), workers=(make_worker(status="stopped", stopped_at=NOW - 60),)),
        "one result and one failure": make_snapshot(jobs=(done, replace(ended, id=2, acknowledged_at=NOW))),
        "one of everything happened": make_snapshot(jobs=(done, waiting), events=once, last_key_at=NOW - 9 * HOUR),
        "one waits while paused": make_snapshot(jobs=(waiting,), queue_paused=True),
        "one failed, one fine": make_snapshot(jobs=(ended, replace(waiting, id=2)), workers=(make_worker(),)),
        "one silent worker": make_snapshot(jobs=(running,), workers=(make_worker(heartbeat_at=NOW - 60),)),
        "one died": make_snapshot(jobs=(running,), workers=(make_worker(heartbeat_at=NOW - 60, gone=True),)),
        "slipped": replace(picture(), seen=slipped),
        "a disk that is full": make_snapshot(
            jobs=(running,), workers=(make_worker(),), samples=(make_sample(disk_free=212 * MB),)
        ),
    }  # fmt: skip


STATES = states()


@cache
def told(name: str, surface: Surface) -> tuple[str, ...]:
    return tuple(dict.fromkeys(every_text(STATES[name], surface)))


def every_text(snapshot: Snapshot, surface: Surface) -> Iterator[str]:
    """All that `fts status` can say of a state, or the first lines of the monitor at all sizes."""
    for read_age_s, problem in ((0.0, None), (60.0, "the database is locked")):
        glance = glances.look(
            snapshot, NOW, title="study", surface=surface, kept=KEPT, read_age_s=read_age_s, problem=problem
        )
        for size in SIZES:
            yield from (plain(line) for line in lines(glance, *size))
        yield from (concern.reason for concern in glance.verdict.concerns)
        yield from (concern.short for concern in glance.verdict.concerns)
        if surface is Surface.COMMAND_LINE:
            yield from sentences(glance)
    for last in (LastLines(1, "2M/h1 t0", ("a",), "outputs/logs/a.log"), LastLines(None, "worker 1", ("a",), "")):
        yield last.where(surface)


@pytest.mark.parametrize("name", STATES)
def test_the_command_line_names_no_key(name):
    for text in told(name, Surface.COMMAND_LINE):
        assert not KEY_WORD.search(text.replace("`fts", "fts")), text


@pytest.mark.parametrize("name", STATES)
def test_what_the_command_line_names_is_a_command(name):
    commands = set(entries())
    for text in told(name, Surface.COMMAND_LINE):
        for said in re.findall(r"`fts ([a-z-]+)", text):
            assert said in commands, text


def test_the_pattern_finds_what_it_is_for():
    for text in (
        "6 results, w writes them",
        "`a` marks what you have seen",
        "e enqueues the matrix",
        "(r retries, 5 log)",
    ):
        assert KEY_WORD.search(text), text


def test_each_key_with_a_command_is_a_key_of_the_monitor():
    known = set(bindings.BY_KEY) | set(bindings.ACTION_KEYS)
    assert set(COMMANDS) <= known
    assert command("r", 6) == "fts retry 6"
    assert by("r", Surface.MONITOR, 6) == "r"
    assert by("a", Surface.COMMAND_LINE) == "`fts ack`"


# ---------------------------------------------------------------- one of everything


# not 1 %, .1 trials or t1 trials: a bare 1 before a word that is a plural
PLURAL_OF_ONE = re.compile(
    r"(?<![\w./:+-])1 (?:\w+ )?(?:cells|trials|jobs|results|workers|slots|pauses|decisions|events|epochs|rows|samples"
    r"|lines|days|baselines|forecasts|checkpoints|others|sizes|replicates|values|seeds|windows|positives|wait\b|are\b)"
)


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("name", STATES)
def test_one_is_no_plural(name, surface):
    for text in told(name, surface):
        assert not PLURAL_OF_ONE.search(text), text


@pytest.mark.parametrize("name", STATES)
def test_one_is_no_plural_on_any_screen(name):
    """Each screen paints each state; the monitor draws one screen of each, which is another from state to state."""
    snapshot, of_state = STATES[name], list(STATES).index(name)
    trial = make_trial(
        1, 1, 0, value=0.65, epochs=1, best_epoch=1, n_val=1, n_pos=1, micro_batch=1, accumulation=1,
        badges=("reused",), ended_at=NOW - 60,
    )  # fmt: skip
    trials = snapshot.trials or (trial,)
    details = Details(
        job_id=1, trials=trials, curves={trials[0].id: make_epochs(trials[0].id, 1, 0.65, NOW - 60)},
        samples=(make_sample(),), events=snapshot.events,
    )  # fmt: skip
    for screen in range(len(SCREENS)):
        view = View(glances.look(snapshot, NOW), details, screen=screen, job_id=1, marks=frozenset({1}), hidden_marks=1)
        size = SIZES[1:][(screen + of_state) % len(SIZES[1:])]  # each screen and each state meets each size
        texts = [as_text(list(paint(view, *size))) for on, paint in PAINTERS.values() if on == screen]
        if screen == of_state % len(SCREENS):
            texts.append(as_text(pictures.frame(view, *size)))
        for row in "\n".join(texts).splitlines():
            assert not PLURAL_OF_ONE.search(row), row


# ---------------------------------------------------------------- the end


def end_of(snapshot: Snapshot) -> str:
    return " ".join(sentences(glances.look(snapshot, NOW, surface=Surface.COMMAND_LINE)))


def test_a_finished_queue_is_not_told_to_be_without_end():
    for name in ("one result", "one result and one failure", "everything done", "done, and some were cancelled"):
        assert "All jobs have ended." in end_of(STATES[name])
    for name, text in ((name, end_of(STATES[name])) for name in STATES):
        assert "No end in sight" not in text, name
    assert "No job is in the queue." in end_of(make_snapshot())
    assert "Nothing else can run: 1 job is paused." in end_of(make_snapshot(jobs=(make_job(status="paused"),)))


# ---------------------------------------------------------------- leaving, whoever asked


@pytest.mark.parametrize("order", ["drain_job", "drain_trial", "stop"])
@pytest.mark.parametrize("mode", ["", "READ ONLY", "FROZEN"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_says_draining_whatever_was_asked(order, mode, size):
    glance = glances.look(STATES[order], NOW, mode=mode)
    assert "DRAINING" in " ".join(plain(line) for line in lines(glance, *size))


@pytest.mark.parametrize("order", ["drain_job", "drain_trial", "stop"])
def test_every_form_of_the_status_says_who_asked(order):
    glance = glances.look(STATES[order], NOW, surface=Surface.COMMAND_LINE)
    assert "DRAINING: worker 1 stops" in " ".join(sentences(glance))
    assert "asked by the file outputs/logs/STOP_HPO at 08:13" in " ".join(sentences(glance))
    assert glances.as_dict(glance)["draining"] == [
        {"worker": 1, "asked": order, "by": "the file outputs/logs/STOP_HPO"}
    ]


def test_one_of_two_workers_that_leaves_is_counted():
    both = replace(STATES["stop"], workers=(*STATES["stop"].workers, make_worker(2)))
    assert glances.look(both, NOW).drain == "DRAINING 1 of 2 now"
    assert glances.look(STATES["stop"], NOW).drain == "DRAINING now"
