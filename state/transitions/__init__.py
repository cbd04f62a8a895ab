"""All writes to the database: one function makes one change, in one transaction, with its event."""

from fts.state.scheduling import MAX_IDLE_ATTEMPTS
from fts.state.transitions.attempts import record_attempt_ended, record_draw
from fts.state.transitions.claims import claim, pass_over
from fts.state.transitions.enqueuing import declare_study, enqueue
from fts.state.transitions.extend import SameQuestion
from fts.state.transitions.findings import record_margin, record_test, unseal
from fts.state.transitions.history import PastDraw, RecordedTrial, check_recorded, import_history
from fts.state.transitions.jobs import (
    cancel_running,
    fail_job,
    finish_job,
    hold_job,
    interrupt_trial,
    pause_running,
    release_job,
    withdraw,
)
from fts.state.transitions.moving import move
from fts.state.transitions.nodes import (
    ask_node,
    fenced,
    forget_nodes,
    forget_nodes_of_worker,
    node_failed,
    node_served,
    quarantine_node,
    record_nodes,
)
from fts.state.transitions.operator import (
    acknowledge,
    ask_worker,
    cancel,
    not_sent,
    note,
    pause,
    pause_queue,
    record_request,
    resume,
    resume_queue,
    retry,
    touch_key,
)
from fts.state.transitions.respecify import Respecified, respecify
from fts.state.transitions.trial_ends import finish_trial
from fts.state.transitions.trials import (
    record_checkpoint,
    record_epoch,
    record_progress,
    record_started,
    rerun_trial,
    resume_trial,
    start_trial,
    starts_over,
)
from fts.state.transitions.undo import one_undo, redo, undo
from fts.state.transitions.workers import (
    LeaseObserver,
    add_sample,
    prune_samples,
    reconcile,
    record_heartbeat,
    record_intervention,
    register_worker,
    set_guard,
    stop_worker,
    sweep,
)
