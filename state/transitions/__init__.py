"""Every write to the memory: one function, one transaction, one change with its event."""

from state.scheduling import MAX_IDLE_ATTEMPTS
from state.transitions.jobs import (
    cancel_running,
    claim,
    enqueue,
    fail_job,
    finish_job,
    hold_job,
    pause_running,
    release_job,
)
from state.transitions.trials import (
    finish_trial,
    interrupt_trial,
    record_checkpoint,
    record_epoch,
    record_progress,
    record_started,
    resume_trial,
    start_trial,
)
from state.transitions.workers import (
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
    "MAX_IDLE_ATTEMPTS", "LeaseObserver", "add_sample", "beat", "cancel_running", "claim", "enqueue", "fail_job",
    "finish_job", "finish_trial", "hold_job", "interrupt_trial", "pause_running", "reconcile", "record_checkpoint",
    "record_epoch", "record_intervention", "record_progress", "record_started", "register_worker", "release_job",
    "resume_trial", "set_guard", "start_trial", "stop_worker", "sweep",
]  # fmt: skip
