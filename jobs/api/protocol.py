"""The language of a trial process: commands in on stdin, facts out on a pipe, one JSON object a line.

Commands: {"do": "run", "spec": {...}}, or "file": path where the specification is long · {"do": "stop"} (checkpoint at
the next optimizer step, then leave) ·
{"do": "prune", "number"} (end this trial, no checkpoint) · {"do": "go on", "number", "epoch"} (the pruner spares it:
the answer to an epoch of a cell with a pruner, which a trial may wait for briefly, or ignore; and to `judge`, which
waits for it) · {"do": "quit"} · {"do": "leave"} (SIGTERM follows: no epoch and no result from now on).
End of file means the supervisor died: like stop.

Facts: every one has "fact" and, while a trial runs, its "number".
    ready       pid, seal                                            the process can take a command; where it names a
                                                                     seal, each later fact carries it, or is refused
    started     n_params, label and data fingerprints, batch ...     the trial is built; facts of lesson 2
    probe       predicted, measured                                  bytes, after the first optimizer steps
    step        step, epoch, loss, step_s                            at most twice a second: the heartbeat of progress
    draw        k, name, value, distribution                         a parameter, before its value is used
    sampler     trial {...}, study {...}                             what its sampler keeps for later trials
    drifted     the same, and recorded {value, distribution}         a recorded draw that the code makes elsewhere now
    epoch       the fields of EpochResult                            also the epochs a resumed trial already had
                of a function: epoch, value, metrics, judged: false  not judged before `judge` asks for it
    judge       epoch                                                is the trial pruned there? waits for the answer
    checkpoint  step, epoch, path, bytes, md5, seconds
    lacking     names                                                a command reports these, and not what decides
    kept        name, md5, bytes                                     a file in the trial's folder that is to stay
    result      value, best_epoch, last_value, reason, badges ...    the trial has ended by itself
    pruned | stopped                                                 it ended because it was asked to; stopped with
                                                                     again: true: run it again, nobody asked
    ends itself how, signal                                          its code is about to end its process
    failed      cause, message                                       it ended because something broke
Another trainer, in another language, becomes a trial by speaking this.
"""

from __future__ import annotations

import json
from typing import Any

STOPPED = 75  # exit code after a stop: there is a checkpoint, run me again (EX_TEMPFAIL)
MAX_LINE = 1 << 20  # bytes; a longer line is refused by the supervisor


def encode(message: dict[str, Any]) -> bytes:
    """One line; NaN and infinity travel as null, because JSON has no words for them.

    It begins with an end of line: what somebody else has written into the pipe is a line of its own then.
    """
    return ("\n" + json.dumps(_finite(message), separators=(",", ":"), allow_nan=False) + "\n").encode()


def decode(line: bytes) -> dict[str, Any]:
    """The object of one line; raises ValueError when it is not a JSON object."""
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
