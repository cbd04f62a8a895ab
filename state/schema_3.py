"""Schema 3: several trials of a job may run in parallel, so the index of live trials is no longer unique. Frozen.

How many may run is part of the job's specification; the transition that begins a trial checks it.
"""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "DROP INDEX IF EXISTS trial_live",
    "CREATE INDEX trial_live ON trial (job_id) WHERE status IN ('running', 'interrupted')",
)
