"""Every painter at any size, of any study: it never fails and keeps to its lines."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache, partial

import pytest

from fts.jobs.status import formatting
from fts.jobs.status import summary as glances
from fts.state.values import JobStatus
from fts.tui import pictures
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, QUEUE, RESULTS, SCREENS, TRIALS, View
from fts.tui.screens import curves, hardware, queue, results, trials
from fts.tui.widgets import (
    event_list,
    front_chart,
    history,
    learning_curve,
    matrix,
    meters,
    queue_table,
    slices,
    trial_table,
)
from tests.tui import any_study
from tests.tui.values import NOW, make_snapshot

EVERY = ("mem", "temp", "gpu", "cpu", "power", "disk")
PAINTERS = {
    "queue": (QUEUE, queue_table.paint),
    "summary": (QUEUE, queue.summary),
    "events": (QUEUE, event_list.events),
    "event line": (QUEUE, lambda view, w, h: [event_list.event_line(view, w)]),
    "trials": (TRIALS, trial_table.trials),
    "importance": (TRIALS, lambda view, w, h: [trial_table.importance_line(view, w) or ()]),
    "detail": (TRIALS, trials.detail),
    "chart": (CURVES, learning_curve.chart),
    "history": (CURVES, history.history),
    "verdict": (CURVES, lambda view, w, h: [((learning_curve.verdict_line(view, w), ""),)]),
    "cells": (CURVES, curves.small_multiples),
    "meters": (HARDWARE, lambda view, w, h: meters.rows(view, w, w // 4, EVERY)[:h]),
    "day": (HARDWARE, hardware.day),
    "guard": (HARDWARE, hardware.guard),
    "log": (LOGS, event_list.log),
    "matrix": (RESULTS, lambda view, w, h: matrix.matrix(view, w)),
    "below": (RESULTS, results.below),
    "cell": (RESULTS, results.cell),
    "front": (RESULTS, front_chart.front),
    "slices": (RESULTS, slices.slices),
    "journal": (EVENTS, event_list.journal),
}
EXACT = ("chart", "history", "front", "slices", "queue", "trials", "journal", "verdict", "importance")
LONG = ("detail", "guard", "matrix", "below", "cell")  # of panes that scroll
LEAST, MOST = (40, 8), (300, 90)


def sizes(count: int, seed: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    some = [(dice.randint(1, MOST[0]), dice.randint(1, MOST[1])) for _ in range(count)]
    return [LEAST, (120, 40), MOST, (1, 1), (300, 4), (12, 90), *some]


@pytest.fixture(scope="module")
def databases(built, tmp_path_factory):
    """Name -> path of several kinds of study."""
    folder = tmp_path_factory.mktemp("sizes")
    found = {"bars": built}
    made = {
        "three": any_study.build,
        "fronts": partial(any_study.build_front, cells=7, beside=1),
        "long names": partial(any_study.build_long_names),
    }
    for name, build in made.items():
        found[name] = folder / name / "outputs" / "fts.db"
        found[name].parent.mkdir(parents=True)
        build(found[name])
    return found


@cache
def views(path, screen: int) -> list[View]:
    """As it is, with every cell selected in turn, sorted, filtered, marked, and when all has ended."""
    first = pictures.look(path, SCREENS[screen].lower(), (120, 40), now=NOW, user="you@spark")
    jobs = [job.id for job in first.snapshot.jobs]
    found = [pictures.look(path, SCREENS[screen].lower(), (120, 40), now=NOW, job_id=job) for job in jobs[:2]]
    found.append(replace(first, sort="best", reverse=True, filter="a", marks=frozenset(jobs)))
    found.append(replace(first, log_y=True, chart_zoom=3, chart_shift=2, metric="latency", overlay=False))
    ended = tuple(replace(job, status=JobStatus.DONE, ended_at=NOW - 60) for job in first.snapshot.jobs)
    found.append(replace(first, glance=glances.look(replace(first.snapshot, jobs=ended), NOW)))
    return [first, *found]


@pytest.mark.parametrize("name", PAINTERS)
def test_a_painter_never_fails_and_keeps_to_its_lines(databases, name):
    screen, paint = PAINTERS[name]
    shown = [view for path in databases.values() for view in views(path, screen)]
    shown.append(View(glances.look(make_snapshot(), NOW), screen=screen))  # an empty queue
    for view in shown:
        for width, height in sizes(1, seed=len(name)):
            lines = paint(view, width, height)
            assert len(lines) <= max(height, 4) or name in LONG, (name, width, height)
            for line in lines if name in EXACT and width >= LEAST[0] else ():
                text = "".join(part for part, _ in line)
                assert formatting.width(text) <= width or name in ("queue", "trials"), (name, width, height, text)
                assert "\n" not in text and "nan" not in text.lower().split(), text
