"""All reads of the database. They return frozen values (fts.state.values), never live rows."""

from fts.state.queries.event_rows import (
    EVENTS_IN_SNAPSHOT,
    absence,
    claimed_since,
    count_events,
    events,
    events_by,
    events_to_revert,
    flag,
    has_event,
    last_key_at,
    last_read,
    margins,
    older_events,
    opening,
    openings,
    seen_forecast,
    trials_left_at,
)
from fts.state.queries.job_rows import (
    has_unfinished,
    in_processes,
    job,
    jobs,
    namesakes,
    retried_trials,
    runs_again,
    studies,
    worked,
)
from fts.state.queries.machine_rows import (
    LIVE_TRIAL,
    count_samples,
    knows_power,
    latest_powers,
    node,
    nodes,
    peak_samples,
    power_known_until,
    running_children,
    samples,
    workers,
)
from fts.state.queries.row_cache import KnownRows
from fts.state.queries.search_rows import BAD_REGION, curves, drawn, draws, history
from fts.state.queries.snapshots import data_version, newer_schema, schema, snapshot
from fts.state.queries.trial_rows import (
    all_trials,
    attempts,
    attempts_by_trial,
    checkpoints,
    epochs,
    failed_before,
    interrupted,
    last_epoch,
    latest_trial,
    latest_tries,
    longest_gap_s,
    readable_trials,
    shown_trials,
    trial,
    trial_by_id,
    trials,
    trials_with_steps,
    usual_step_s,
    working_since,
)
