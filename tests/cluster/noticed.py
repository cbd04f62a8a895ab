"""How soon a disturbance is noticed, and how soon its trial goes on: the table that `make test-cluster` ends with."""

from __future__ import annotations

from tests.executors.crew import Crew
from tests.fts_process import wait_until

TABLE: list[tuple[str, str, str]] = []  # disturbance, noticed after, next epoch after


def measure(crew: Crew, what: str, began: float, how: str = "node lost", host: str | None = None) -> None:
    """Of the first attempt that ended so since `began`; the trial may be the one after the one that was seen."""
    node = f" AND host = '{host}'" if host else ""
    asked = f"SELECT trial_id, ended_at FROM attempt WHERE how = '{how}' AND ended_at > {began}{node} ORDER BY ended_at"
    lost = wait_until(lambda: crew.study.query(asked), 120)[0]
    later = (  # the next epoch, or the end of a trial that was lost after its last one
        f"SELECT at FROM epoch WHERE trial_id = {lost['trial_id']} AND at > {lost['ended_at']} UNION "
        f"SELECT ended_at FROM trial WHERE id = {lost['trial_id']} AND ended_at IS NOT NULL ORDER BY 1"
    )
    onward = wait_until(lambda: crew.study.query(later), 120)[0]["at"]
    TABLE.append((what, f"{lost['ended_at'] - began:.1f} s", f"{onward - began:.1f} s"))
