"""A forecast kept for a minute says what one made now would: only its times move while no job runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fts.jobs.status.forecast import forecast
from fts.state import queries
from fts.state.db import open_database
from fts.state.values import JobStatus
from tests.tui import study
from tests.tui.values import NOW


@pytest.fixture
def snapshot(tmp_path):
    study.build(tmp_path / "fts.db", now=NOW)
    db = open_database(tmp_path / "fts.db")
    found = queries.snapshot(db)
    db.close()
    return found


def test_while_no_job_runs_a_kept_forecast_is_the_one_of_now(snapshot):
    at_rest = replace(snapshot, jobs=[job for job in snapshot.jobs if job.status is not JobStatus.RUNNING])
    kept, now = forecast(at_rest, NOW).later(59.0), forecast(at_rest, NOW + 59)
    assert kept.seconds_left == now.seconds_left
    assert (kept.finish_at, kept.low, kept.high) == pytest.approx((now.finish_at, now.low, now.high), abs=1e-3)


def test_with_a_running_job_it_is_near_the_one_of_now(snapshot):
    kept, now = forecast(snapshot, NOW).later(59.0), forecast(snapshot, NOW + 59)
    assert kept.finish_at == pytest.approx(now.finish_at, abs=0.01 * (now.finish_at - NOW))
