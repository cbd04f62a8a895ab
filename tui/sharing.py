"""Copies a row, a path or a command, and writes the screen to a file: the keys y, Y and w."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fts.jobs.actions import ACTIONS
from fts.jobs.status import formatting
from fts.tui import clipboard
from fts.tui.data.view import EVENTS, View
from fts.tui.frame import frame_of
from fts.tui.render import export

if TYPE_CHECKING:
    from fts.tui.app import Monitor


class Sharing:
    """Runs the keys y, Y and w."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.twin = ""  # the `fts` command of the last change made here

    def view(self) -> View:
        return self.app.view()

    def copy(self) -> None:
        """Copies the text selected with the mouse, else the row under the cursor as tab-separated text."""
        if text := self.app.screen.get_selected_text():
            self.app.screen.clear_selection()
            self._clip(text)
            return
        chosen = export.row_of(self.view())
        self._clip(
            "\t".join("" if value is None else str(export.cell_of(value)) for value in chosen.values())
            if chosen
            else ""
        )

    def copy_menu(self) -> None:
        from fts.tui.screens.chooser import Choice, Chooser  # here and below, not above: not needed to start

        view = self.view()
        row = export.row_of(view)
        jobs = self.app.chosen()
        job = next(iter(jobs), None) if view.screen == EVENTS else view.job
        trial = view.trial if job is not None and job.id == view.job_id else None
        found = {"row as JSON": json.dumps(row, indent=1, default=str) if row else ""}
        if trial is not None:
            found["parameters as YAML"] = export.yaml(trial.params)
            found["path of the log"] = trial.log_path or ""
        found["command of the last change"] = self.twin
        for action in ACTIONS:
            if action.needs_jobs and any(action.applies_to(job, self.app.present()) for job in jobs):
                found[f"command: {action.label}"] = action.command(jobs)
        if job is not None:
            found["command: trials"] = f"fts trials {job.id}"
            found["command: curve"] = f"fts curve {job.id}" + (f":t{trial.number}" if trial else "")
        choices = [
            Choice(name, name, note=formatting.cut(" ".join(text.split()), 200)) for name, text in found.items() if text
        ]
        chooser = Chooser("copy", choices)
        self.app.push_screen(chooser, lambda name: self._clip(found[name]) if name else None)

    def _clip(self, text: str) -> None:
        if not text:
            self.app.say("nothing to copy here")
            return
        clipboard.copy(self.app, text, self.app.say)

    def write(self) -> None:
        from fts.tui.screens.chooser import Choice, Chooser

        choices = [Choice(kind, kind, note=f"this view as {kind}") for kind in export.KINDS]
        chooser = Chooser("write this view", choices, width=48)
        self.app.push_screen(chooser, self._write)

    def _write(self, kind: str | None) -> None:
        if kind is None:
            return
        lines = frame_of(self.app.screen_stack[0])
        folder = self.app.path.absolute().parent / "frames"
        try:
            path = export.write(self.view(), lines, kind, self.app.palette, folder)
        except OSError as error:
            self.app.say(f"not written: {error}", "failed")
        else:
            self.app.say(f"written: {path}")
