"""Schema 3: several trials of a job may run side by side, so its live trials are found by an index that allows them.

Frozen. How many there may be is part of the job's specification, and checked where a trial begins.
"""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "DROP INDEX IF EXISTS trial_live",
    "CREATE INDEX trial_live ON trial (job_id) WHERE status IN ('running', 'interrupted')",
)
