"""Starts the trial processes of one slot: forks them from a template if possible, else starts a new interpreter."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.python import python
from fts.jobs.supervisor.child import TrialProcess, environment
from fts.jobs.supervisor.leftovers import mark
from fts.jobs.supervisor.template import CAN_FORK, CannotFork, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from fts.jobs.api.study import Program

log = logging.getLogger("fts.worker")


class Starter:
    """Keeps the template of the latest program. Output of the processes outside of trials goes to `log_path`."""

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._template: Template | None = None
        self._template_of: tuple[Program, int] | None = None
        self._never_forked: Program | None = None  # its template has refused to fork

    @property
    def has_template(self) -> bool:
        return self._template is not None

    def start(
        self, program: Program, threads: int, before_fork: Callable[[Template], None] = lambda _: None
    ) -> TrialProcess:
        """Starts a trial process; calls `before_fork` with the template before it forks. Raises OSError."""
        # no RLIMIT_AS: torch reserves far more address space than it uses; limit_data counts only writable memory
        start = partial(
            TrialProcess,
            python(*program.words, interpreter=program.python),
            self.log_path,
            threads=threads,
            env=dict(program.env),
            cwd=None if program.folder is None else Path(program.folder),
            relays=program.relays,
        )
        self.prepare(program, threads)
        if self._template is None or program.forks_for is None:
            return start()
        try:
            before_fork(self._template)
            return start(template=self._template, root=Path(program.forks_for))
        except CannotFork as refused:
            log.info("%s: trial processes are started, not forked", refused)
            self._never_forked = program
            self.close()
            return start()

    def prepare(self, program: Program, threads: int) -> None:
        """Starts the template process, which imports modules while the first trial is drawn. Raises OSError."""
        wanted = (replace(program, leaves_in=None), threads)  # leaves_in concerns trials, not the template
        if self._template is not None and wanted == self._template_of and not self._template.is_over:
            return
        self.close()
        gone = program.folder is not None and not Path(program.folder).is_dir()
        if not CAN_FORK or program.forks_for is None or program == self._never_forked or gone:
            return
        self._template = Template(
            python(*program.words, interpreter=program.python),
            self.log_path,
            environment(threads, program.env) | mark(self.log_path.parent.parent),
            None if program.folder is None else Path(program.folder),
        )
        self._template_of = wanted

    def close(self) -> None:
        if self._template is not None:
            self._template.close()
        self._template = self._template_of = None
