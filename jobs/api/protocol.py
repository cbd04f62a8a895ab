"""The protocol of a trial process: commands on stdin, facts on a pipe, one JSON object per line.

Commands:
    {"do": "run", "spec": {...}}            run this trial; a long specification is sent as "file": path
    {"do": "stop"}                          write a checkpoint at the next optimizer step, then exit
    {"do": "prune", "number"}               end this trial without a checkpoint
    {"do": "go on", "number", "epoch"}      the pruner keeps the trial: the answer to an epoch of a cell with a pruner
                                            (the trial may wait briefly or ignore it) and to `judge` (it waits)
    {"do": "quit"}                          exit
    {"do": "leave"}                         send no epoch and no result from now on; SIGTERM follows
End of file means that the supervisor died. It counts as stop.

Facts: every one has "fact" and, while a trial runs, its "number".
    ready       pid, seal                                            the process accepts commands. If it names a seal,
                                                                     later facts without that seal are refused
    started     n_params, label and data fingerprints, batch ...     the trial is built; facts of lesson 2
    probe       predicted, measured                                  bytes, after the first optimizer steps
    step        step, epoch, loss, step_s                            progress, at most twice a second
    draw        k, name, value, distribution                         a parameter, sent before its value is used
    sampler     trial {...}, study {...}                             state that its sampler keeps for later trials
    drifted     the same as draw, recorded {value, distribution}     the code draws something else than was recorded
    epoch       the fields of EpochResult                            a resumed trial sends its earlier epochs again
                of a function: epoch, value, metrics, judged: false  the pruner judges it only after `judge`
    judge       epoch                                                asks whether to prune here; waits for the answer
    checkpoint  step, epoch, path, bytes, md5, seconds
    lacking     names                                                a command reports these metrics, but not its own
    kept        name, md5, bytes                                     a file in the trial's folder that must be kept
    result      value, best_epoch, last_value, reason, badges ...    the trial has ended by itself
    pruned | stopped                                                 it ended on request; stopped with again: true:
                                                                     without a request, run it again
    ends itself how, signal                                          its code is about to end its process
    failed      cause, message                                       it ended because of an error
A trainer in another language becomes a trial by speaking this protocol.
"""

from __future__ import annotations

import json
from typing import Any

STOPPED = 75  # exit code after a stop: the trial has a checkpoint and can continue (EX_TEMPFAIL)
MAX_LINE = 1 << 20  # bytes; the supervisor refuses a longer line


def encode(message: dict[str, Any]) -> bytes:
    """Returns one line. NaN and infinity become null, because JSON cannot express them.

    The line starts with a newline, so that text written into the pipe by anything else stays a line of its own.
    """
    return ("\n" + json.dumps(_finite(message), separators=(",", ":"), allow_nan=False) + "\n").encode()


def decode(line: bytes) -> dict[str, Any]:
    """Returns the JSON object of one line. Raises ValueError for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"a line holds {type(message).__name__}, expected a JSON object")
    return message


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
