"""Importance and gap where people look for them: Trials, Results, the widest Queue, and the command line."""

from __future__ import annotations

import random

import pytest

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.tui import pictures
from fts.tui.data.view import QUEUE, RESULTS, TRIALS, Details, View
from fts.tui.render.text import as_text
from tests.tui.values import NOW, make_epochs, make_job, make_snapshot, make_trial


def view(screen, trials=24):
    dice = random.Random(5)
    made = []
    for n in range(trials):
        lr, drop = 10 ** dice.uniform(-5, -3), dice.uniform(0, 0.5)
        value = 0.6 + 20 * lr + dice.gauss(0, 1e-4)
        params = {"learning_rate": lr, "dropout": drop, "architecture": dice.choice(["d64-L2", "d128-L2"])}
        made.append(make_trial(n + 1, 1, n, value=value, val_auc=value, epochs=6, best_epoch=6, params=params,
                               ended_at=NOW - 60))  # fmt: skip
    best = max(made, key=lambda t: t.value)
    job = make_job(
        1, "20M", 3, "queued", trials_complete=trials, best_value=best.value, best_trial=best.number,
    )  # fmt: skip
    curves = {t.id: make_epochs(t.id, 6, 0.68, NOW) for t in made}
    snapshot = make_snapshot(jobs=(job,), trials=(best,))
    return View(
        glances.look(snapshot, NOW), Details(job_id=1, trials=tuple(made), curves=curves), screen=screen, job_id=1
    )


def frame(screen, size, **more):
    return as_text(pictures.frame(view(screen, **more), *size))


@pytest.mark.parametrize(("screen", "size"), [
    (TRIALS, (80, 24)), (TRIALS, (120, 40)), (TRIALS, (200, 60)), (RESULTS, (120, 40)), (RESULTS, (200, 60)),
    (QUEUE, (200, 60)),
])  # fmt: skip
def test_importance_says_of_how_many_trials_it_is(screen, size):
    text = frame(screen, size)
    assert "importance" in text
    assert "24 trials" in text
    row = next(row for row in text.splitlines() if "importance" in row)
    assert "…" not in row.split("importance")[0]


def test_the_parameter_that_was_planted_stands_first():
    row = next(row for row in frame(TRIALS, (120, 40)).splitlines() if "importance" in row)
    assert row.index(" lr ") < row.index(" drop")


def test_with_few_trials_nothing_is_claimed():
    assert "importance" not in frame(TRIALS, (120, 40), trials=6)
    assert "importance: needs 10 values, 6 so far" in frame(RESULTS, (120, 40), trials=6)


@pytest.mark.parametrize(("screen", "size"), [
    (TRIALS, (120, 40)), (RESULTS, (80, 24)), (RESULTS, (120, 40)), (QUEUE, (200, 60)),
])  # fmt: skip
def test_the_gap_between_training_and_validation_is_shown(screen, size):
    text = frame(screen, size)
    assert "train/val" in text
    gap = 0.6 - make_epochs(1, 6, 0.68, NOW)[-1].val_auc
    assert f"{gap:+.3f}".replace("0.", ".", 1) in text


def test_all_of_it_is_plain_in_ascii():
    assert formatting.to_ascii(frame(RESULTS, (120, 40))).isascii()
