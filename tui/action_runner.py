"""Turns a key into an action on the queue: checks whether it is allowed, asks for confirmation, runs it, reports.

Every change goes through the registry of fts.jobs.actions, in a thread with its own connection. Changes run one after
another in the order of the keys: while the database is locked, an undo must not overtake the change that it undoes.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.actions import Action, by_id, conditions, for_key
from fts.jobs.actions.handlers import OWN
from fts.jobs.actions.run import BUSY_S, run_action
from fts.jobs.status import formatting, naming
from fts.jobs.status.sanitize import clean
from fts.state.errors import DatabaseBusy
from fts.tui import late_changes
from fts.tui.data.messages import Acted, in_words
from fts.tui.late_changes import LateChange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.state.values import Change, Job
    from fts.tui.app import Monitor
    from fts.tui.data.form_memory import CommandOutput, FormMemory
    from fts.tui.data.form_runs import FormRuns

SETTLE_S = 0.3  # destructive keys are refused for this long after a screen or dialog appeared
MOVED_S = 0.5  # and for this long after the row under the cursor changed
LEAST_BUSY_S = 0.2  # a change waits at least this long for the lock, however long it waited in our own queue
SLICE_S = 0.25  # a change waits so long for the lock before it looks whether the user has left the monitor
SILENT_S = 0.2  # after the screen has closed, so long for changes that wait for no lock
PREVIEW_ABOVE = 3  # a change of more jobs than this shows their list and asks first


class ActionRunner:
    """Runs the actions of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.open = 0  # changes that were started and have not ended
        self._latest = 0, 0  # of the latest change made here: (number of the database, id of its event)
        self._lane = ThreadPoolExecutor(max_workers=1, thread_name_prefix="acting")
        self._failed: list[Acted] = []  # failures that were not shown yet
        self._failures: list[str] = []  # why changes failed, all of them
        self._leaving = False  # the screen has closed, and what still waits for the lock is handed over
        self._late: list[LateChange] = []  # handed over to a process that outlives the monitor
        self._memory: FormMemory | None = None  # of the enqueue form
        self._runs: FormRuns | None = None  # commands of the enqueue form; they continue after it is closed

    def press(self, key: str) -> None:
        """Runs the action of a key. p, P and D have two actions each; the state of the jobs decides which."""
        jobs = self.app.chosen()
        action = for_key(key, jobs, self.app.present())
        if action is not None:
            self.begin(action, jobs)

    def by_id(self, action_id: str) -> None:
        """Runs an action on the chosen jobs, by its id."""
        self.begin(by_id(action_id), self.app.chosen())

    def begin(self, action: Action, jobs: Sequence[Job], **given: Any) -> None:
        """Refuses an action with the reason, asks for confirmation, or runs it.

        `given`: arguments that were typed in the palette.
        """
        if reason := self._refused(action, jobs):
            self.app.say(f"{action.key or action.label}: {self._named(reason)}", "look")
        elif action.id == "enqueue":
            self._open_form()
        elif action.id == "note" and "text" not in given:
            hint = "One line for the journal; Enter writes it, Esc leaves."
            self._ask_text(action, hint, jobs[:1], lambda text: {"text": text})
        elif action.id == "note":
            self._run(action, jobs[:1], **given)
        elif action.id == "move_to" and "place" not in given:
            hint = "The place in the queue: a number (1 runs next), top or bottom."
            self._ask_text(action, hint, jobs, lambda text: {"place": _place(text)})
        elif action.id == "move_to":
            self._run(action, jobs, place=_place(given["place"]))
        else:
            affected = self._affected(action, jobs)
            self._ask_then_run(action, affected)

    def _affected(self, action: Action, jobs: Sequence[Job]) -> list[Job]:
        """Returns the jobs that the action can change now."""
        if not action.needs_jobs or action.id == "ack":
            return []
        return [job for job in jobs if action.applies_to(job, self.app.present())]

    def why_not(self, action: Action, jobs: Sequence[Job]) -> str:
        """Returns why an action cannot run now; empty if it can. For lists of all actions."""
        return self._named(self._refused(action, jobs, settled=True) or "")

    def _refused(self, action: Action, jobs: Sequence[Job], settled: bool = False) -> str | None:
        """Returns why an action cannot run now, or None. `settled`: skip the checks for keys that came too early."""
        app = self.app
        if too_new := app.readings.too_new():
            return too_new
        if app.readonly:
            return READS if app.locked else f"{READS}; `:writable` lets it write"
        if app.navigation.at is not None:
            return "this is a replay; Esc returns to now"
        if app.readings.problem and action.id != "enqueue":
            return app.readings.problem
        if action.needs_jobs and not jobs:
            return app.navigation.why_none_chosen()
        if action.needs_jobs and not settled and time.monotonic() - app.navigation.jumped_at < MOVED_S:
            return "the cursor moved to another row; look, then press again"
        if action.level_for(jobs) in ("L2", "L3"):
            if app.age_s() > 15:
                return "the screen is too old to act on; ^r reads the database"
            moved = time.monotonic() - app.navigation.moved_at < MOVED_S
            if not settled and (moved or time.monotonic() - app.appeared_at < SETTLE_S):
                return "the screen has just changed; look, then press again"
        if not action.needs_jobs:
            return action.why_not(None, app.present())
        reasons = [action.why_not(job, app.present()) for job in jobs]
        return None if any(reason is None for reason in reasons) else reasons[0]

    def _named(self, text: str) -> str:
        """Replaces job numbers by cell names, and the path of the database by its file name."""
        short = text.replace(str(self.app.path), self.app.path.name)
        return naming.name_cells(short, self.app.readings.snapshot.jobs)

    def _ask_then_run(self, action: Action, jobs: Sequence[Job]) -> None:
        from fts.tui.screens.dialogs import Ask, Confirm  # here and below, not above: not needed to start

        subject = self._subject(action)
        price = action.price(self.app.present(), jobs)
        price = price and self._named(price)
        level = action.level_for(jobs)
        known = naming.names_of(self.app.readings.snapshot.jobs)
        names = ", ".join(known.get(job.id, naming.cell_name(job)) for job in jobs)
        if level == "L3":
            word = naming.cell_name(jobs[0]) if jobs else action.id
            hint = f"{formatting.full_stop(price or action.help)} Type {word} to do it; Esc leaves."
            dialog = Ask(action.label, hint, demanded=word)
            self.app.push_screen(dialog, lambda text: self._run_if_still(action, jobs, subject) if text else None)
            return
        reverts = action.id in conditions.REVERTS
        asks = (
            action.asks(jobs)
            or (len(jobs) > PREVIEW_ABOVE and level != "L0")
            or (price and reverts and not self._own_change_is_newer())
        )
        if not asks:
            self._run(action, jobs, **({"only": OWN} if reverts else {}))
            return
        effects = [price or action.help]
        if len(jobs) > 1:
            effects.insert(0, f"{formatting.count(len(jobs), 'cell')}: {names}")
        label = action.label_in(self.app.present())
        question = f"{label}{' ' + names if len(jobs) == 1 else ''}?"
        dialog_ = Confirm(question, effects, yes=label)
        given = {"only": subject[1]} if reverts else {}
        self.app.push_screen(dialog_, lambda yes: self._run_if_still(action, jobs, subject, **given) if yes else None)

    def _own_change_is_newer(self) -> bool:
        """Returns whether a change of this monitor is not in the snapshot yet: that is what `u` means then."""
        readings = self.app.readings
        seen = readings.snapshot.events[-1].id if readings.snapshot.events else 0
        database, event_id = self._latest
        return self.open > 0 or (database == readings.replaced and event_id > seen)

    def _subject(self, action: Action) -> tuple[int, int | None]:
        """Returns what a question is about besides jobs: (number of the database, id of the event to undo or redo)."""
        latest = conditions.REVERTS.get(action.id)
        event = None if latest is None else latest(self.app.readings.snapshot)
        return self.app.readings.replaced, None if event is None else event.id

    def _run_if_still(self, action: Action, jobs: Sequence[Job], subject: tuple[int, int | None], **args: Any) -> None:
        """Runs a confirmed action on the jobs that it can still change: a dialog may stay open for hours.

        `subject`: what `_subject` returned when the question was asked.
        """
        known = {job.id: job for job in self.app.readings.snapshot.jobs}
        there = [known[job.id] for job in jobs if job.id in known]
        now = self._subject(action)
        if now[0] != subject[0]:
            reason: str | None = "another database is there by now"
        elif now != subject:
            reason = "another change is the latest by now"
        elif jobs and not there:
            reason = f"{formatting.count(len(jobs), 'cell')} left the queue"
        else:
            reason = self._refused(action, there, settled=True)
        if reason:
            self.app.say(f"{action.label}: {self._named(reason)}; nothing was done", "look")
        else:
            self._run(action, there if action.id == "note" else self._affected(action, there), **args)

    def _ask_text(self, action: Action, hint: str, jobs: Sequence[Job], given: Callable[[str], dict[str, Any]]) -> None:
        """Asks for a line of text, which `given` converts to arguments of the action."""
        from fts.tui.screens.dialogs import Ask

        subject = self._subject(action)

        def answered(text: str | None) -> None:
            if text and text.strip():
                self._run_if_still(action, jobs, subject, **given(text.strip()))

        self.app.push_screen(Ask(action.label, hint), answered)

    def _open_form(self) -> None:
        """Opens the enqueue form. Commands that it starts continue after it is closed."""
        from fts.tui.data import form_memory, form_runs
        from fts.tui.screens.enqueue import EnqueueForm  # here, not above: 55 ms, not needed to start

        app = self.app
        try:
            here = Path.cwd()
        except OSError:  # it was removed
            app.say("e: the folder in which this monitor was started is gone; start it in another", "look")
            return
        if self._memory is None or self._runs is None:
            self._memory = form_memory.load()
            self._runs = form_runs.FormRuns(app.path, self._memory, self._on_form_answer)
        folders = list(dict.fromkeys([here, app.path.absolute().parent.parent]))
        form = EnqueueForm(app.path, folders, self._memory, self._runs, ascii_only=app.ascii_only)
        app.push_screen(form)

    def _on_form_answer(self, answer: CommandOutput) -> None:
        """Reports that a command of the form has ended. Called from a thread; the form may be closed by now."""
        self.app.post_message(Acted("form", f"{answer.summary} · e, then 4 shows all of it", failed=False))

    def _run(self, action: Action, jobs: Sequence[Job], **args: Any) -> None:
        ids = tuple(job.id for job in jobs)
        self.app.sharing.twin = action.command(jobs, **{k: v for k, v in args.items() if k in ("place", "text")})
        clock = formatting.seconds_clock(time.time())
        self.app.pending = f"{action.label}: since {clock}" if action.id in COMMANDS else f"asked {clock}"
        self.open += 1
        asked_at = time.monotonic()
        if action.id in COMMANDS:
            do = partial(self._do, action, ids, args, asked_at, len(self._failures))
            self.app.run_worker(do, thread=True, name=action.id, exit_on_error=False)
        else:
            self._lane.submit(self._do, action, ids, args, asked_at, len(self._failures))

    def _do(self, action: Action, ids: tuple[int, ...], args: dict[str, Any], asked_at: float, failures: int) -> None:
        """Runs an action in a thread and posts the result, or the error, as a message.

        `failures`: how many changes had failed when it was asked for. `u` right after a key that has failed since would
        undo an earlier change, so it fails for the same reason.
        """
        if args.get("only") == OWN and len(self._failures) > failures:
            self._fail(action, self._failures[-1])
            return
        try:
            change = self._attempt(action, ids, args, asked_at)
        except DatabaseBusy as error:
            if self._leaving:
                named = self._named(f"job {', '.join(map(str, ids))}") if ids else action.label
                self._late.append(LateChange(action.id, ids, args, f"{action.key or action.label}: {named}"))
            else:
                self._fail(action, in_words(error))
        except Exception as error:  # noqa: BLE001  # a key without an answer would look as if it had worked
            self._fail(action, in_words(error))
        else:
            if change.event_id is not None:
                self._latest = self.app.readings.replaced, change.event_id
            undoes = action.level != "L3" and change.event_id and action.id not in SILENT
            undo = " · u undoes" if undoes else ""
            self.app.post_message(Acted(action.id, change.message + undo, failed=False))

    def _attempt(self, action: Action, ids: tuple[int, ...], args: dict[str, Any], asked_at: float) -> Change:
        """Makes a change. Waits for the lock until BUSY_S after its key, in slices, to see whether the user leaves."""
        while True:
            left = BUSY_S - (time.monotonic() - asked_at)
            try:
                if self._leaving and self._late:
                    raise DatabaseBusy("an earlier change waits")  # it is made first
                found: Change = run_action(
                    action, self.app.path, ids, self.app.user, False, min(max(left, LEAST_BUSY_S), SLICE_S), **args
                )
                return found
            except DatabaseBusy:
                if self._leaving or left <= SLICE_S:
                    raise

    def _fail(self, action: Action, sentence: str) -> None:
        message = Acted(action.id, f"{action.key or action.label}: {sentence}", failed=True)
        self._failures.append(sentence)
        self._failed.append(message)
        self.app.post_message(message)

    def answered(self, message: Acted) -> str:
        """Returns the sentence to show for a result.

        If another key has just failed for the same reason, the sentence names both: the bar shows one line.
        """
        self.open = max(self.open - 1, 0) if message.action_id != "form" else self.open
        sentence = self._named(clean(message.sentence))
        if not message.failed:
            return sentence
        self._failed.remove(message)
        (keys, _, before), (key, _, reason) = self.app.toast[0].partition(": "), sentence.partition(": ")
        together = before == reason and key not in keys.split(", ")
        return f"{keys}, {sentence}" if together else sentence

    def finish(self, waits: Callable[[], None]) -> list[str]:
        """Waits for the pending changes after the screen has closed. Returns the failures that were not shown.

        A change that a person has asked for is not dropped because they leave. If it waits for a lock, another process
        makes it, because the shell must not wait, and `waits` is called.
        """
        if self._runs is not None:
            self._runs.stop()
        last = self._lane.submit(int)
        with contextlib.suppress(TimeoutError):
            last.result(SILENT_S)
        self._leaving = True
        self._lane.shutdown()
        if self._late:
            try:
                late_changes.begin(self.app.path, self.app.user, self._late)
            except OSError as error:
                return [*(f"{each.label}: nothing was written, {in_words(error)}" for each in self._late)]
            waits()
        return [self._named(clean(message.sentence)) for message in self._failed]


READS = "this monitor only reads"
COMMANDS = ("start_worker",)  # separate processes that take seconds; other changes do not wait for them
SILENT = ("undo", "redo", "ack", "note", "start_worker")  # no "u undoes": nothing to undo, or u would undo another


def _place(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
