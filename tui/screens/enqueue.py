"""The enqueue dialog: a matrix of checkboxes, trials and epochs, with what it will cost before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events

from jobs.glance import words
from jobs.glance.eta import pace_of
from state.values import Snapshot
from tui.paint import Line, Span
from tui.screens.dialogs import Dialog

BUDGETS = ("2M", "20M", "200M", "2B")
HORIZONS = (1, 3, 5)
TRIALS = (1, 5, 10, 20, 30, 50, 100, 200)
EPOCHS = (1, 2, 5, 10, 20, 30, 50, 100)
PARAMETERS = {"tiny": 5e3, "2M": 2e6, "20M": 2e7, "200M": 2e8, "2B": 2e9}
BYTES_PER_PARAMETER = 16  # weights, gradients and two moments in fp32; activations come on top


@dataclass(frozen=True)
class Order:
    """What is to be put in line."""

    cells: tuple[tuple[str, int], ...]  # (budget, horizon)
    trials: int
    epochs: int
    dry_run: bool = False

    def calls(self) -> list[tuple[str, ...]]:
        """Words after `fts enqueue`, one call per set of horizons: a full matrix is one call."""
        by_budget: dict[str, list[int]] = {}
        for budget, horizon in self.cells:
            by_budget.setdefault(budget, []).append(horizon)
        groups: dict[tuple[int, ...], list[str]] = {}
        for budget, horizons in by_budget.items():
            groups.setdefault(tuple(sorted(horizons)), []).append(budget)
        sizes = ("--trials", str(self.trials), "--epochs", str(self.epochs))
        return [
            ("--matrix", "--budgets", ",".join(budgets), "--horizons", ",".join(map(str, horizons)), *sizes)
            for horizons, budgets in groups.items()
        ]


class Enqueue(Dialog[Order]):
    """Space toggles a cell, r a row, c a column, a all; + - trials, > < epochs; d tries it, Enter puts it in line."""

    def __init__(self, snapshot: Snapshot, palette: str, ascii_only: bool) -> None:
        super().__init__("enqueue", palette, ascii_only)
        self.snapshot = snapshot
        waiting = {(j.budget, j.horizon) for j in snapshot.jobs if str(j.status) in ("queued", "running", "paused")}
        self.present = waiting
        self.checked = {(b, h) for b in BUDGETS for h in HORIZONS} - waiting
        self.row, self.column = 0, 0
        self.trials, self.epochs = 50, 50
        self.box_width, self.box_height = 74, 14

    def lines(self, width: int, height: int) -> list[Line]:
        head: list[Span] = [("          ", "")]
        head += [(words.fit(f"h{horizon}", 14), "dim") for horizon in HORIZONS]
        lines: list[Line] = [tuple(head)]
        lines += [self._row(n, budget) for n, budget in enumerate(BUDGETS)]
        lines += [(), self._numbers(), *self.cost(), ()]
        keys = "Space cell  r row  c column  a all  + - trials  > < epochs"
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

    def _numbers(self) -> Line:
        total = f"{words.count(len(self.checked), 'cell')}, {len(self.checked) * self.trials} trials"
        numbers: list[Span] = [("trials ", "dim"), (f"{self.trials:<6d}", "strong"), ("epochs ", "dim")]
        return (*numbers, (f"{self.epochs:<6d}", "strong"), (total, ""))

    def cost(self) -> list[Line]:
        """Hours from this machine's own history, and the least memory of the largest model."""
        return [((text, "dim"),) for text in cost_words(self.snapshot, sorted(self.checked), self.trials)]

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
            ordered = tuple((b, h) for b in BUDGETS for h in HORIZONS if (b, h) in self.checked)
            self.dismiss(Order(ordered, self.trials, self.epochs, dry_run=key == "d"))
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

    def _toggle(self, cells: Sequence[tuple[str, int]]) -> None:
        if all(cell in self.checked for cell in cells):
            self.checked -= set(cells)
        else:
            self.checked |= set(cells)


def step(ladder: Sequence[int], value: int, direction: int) -> int:
    """The next rung up or down."""
    at = ladder.index(value) if value in ladder else 0
    return ladder[min(max(at + direction, 0), len(ladder) - 1)]


def cost_words(snapshot: Snapshot, cells: Sequence[tuple[str, int]], trials: int) -> list[str]:
    """What an order will take, in two sentences; unknown is said."""
    if not cells:
        return ["nothing is chosen", ""]
    paces = {budget: pace_of(budget, snapshot.jobs, snapshot.taken_at) for budget, _ in cells}
    unknown = [budget for budget, pace in paces.items() if pace is None]
    if unknown:
        time = "time: unknown until a first cell has run here"
    else:
        seconds = sum(pace.seconds * trials for budget, _ in cells if (pace := paces[budget]) is not None)
        slots = max(sum(w.slots for w in snapshot.workers if w.status == "running"), 1)
        time = (
            f"time: about {words.spell(seconds / slots)} on {words.count(slots, 'slot')}, from the cells that ran here"
        )
    largest = max((budget for budget, _ in cells), key=lambda budget: PARAMETERS.get(budget, 0.0))
    need = PARAMETERS.get(largest, 0.0) * BYTES_PER_PARAMETER
    have = max((sample.available or 0 for sample in snapshot.samples), default=0)
    fits = "" if not have else f", {words.size(have)} are available here"
    lean = "; the plan chooses a leaner recipe where that does not fit" if have and need > have else ""
    return [time, f"memory: {largest} needs about {words.size(need)} with AdamW{fits}{lean}"]
