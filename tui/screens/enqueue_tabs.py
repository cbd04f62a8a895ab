"""The four tabs of the enqueue form: study, cells, options, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Static, TabbedContent, TabPane
from textual.widgets.option_list import Option

from fts.tui.screens.enqueue_cells import CellTable
from fts.tui.screens.enqueue_options import Options
from fts.tui.screens.enqueue_studies import LOOKING, StudyList

if TYPE_CHECKING:
    from textual.app import ComposeResult

FIRST = {  # tab: selector of the widget that gets the focus when it opens
    "study": "#studies",
    "cells": "#table",
    "options": "#fields",
    "answer": "#answers",
}
TABS = tuple(FIRST)


class FormTabs(TabbedContent):
    """The tabs of the form. `open` shows a tab and gives the focus to its first widget."""

    DEFAULT_CSS = """
    FormTabs {
        height: 1fr;
        TabPane { padding: 0; }
        Tab.-active { text-style: bold reverse; }
        VerticalScroll, OptionList, CellTable { scrollbar-size-vertical: 1; }
        #pane-study OptionList { height: 1fr; border: none; padding: 0; background: $surface; }
        #typed-line { height: 1; }
        #typed-line Static { width: auto; }
        #typed { width: 1fr; }
        #typed-told { height: auto; max-height: 3; color: $error; }
        CellTable { height: 1fr; background: $surface; }
        #told { height: auto; max-height: 4; color: $text-muted; }
        .field { height: auto; }
        .control { height: 1; }
        .name { width: 26; }
        .control Input { width: 1fr; }
        .control Select { width: 1fr; }
        .hint { color: $text-muted; height: auto; }
        .help { color: $text-muted; padding-left: 4; height: auto; }
        .help.problem { color: $error; text-style: bold; }
    }
    """

    @property
    def is_closed(self) -> bool:
        """Whether the form was closed: a delayed call must then do nothing."""
        return not self.is_attached or self.screen not in self.app.screen_stack

    def open(self, name: str) -> None:
        if self.is_closed:
            return
        if not self.children:  # a key came before the tabs were made
            self.call_after_refresh(self.open, name)
            return
        self.active = name
        self.screen.set_focus(None)  # a focused widget in another tab would reopen its tab
        self.call_after_refresh(self._focus_in, name)

    def step(self, by: int) -> None:
        """Opens the tab `by` places further."""
        self.open(TABS[(TABS.index(self.active) + by) % len(TABS)])

    def _focus_in(self, name: str, tries: int = 5) -> None:
        if self.is_closed:
            return
        if self.active != name:  # a late message of the previous tab has reopened it
            self.active = name
            if tries:
                self.call_after_refresh(self._focus_in, name, tries - 1)
            return
        if found := self.query(FIRST[name]):
            found.first().focus()


def panes() -> ComposeResult:
    """Yields the tabs with their widgets."""
    with TabPane("1 Study", id="study"), Vertical(id="pane-study"):
        yield StudyList(Option(LOOKING, disabled=True), id="studies", markup=False)
        with Horizontal(id="typed-line"):
            yield Static("or type: ")
            typed = Input(placeholder="FILE.py:FUNCTION, STUDY.toml, or -- COMMAND", id="typed", compact=True)
            typed.cursor_blink = False  # a blinking cursor never stops sending bytes
            yield typed
        yield Static("", id="typed-told", markup=False)
    with TabPane("2 Cells", id="cells"):
        yield CellTable(id="table")
        yield Static("", id="told", markup=False)
    with TabPane("3 Options", id="options"):
        yield Options(id="fields")
    with TabPane("4 Answer", id="answer"), VerticalScroll(id="answers"):
        yield Static("", id="answer-text", markup=False)
