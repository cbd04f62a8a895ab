"""People name cells, not numbers of jobs."""

import pytest

from fts.jobs.status.naming import name_cells
from tests.tui.values import make_job

JOBS = [make_job(7, "200M", 1), make_job(8, "200M", 3), make_job(11, "2M", 1), make_job(12, "2M", 1)]
LONG = "phase6a_200M_h1_threshold_1pct"


@pytest.mark.parametrize(("text", "said"), [
    (f"job 7 ({LONG}): paused", "200M/h1: paused"),
    ("jobs 7, 8 acknowledged", "200M/h1, 200M/h3 acknowledged"),
    ("jobs 7, 8 and 2 more", "200M/h1, 200M/h3 and 2 more"),
    ("job 8 is running and cannot be moved", "200M/h3 is running and cannot be moved"),
    (f"new best of {LONG}: val_auc 0.6", "new best of 200M/h1: val_auc 0.6"),
    ("job 99 is not there", "job 99 is not there"),
    ("jobs 7, 99 moved", "jobs 7, 99 moved"),
    ("job 11 moved", "2M/h1#11 moved"),
    ("the joblist has 7 entries", "the joblist has 7 entries"),
])  # fmt: skip
def test_cells_are_named(text, said):
    assert name_cells(text, JOBS) == said
