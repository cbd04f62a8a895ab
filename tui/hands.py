"""What each key of keys.py does: one method per key, named as the key is."""

from __future__ import annotations

import json
import platform
import time
from typing import TYPE_CHECKING

from textual import events

from jobs.commands import ACTIONS
from jobs.commands.desk import key_pressed
from jobs.glance import words
from state.errors import StateError
from tui import export, keys, layout, selection
from tui.paint import line
from tui.screens import logs
from tui.screens.dialogs import Ask, Choice, Chooser, Notice
from tui.view import CURVES, EVENTS, LOGS, QUEUE, SCREENS, TRIALS, View

if TYPE_CHECKING:
    from tui.app import Monitor

HOUR = 3600.0


class Hands:
    """The keyboard of one monitor."""

    def __init__(self, app: Monitor) -> None:
        self.app = app
        self.sorting = False  # `o` was pressed: the next letter is a column

    @property
    def desk(self):  # type: ignore[no-untyped-def]
        return self.app.desk

    # ---------------------------------------------------------------- in

    def press(self, event: events.Key) -> None:
        """One key: a movement, a screen, or an action of the registry."""
        name = key_name(event)
        self.note_presence()
        if self.sorting:
            self._sort_by(name)
            return
        key = keys.BY_KEY.get(name)
        if name in keys.ACTION_KEYS:
            self.app.acting.press(keys.ACTION_KEYS[name])
        elif key is not None:
            if key.id == "screen":
                self.show(int(name) - 1)
            else:
                getattr(self, key.id)()
        else:
            return
        self.app.paint()

    def note_presence(self) -> None:
        """Somebody is here: remembered at most once a minute, and an absence before it is told of."""
        now = time.time()
        if self.app.last_key and now - self.app.last_key > 1800:
            self.app.since = self.app.last_key
        self.app.last_key = now
        if self.app.readonly or now - self.app.key_written < 60 or self.app.reading is None:
            return
        self.app.key_written = now
        self.app.run_worker(self._write_presence, thread=True, name="presence", exit_on_error=False)

    def _write_presence(self) -> None:
        try:
            key_pressed(self.app.path, self.app.user)
        except (StateError, OSError):  # a full or locked disk must not disturb someone who only looks
            self.app.key_written = 0.0

    def click(self, x: int, y: int, double: bool) -> None:
        """A click on a row chooses it, a second one opens it."""
        view = self.app.view()
        width, height = self.app.size
        top, body = layout.body_height(view, width, height)
        row = layout.row_at(view, width, body, x, y - top)
        if row is None:
            return
        self.desk.choose(row)
        if double:
            self.desk.open(view)
        self.app.look()
        self.app.paint()

    # ---------------------------------------------------------------- movement

    def _moved(self) -> None:
        self.app.look()

    def _half(self) -> int:
        return max(self.app.size.height // 2 - 4, 3)

    def down(self) -> None:
        self.desk.move(self.view(), 1)
        self._moved()

    def up(self) -> None:
        self.desk.move(self.view(), -1)
        self._moved()

    def first(self) -> None:
        self.desk.to_end(self.view(), last=False)
        self._moved()

    def last(self) -> None:
        self.desk.to_end(self.view(), last=True)
        self._moved()

    def page_down(self) -> None:
        self.desk.move(self.view(), self._half())
        self._moved()

    def page_up(self) -> None:
        self.desk.move(self.view(), -self._half())
        self._moved()

    def open(self) -> None:
        before = self.desk.screen
        self.desk.open(self.view())
        if self.desk.screen != before:
            self.app.appeared_at = time.monotonic()
        self._moved()

    def back(self) -> None:
        was_replay = self.desk.at is not None
        if self.app.frozen is not None:
            self.app.frozen = None
        elif not self.desk.back():
            self.app.say("q leaves the monitor; the worker keeps running")
        if was_replay and self.desk.at is None:
            self.app.say("live again")
        self._moved()

    def next_pane(self) -> None:
        self.desk.next_pane(self._panes(), 1)

    def previous_pane(self) -> None:
        self.desk.next_pane(self._panes(), -1)

    def _panes(self) -> list[str]:
        view = self.view()
        width, height = self.app.size
        return layout.pane_names(view, width, layout.body_height(view, width, height)[1])

    def show(self, screen: int) -> None:
        """1 to 7."""
        self.desk.show(screen)
        self.app.appeared_at = time.monotonic()
        self._moved()

    def previous_cell(self) -> None:
        self.desk.other(self.view(), -1)
        self._moved()

    def next_cell(self) -> None:
        self.desk.other(self.view(), 1)
        self._moved()

    # ---------------------------------------------------------------- finding

    def search(self) -> None:
        in_log = self.desk.screen == LOGS
        title = "search" if in_log else "filter"
        hint = "Enter searches; n and N go on." if in_log else "Words, all must match; !word inverts; state:failed."
        value = self.desk.search if in_log else self.desk.filters.get(self.desk.screen, "")
        self.app.push_screen(Ask(title, hint, self.app.palette, self.app.ascii_only, value), self._searched)

    def _searched(self, text: str | None) -> None:
        if text is None:
            return
        if self.desk.screen == LOGS:
            self.desk.search = text
            if text:
                self._find(-1)
        else:
            self.desk.filters[self.desk.screen] = text
        self.app.paint()

    def next_match(self) -> None:
        self._find(1)

    def previous_match(self) -> None:
        self._find(-1)

    def _find(self, step: int) -> None:
        lines = selection.log_of(self.view())
        if self.desk.screen != LOGS or not self.desk.search or not lines:
            self.app.say("/ searches first" if self.desk.screen == LOGS else "n and N belong to the search in logs")
            return
        at = logs.find(lines, self.desk.search, len(lines) - 1 - self.desk.scroll, step)
        if at is None:
            self.app.say(f"`{self.desk.search}` is not among {len(lines)} lines")
            return
        self.desk.scroll = len(lines) - 1 - at
        self.desk.follow = False

    def mark(self) -> None:
        self.desk.mark(self.view())

    def mark_range(self) -> None:
        self.desk.mark_range(self.view())

    def sort(self) -> None:
        tables = {QUEUE: selection.JOB_SORTS, TRIALS: selection.TRIAL_SORTS, EVENTS: selection.EVENT_SORTS}
        columns = tables.get(self.desk.screen)
        if columns is None:
            self.app.say("there is nothing to sort here")
            return
        self.sorting = True
        self.app.say("sort by: " + "  ".join(f"{letter} {name}" for letter, name in columns.items()))

    def _sort_by(self, letter: str) -> None:
        self.sorting = False
        column = None if letter == "escape" else self.desk.sort(letter)
        self.app.toast = ("", "", 0.0)
        if column is None and letter != "escape":
            self.app.say(f"no column {letter}")
        self.app.paint()

    # ---------------------------------------------------------------- looking

    def zoom(self) -> None:
        self.desk.zoomed = not self.desk.zoomed

    def zoom_in(self) -> None:
        self.desk.chart_zoom = min(self.desk.chart_zoom + 1, 6)

    def zoom_out(self) -> None:
        self.desk.chart_zoom = max(self.desk.chart_zoom - 1, 0)
        self.desk.chart_shift = 0 if self.desk.chart_zoom == 0 else self.desk.chart_shift

    def earlier(self) -> None:
        self._in_time(-1, 600.0)

    def later(self) -> None:
        self._in_time(1, 600.0)

    def day_back(self) -> None:
        self._in_time(-1, HOUR)

    def day_on(self) -> None:
        if self.desk.screen in (LOGS, EVENTS):
            self._in_time(1, HOUR)
        else:
            self.show(LOGS)

    def _in_time(self, step: int, seconds: float) -> None:
        if self.desk.screen == LOGS:
            lines = selection.log_of(self.view())
            if lines:
                at = logs.jump(lines, len(lines) - 1 - self.desk.scroll, step * seconds)
                self.desk.scroll = len(lines) - 1 - at
                self.desk.follow = self.desk.scroll == 0
        elif self.desk.screen == EVENTS:
            self._replay_to((self.desk.at or time.time()) + step * HOUR)
        else:
            self.desk.chart_shift = max(self.desk.chart_shift - step, 0)

    def follow(self) -> None:
        if self.desk.screen == LOGS:
            self.desk.follow = not self.desk.follow
            self.desk.scroll = 0 if self.desk.follow else max(self.desk.scroll, 1)
        elif self.app.frozen is not None:
            self.app.frozen = None
        else:
            self.app.frozen = self.app.reading
            self.app.say("frozen: the header stays live, f or Esc goes on")

    def log_y(self) -> None:
        if self.desk.screen == CURVES:
            self.desk.log_y = not self.desk.log_y
        else:
            self.copy()

    def overlay(self) -> None:
        if self.desk.screen == LOGS:
            at = selection.LEVELS.index(self.desk.level)
            self.desk.level = selection.LEVELS[(at + 1) % len(selection.LEVELS)]
            self.desk.scroll = 0
        else:
            self.desk.overlay = not self.desk.overlay

    def reread(self) -> None:
        self.app.frozen = None
        self.app.look(now=True)
        self.app.refresh(layout=True)
        self.app.say("read again")

    def redraw(self) -> None:
        self.app.refresh(repaint=True, layout=True)

    def leave(self) -> None:
        self.app.exit()

    # ---------------------------------------------------------------- replay

    def replay_back(self) -> None:
        self._replay_step(-1)

    def replay_on(self) -> None:
        self._replay_step(1)

    def _replay_step(self, step: int) -> None:
        """To the event before or after the moment shown; beyond the newest one is now."""
        reading = self.app.reading
        journal = self.app.journal
        if reading is None or not journal:
            self.app.say("the journal is empty: there is nothing to replay")
            return
        here = self.desk.at if self.desk.at is not None else time.time()
        times = [event.at for event in journal]
        if step < 0:
            earlier = [at for at in times if at < here - 0.001]
            self._replay_to(earlier[-1] if earlier else times[0])
        else:
            later = [at for at in times if at > here + 0.001]
            self._replay_to(later[0] if later else time.time() + 1)

    def _replay_to(self, at: float) -> None:
        if at >= time.time():
            self.desk.at = None
            self.app.say("live again")
        else:
            self.desk.at = at
        self.app.look(now=True)

    # ---------------------------------------------------------------- out

    def copy(self) -> None:
        """The selected row as tab separated text."""
        rows = export.table(self.view())
        chosen = self._row(rows)
        self._clip("\t".join(str(value) for value in chosen.values()) if chosen else "")

    def _row(self, rows: list[dict[str, object]]) -> dict[str, object] | None:
        wanted = {TRIALS: self.desk.trial_id, EVENTS: self.desk.event_id}.get(self.desk.screen, self.desk.job_id)
        return next((row for row in rows if row.get("id") == wanted), rows[0] if rows else None)

    def copy_menu(self) -> None:
        view = self.view()
        row = self._row(export.table(view))
        trial = view.trial
        found = {"row as JSON": json.dumps(row, indent=1, default=str) if row else ""}
        if trial is not None:
            found["parameters as YAML"] = export.yaml(trial.params)
            found["path of the log"] = trial.log_path or ""
        found["command of the last change"] = self.app.twin
        jobs = self.app.chosen()
        for action in ACTIONS:
            if action.needs_jobs and any(action.applies_to(job, self.app.snapshot) for job in jobs):
                found[f"command: {action.label}"] = action.command(jobs)
        if job := view.job:
            found["command: trials"] = f"fts trials {job.id}"
            found["command: curve"] = f"fts curve {job.id}" + (f":t{trial.number}" if trial else "")
        choices = [Choice(name, name, note=text.replace("\n", " ")[:60]) for name, text in found.items() if text]
        chooser = Chooser("copy", choices, self.app.palette, self.app.ascii_only)
        self.app.push_screen(chooser, lambda name: self._clip(found[name]) if name else None)

    def _clip(self, text: str) -> None:
        if not text:
            self.app.say("nothing to copy here")
            return
        self.app.copy_to_clipboard(text)
        try:
            path = export.keep_clip(text)
        except OSError as error:
            self.app.say(f"copied to the terminal; not kept in a file: {error.strerror}")
        else:
            self.app.say(f"copied, and kept in {path}")

    def write(self) -> None:
        choices = [Choice(kind, kind, note=f"this view as {kind}") for kind in export.KINDS]
        chooser = Chooser("write this view", choices, self.app.palette, self.app.ascii_only, width=48)
        self.app.push_screen(chooser, self._write)

    def _write(self, kind: str | None) -> None:
        if kind is None:
            return
        width, height = self.app.size
        folder = self.app.path.absolute().parent / "frames"
        try:
            path = export.write(self.view(), kind, width, height, self.app.palette, folder)
        except OSError as error:
            self.app.say(f"not written: {error}", "failed")
        else:
            self.app.say(f"written: {path}")

    # ---------------------------------------------------------------- lists of everything

    def help(self) -> None:
        title = f"keys · {SCREENS[self.desk.screen]} · {self.app.size.width}x{self.app.size.height}"
        chooser = Chooser(title, self.help_choices(), self.app.palette, self.app.ascii_only)
        self.app.push_screen(chooser, self._chosen)

    def help_choices(self) -> list[Choice]:
        """Every key, movement and action, from the two tables; the greyed ones say why."""
        found = [Choice(key.id, key.label, key.shown, key.help) for key in keys.KEYS]
        return found + self._actions(lambda action: action.help)

    def palette(self) -> None:
        choices = self._actions(lambda action: action.command(self.app.chosen()))
        choices += [Choice(f"screen {n}", f"screen {name}", str(n + 1), "") for n, name in enumerate(SCREENS)]
        choices += [Choice(key.id, key.label, key.shown, key.help) for key in keys.KEYS if key.id != "screen"]
        choices += [
            Choice("about", "about", "", "versions, paths, and what this monitor costs"),
            Choice("writable", "writable", "", "leave read-only, asked once"),
            *(Choice(f"theme {name}", f"theme {name}", "", "colours") for name in ("dark", "light")),
        ]
        self.app.push_screen(Chooser("command", choices, self.app.palette, self.app.ascii_only), self._chosen)

    def _actions(self, note):  # type: ignore[no-untyped-def]
        jobs = self.app.chosen()
        found = []
        for action in ACTIONS:
            targets = jobs if action.needs_jobs else [None]
            reasons = [action.why_not(job, self.app.snapshot) for job in targets] or ["no job is chosen"]
            why_not = "" if any(reason is None for reason in reasons) else reasons[0]
            if self.app.readonly:
                why_not = "this monitor only reads"
            found.append(Choice(f"do {action.id}", action.label, action.key or "", note(action), why_not or ""))
        return found

    def _chosen(self, choice: str | None) -> None:
        """Does what was chosen in help or palette."""
        if choice is None:
            return
        kind, _, name = choice.partition(" ")
        if kind == "do":
            self.app.acting.by_id(name)
        elif kind == "theme":
            self._theme(name)
        elif kind == "screen" and name:
            self.show(int(name))
        elif kind == "about":
            self.about()
        elif kind == "writable":
            self._writable()
        elif kind != "screen" and any(key.id == kind for key in keys.KEYS):
            getattr(self, kind)()
        self.app.paint()

    def _theme(self, name: str) -> None:
        self.app.palette = name
        self.app.theme = f"fts-{name}"
        for screen in self.app.screen_stack:
            for canvas in screen.query("Canvas"):
                canvas.palette = name  # type: ignore[attr-defined]
                canvas.refresh()

    def _writable(self) -> None:
        if not self.app.readonly:
            self.app.say("this monitor may write already")
            return
        if self.app.locked:
            self.app.say("this monitor is served to a browser and stays read-only", "look")
            return
        self.app.readonly = False
        self.app.say("this monitor may write now")

    def about(self) -> None:
        facts = [
            f"fts {version('fts')} · Textual {version('textual')} · Python {platform.python_version()}",
            f"database {self.app.path} (schema {self.app.snapshot.schema})",
            f"reading as {self.app.user}" + (", read only" if self.app.readonly else ""),
            *self.app.cost.words(),
            f"terminal {self.app.size.width}x{self.app.size.height}, theme {self.app.palette}"
            + (", ASCII" if self.app.ascii_only else ""),
        ]
        shown = [line(words.cut(fact, 76)) for fact in facts]
        self.app.push_screen(Notice("about", shown, self.app.palette, self.app.ascii_only))

    def view(self) -> View:
        return self.app.view()


def key_name(event: events.Key) -> str:
    """The printable character, else Textual's name of the key."""
    if event.character and event.character.isprintable() and event.key != "space":
        return event.character
    return event.key


def version(package: str) -> str:
    from importlib import metadata  # here, not above: 50 ms, for About alone

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from a checkout"
