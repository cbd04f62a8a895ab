"""The enqueue dialog: a matrix of checkboxes, what is searched in it, what is new in it and what that will cost.

Nothing is written before a person has seen the price and answered y.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.state.errors import StateError
from fts.study.choices import HORIZONS, PRUNERS, SIZES, TIERS, TRIALS, tasks_of, usual_data
from fts.study.order import Order, data_choices, first_choice, named, states_of, step
from fts.study.preview import (
    Cell,
    Command,
    DataList,
    DryRun,
    Preview,
    Question,
    SearchSettings,
    became,
    sentences,
    standing,
    time_of,
    trials_to_run,
)
from fts.study.screens.messages import DataListed, Planned, Tried
from fts.tui.render.text import Line, Span, wrapped
from fts.tui.screens.canvas_dialog import CanvasDialog
from fts.tui.screens.dialogs import Confirm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual import events
    from textual.message import Message

    from fts.state.values import Snapshot

__all__ = ["Enqueue", "Order"]

FIELDS = ("task", "tier", "data")  # of the settings, a row each; the words are those of `fts enqueue`
ROWS = len(SIZES) + len(FIELDS)
TRIAL_STEPS = (1, 5, 10, 20, 30, 50, 75, 100, 200)
EPOCH_STEPS = (1, 2, 5, 10, 20, 30, 50, 100)
COST_ROWS = 9  # what is new, time, where it comes from, memory on two lines, and what does not fit
OTHER_ROWS = ROWS + 4  # the horizons, the numbers, the keys
MOST_TRIALS = 100_000
CELL, VALUE = 14, 21  # columns of a cell, and of a value of the settings


class Enqueue(CanvasDialog[Order]):
    """Space toggles a cell, r a row, c a column, a all; + - 0-9 trials, > < epochs, p pruner; d tries, Enter asks.

    Below the cells Space and l change the task, the tier and the data set, h goes back.

    It opens with the smallest size of the matrix that is not complete, or with what the person chose `before`.
    """

    def __init__(
        self, snapshot: Snapshot, palette: str, ascii_only: bool, path: Path, before: Enqueue | None = None
    ) -> None:
        super().__init__("enqueue", palette, ascii_only)
        self.path, self.jobs = path, snapshot.jobs
        self.plans: dict[SearchSettings, Preview | str] = {}  # the plan, or why there is none
        self.data_sets: dict[str, tuple[str, ...]] | str | None = None  # by tier, or why not; None: not known yet
        self.listing = DataList(path)
        self.question: Question | None = None  # that has not been answered yet
        self.trying: DryRun | None = None  # the dry run that goes on
        self.tried: list[str] | None = None  # what it said, until the person has read it
        self.planned_at = self.tried_at = time.monotonic()  # when the question and the dry run began
        self.settings: SearchSettings = SearchSettings() if before is None else before.settings
        self.trials: int = TRIALS if before is None else before.trials
        self.checked = first_choice(self.present)
        self.row, self.column = 1, 0
        self.ordered = False
        self._typed = False  # the last key was a digit: the next one belongs to the same number
        if before is not None and not before.ordered:
            self.checked = before.checked
        self.box_width, self.box_height = 74, OTHER_ROWS + 2 + COST_ROWS

    @property
    def present(self) -> dict[Cell, str]:
        """The cells that have a job of these settings, as far as the picture tells."""
        return states_of(self.jobs, self.settings, self.settings.data or self._usual_name())

    def lines(self, width: int, height: int) -> list[Line]:
        if self.trying is not None or self.tried is not None:
            return self._of_dry_run(width, height)
        head: list[Span] = [("          ", "")]
        head += [(formatting.fit(f"     h{horizon}", CELL + 2), "dim") for horizon in HORIZONS[:-1]]
        head.append((f"     h{HORIZONS[-1]}", "dim"))
        lines: list[Line] = [tuple(head)]
        lines += [self._row(n, budget) for n, budget in enumerate(SIZES)]
        lines += [self._field(n, name, width) for n, name in enumerate(FIELDS, start=len(SIZES))]
        gap: list[Line] = [()] if height > OTHER_ROWS + 2 else []
        rows = max(min(height - OTHER_ROWS - 2 * len(gap), COST_ROWS), 1)
        lines += [*gap, self._numbers(width), *self.cost(width, rows), *gap]
        keys = "Space cell  r row  c column  a all  + - 0-9 trials  > < epochs  p pruner"
        keys = keys if formatting.width(keys) <= width else "Space r c a cells  + - trials  > < epochs  p pruner"
        lines.append(((keys, "dim"),))
        lines.append((("Enter", "key"), (" put in line   ", "dim"), ("d", "key"), (" dry run   Esc nothing", "dim")))
        return lines

    def _of_dry_run(self, width: int, height: int) -> list[Line]:
        """The dry run while it goes on, and its answer until a key is pressed."""
        if self.tried is None:
            cells, since = (
                formatting.count(len(self.checked), "cell"),
                formatting.spell(time.monotonic() - self.tried_at),
            )
            said = [f"`fts enqueue --dry-run` runs one optimizer step of {cells}: {since} so far. Esc ends it."]
        else:
            said = [*self.tried, "Nothing was put in line. Any key returns to the settings."]
        rows = [row for text in said for row in _indented(text, width)]
        if len(rows) > height:
            rows = [formatting.cut(text, width - 2) for text in said]
        if len(rows) > height:
            rows[height - 2 : -1] = [f"and {len(rows) - height + 1} more; `fts enqueue --dry-run` lists all"]
        return [((row, ""),) for row in rows]

    def _row(self, n: int, budget: str) -> Line:
        spans: list[Span] = [(formatting.fit(f"  {budget}", 10), "")]
        for m, horizon in enumerate(HORIZONS):
            cell, here = (budget, horizon), (n, m) == (self.row, self.column)
            box = "[x]" if cell in self.checked else "[ ]"
            role = "strong" if cell in self.checked else "dim"
            text = f"{'>' if here else ' '}{box} {self._note(cell)}"
            spans += [(formatting.fit(text, CELL), f"cursor {role}" if here else role), ("  ", "")]
        return tuple(spans)

    def _field(self, n: int, name: str, width: int) -> Line:
        """`  task    >threshold_1pct       1 of 4 · Space next, h previous`."""
        choices, chosen, here = self._choices(name), getattr(self.settings, name), n == self.row
        told = self._usual_data() if chosen is None else str(chosen)
        value = formatting.fit(f"{'>' if here else ' '}{told}", max(VALUE, formatting.width(told) + 1))
        place = f"  {choices.index(chosen) + 1} of {len(choices)}" if chosen in choices and len(choices) > 1 else ""
        keys = " · Space next, h previous" if here and place else ""
        keys = keys if 10 + formatting.width(value + place + keys) <= width else ""
        role = "cursor strong" if here else "strong"
        return ((formatting.fit(f"  {name}", 10), ""), (value, role), (place + keys, "dim"))

    def _usual_data(self) -> str:
        """The name of the data set that need not be named, or why there is none."""
        if self.data_sets is None:
            return "the tier's one"
        if isinstance(self.data_sets, str):
            return f"`fts data list`: {self.data_sets}"
        return self._usual_name() or f"none: `fts data build --tier {self.settings.tier}` makes one"

    def _usual_name(self) -> str | None:
        known = self.data_sets if isinstance(self.data_sets, dict) else {}
        return usual_data(known.get(self.settings.tier, ()), self.settings.tier)

    def _choices(self, name: str) -> Sequence[str | None]:
        if name != "data":
            return {"task": tasks_of(self.jobs), "tier": TIERS}[name]
        known = self.data_sets if isinstance(self.data_sets, dict) else {}
        return data_choices(known.get(self.settings.tier, ()), self.settings.tier)

    def _note(self, cell: tuple[str, int]) -> str:
        """new, 50 to 75 (an extension), or the status of the job that is there."""
        found = self._plan()
        if not isinstance(found, Preview):
            return self.present.get(cell, "")
        there = standing(found.cells.get(cell), self.trials)
        if there is None:
            return "new"
        return f"{there.trials} to {self.trials}" if there.trials < self.trials else there.status

    def _plan(self) -> Preview | str | None:
        return self.plans.get(self.settings)

    def _numbers(self, width: int) -> Line:
        found, chosen = self._plan(), self._ordered()
        count = len(chosen) * self.trials
        if isinstance(found, Preview):
            count = trials_to_run(found, chosen, self.trials)
        trials = formatting.count(count, "trial")
        total = f"{formatting.count(len(self.checked), 'cell')}, {trials}"
        numbers: list[Span] = [("trials ", "dim"), (f"{self.trials:<5d}", "strong"), ("epochs ", "dim")]
        epochs, pruner = self.settings.epochs, self.settings.pruner
        numbers += [(f"{epochs:<5d}", "strong"), ("pruner ", "dim"), (f"{pruner:<9s}", "strong")]
        numbers += [("sampler ", "dim"), (f"{PRUNERS[pruner]:<8s}", "strong")]
        room = width - sum(formatting.width(text) for text, _ in numbers)
        return (*numbers, (total if formatting.width(total) <= room else trials, ""))

    def cost(self, width: int, height: int) -> list[Line]:
        """What `fts plan --memory` says about the chosen cells; it is asked when the dialog opens."""
        found = self._plan()
        if found is None:
            size = f"time and memory of {len(SIZES) * len(HORIZONS)} cells on this machine"
            since = formatting.spell(time.monotonic() - self.planned_at)
            said = [f"`fts plan --memory` computes {size}: {since} so far"]
        elif isinstance(found, str):
            said = [f"`fts plan --memory`: {found}"]
        else:
            said = sentences(found, self._ordered(), self.trials, self.settings.pruner)
        rows = [row for text in said for row in _indented(text, width)]
        if len(rows) > height:  # in a pocket only the sentences themselves
            rows = [formatting.cut(text, width - 2) for text in said if not text.startswith("  ")]
        if len(rows) > height:
            rows[height - 1 :] = [formatting.cut(rows[height - 1], width - 4) + " …"]
        rows += [""] * (height - len(rows))
        return [((row, "dim"),) for row in rows]

    def _ordered(self) -> tuple[tuple[str, int], ...]:
        return tuple((b, h) for b in SIZES for h in HORIZONS if (b, h) in self.checked)

    def _order(self) -> Order:
        return Order(self._ordered(), self.trials, self.settings)

    def ready(self) -> None:
        super().ready()
        self._hear(self.listing, DataListed)
        self.ask()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Seconds are counted only while somebody waits."""
        if self.trying is not None or (self.question is not None and self.tried is None):
            self.redraw()

    def on_unmount(self) -> None:
        for asked in (self.listing, self.question, self.trying):
            if asked is not None:
                asked.stop()

    # -- answers of other processes

    def _hear(self, command: Command, message: Callable[[Any], Message]) -> None:
        """The answer, or why there is none, comes as a message."""

        def wait() -> None:
            try:
                said = command.answer()
            except (StateError, OSError) as error:
                said = clean(str(error))
            self.post_message(message(said))

        self.run_worker(wait, thread=True, name=type(command).__name__, exit_on_error=False)

    def ask(self) -> None:
        """One question at a time; the next one, for other settings, when the answer is there."""
        if self.question is not None or self.settings in self.plans:
            return
        self.planned_at = time.monotonic()
        self.question = Question(self.path, self.settings, SIZES)
        self._hear(self.question, partial(Planned, self.settings))

    def on_planned(self, message: Planned) -> None:
        self.plans[message.settings], self.question = message.plan, None
        self.redraw()
        self.ask()

    def on_data_listed(self, message: DataListed) -> None:
        self.data_sets = message.found
        self._settle_data()
        self.redraw()

    def _settle_data(self) -> None:
        """Another tier has other data sets."""
        choices = self._choices("data")
        if isinstance(self.data_sets, dict) and self.settings.data not in choices:
            self._set(data=choices[0])

    def try_it(self) -> None:
        """The answer stays until a key is pressed."""
        self.trying = DryRun(self.path, self._order().calls())
        self.tried_at = time.monotonic()
        self._hear(self.trying, Tried)

    def on_tried(self, message: Tried) -> None:
        if self.trying is not None:
            said = [f"The dry run failed: {message.said}"] if isinstance(message.said, str) else message.said
            self.trying, self.tried = None, [clean(text) for text in said]
            self.redraw()

    def _key_of_dry_run(self, key: str) -> None:
        if self.trying is not None:
            if key not in ("escape", "q"):
                return
            self.trying.stop()
        self.trying = self.tried = None

    # -- keys

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        key = event.character if event.character and event.character.isprintable() else event.key
        moves = {"j": (1, 0), "down": (1, 0), "k": (-1, 0), "up": (-1, 0), "l": (0, 1), "right": (0, 1), "h": (0, -1),
                 "left": (0, -1)}  # fmt: skip
        if self.trying is not None or self.tried is not None:
            self._key_of_dry_run(key)
        elif key in moves:
            self._move(*moves[key])
        elif key in ("escape", "q"):
            self.dismiss(None)
            return
        elif key == "enter" and self.checked:
            self.confirm()
        elif key == "d" and self.checked:
            self.try_it()
        else:
            self._change(" " if key == "space" else key)
        self._typed = key.isdecimal() and key.isascii()
        self.redraw()

    def _move(self, down: int, right: int) -> None:
        self.row = (self.row + down) % ROWS
        if right and self.row >= len(SIZES):
            self._cycle(FIELDS[self.row - len(SIZES)], right)
        else:
            self.column = (self.column + right) % len(HORIZONS)

    def _cycle(self, name: str, by: int) -> None:
        """The next value of what exists; of another tier its usual data set."""
        choices, chosen = self._choices(name), getattr(self.settings, name)
        at = choices.index(chosen) if chosen in choices else -1
        self._set(**{name: choices[(at + by) % len(choices)]})
        if name == "tier":
            self._settle_data()

    def _set(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        self.ask()

    def confirm(self) -> None:
        """Asks with the price; only y puts it in line."""
        found, cells = self._plan(), self._ordered()
        count = f"{formatting.count(len(cells), 'cell')} of {formatting.count(self.trials, 'trial')}"
        effects = [f"{count}, at most {formatting.count(self.settings.epochs, 'epoch')} each: {named(cells)}"]
        data = self._usual_data() if self.settings.data is None else self.settings.data
        effects.append(f"task {self.settings.task}, tier {self.settings.tier}, data {data}")
        if isinstance(found, Preview):
            effects += [
                became(found, cells, self.trials),
                f"time: {time_of(found, cells, self.trials, self.settings.pruner)}",
            ]
        else:
            effects.append("the time is not known yet; cells that exist already are not put in line again")
        dialog = Confirm("put in line?", effects, yes="put in line")
        self.app.push_screen(dialog, self._confirmed)

    def _confirmed(self, yes: bool | None) -> None:
        if yes:
            self.ordered = True
            self.dismiss(self._order())

    def _change(self, key: str) -> None:
        size = SIZES[self.row] if self.row < len(SIZES) else None
        if key == " " and size is None:
            self._cycle(FIELDS[self.row - len(SIZES)], 1)
        elif key == " " and size is not None:
            self._toggle([(size, HORIZONS[self.column])])
        elif key == "r" and size is not None:
            self._toggle([(size, h) for h in HORIZONS])
        elif key == "c":
            self._toggle([(b, HORIZONS[self.column]) for b in SIZES])
        elif key == "a":
            self._toggle([(b, h) for b in SIZES for h in HORIZONS])
        elif key in ("+", "=", "-"):
            self.trials = step(TRIAL_STEPS, self.trials, -1 if key == "-" else 1)
        elif key.isdecimal() and key.isascii():
            self.trials = min(max(int(f"{self.trials if self._typed else ''}{key}"), 1), MOST_TRIALS)
        elif key in (">", "<"):
            self._set(epochs=step(EPOCH_STEPS, self.settings.epochs, 1 if key == ">" else -1))
        elif key == "p":
            names = list(PRUNERS)
            self._set(pruner=names[(names.index(self.settings.pruner) + 1) % len(names)])

    def _toggle(self, cells: Sequence[tuple[str, int]]) -> None:
        if all(cell in self.checked for cell in cells):
            self.checked = self.checked - set(cells)
        else:
            self.checked = self.checked | set(cells)


def _indented(text: str, width: int) -> list[str]:
    """Wrapped; what goes on, and what belongs to the line above, stands two columns in."""
    rows = wrapped(text, width - 4)
    first = "  " if text.startswith("  ") else ""
    return [f"{first if n == 0 else '  '}{row}" for n, row in enumerate(rows)]
