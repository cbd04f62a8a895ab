"""Carries out the watchdog's decisions about one trial, and records each intervention as an event."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fts.jobs.watchdog.policy import HALVED, Decision, WatchdogAction
from fts.jobs.watchdog.stop_request import StopReason, StopRequest
from fts.state import transitions
from fts.state.errors import StateError
from fts.state.values import Cause, Claim, Trial

if TYPE_CHECKING:
    from fts.jobs.watchdog.watchdog import Watchdog, Watched
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

PROGRESS = ("started", "epoch", "checkpoint")  # facts that count as progress, besides "step"


class Enforcer:
    """The supervisor's view of the watchdog for one attempt: it gets the facts and may request a stop."""

    def __init__(
        self, db: Database, claim: Claim, trial: Trial, child: Watched, watchdog: Watchdog, then: str = HALVED
    ) -> None:
        self.then = then  # what happens when the trial is out of memory, for messages
        self.db, self.claim, self.trial, self.child, self.watchdog = db, claim, trial, child, watchdog

    def memory_marks(self) -> dict[str, int]:
        """Returns the soft and the hard memory limit in bytes, for the screens; empty without limits."""
        limits = self.watchdog.limits
        if limits.soft is None or limits.hard is None:
            return {}
        return {"memory_soft": limits.soft, "memory_hard": limits.hard}

    def saw(self, fact: dict[str, Any]) -> None:
        if fact.get("fact") == "step":  # without an architecture the time between two reports is not a step time
            self.watchdog.progress(fact.get("step_s") if self.trial.architecture else None)
        elif fact.get("fact") in PROGRESS:
            self.watchdog.progress()
            self.watchdog.pace.reported()

    def stop_request(self) -> StopRequest | None:
        """Runs the watchdog's checks, freezes or thaws the trial; returns a request to stop it, or None."""
        requests = [request for decision in self.watchdog.check() if (request := self._carry_out(decision))]
        return requests[0] if requests else None

    def _carry_out(self, decision: Decision) -> StopRequest | None:
        if self.then != HALVED:
            decision = replace(decision, message=decision.message.replace(HALVED, self.then))
        if decision.action is WatchdogAction.FREEZE:
            self.child.freeze()
        elif decision.action is WatchdogAction.THAW:
            self.child.thaw()
        self._write(decision)
        return request_for(decision)

    def _write(self, decision: Decision) -> None:
        """Records the decision; an error of the database is logged only, so that the watchdog goes on."""
        try:
            if decision.state is not None:
                transitions.set_guard(self.db, self.claim.worker_id, decision.state.value, decision.message)
            if decision.action is not WatchdogAction.NONE or decision.state is None:
                verb = VERBS[decision.action]
                transitions.record_intervention(
                    self.db, self.claim, verb, decision.message, {"cause": decision.cause}, trial_id=self.trial.id
                )
        except StateError as error:
            log.warning("%s; not recorded: %s", decision.message, error)


VERBS = {
    WatchdogAction.NONE: "warned",
    WatchdogAction.FREEZE: "frozen",
    WatchdogAction.THAW: "thawed",
    WatchdogAction.STOP: "overheated",
    WatchdogAction.RESUME: "cooled",
    WatchdogAction.SHRINK: "soft_memory",
    WatchdogAction.KILL: "killed",
    WatchdogAction.DISK: "disk_low",
}


def request_for(decision: Decision) -> StopRequest | None:
    """Returns the stop request for a decision; None if the trial may go on."""
    if decision.action is WatchdogAction.KILL:
        return StopRequest(
            StopReason.STALLED if decision.cause is Cause.STALLED else StopReason.KILL, decision.message, kill=True
        )
    reason = STOPS.get(decision.action)
    return StopRequest(reason, decision.message) if reason else None


STOPS = {
    WatchdogAction.STOP: StopReason.HEAT,
    WatchdogAction.SHRINK: StopReason.SHRINK,
    WatchdogAction.DISK: StopReason.DISK,
}
