"""The frozen values that reads return.

The command line, the monitor and the supervisor see the database only through these. Times are seconds since 1970
(UTC, float) by the database's clock; None means "no such thing".
"""

from fts.state.values.enums import (
    FAULTS,
    USED_UP,
    Cause,
    Direction,
    Fault,
    JobStatus,
    NodeState,
    TrialStatus,
    Verb,
    WorkerOrder,
    strength_of,
    stronger,
)
from fts.state.values.job import MOST_STEPS, Amount, Change, Claim, Enqueued, Job, status_of
from fts.state.values.machine import Node, Sample, Worker, WorkerOrders
from fts.state.values.snapshot import Event, Margin, Opening, SeenForecast, Snapshot, StudyRecord, UnreadableRow
from fts.state.values.trial import (
    BASELINE,
    EPOCH_NUMBERS,
    HUGE,
    LITTLE,
    REPLICATE,
    ROLE,
    UNRANKED,
    Attempt,
    Curve,
    Draw,
    Epoch,
    RunningChild,
    Trial,
    bounded,
    in_words,
)
