"""The part below the tabs of the enqueue form: what is ticked, its cost, and the buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from fts.jobs.status import formatting

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from fts.tui.screens.enqueue_words import FormState


class Foot(Vertical):
    """Preview and buttons. Updates only widgets that have changed, so that nothing is sent twice."""

    DEFAULT_CSS = """
    Foot {
        height: auto; border-top: solid $primary;
        #preview { height: auto; max-height: 10; scrollbar-size-vertical: 1; }
        #buttons { height: 1; }
        Button { margin-right: 1; min-width: 1; }
        Button:focus { text-style: bold reverse; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="foot")
        self._shown: list[str] = []
        self._state: FormState | None = None

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="preview"):
            yield Static("", id="preview-text", markup=False)
        with Horizontal(id="buttons"):
            yield Button("Enqueue", id="enqueue", variant="primary", compact=True, disabled=True)
            yield Button("Dry run (d)", id="dry-run", compact=True, disabled=True)
            yield Button("Try a trial (t)", id="check", compact=True, disabled=True)
            yield Button("Close (Esc)", id="close", compact=True)

    def show(self, state: FormState) -> None:
        """Shows preview and buttons for a state of the form."""
        self._state = state
        if (lines := state.preview()) != self._shown:
            self._shown = lines
            self.query_one("#preview-text", Static).update("\n".join(lines))
        enqueue = self.query_one("#enqueue", Button)
        label, ready = state.button()
        others = sum(formatting.width(str(button.label)) + 3 for button in self.query(Button) if button is not enqueue)
        if others + formatting.width(label) + 3 > self.size.width:  # the lines above say the rest
            label = "Enqueue"
        if str(enqueue.label) != label:
            enqueue.label = label
            enqueue.refresh(layout=True)
        enqueue.disabled = not ready
        self.query_one("#dry-run", Button).disabled = not state.can_try
        self.query_one("#check", Button).disabled = not (state.can_try and state.cost is not None and state.cost.check)

    def on_resize(self) -> None:
        """Fits the buttons to the new width."""
        if self._state is not None:
            self.show(self._state)
