"""The enqueue form: choose a study, tick its cells, set its options, see the cost, try it, enqueue it.

The form does not read studies: a separate process answers its questions (tui/data/form_process.py), so the screen never
waits for a file, a plan or a lock. Its actions are `fts` commands that it shows and runs as processes
(tui/data/form_runs.py).
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Button, Input, OptionList, Static

from fts.jobs.api.form import Cost, Found, Look, to_cost, to_found, to_look
from fts.jobs.status.sanitize import clean
from fts.tui.clipboard import copy
from fts.tui.data.form_process import FormProcess, NoAnswer
from fts.tui.data.form_runs import CHECK, DRY_RUN, ENQUEUE
from fts.tui.screens.dialog import Modal
from fts.tui.screens.enqueue_cells import CellTable
from fts.tui.screens.enqueue_foot import Foot
from fts.tui.screens.enqueue_options import FieldRow, Options
from fts.tui.screens.enqueue_studies import StudyList
from fts.tui.screens.enqueue_tabs import FormTabs, panes
from fts.tui.screens.enqueue_words import FormState, text_of, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual import events
    from textual.app import ComposeResult

    from fts.tui.data.form_memory import FormMemory
    from fts.tui.data.form_runs import FormRuns

TYPING_S = 0.3  # after so long without a key the typed options are evaluated
TICK_S = 1.0
FILES_EVERY_S = 2.0  # between two checks whether a file has changed
STATES_EVERY_S = 10.0  # between two reads of the states of the jobs
GIVE_UP_S = 3.0  # choosing another study kills a question that has taken longer


class EnqueueForm(Modal[None]):
    """The form. Esc closes it and changes nothing; a running command continues, and its answer is shown next time."""

    DEFAULT_CSS = """
    EnqueueForm { align: center middle; background: $background 60%; }
    EnqueueForm #form {
        width: 100%; max-width: 130; height: 100%; max-height: 50;
        border: round $primary; background: $surface; padding: 0 1;
    }
    EnqueueForm.-ascii #form { border: ascii $primary; }
    EnqueueForm.-ascii #foot { border-top: ascii $primary; }
    EnqueueForm.-short #preview { max-height: 3; }
    EnqueueForm.-short Underline { display: none; }
    EnqueueForm.-short Tabs { height: 1; }
    EnqueueForm.-short #form { border: none; padding: 0; }
    EnqueueForm.-short #told { max-height: 1; }
    EnqueueForm.-ascii Underline { display: none; }
    EnqueueForm.-ascii Tabs { height: 1; }
    EnqueueForm.-ascii .arrow { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close"),
        Binding("1", "tab('study')", "study"),
        Binding("2", "tab('cells')", "cells"),
        Binding("3", "tab('options')", "options"),
        Binding("4", "tab('answer')", "answer"),
        Binding("left_square_bracket", "step(-1)", show=False),
        Binding("right_square_bracket", "step(1)", show=False),
        Binding("d", "dry_run", "dry run"),
        Binding("t", "check", "try a trial"),
        Binding("y", "copy", "copy the command"),
        Binding("s", "stop", show=False),
        Binding("ctrl+r", "again", show=False),
    ]

    class Answered(Message):
        """An answer of the process, or why there is none; `number` is the number of the question."""

        def __init__(self, ask: str, number: int, answer: dict[str, Any], took_s: float) -> None:
            super().__init__()
            self.ask, self.number, self.answer, self.took_s = ask, number, answer, took_s

    def __init__(
        self,
        path: Path,
        folders: Sequence[Path],
        memory: FormMemory,
        runs: FormRuns,
        *,
        ascii_only: bool = False,
    ) -> None:
        super().__init__()
        self.path, self.folders, self.memory, self.runs = path.absolute(), list(folders), memory, runs
        self.ascii_only = ascii_only
        self.process = FormProcess(path)
        self.studies: list[Found] = []
        self.key = ""  # of the chosen study
        self.typed: dict[str, str] = {}
        self.seen: Look | None = None
        self.cost: Cost | None = None  # of the ticked cells; None: it is being computed, or nothing is ticked
        self.note = ""  # a temporary line, such as that a file has changed
        self._asked: dict[str, int] = {}  # number of the latest question of each kind
        self._number = 0
        self._looked_at = self._stamped_at = 0.0  # monotonic times of the last answers to "look" and "stamp"
        self._took_s = 0.0  # duration of the last "look"
        self._wanted_at = 0.0  # monotonic time of the open "look" or "cost"
        self._shown_run = (False, runs.ended)  # (a command runs, ended commands) as shown
        self._titled = ""
        self._typing: Any = None  # timer until the typed options are evaluated
        self._then: Callable[[], None] | None = None  # called if "stamp" says that no file has changed

    # ---------------------------------------------------------------- widgets

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            with FormTabs(initial="cells" if self._last() else "study", id="tabs"):
                yield from panes()
            yield Foot()

    def on_mount(self) -> None:
        self.set_class(self.ascii_only, "-ascii")
        self.query_one("#form").border_title = "enqueue"
        self._fit()
        self._show_answer()
        if last := self._last():
            self._choose(last, to_cells=True)
        else:
            self._paint()
            self.query_one("#studies").focus()
        self._ask("studies", folders=[str(folder) for folder in self.folders])
        self.set_interval(TICK_S, self._tick)

    def _last(self) -> str:
        """Returns the study that was last chosen for this database; empty: none."""
        return self.memory.last.get(str(self.path), "")

    def on_unmount(self) -> None:
        self.process.close()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def _fit(self) -> None:
        self.set_class(self.app.size.height < 22, "-short")

    # ---------------------------------------------------------------- questions and answers

    def _ask(self, ask: str, **more: Any) -> None:
        """Asks the process in a thread; of several questions of one kind only the latest is asked and answered."""
        self._number += 1
        self._asked[ask] = number = self._number
        if ask in ("look", "cost"):
            self._wanted_at = time.monotonic()
        self.run_worker(partial(self._wait, ask, number, more), thread=True, name=ask, exit_on_error=False)

    def _forget_questions(self) -> None:
        """Drops the answers still to come about the study: they are about other options, or another study."""
        for ask in ("look", "cost", "stamp"):
            self._asked.pop(ask, None)
        self._then = None

    def _wait(self, ask: str, number: int, more: dict[str, Any]) -> None:
        if self._asked.get(ask) != number:
            return
        began = time.monotonic()
        try:
            answer = self.process.ask(ask=ask, **more)
        except NoAnswer as error:
            answer = {"problem": str(error)}
        self.post_message(self.Answered(ask, number, answer, time.monotonic() - began))

    def on_enqueue_form_answered(self, message: Answered) -> None:
        if self._asked.get(message.ask) != message.number:
            return  # a newer question of this kind was asked meanwhile
        problem = clean(str(message.answer.get("problem", "")))
        getattr(self, f"_answered_{message.ask}")(message, problem)

    def _answered_studies(self, message: Answered, problem: str) -> None:
        self.studies = [to_found(each) for each in message.answer.get("studies", [])]
        self.query_one(StudyList).show(self.studies, str(self.folders[0]), problem)
        self._paint()

    def _answered_typed(self, message: Answered, problem: str) -> None:
        self.query_one("#typed-told", Static).update(problem)
        if not problem:
            self._choose(str(message.answer["key"]), to_cells=True)

    def _answered_look(self, message: Answered, problem: str) -> None:
        self._took_s, self._looked_at = message.took_s, time.monotonic()
        before = self.seen
        if problem:
            fields = before.fields if before else ()
            self.seen = Look(fields, (), {}, problem, (), "")
        else:
            self.seen = to_look(message.answer["look"])
            self.typed = dict(message.answer["typed"])
        if self.seen == before:
            self._paint()
            if self.cost is None:
                self._update_cost()
            return
        self.run_worker(self._show_look(), name="show", exit_on_error=False)

    async def _show_look(self) -> None:
        seen = self.seen
        assert seen is not None, "_answered_look has set it"
        table = self.query_one(CellTable)
        if seen.cells or not seen.problems:  # if an option is refused, the cells stay as they were
            table.show(seen.cells, table.ticked if table.cells else self.memory.ticked.get(self.key, ()))
        options = self.query_one(Options)
        await options.show(self.key, seen.fields, self.typed)
        options.tell(seen.problems)
        self._update_cost(clear=self.cost is None or bool(seen.problem))

    def _answered_cost(self, message: Answered, problem: str) -> None:
        self.cost = Cost(0, 0, (), "", (), problem) if problem else to_cost(message.answer["cost"])
        self._paint()

    def _answered_stamp(self, message: Answered, problem: str) -> None:
        then, self._then = self._then, None
        stamp = message.answer.get("stamp")
        if problem or self.seen is None:
            if then is not None:  # the button was pressed
                self.note = f"nothing was enqueued: {problem or 'the study is being read'}"
                self._paint()
            return
        if stamp != self.seen.stamp:
            self.note = f"{self._title()} has changed on disk and was read again; look before you enqueue"
            self.cost = None
            self._look()
        elif then is not None:
            then()

    # ---------------------------------------------------------------- the study

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_index < len(self.studies):
            self._choose(self.studies[event.option_index].key, to_cells=True)

    def _choose(self, key: str, to_cells: bool = False) -> None:
        """Chooses a study: restores its typed options and its ticks."""
        if self.process.waited_s() > GIVE_UP_S:
            self.process.restart()
        self._forget_questions()
        self.key, self.seen, self.cost, self.note = key, None, None, ""
        self.typed = self.memory.of(key)
        table = self.query_one(CellTable)
        table.show((), ())
        self.memory.keep_last(self.path, key)
        self._look(fresh=True)
        if to_cells:
            self.action_tab("cells")

    def _title(self) -> str:
        known = next((each.title for each in self.studies if each.key == self.key), None)
        return known or clean(title_of(self.key))

    def _look(self, fresh: bool = False) -> None:
        if self.key:
            self._ask("look", key=self.key, typed=dict(self.typed), fresh=fresh)
            self._paint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "typed":
            event.stop()
            self._ask("typed", text=event.value)

    # ---------------------------------------------------------------- cells, options, cost

    def on_cell_table_ticked(self, message: CellTable.Ticked) -> None:
        self.memory.ticked[self.key] = frozenset(self.query_one(CellTable).ticked)
        self._update_cost()

    def on_cell_table_pointed(self, message: CellTable.Pointed) -> None:
        cell = message.cell  # under the cursor
        self.query_one("#told", Static).update("" if cell is None else clean(cell.told))

    def on_field_row_changed(self, message: FieldRow.Changed) -> None:
        default = {field.name: field.default for field in (self.seen.fields if self.seen else ())}
        if message.text == default.get(message.field, ""):
            self.typed.pop(message.field, None)
        else:
            self.typed[message.field] = message.text
        self._forget_questions()
        self.note = ""
        self.cost = None
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_S, self._end_typing)
        self._paint()

    def _end_typing(self) -> None:
        self._typing = None
        self.memory.keep_typed(self.key, self.typed)
        self._look()

    def _update_cost(self, clear: bool = True) -> None:
        """Requests the cost of the ticked cells.

        `clear`: removes the shown cost at once. False if only the states of jobs have changed: the shown cost is good
        enough until the new one arrives.
        """
        if clear:
            self.cost = None
        ticked = self._ticked()
        if ticked and self.seen is not None and not self.seen.problem:
            self._ask("cost", ticked=ticked, key=self.key, typed=dict(self.typed))
        else:
            self._asked.pop("cost", None)
        self._paint()

    def _ticked(self) -> list[str]:
        table = self.query_one(CellTable)
        return [cell.name for cell in (self.seen.cells if self.seen else ()) if cell.name in table.ticked]

    # ---------------------------------------------------------------- the part below the tabs

    def _paint(self) -> None:
        if self.is_attached:
            state = self._state()
            title = f"enqueue{f': {state.title}' if state.title else ''}"
            if title != self._titled:
                self._titled = title
                self.query_one("#form").border_title = Text(title)
            self.query_one(Foot).show(state)

    def _state(self) -> FormState:
        """Returns the state that the texts below the tabs depend on."""
        return FormState(
            title=self._title() if self.key else "", seen=self.seen, ticked=frozenset(self._ticked()), cost=self.cost,
            running=self.runs.progress(), is_enqueueing=self.runs.now is not None and self.runs.now.kind == ENQUEUE,
            waited_s=time.monotonic() - self._wanted_at, note=self.note, is_typing=self._typing is not None,
        )  # fmt: skip

    def _tick(self) -> None:
        """Once a second: updates waiting times, shows ended commands, checks for changed files and job states."""
        now = time.monotonic()
        shown = (self.runs.now is not None, self.runs.ended)
        if shown != self._shown_run or self.runs.now is not None or self.process.waited_s():
            ended = shown[1] != self._shown_run[1]
            self._shown_run = shown
            if ended:
                self._ended()
            self._paint()
        if not self.key or self.seen is None or self.process.waited_s() or self._typing is not None:
            return
        if now - self._looked_at > max(STATES_EVERY_S, 20 * self._took_s) and not self.runs.now:
            self._ask("look", key=self.key, typed=dict(self.typed))
        elif now - self._stamped_at > FILES_EVERY_S and self._then is None:
            self._stamped_at = now
            self._ask("stamp")

    # ---------------------------------------------------------------- tabs

    def action_tab(self, name: str) -> None:
        if tabs := self.query(FormTabs):
            tabs.first().open(name)

    def action_step(self, by: int) -> None:
        if tabs := self.query(FormTabs):
            tabs.first().step(by)

    def action_leave(self) -> None:
        """Esc: leaves an option or a text field if one has the focus, else the form."""
        options = self.query_one(Options)
        if options.has_focus_within and not options.has_focus:
            options.focus()  # not a button: Enter would press it
            return
        if isinstance(self.focused, Input):
            self.query_one("#buttons Button:enabled").focus()
            return
        self.dismiss(None)

    # ---------------------------------------------------------------- answers

    def _ended(self) -> None:
        """Shows the answer of a command that has ended."""
        self._show_answer()
        last = self.memory.answers[-1] if self.memory.answers else None
        if isinstance(self.focused, Input):
            self.note = "it has ended: 4 shows what it said"  # does not switch the tab while the user types
        else:
            self.action_tab("answer")
        if last is not None and last.code == 0 and self._was_enqueued:
            self.query_one(CellTable).set_ticked(())
        self._was_enqueued = False
        self._look()

    _was_enqueued = False

    def _show_answer(self) -> None:
        texts = [text_of(answer) for answer in reversed(self.memory.answers)]
        nothing = "Nothing was tried yet: d is a dry run of the ticked cells, t runs a trial of them (fts check)."
        self.query_one("#answer-text", Static).update("\n\n".join(texts) or nothing)

    # ---------------------------------------------------------------- actions

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        actions = {"enqueue": self._enqueue, "dry-run": self.action_dry_run, "check": self.action_check}
        actions.get(str(event.button.id), lambda: self.dismiss(None))()

    def _enqueue(self) -> None:
        """Enqueues exactly what is shown, once. If a file has changed, it shows the change instead."""
        cost = self.cost
        if cost is None or not self._state().button()[1]:
            return

        def go() -> None:
            if self.cost is cost:
                self._was_enqueued = self._start(ENQUEUE, cost.line, cost.words)

        self._then = go
        self._ask("stamp")

    def action_dry_run(self) -> None:
        if self.cost is not None and self.cost.words and not self.cost.problem:
            self._start(DRY_RUN, f"{self.cost.line} -n", _with_dry_run(self.cost.words))
        else:
            self._why_not()

    def action_check(self) -> None:
        if self.cost is not None and self.cost.check and not self.cost.problem:
            line = self.cost.line.replace("enqueue", "check", 1)
            self._start(CHECK, line, self.cost.check)
        else:
            self._why_not()

    def _why_not(self) -> None:
        self.note = self._state().why_not()
        self._paint()

    def _start(self, kind: str, line: str, words: Sequence[str]) -> bool:
        self.note = ""
        started = self.runs.start(kind, line, words, self.seen.folder if self.seen else "", self.key)
        if not started:
            self.note = "one command at a time: s ends the one that runs"
        self._paint()
        return started

    def action_stop(self) -> None:
        self.runs.stop()

    def action_again(self) -> None:
        self._ask("studies", folders=[str(folder) for folder in self.folders])
        self._look()

    def action_copy(self) -> None:
        """Copies the command line that the button would run."""
        if self.cost is not None and self.cost.line:
            copy(self.app, self.cost.line, self._say, "the command line was ")

    def _say(self, text: str) -> None:
        self.note = text
        self._paint()


def _with_dry_run(words: Sequence[str]) -> list[str]:
    """Adds -n before the arguments, because it must come before the `--` of a command."""
    return [words[0], "-n", *words[1:]]
