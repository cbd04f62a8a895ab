"""Asks studies what a trial of each queued job wants, in a thread for each study: one that does not answer stops no
other job.

Functions and commands need no thread: what they want stands in their specification.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from fts.jobs.api.load import installed
from fts.jobs.api.load import study as load_study
from fts.jobs.api.study import LEARN
from fts.jobs.executors.base import Want
from fts.jobs.threads import begin
from fts.state.ticket_rows import specifications

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.study import Resources
    from fts.state.db import Database

log = logging.getLogger("fts.worker")

PATIENCE_S = 5.0  # how long a claim waits for the answer of a study: its package may have to be imported first
Row = tuple[int, str, str, str]  # id, study, specification and its md5 of a job


def want_of(resources: Resources, threads: int, needed: int = 0) -> Want:
    """Returns what a trial wants from its node. Memory that is promised together with GPUs is that of each GPU.

    `needed`: bytes that a node did not have.
    """
    promised = resources.memory if isinstance(resources.memory, int) else 0
    return Want(
        threads=threads,
        gpus=resources.gpu,
        memory=None if resources.gpu else promised or None,
        needed=max(promised, needed),
    )


def by_function(resources: Resources) -> bool:
    """Is its memory the answer of a user's function, which is known once a trial of it has been claimed?"""
    return isinstance(resources.memory, str) and resources.memory != LEARN


class DeclaredWants:
    """What jobs want, by what their studies declare. Thread-safe. `threads`: of a trial without its own number."""

    def __init__(self, db: Database, threads: int) -> None:
        self.db, self.threads = db, threads
        self._changed = threading.Condition()
        self._known: dict[int, tuple[str, Want]] = {}  # job id -> md5 of its specification, and what it declares
        self._asked: dict[str, dict[int, Row]] = {}  # study -> jobs that its thread has not answered yet, in order
        self._late: set[str] = set()  # studies for which a claim has waited in vain, and that still owe answers
        self._has_answered = False  # a late one, since the last call of any_answered
        # job id -> its study, why its slot has left it, and the thread that the study has not returned from
        self._left: dict[int, tuple[str, str, threading.Thread]] = {}

    def of(self, job_id: int, md5: str) -> Want | None:
        """Returns what the job declares; None: not known for this specification."""
        known = self._known.get(job_id)  # without the lock, for 10,000 jobs a look: one read of a dict is atomic
        return known[1] if known is not None and known[0] == md5 else None

    def ask(self, job_ids: Sequence[int], patience_s: float = PATIENCE_S) -> None:
        """Reads what these jobs declare. Waits `patience_s` for a study, but not again while it owes answers."""
        waits_for: dict[int, Row] = {}
        for row in specifications(self.db, job_ids):
            if row[1] not in installed():
                self._answer(row)
            else:
                waits_for[row[0]] = row
        if not waits_for:
            return
        with self._changed:
            for row in waits_for.values():
                self._put(row)
            until = time.monotonic() + patience_s
            while owing := {row[1] for row in waits_for.values() if self._owes(row)} - self._late:
                if (left_s := until - time.monotonic()) <= 0:
                    self._late |= owing
                    log.warning("%s: no answer for %.0f s; their jobs are passed over", ", ".join(owing), patience_s)
                    break
                self._changed.wait(left_s)

    def latest(self, job_id: int) -> Want | None:
        """Returns what the job declared when it was asked last; None: never asked."""
        known = self._known.get(job_id)
        return known[1] if known is not None else None

    def silent(self, job_id: int) -> str | None:
        """Returns the study that owes an answer for this job, for which a claim or a slot has waited in vain."""
        with self._changed:
            if job_id in self._left:
                return self._left[job_id][0]
            return next((study for study in self._late if job_id in self._asked.get(study, {})), None)

    def any_answered(self) -> bool:
        """Has a study answered since the last call, for which a claim or a slot had waited in vain?"""
        with self._changed:
            returned = [job_id for job_id, (_, _, thread) in self._left.items() if not thread.is_alive()]
            for job_id in returned:
                del self._left[job_id]
            before, self._has_answered = self._has_answered, False
            return before or bool(returned)

    def leaves(self, job_id: int, study: str, why: str, thread: threading.Thread) -> None:
        """Notes that a slot has left the job, because its study has not returned from a question in this thread."""
        with self._changed:
            self._left[job_id] = (study, why, thread)

    def not_returned(self, job_id: int) -> str | None:
        """Returns why a slot has left the job, while its study has not returned yet."""
        left = self._left.get(job_id)  # without the lock, as above
        return None if left is None else left[1]

    def _owes(self, row: Row) -> bool:
        return self._asked.get(row[1], {}).get(row[0]) == row

    def _put(self, row: Row) -> None:
        study = row[1]
        if study in self._asked:
            self._asked[study][row[0]] = row
            return
        self._asked[study] = {row[0]: row}
        try:
            begin(threading.Thread(target=self._answer_all, args=(study,), name=f"study {study}", daemon=True))
        except OSError as error:  # no more threads: asked again at the next look
            del self._asked[study]
            log.warning("the study %s cannot be asked what its trials want: %s", study, error)

    def _answer_all(self, study: str) -> None:
        try:
            while True:
                with self._changed:
                    if not (jobs := self._asked[study]):
                        self._forget(study)
                        return
                    row = next(iter(jobs.values()))
                self._answer(row)
                with self._changed:
                    if jobs.get(row[0]) == row:  # else its specification has changed meanwhile
                        del jobs[row[0]]
                    self._changed.notify_all()
        except BaseException:
            with self._changed:
                self._forget(study)  # the next look asks again
            raise

    def _forget(self, study: str) -> None:
        """Ends the questions to a study. The caller holds the lock."""
        self._asked.pop(study, None)
        self._has_answered |= study in self._late
        self._late.discard(study)
        self._changed.notify_all()

    def _answer(self, row: Row) -> None:
        job_id, study, spec, md5 = row
        want = self._declares(study, spec)
        with self._changed:
            self._known[job_id] = (md5, want)

    def _declares(self, name: str, spec: str) -> Want:
        """Returns what a specification declares; nothing if it is wrong: the job then fails once claimed."""
        try:
            study = load_study(name)
            resources = study.resources(study.cell(json.loads(spec)))
            # of such memory the least is assumed: otherwise a trial that may share a GPU would wait for a whole one
            needed = 1 if resources.gpu and by_function(resources) else 0
            return want_of(resources, resources.threads or self.threads, needed)
        except BaseException:  # noqa: BLE001  # a study's own code, which may even exit
            return Want()
