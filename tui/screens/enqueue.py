"""The enqueue dialog: a matrix of checkboxes, trials and epochs, with what it will cost before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import events

from jobs.commands.preview import Preview, Question, sentences
from jobs.glance import words
from jobs.glance.sanitize import clean
from state.errors import StateError
from state.values import Job, Snapshot
from tui.messages import Planned
from tui.paint import Line, Span, wrapped
from tui.screens.dialogs import Dialog

BUDGETS = ("2M", "20M", "200M", "2B")
HORIZONS = (1, 3, 5)
TASK, TIER = "threshold_1pct", "a25"  # what `fts enqueue --matrix` takes where it is not told (a test compares)
TRIALS = (1, 5, 10, 20, 30, 50, 75, 100, 200)
EPOCHS = (1, 2, 5, 10, 20, 30, 50, 100)
PRUNERS = {"none": "tpe", "halving": "random", "median": "tpe"}  # with the sampler that `fts enqueue` takes beside each
COST_ROWS = 7  # time, where it comes from, memory on two lines, and what does not fit


@dataclass(frozen=True)
class Order:
    """What is to be put in line."""

    cells: tuple[tuple[str, int], ...]  # (budget, horizon)
    trials: int
    epochs: int
    pruner: str = "none"
    dry_run: bool = False

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
    """Whether it waits or runs, and asks what this dialog puts in line: a cell of another task is not that cell."""
    waits = str(job.status) in ("queued", "running", "paused")
    return waits and (job.kind, job.task, job.tier) == ("cell", TASK, TIER) and not job.spec.get("cv")


class Enqueue(Dialog[Order]):
    """Space toggles a cell, r a row, c a column, a all; + - trials, > < epochs, p pruner; d tries, Enter queues it."""

    def __init__(self, snapshot: Snapshot, palette: str, ascii_only: bool, path: Path) -> None:
        super().__init__(f"enqueue {TASK} {TIER}", palette, ascii_only)
        self.path = path
        self.plans: dict[int, Preview | str] = {}  # by epochs: the plan, or why there is none
        self.question: Question | None = None  # that has not been answered yet
        waiting = {(j.budget, j.horizon) for j in snapshot.jobs if _is_alike(j)}
        self.present = waiting
        self.checked = {(b, h) for b in BUDGETS for h in HORIZONS} - waiting
        self.row, self.column = 0, 0
        self.trials, self.epochs, self.pruner = 50, 50, next(iter(PRUNERS))
        self.box_width, self.box_height = 74, 10 + COST_ROWS

    def lines(self, width: int, height: int) -> list[Line]:
        head: list[Span] = [("          ", "")]
        head += [(words.fit(f"h{horizon}", 14), "dim") for horizon in HORIZONS]
        lines: list[Line] = [tuple(head)]
        lines += [self._row(n, budget) for n, budget in enumerate(BUDGETS)]
        lines += [(), self._numbers(width), *self.cost(width, max(min(height - 10, COST_ROWS), 1)), ()]
        keys = "Space cell  r row  c column  a all  + - trials  > < epochs  p pruner"
        keys = keys if words.width(keys) <= width else "Space r c a cells  + - trials  > < epochs  p pruner"
        lines.append(((keys, "dim"),))
        lines.append((("Enter", "key"), (" put in line   ", "dim"), ("d", "key"), (" dry run   Esc nothing", "dim")))
        return lines

    def _row(self, n: int, budget: str) -> Line:
        spans: list[Span] = [(words.fit(f"  {budget}", 10), "")]
        for m, horizon in enumerate(HORIZONS):
            cell = (budget, horizon)
            box = "[x]" if cell in self.checked else "[ ]"
            note = " in line" if cell in self.present else ""
            role = "strong" if cell in self.checked else "dim"
            if (n, m) == (self.row, self.column):
                role = f"cursor {role}"
            spans.append((words.fit(box + note, 12), role))
            spans.append(("  ", ""))
        return tuple(spans)

    def _numbers(self, width: int) -> Line:
        total = f"{words.count(len(self.checked), 'cell')}, {len(self.checked) * self.trials} trials"
        numbers: list[Span] = [("trials ", "dim"), (f"{self.trials:<5d}", "strong"), ("epochs ", "dim")]
        numbers += [(f"{self.epochs:<5d}", "strong"), ("pruner ", "dim"), (f"{self.pruner:<9s}", "strong")]
        numbers += [("sampler ", "dim"), (f"{PRUNERS[self.pruner]:<8s}", "strong")]
        room = width - sum(words.width(text) for text, _ in numbers)
        return (*numbers, (total if words.width(total) <= room else total.split(", ")[1], ""))

    def cost(self, width: int, height: int) -> list[Line]:
        """What `fts plan --memory` says about the chosen cells; it is asked when the dialog opens."""
        found = self.plans.get(self.epochs)
        if found is None:
            said = ["asking `fts plan --memory` what this takes here ..."]
        elif isinstance(found, str):
            said = [f"`fts plan --memory`: {found}"]
        else:
            said = sentences(found, self._ordered(), self.trials)
        rows = [row for text in said for row in _indented(text, width)]
        if len(rows) > height:  # in a pocket only the sentences themselves
            rows = [words.cut(text, width - 2) for text in said if not text.startswith("  ")]
        if len(rows) > height:
            rows[height - 1 :] = [words.cut(rows[height - 1], width - 4) + " …"]
        rows += [""] * (height - len(rows))
        return [((row, "dim"),) for row in rows]

    def _ordered(self) -> tuple[tuple[str, int], ...]:
        return tuple((b, h) for b in BUDGETS for h in HORIZONS if (b, h) in self.checked)

    def ready(self) -> None:
        super().ready()
        self.ask()

    def on_unmount(self) -> None:
        if self.question is not None:
            self.question.stop()

    def ask(self) -> None:
        """One question at a time; the next one, for other epochs, when the answer is there."""
        if self.question is not None or self.epochs in self.plans:
            return
        try:
            question = self.question = Question(self.path, self.epochs)
        except OSError as error:
            self.plans[self.epochs] = clean(str(error))
            return
        epochs = self.epochs
        self.run_worker(lambda: self._listen(question, epochs), thread=True, name="plan", exit_on_error=False)

    def _listen(self, question: Question, epochs: int) -> None:
        """In a thread."""
        try:
            self.post_message(Planned(epochs, question.answer()))
        except (StateError, OSError) as error:
            self.post_message(Planned(epochs, clean(str(error))))

    def on_planned(self, message: Planned) -> None:
        self.plans[message.epochs], self.question = message.plan, None
        self.redraw()
        self.ask()

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        key = event.character if event.character and event.character.isprintable() else event.key
        moves = {"j": (1, 0), "down": (1, 0), "k": (-1, 0), "up": (-1, 0), "l": (0, 1), "right": (0, 1), "h": (0, -1),
                 "left": (0, -1)}  # fmt: skip
        if key in moves:
            self.row = (self.row + moves[key][0]) % len(BUDGETS)
            self.column = (self.column + moves[key][1]) % len(HORIZONS)
        elif key in ("escape", "q"):
            self.dismiss(None)
            return
        elif key in ("enter", "d") and self.checked:
            self.dismiss(Order(self._ordered(), self.trials, self.epochs, self.pruner, dry_run=key == "d"))
            return
        else:
            self._change(" " if key == "space" else key)
        self.redraw()

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
        elif key in (">", "<"):
            self.epochs = step(EPOCHS, self.epochs, 1 if key == ">" else -1)
            self.ask()
        elif key == "p":
            names = list(PRUNERS)
            self.pruner = names[(names.index(self.pruner) + 1) % len(names)]

    def _toggle(self, cells: Sequence[tuple[str, int]]) -> None:
        if all(cell in self.checked for cell in cells):
            self.checked -= set(cells)
        else:
            self.checked |= set(cells)


def step(ladder: Sequence[int], value: int, direction: int) -> int:
    """The next rung up or down."""
    at = ladder.index(value) if value in ladder else 0
    return ladder[min(max(at + direction, 0), len(ladder) - 1)]


def _indented(text: str, width: int) -> list[str]:
    """Wrapped; what goes on, and what belongs to the line above, stands two columns in."""
    rows = wrapped(text, width - 4)
    first = "  " if text.startswith("  ") else ""
    return [f"{first if n == 0 else '  '}{row}" for n, row in enumerate(rows)]
