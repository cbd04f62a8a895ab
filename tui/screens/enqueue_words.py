"""The texts that the enqueue form shows below its tabs: cells, cost, running command. No widgets."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.form import Cost, Look, summary
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from fts.tui.data.form_memory import CommandOutput


@dataclass(frozen=True)
class FormState:
    """The state of the form that its texts depend on."""

    title: str  # of the chosen study; empty: none is chosen
    seen: Look | None  # None: it is being read
    ticked: frozenset[str]
    cost: Cost | None  # of the ticked cells; None: it is being computed
    running: str  # sentence about the running command; empty: none
    is_enqueueing: bool
    waited_s: float
    note: str
    is_typing: bool

    @property
    def can_try(self) -> bool:
        """Whether a dry run of the ticked cells can be started."""
        return not self.running and self.cost is not None and bool(self.cost.words) and not self.cost.problem

    def preview(self) -> list[str]:
        """Returns the lines above the buttons."""
        lines = [self.note] if self.note else []
        if self.running:
            lines.append(f"{self.running}{'' if self.is_enqueueing else '; s ends it'}")
        if not self.title:
            return [*lines, "Choose a study: Enter, or a click."]
        waited = f"{formatting.spell(self.waited_s)} so far"
        if self.seen is None:
            return [*lines, f"reading {self.title}: {waited}"]
        if self.seen.problem:
            return [*lines, self.seen.problem]
        _, trials, became = summary(self.seen.cells, set(self.ticked))
        if not became:
            n = formatting.count(len(self.seen.cells), "cell")
            hint = f"{n}, none is ticked: Space ticks one, r a row, c a column, a all, n none"
            return [*lines, hint, *self.seen.said]
        lines.append(f"{became}: {formatting.count(trials, 'trial')} to run" if trials else f"{became}: nothing to run")
        if self.cost is None:
            return [*lines, f"computing time and memory: {waited}"]
        lines += [self.cost.problem] if self.cost.problem else []
        return [*lines, *self.cost.sentences, *([f"$ {self.cost.line}"] if self.cost.line else []), *self.seen.said]

    def button(self) -> tuple[str, bool]:
        """Returns the label of the Enqueue button, and whether it is enabled."""
        if self.is_enqueueing:
            return "Enqueueing", False
        if self.seen is None or self.seen.problem:
            return "Enqueue", False
        cells, trials, became = summary(self.seen.cells, set(self.ticked))
        if not became:
            return "Enqueue: no cell is ticked", False
        if not cells:
            return "Enqueue: nothing is new", False
        label = f"Enqueue {formatting.count(cells, 'cell')}, {formatting.count(trials, 'trial')}"
        return label, self.can_try and not self.is_typing

    def why_not(self) -> str:
        """Returns why no dry run or check can start now."""
        if self.seen is None:
            return "choose a study that can be read first"
        if self.seen.problem:
            return ""
        if not self.ticked:
            return "no cell is ticked: 2 shows the cells, Space ticks one"
        if self.cost is not None and not self.cost.check and not self.cost.problem:
            return f"{self.title} has no check; d tries one step of each ticked cell"
        return "time and memory are being computed; press again in a moment"


def title_of(key: str) -> str:
    """Returns the title in a study's key, for a study that was typed by hand."""
    try:
        return str(json.loads(key)[-1])
    except (ValueError, LookupError, TypeError):
        return "the study"


def text_of(answer: CommandOutput) -> str:
    """Formats one answer completely."""
    ended = "" if answer.code == 0 else f", ended with {answer.code}"
    head = f"{formatting.when(answer.at, time.time())}  after {formatting.spell(answer.took_s)}{ended}"
    return f"$ {answer.line}\n{head}: {answer.summary}\n{answer.text}".rstrip()
