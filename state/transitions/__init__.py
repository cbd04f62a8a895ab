"""Every write to the memory: one function, one transaction, one change with its event."""

from fts.state.scheduling import MAX_IDLE_ATTEMPTS
from fts.state.transitions.attempts import record_attempt_began, record_attempt_ended, record_draw
from fts.state.transitions.extend import SameQuestion
from fts.state.transitions.findings import record_margin, record_test, unseal
from fts.state.transitions.jobs import (
    cancel_running,
    claim,
    declare_study,
    enqueue,
    fail_job,
    finish_job,
    hold_job,
    pause_running,
    release_job,
)
from fts.state.transitions.operator import (
    acknowledge,
    ask_worker,
    cancel,
    move,
    note,
    pause,
    pause_queue,
    record_wish,
    resume,
    resume_queue,
    retry,
    touch_key,
)
from fts.state.transitions.retention import prune_events, prune_samples
from fts.state.transitions.trials import (
    begins_anew,
    finish_trial,
    interrupt_trial,
    record_checkpoint,
    record_epoch,
    record_progress,
    record_started,
    rerun_trial,
    resume_trial,
    start_trial,
)
from fts.state.transitions.undo import redo, undo
from fts.state.transitions.workers import (
    LeaseObserver,
    add_sample,
    beat,
    reconcile,
    record_intervention,
    register_worker,
    set_guard,
    stop_worker,
    sweep,
)

__all__ = [
    "LeaseObserver", "MAX_IDLE_ATTEMPTS", "SameQuestion", "acknowledge", "add_sample", "ask_worker", "beat",
    "begins_anew", "cancel",
    "cancel_running", "claim", "declare_study", "enqueue", "fail_job", "finish_job", "finish_trial", "hold_job",
    "interrupt_trial",
    "move", "note", "pause", "pause_queue", "pause_running", "prune_events", "prune_samples", "reconcile",
    "record_attempt_began", "record_attempt_ended", "record_checkpoint", "record_draw", "record_epoch",
    "record_intervention", "record_margin", "record_progress",
    "record_started", "record_test", "record_wish", "redo", "register_worker", "release_job", "resume", "resume_queue",
    "rerun_trial", "resume_trial", "retry", "set_guard", "start_trial", "stop_worker", "sweep", "touch_key", "undo",
    "unseal",
]  # fmt: skip
