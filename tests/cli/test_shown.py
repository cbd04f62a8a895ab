"""What `fts` shows of a study: one best of a baseline everywhere, rows of the hardware, sizes of a picture."""

from __future__ import annotations

import json
import re

import pytest

from fts.jobs.cli import hardware
from fts.state import queries, transitions
from fts.state.db import Database
from fts.state.values import Cause
from tests.cli.study import CELL, claim, finished_cell, start_trial, start_worker


def baseline(db: Database) -> int:
    """A baseline job whose best trial by loss is t0, and by AUC t1."""
    row = {
        "experiment": "baselines_h1_a25", "kind": "baseline", "budget": "baseline", "horizon": 1,
        "task": "threshold_1pct", "tier": "a25", "trials_wanted": 2,
        "spec": {"objective": "val_loss", "dataset": CELL.dataset},
    }  # fmt: skip
    job = transitions.enqueue(db, [row])[0].job_id
    transitions.move(db, [job], "top")
    claimed = claim(db)
    for number, (loss, auc) in enumerate(((0.5919, 0.70), (0.5966, 0.76))):
        trial = start_trial(db, claimed, number)
        transitions.finish_trial(
            db, claimed, trial, "complete", Cause.FINISHED, value=loss, last_value=loss, val_loss=loss, val_auc=auc,
            auc_low=auc - 0.05, auc_high=auc + 0.05,
        )  # fmt: skip
    transitions.finish_job(db, claimed)
    return job


def test_the_best_of_a_baseline_is_the_same_in_every_table_and_on_every_screen(fts, db: Database):
    job = baseline(db)
    finished_cell(db)
    for words in (
        ["queue"], ["status"], ["status", "--plain"], ["results", str(job)], ["results", "--md", str(job)],
        ["results", "--csv", str(job)], ["trials", str(job)], ["snapshot", "--screen", "queue"],
        ["snapshot", "--screen", "results"], ["events"],
    ):  # fmt: skip
        said = fts(*words).out
        rows = [row for row in said.splitlines() if ".59" in row and not re.search("complete|trial_complete", row)]
        if words[0] != "trials":
            assert any(".5919" in row for row in rows), words
            assert all("by AUC" in row for row in rows if ".5966" in row), words
    assert "t0★" in fts("trials", str(job)).out


def test_the_baseline_that_is_best_by_auc_has_a_row_of_that_name(fts, db: Database):
    """The differences of the cells are taken to it."""
    job = baseline(db)
    loss, auc = json.loads(fts("results", "--json", str(job)).out)["results"]
    assert (loss["cell"], loss["value"], loss["val_auc"], loss["best_trial"]) == ("base/h1", 0.5919, 0.70, 0)
    assert (auc["cell"], auc["value"], auc["val_auc"], auc["best_trial"]) == ("base/h1 by AUC", 0.5966, 0.76, 1)
    cell = finished_cell(db)
    assert len(json.loads(fts("results", "--json", str(cell.job_id)).out)["results"]) == 1


@pytest.mark.parametrize("size", ["10x10", "39x40", "40x7", "1x1", "0x0", "120x0", "999x7"])
def test_a_size_that_shows_no_screen_is_refused(fts, db: Database, size):
    said = fts("snapshot", "--size", size)
    assert said.code == 2
    assert "40x8" in said.err and said.out == ""


@pytest.mark.parametrize("size", ["40x8", "60x15", "200x60"])
def test_a_size_that_shows_a_screen_is_taken(fts, db: Database, size):
    said = fts("snapshot", "--size", size)
    assert said.code == 0
    assert "2M/h1" in said.out or size == "40x8"


def measured(db: Database, times: list[float], **readings: float) -> None:
    now, worker = db.now(), start_worker(db)
    for n, ago in enumerate(times):
        db.now = lambda ago=ago: now - ago  # type: ignore[method-assign]
        transitions.add_sample(db, worker, **{"cpu_percent": float(n), **readings})
    db.now = lambda: now  # type: ignore[method-assign]


def hardware_rows(said: str) -> list[list[str]]:
    return [line.split() for line in said.splitlines()[1:]]


def test_a_longer_span_never_shows_fewer_rows_of_the_same_samples(fts, db: Database):
    measured(db, [40.0 - n for n in range(4)])
    counts = [len(hardware_rows(fts("hardware", "--since", since).out)) for since in ("1h", "2d", "30d", "365d")]
    assert counts == [4] * 4


def test_a_column_that_nobody_measured_is_named_and_takes_no_room(fts, db: Database):
    measured(db, [1000.0 - 10 * n for n in range(40)], trial_rss=1, available=2, swap_used=0, disk_free=3, step_s=4.0)
    said = fts("hardware", "--since", "1h")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "not measured here: °C, gpu %, gpu memory, W" in said.err
    times = re.findall(r"\b\d\d:\d\d:\d\d\b", said.out)  # behind the name of a day that is over
    assert len(set(times)) == len(times) == 40, "ten seconds apart"


def test_a_row_of_many_samples_is_their_mean_and_says_so(fts, db: Database):
    measured(db, [1000.0 - 5 * n for n in range(180)], disk_free=10.0)
    said = fts("hardware", "--since", "1h")
    assert "180 samples from" in said.err and "each shows the mean of its n samples" in said.err
    head = said.out.splitlines()[0]
    for column in ("from", "n", "worker", "cpu %", "disk free"):
        assert column in head
    rows = hardware_rows(said.out)
    assert len(rows) == 60
    assert "3" in rows[0] and "1" in rows[0], "three samples with 0, 1 and 2 percent"
    one = fts("hardware", "--since", "103s")
    assert "mean" not in one.err


def test_more_samples_than_are_read_are_thinned_to_the_newest_and_json_has_all(fts, db: Database, monkeypatch):
    """Oldest first, a limit would cut off what the machine does now."""
    monkeypatch.setattr(hardware, "MOST", 90)
    ages = [1000.0 - 5 * n for n in range(100)]
    for _ in range(3):  # workers
        measured(db, ages)
    said = fts("hardware", "--since", "1h")
    newest = db.now() - min(ages)
    assert said.code == 0 and 40 <= len(hardware_rows(said.out)) <= 63
    last = json.loads(fts("hardware", "--since", "1h", "--json").out)["samples"]
    assert len(last) == 300 and abs(last[-1]["at"] - newest) < 5
    shown = queries.samples(db, db.now() - 3600, limit=90)
    assert len(shown) <= 96 and abs(shown[-1].at - newest) < 5 and {s.worker_id for s in shown[-6:]} == {1, 2, 3}
    for limit in range(3, 90):
        latest = {s.worker_id: s.at for s in queries.samples(db, db.now() - 3600, limit=limit)}
        assert len(latest) == 3 and all(abs(at - newest) < 5 for at in latest.values()), limit
    monkeypatch.setattr(hardware, "MOST_JSON", 299)
    refused = fts("hardware", "--since", "1h", "--json")
    assert refused.code == 2 and "300 samples" in refused.err
