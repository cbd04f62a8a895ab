"""The command palette: every action and key with its `fts` command, found by some of their letters.

Commands can be typed with arguments: `note lost the cooling`, `move 7 top`, `fts pause 7 8`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import CommandInput, CommandList, CommandPalette, DiscoveryHit, Hit, Provider
from textual.content import Content

from fts.frozen import dataclass
from fts.jobs.actions import ACTIONS, Action
from fts.jobs.status import formatting
from fts.tui import bindings
from fts.tui.data.view import SCREENS
from fts.tui.screens.chooser import has_room, mark
from fts.tui.screens.dialog import Modal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from textual.command import Hits
    from textual.widgets import Input, OptionList
    from textual.widgets.option_list import Option

    from fts.state.values import Job
    from fts.tui.app import Monitor

KEY, LABEL = 8, 24  # widths in columns
MOST_JOBS = 500  # in one typed command


@dataclass(frozen=True)
class PaletteLine:
    """One line of the palette."""

    id: str
    label: str
    run: Callable[[], Any]
    key: str = ""
    twin: str = ""  # the `fts` command that does the same, or a description
    why_not: str = ""  # why it cannot run now; empty: it can


@dataclass
class PaletteHit(Hit):
    """A hit with the query that it answers."""

    query: str = ""


class PaletteCommands(Provider):
    """Provides all commands of the monitor. Those that cannot run now show the reason."""

    async def startup(self) -> None:
        """Lists the entries once per opening. An action checks again when it is chosen."""
        self._all = list(self.entries())

    async def discover(self) -> Hits:
        for entry in self._all:
            yield DiscoveryHit(self._line(entry), entry.run, entry.label, self._below(entry))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        if typed := typed_command(self._monitor, query):
            yield PaletteHit(2.0, self._line(typed), typed.run, typed.label, self._below(typed), query)
        for entry in self._all:
            command = entry.twin if entry.twin.startswith("fts ") else ""
            scores = (matcher.match(entry.label), 0.9 * matcher.match(entry.id), 0.8 * matcher.match(command))
            score = 1.5 if query == entry.key else max(scores) * (0.5 if entry.id.startswith("theme ") else 1.0)
            if score > 0:
                label = matcher.highlight(entry.label)
                yield PaletteHit(score, self._line(entry, label), entry.run, entry.label, self._below(entry), query)

    @property
    def _monitor(self) -> Monitor:
        return cast("Monitor", self.app)

    def entries(self) -> Iterator[PaletteLine]:
        """Yields the actions that can run now, then keys, screens and themes, then the actions that cannot run."""
        jobs = self._monitor.chosen()
        actions = [of_action(self._monitor, action, jobs) for action in ACTIONS]
        yield from (entry for entry in actions if not entry.why_not)
        yield from of_looking(self._monitor)
        yield from (entry for entry in actions if entry.why_not)

    def _line(self, entry: PaletteLine, label: Content | None = None) -> Content:
        """Formats one entry: key, name (`label` has the matching letters marked), command."""
        shown = self._monitor.ascii_only
        name = label if label is not None else Content(entry.label)
        pad = " " * max(LABEL - formatting.width(entry.label), 1)
        parts = (formatting.fit(entry.key, KEY), name, pad, entry.twin)
        return Content.assemble(*(formatting.to_ascii(p) if shown and isinstance(p, str) else p for p in parts))

    def _below(self, entry: PaletteLine) -> Any:
        """Formats the second line: why the entry cannot run now; None if it can."""
        return Content(f"{' ' * KEY}not now: {entry.why_not}") if entry.why_not else None


def of_action(app: Monitor, action: Action, jobs: Sequence[Job]) -> PaletteLine:
    """Makes the entry of an action for the chosen jobs."""
    why_not = app.action_runner.why_not(action, jobs)
    return PaletteLine(
        action.id, action.label, lambda: app.action_runner.by_id(action.id), app.keymap.of_action(action),
        action.command(jobs), why_not,
    )  # fmt: skip


def of_looking(app: Monitor) -> Iterator[PaletteLine]:
    """Yields the entries that do not change the queue: screens, keys, themes."""
    for name in SCREENS:
        twin = f"fts snapshot --screen {name.lower()}"
        screen = f"show_{name.lower()}"
        yield PaletteLine(screen, f"screen {name}", lambda id=screen: app.do(id), app.keymap.shown(screen), twin)  # type: ignore[misc]
    for key in bindings.KEYS:
        if key.id not in ("screen", "palette"):
            yield PaletteLine(key.id, key.label, lambda id=key.id: app.do(id), app.keymap.shown(key.id), key.help)  # type: ignore[misc]
    yield PaletteLine("about", "about", app.menus.about, "", "Versions, paths, and what this monitor costs.")
    may = "Let this monitor write; it asks first."
    yield PaletteLine("writable", "writable", app.menus.writable, "", may, app.menus.why_not_writable())
    for name in sorted(app.menus.themes()):
        show = partial(app.menus.show_theme, name)
        yield PaletteLine(f"theme {name}", f"theme {name}", show, "", "Colours.")


# ---------------------------------------------------------------- typed commands

PLACE = r"(?P<place>top|bottom|up|down|\d+)"
PATTERNS = {"jobs": r"(?P<jobs>\d[\d\s,]*?)", "place": PLACE, "text": r"(?P<text>.+?)"}


def pattern_of(action: Action) -> re.Pattern[str]:
    """Builds the pattern of an action typed with its arguments: "move 7 top" for `fts move {jobs} {place}`."""
    words = action.cli.removeprefix("fts ")
    parts = [PATTERNS[part[1:-1]] if part.startswith("{") else re.escape(part) for part in words.split()]
    return re.compile(r"(?:fts\s+)?" + r"\s+".join(parts) + r"\s*")


def typed_command(app: Monitor, query: str) -> PaletteLine | None:
    """Parses a command typed with its arguments. Returns its entry; None if the words match no command."""
    for action in ACTIONS:
        if "{" not in action.cli or (match := pattern_of(action).fullmatch(query)) is None:
            continue
        given = match.groupdict()
        numbers = given.pop("jobs", None)
        jobs = named_jobs(app, numbers)
        if jobs is None:
            continue
        if "text" in given:
            given["text"] = given["text"].strip().strip('"')
        twin = action.command(jobs, **given)
        # When it is chosen the jobs are looked up again: the palette may have been open for hours.
        run: Callable[[], Any] = lambda: app.action_runner.begin(action, named_jobs(app, numbers) or [], **given)  # noqa: B023, E731  # the loop ends with the return below
        return PaletteLine(action.id, action.label, run, "", twin, app.action_runner.why_not(action, jobs))
    return None


def named_jobs(app: Monitor, numbers: str | None) -> list[Job] | None:
    """Returns the jobs with the typed numbers; the chosen ones if none was typed; None if one does not exist."""
    if numbers is None:
        return app.chosen()
    wanted = [int(number) for number in re.split(r"[\s,]+", numbers.strip()) if number][:MOST_JOBS]
    known = {job.id: job for job in app.readings.snapshot.jobs}
    return [known[number] for number in wanted] if all(number in known for number in wanted) else None


# ---------------------------------------------------------------- the screen


class Palette(CommandPalette, Modal[None]):
    """Textual's palette in the frame of our dialogs. Enter never runs an entry that was found for an older query."""

    DEFAULT_CSS = """
    Palette { align: center top; background: transparent; }
    Palette > #--container {
        margin: 1 0 0 0; width: 96; max-width: 100%; height: 100%; max-height: 32; padding: 0 1;
        visibility: visible; border: solid $foreground; background: $background; color: $foreground;
        border-title-style: bold;
    }
    Palette.-ascii > #--container { border: ascii $foreground; }
    Palette #--input, Palette #--input.--list-visible { border: none; height: 1; }
    Palette SearchIcon, Palette LoadingIndicator { display: none; }
    Palette CommandInput, Palette CommandInput:focus { border: none; height: 1; padding: 0; background: $background; }
    Palette #--results { overlay: none; height: 1fr; background: $background; }
    Palette CommandList, Palette CommandList:focus {
        border: none; height: 1fr; max-height: 100%; visibility: visible; scrollbar-size-vertical: 1;
        & > .option-list--option { padding: 0; text-style: none; color: $foreground; }
        & > .option-list--option-highlighted { color: $background; background: $foreground; text-style: none; }
        & > .option-list--option-hover { text-style: underline; background: $background; }
    }
    Palette CommandList:ansi > .option-list--option-highlighted { color: $foreground; background: $background; }
    Palette CommandInput:ansi {
        color: $foreground;
        & > .input--placeholder { color: $foreground; text-style: none; }
        & > .input--cursor { color: $foreground; background: $background; text-style: reverse; }
        & > .input--selection { color: $foreground; background: $background; text-style: underline; }
    }
    Palette > .command-palette--help-text { color: $foreground; text-style: none; }
    Palette > .command-palette--highlight { text-style: bold underline; }
    """

    HOLDS_KEYS = True

    def __init__(self) -> None:
        super().__init__(placeholder="(type a command, or letters of it)")
        self._entered = ""  # Enter was pressed for this query before its entries were found
        self._inverse: Option | None = None  # the entry that is drawn inverse

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "command_list":
            return has_room(self.query_one(CommandList))
        return super().check_action(action, parameters)

    def on_mount(self) -> None:
        ascii_only = bool(getattr(self.app, "ascii_only", False))
        self.set_class(ascii_only, "-ascii")
        self.query_one("#--container").border_title = "command"
        self.query_one(CommandInput).cursor_blink = False  # a blinking cursor never stops sending bytes

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keeps an Enter that came before the search ended; it acts when the entries are there."""
        if not self._is_current():
            self._entered = self.query_one(CommandInput).value.strip()
            event.stop()
            event.prevent_default()

    def on_input_changed(self) -> None:
        self._entered = ""

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._inverse = mark(event.option_list, event.option, self._inverse)
        if self._entered and self._is_current():
            self._entered = ""
            self.query_one(CommandList).action_select()

    def _is_current(self) -> bool:
        """Returns whether the list answers the query in the input."""
        option = self.query_one(CommandList).highlighted_option
        if option is None:
            return False
        hit = getattr(option, "hit", None)
        wanted = self.query_one(CommandInput).value.strip()
        return (hit.query if isinstance(hit, PaletteHit) else "") == wanted
