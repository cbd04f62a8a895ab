"""The enqueue dialog: a matrix of checkboxes, trials and epochs, with what is new in it and what that will cost.

Nothing is written before a person has seen the price and answered y.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fts.jobs.status import formatting
from fts.jobs.status.sanitize import clean
from fts.state.errors import StateError
from fts.study.preview import DryRun, Preview, Question, became, sentences, standing, time_of, trials_to_run
from fts.tui.data.messages import Planned, Tried
from fts.tui.render.text import Line, Span, wrapped
from fts.tui.screens.dialogs import Confirm, Dialog

if TYPE_CHECKING:
    from textual import events

    from fts.state.values import Job, Snapshot

BUDGETS = ("tiny", "2M", "20M", "200M", "2B")
HORIZONS = (1, 3, 5)
TASK, TIER = "threshold_1pct", "a25"  # what `fts enqueue --matrix` takes where it is not told (a test compares)
TRIALS = (1, 5, 10, 20, 30, 50, 75, 100, 200)
EPOCHS = (1, 2, 5, 10, 20, 30, 50, 100)
PRUNERS = {"none": "tpe", "halving": "random", "median": "tpe"}  # with the sampler that `fts enqueue` takes beside each
COST_ROWS = 9  # what is new, time, where it comes from, memory on two lines, and what does not fit
MOST_TRIALS = 100_000
CELL = 14  # columns of a cell


@dataclass(frozen=True)
class Order:
    """What is to be put in line."""

    cells: tuple[tuple[str, int], ...]  # (budget, horizon)
    trials: int
    epochs: int
    pruner: str = "none"

    def calls(self) -> list[tuple[str, ...]]:
        """Words after `fts enqueue`, one call per set of horizons: a full matrix is one call."""
        by_budget: dict[str, list[int]] = {}
        for budget, horizon in self.cells:
            by_budget.setdefault(budget, []).append(horizon)
        groups: dict[tuple[int, ...], list[str]] = {}
        for budget, horizons in by_budget.items():
            groups.setdefault(tuple(sorted(horizons)), []).append(budget)
        sizes = ("--trials", str(self.trials), "--epochs", str(self.epochs), "--pruner", self.pruner)
        return [
            ("--matrix", "--budgets", ",".join(budgets), "--horizons", ",".join(map(str, horizons)), *sizes)
            for horizons, budgets in groups.items()
        ]


def _is_alike(job: Job) -> bool:
    """Whether it asks what this dialog puts in line: a cell of another task is not that cell."""
    return (job.kind, job.task, job.tier) == ("cell", TASK, TIER) and not job.spec.get("cv")


class Enqueue(Dialog[Order]):
    """Space toggles a cell, r a row, c a column, a all; + - 0-9 trials, > < epochs, p pruner; d tries, Enter asks.

    It opens with the smallest size of the matrix that is not complete, or with what the person chose `before`.
    """

    def __init__(
        self, snapshot: Snapshot, palette: str, ascii_only: bool, path: Path, before: Enqueue | None = None
    ) -> None:
        super().__init__(f"enqueue {TASK} {TIER}", palette, ascii_only)
        self.path = path
        self.plans: dict[tuple[int, str], Preview | str] = {}  # by epochs and pruner: the plan, or why there is none
        self.question: Question | None = None  # that has not been answered yet
        self.trying: DryRun | None = None  # the dry run that goes on
        self.tried: list[str] | None = None  # what it said, until the person has read it
        self.planned_at = self.tried_at = time.monotonic()  # when the question and the dry run began
        self.present = {(j.budget, j.horizon): str(j.status) for j in snapshot.jobs if _is_alike(j)}
        self.checked = first_choice(set(self.present))
        self.row, self.column = 1, 0
        self.trials, self.epochs, self.pruner = 50, 50, next(iter(PRUNERS))
        self.ordered = False
        self._typed = False  # the last key was a digit: the next one belongs to the same number
        if before is not None:
            self.trials, self.epochs, self.pruner = before.trials, before.epochs, before.pruner
            self.checked = self.checked if before.ordered else before.checked
        self.box_width, self.box_height = 74, 11 + COST_ROWS

    def lines(self, width: int, height: int) -> list[Line]:
        if self.trying is not None or self.tried is not None:
            return self._of_dry_run(width, height)
        head: list[Span] = [("          ", "")]
        head += [(formatting.fit(f"     h{horizon}", CELL + 2), "dim") for horizon in HORIZONS]
        lines: list[Line] = [tuple(head)]
        lines += [self._row(n, budget) for n, budget in enumerate(BUDGETS)]
        lines += [(), self._numbers(width), *self.cost(width, max(min(height - 11, COST_ROWS), 1)), ()]
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
        return self.plans.get((self.epochs, self.pruner))

    def _numbers(self, width: int) -> Line:
        found, chosen = self._plan(), self._ordered()
        count = len(chosen) * self.trials
        if isinstance(found, Preview):
            count = trials_to_run(found, chosen, self.trials)
        trials = formatting.count(count, "trial")
        total = f"{formatting.count(len(self.checked), 'cell')}, {trials}"
        numbers: list[Span] = [("trials ", "dim"), (f"{self.trials:<5d}", "strong"), ("epochs ", "dim")]
        numbers += [(f"{self.epochs:<5d}", "strong"), ("pruner ", "dim"), (f"{self.pruner:<9s}", "strong")]
        numbers += [("sampler ", "dim"), (f"{PRUNERS[self.pruner]:<8s}", "strong")]
        room = width - sum(formatting.width(text) for text, _ in numbers)
        return (*numbers, (total if formatting.width(total) <= room else trials, ""))

    def cost(self, width: int, height: int) -> list[Line]:
        """What `fts plan --memory` says about the chosen cells; it is asked when the dialog opens."""
        found = self._plan()
        if found is None:
            size = f"time and memory of {len(BUDGETS) * len(HORIZONS)} cells on this machine"
            since = formatting.spell(time.monotonic() - self.planned_at)
            said = [f"`fts plan --memory` computes {size}: {since} so far"]
        elif isinstance(found, str):
            said = [f"`fts plan --memory`: {found}"]
        else:
            said = sentences(found, self._ordered(), self.trials, self.pruner)
        rows = [row for text in said for row in _indented(text, width)]
        if len(rows) > height:  # in a pocket only the sentences themselves
            rows = [formatting.cut(text, width - 2) for text in said if not text.startswith("  ")]
        if len(rows) > height:
            rows[height - 1 :] = [formatting.cut(rows[height - 1], width - 4) + " …"]
        rows += [""] * (height - len(rows))
        return [((row, "dim"),) for row in rows]

    def _ordered(self) -> tuple[tuple[str, int], ...]:
        return tuple((b, h) for b in BUDGETS for h in HORIZONS if (b, h) in self.checked)

    def _order(self) -> Order:
        return Order(self._ordered(), self.trials, self.epochs, self.pruner)

    def ready(self) -> None:
        super().ready()
        self.ask()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Seconds are counted only while somebody waits."""
        if self.trying is not None or (self.question is not None and self.tried is None):
            self.redraw()

    def on_unmount(self) -> None:
        for asked in (self.question, self.trying):
            if asked is not None:
                asked.stop()

    # -- the plan

    def ask(self) -> None:
        """One question at a time; the next one, for other epochs, when the answer is there."""
        asked = (self.epochs, self.pruner)
        if self.question is not None or asked in self.plans:
            return
        self.planned_at = time.monotonic()
        try:
            question = self.question = Question(self.path, *asked, budgets=BUDGETS)
        except OSError as error:
            self.plans[asked] = clean(str(error))
            return
        self.run_worker(lambda: self._listen(question, asked), thread=True, name="plan", exit_on_error=False)

    def _listen(self, question: Question, asked: tuple[int, str]) -> None:
        """In a thread."""
        try:
            self.post_message(Planned(asked, question.answer()))
        except (StateError, OSError) as error:
            self.post_message(Planned(asked, clean(str(error))))

    def on_planned(self, message: Planned) -> None:
        self.plans[message.asked], self.question = message.plan, None
        self.redraw()
        self.ask()

    # -- the dry run

    def try_it(self) -> None:
        """The answer comes as a message, and stays until a key is pressed."""
        dry_run = self.trying = DryRun(self.path, self._order().calls())
        self.tried_at = time.monotonic()
        self.run_worker(lambda: self._hear(dry_run), thread=True, name="dry run", exit_on_error=False)

    def _hear(self, dry_run: DryRun) -> None:
        """In a thread."""
        try:
            said = dry_run.answer()
        except (StateError, OSError) as error:
            said = [f"The dry run failed: {clean(str(error))}"]
        self.post_message(Tried(said))

    def on_tried(self, message: Tried) -> None:
        if self.trying is not None:
            self.trying, self.tried = None, [clean(text) for text in message.said]
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
            self.row = (self.row + moves[key][0]) % len(BUDGETS)
            self.column = (self.column + moves[key][1]) % len(HORIZONS)
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

    def confirm(self) -> None:
        """Asks with the price; only y puts it in line."""
        found, cells = self._plan(), self._ordered()
        count = f"{formatting.count(len(cells), 'cell')} of {formatting.count(self.trials, 'trial')}"
        effects = [f"{count}, at most {formatting.count(self.epochs, 'epoch')} each: {_named(cells)}"]
        if isinstance(found, Preview):
            effects += [
                became(found, cells, self.trials),
                f"time: {time_of(found, cells, self.trials, self.pruner)}",
            ]
        else:
            effects.append("the time is not known yet; cells that exist already are not put in line again")
        dialog = Confirm("put in line?", effects, self.palette, self.ascii_only, yes="put in line")
        self.app.push_screen(dialog, self._confirmed)

    def _confirmed(self, yes: bool | None) -> None:
        if yes:
            self.ordered = True
            self.dismiss(self._order())

    def _change(self, key: str) -> None:
        if key == " ":
            self._toggle([(BUDGETS[self.row], HORIZONS[self.column])])
        elif key == "r":
            self._toggle([(BUDGETS[self.row], h) for h in HORIZONS])
        elif key == "c":
            self._toggle([(b, HORIZONS[self.column]) for b in BUDGETS])
        elif key == "a":
            self._toggle([(b, h) for b in BUDGETS for h in HORIZONS])
        elif key in ("+", "=", "-"):
            self.trials = step(TRIALS, self.trials, -1 if key == "-" else 1)
        elif key.isdecimal() and key.isascii():
            self.trials = min(max(int(f"{self.trials if self._typed else ''}{key}"), 1), MOST_TRIALS)
        elif key in (">", "<"):
            self.epochs = step(EPOCHS, self.epochs, 1 if key == ">" else -1)
            self.ask()
        elif key == "p":
            names = list(PRUNERS)
            self.pruner = names[(names.index(self.pruner) + 1) % len(names)]
            self.ask()

    def _toggle(self, cells: Sequence[tuple[str, int]]) -> None:
        if all(cell in self.checked for cell in cells):
            self.checked = self.checked - set(cells)
        else:
            self.checked = self.checked | set(cells)


def first_choice(present: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """The missing cells of the smallest size of the matrix that is not complete; `tiny` is for tests."""
    for budget in BUDGETS[1:]:
        if missing := {(budget, h) for h in HORIZONS} - present:
            return missing
    return set()


def _named(cells: Sequence[tuple[str, int]]) -> str:
    """2M/h1 h3 h5, 20M/h1."""
    by_budget: dict[str, list[str]] = {}
    for budget, horizon in cells:
        by_budget.setdefault(budget, []).append(f"h{horizon}")
    return ", ".join(f"{budget}/{' '.join(horizons)}" for budget, horizons in by_budget.items())


def step(ladder: Sequence[int], value: int, direction: int) -> int:
    """The next rung up or down, also from between two."""
    if direction > 0:
        return next((rung for rung in ladder if rung > value), max(value, ladder[-1]))
    return next((rung for rung in reversed(ladder) if rung < value), min(value, ladder[0]))


def _indented(text: str, width: int) -> list[str]:
    """Wrapped; what goes on, and what belongs to the line above, stands two columns in."""
    rows = wrapped(text, width - 4)
    first = "  " if text.startswith("  ") else ""
    return [f"{first if n == 0 else '  '}{row}" for n, row in enumerate(rows)]
