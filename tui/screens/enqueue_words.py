"""What the enqueue form says below its tabs, of its cells, their cost and what runs; no widgets here."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.api.form import Cost, Look, summary
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from fts.tui.data.form_memory import Answer


@dataclass(frozen=True)
class Standing:
    """How the form stands now."""

    title: str  # of the chosen study; empty: none is
    seen: Look | None  # None: it is being read
    ticked: frozenset[str]
    cost: Cost | None  # of what is ticked; None: it is being reckoned
    running: str  # what runs, in words
    is_enqueueing: bool
    waited_s: float
    note: str
    is_typing: bool

    @property
    def can_try(self) -> bool:
        """Whether a dry run of what is ticked can be started."""
        return not self.running and self.cost is not None and bool(self.cost.words) and not self.cost.problem

    def preview(self) -> list[str]:
        """The lines above the buttons."""
        told = [self.note] if self.note else []
        if self.running:
            told.append(f"{self.running}{'' if self.is_enqueueing else '; s ends it'}")
        if not self.title:
            return [*told, "Choose a study: Enter, or a click."]
        waited = f"{formatting.spell(self.waited_s)} so far"
        if self.seen is None:
            return [*told, f"reading {self.title}: {waited}"]
        if self.seen.problem:
            return [*told, self.seen.problem]
        _, trials, became = summary(self.seen.cells, set(self.ticked))
        if not became:
            n = formatting.count(len(self.seen.cells), "cell")
            return [*told, f"{n}, none is ticked: Space ticks one, r a row, c a column, a all, n none", *self.seen.said]
        told.append(f"{became}: {formatting.count(trials, 'trial')} to run" if trials else f"{became}: nothing to run")
        if self.cost is None:
            return [*told, f"reckoning time and memory: {waited}"]
        told += [self.cost.problem] if self.cost.problem else []
        return [*told, *self.cost.sentences, *([f"$ {self.cost.line}"] if self.cost.line else []), *self.seen.said]

    def button(self) -> tuple[str, bool]:
        """The label of the button, and whether it can be pressed."""
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
        """Why nothing can be tried now."""
        if self.seen is None:
            return "choose a study that can be read first"
        if self.seen.problem:
            return ""
        if not self.ticked:
            return "no cell is ticked: 2 shows the cells, Space ticks one"
        if self.cost is not None and not self.cost.check and not self.cost.problem:
            return f"{self.title} has no check; d tries one step of each ticked cell"
        return "time and memory are being reckoned; press again"


def title_of(key: str) -> str:
    """What a key says by itself, of a study that was typed by hand."""
    try:
        return str(json.loads(key)[-1])
    except (ValueError, LookupError, TypeError):
        return "the study"


def text_of(answer: Answer) -> str:
    """One answer, whole."""
    ended = "" if answer.code == 0 else f", ended with {answer.code}"
    head = f"{formatting.when(answer.at, time.time())}  after {formatting.spell(answer.took_s)}{ended}"
    return f"$ {answer.line}\n{head}: {answer.summary}\n{answer.text}".rstrip()
