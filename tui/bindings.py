"""The keys that do not change the queue: movement, screens, display. The help lists them and the action registry.

Lower case acts on the selection; upper case acts on the whole machine and asks first. A key has the same meaning on
every screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.binding import Binding

from fts.frozen import dataclass
from fts.jobs.actions import ACTIONS, Action
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, QUEUE, RESULTS, SCREENS, TRIALS, Hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fts.state.values import Job, Snapshot
    from fts.tui.keymap import Keymap


@dataclass(frozen=True)
class Key:
    """One key and its function. `id` names the method `action_<id>` of the screen."""

    id: str
    keys: tuple[str, ...]  # Textual's key names, or the character itself
    shown: str  # in the help
    label: str
    help: str
    writes: bool = False


KEYS: tuple[Key, ...] = (
    Key("down", ("j", "down"), "j ↓", "down", "Next row; of a long text that has the focus the next line."),
    Key("up", ("k", "up"), "k ↑", "up", "Previous row; of such a text the previous line."),
    Key("first", ("g", "home"), "g Home", "first", "First row."),
    Key("last", ("G", "end"), "G End", "last", "Last row."),
    Key("page_down", ("ctrl+d", "pagedown"), "^d PgDn", "page down", "Half a page down."),
    Key("page_up", ("ctrl+u", "pageup"), "^u PgUp", "page up", "Half a page up."),
    Key("open", ("enter",), "↵", "open", "Open the selected row: cell, trials, curve."),
    Key("back", ("escape",), "Esc", "back", "Back; also clears filter, marks, zoom, and ends the replay."),
    Key("next_pane", ("tab",), "Tab", "next pane", "The next pane of this screen."),
    Key("previous_pane", ("shift+tab",), "S-Tab", "previous pane", "The previous pane of this screen."),
    Key("screen", tuple("1234567"), "1-7", "screens", "Queue, Trials, Curves, Hardware, Logs, Results, Events."),
    Key("previous_cell", ("[",), "[", "previous cell", "The previous cell; on Curves and Logs: the previous trial."),
    Key("next_cell", ("]",), "]", "next cell", "The next cell; on Curves and Logs: the next trial."),
    Key("search", ("/",), "/", "filter", "Filter a table (`!x` excludes, `state:failed`, `size:L`); in logs: search."),
    Key("next_match", ("n",), "n", "next match", "Next match of the search."),
    Key("previous_match", ("N",), "N", "previous match", "Previous match of the search."),
    Key("palette", (":", "ctrl+p"), ":", "command", "Every action, with its key and its `fts` command."),
    Key("help", ("?", "f1"), "?", "help", "The keys of this pane; type to search."),
    Key(
        "mark",
        ("space",),
        "Space",
        "mark",
        "Mark a row; actions then apply to all marked rows. In a range: keep it marked.",
    ),
    Key("mark_range", ("v",), "v", "mark range", "Mark from here to the cursor as it moves; v or Esc ends the range."),
    Key(
        "fold", ("c",), "c", "fold study", "Queue of several studies: one row of the selected study; again all of them."
    ),
    Key("sort", ("o",), "o", "sort", "Sort: then the letter of a column, or the digit of a parameter; again reverses."),
    Key("zoom", ("z",), "z", "zoom pane", "Show the focused pane on the whole screen; again goes back."),
    Key("zoom_in", ("+", "="), "+", "zoom in", "Show a shorter part of the chart."),
    Key("zoom_out", ("-",), "-", "zoom out", "Show a longer part of the chart."),
    Key("earlier", ("h", "left"), "h ←", "earlier", "Chart: earlier; logs: ten minutes back; events: an hour back."),
    Key("later", ("l", "right"), "l →", "later", "Chart: later; logs: ten minutes on; events: an hour on."),
    Key("day_back", ("H",), "H", "hour back", "Logs: an hour back."),
    Key("day_on", ("L",), "L", "hour on", "Logs: an hour on; on other screens: to the logs."),
    Key("follow", ("f",), "f", "freeze", "Logs: follow the end or stay; other screens: freeze the screen."),
    Key("log_y", ("y",), "y", "copy / log y", "Copy the row; on Curves: logarithmic axis."),
    Key("copy_menu", ("Y",), "Y", "copy menu", "Copy as JSON or YAML, the `fts` command, the log's path."),
    Key("overlay", ("s",), "s", "overlay / level", "Curves: best and median on or off; logs: level filter."),
    Key(
        "metric",
        (),
        "m",
        "metric",
        "Curves of functions: the next metric that the trials report; elsewhere m writes a note.",
    ),
    Key("write", ("w",), "w", "write view", "Write this view as txt, svg, png, csv or json, next to the database."),
    Key("replay_back", (",",), ",", "step back", "Replay: one event back; every screen shows that moment."),
    Key("replay_on", (".",), ".", "step forward", "Replay: one event forward; Esc returns to now."),
    Key("reread", ("ctrl+r",), "^r", "read now", "Read the database now and rebuild the screen."),
    Key("redraw", ("ctrl+l",), "^l", "redraw", "Send the whole screen again."),
    Key("suspend", ("ctrl+z",), "^z", "suspend", "Go to the shell; `fg` there comes back. Running workers continue."),
    Key("leave", ("q", "ctrl+c"), "q", "leave", "Leave the monitor; running workers continue."),
)

BY_KEY: dict[str, Key] = {name: key for key in KEYS for name in key.keys}
ACTION_KEYS: dict[str, str] = {a.key: a.key for a in ACTIONS if a.key} | {"alt+up": "K", "alt+down": "J"}

NAMED = {",": "comma"}  # Textual separates the keys of a binding by commas


def textual() -> Iterator[Binding]:
    """Yields Textual's bindings of both tables. The id of each lets the user's file change its keys.

    With priority=True a key acts when it arrives, not after it has passed through all widgets.
    """

    def bound(keys: str, action: str, label: str, id: str) -> Binding:
        return Binding(keys, action, label, show=False, priority=True, id=id)

    for key in KEYS:
        if key.id == "screen":
            for n, name in enumerate(SCREENS):
                yield bound(key.keys[n], f"show_screen({n})", name, f"show_{name.lower()}")
        else:
            keys = [k for k in key.keys or (key.shown,) if k != "ctrl+c"]  # the app binds ctrl+c, for dialogs too
            yield bound(",".join(NAMED.get(k, k) for k in keys), key.id, key.label, key.id)
    more = {"K": "K,alt+up", "J": "J,alt+down"}
    for action in {action.key: action for action in reversed(ACTIONS) if action.key}.values():  # first action per key
        key_ = str(action.key)
        yield bound(more.get(key_, key_), f"act({key_!r})", action.label, action.id)


# The hints of the key bar of each screen, the most useful first. It shows those that apply now, as many as fit.
BAR_QUEUE = (
    ("open", "↵", "open"), ("enqueue", "e", "enqueue"), ("move_up", "J/K", "reorder"), ("next", "t", "run next"),
    ("pause", "p", "pause"), ("cancel", "x", "cancel"), ("retry", "r", "retry"), ("drain", "D", "drain"),
    ("pause_queue", "P", "pause queue"), ("start_worker", "W", "worker"), ("undo", "u", "undo"), ("redo", "U", "redo"),
    ("copy", "y", "copy"), ("write", "w", "write"), ("search", "/", "filter"), ("follow", "f", "freeze"),
    ("zoom", "z", "zoom"), ("palette", ":", "command"),
)  # fmt: skip
WITHOUT_DATABASE = ("enqueue", "palette")
FEW = ("open", "pause", "drain", "undo")
ELEVEN = (
    "open", "enqueue", "retry", "move_up", "pause", "cancel", "drain", "undo", "next", "search", "palette",
)  # fmt: skip
ON_ROWS = (
    "open", "sort", "search", "next_match", "mark", "next_cell", "copy", "zoom_in", "earlier", "day_back", "log_y",
    "overlay", "follow",
)  # fmt: skip
ON_CURVES = ("zoom_in", "earlier", "overlay", "metric", "next_cell")  # of no use for a chart of one value per trial
BARS: dict[int, tuple[tuple[str, str, str], ...]] = {
    QUEUE: BAR_QUEUE,
    TRIALS: (
        ("open", "↵", "curve"), ("sort", "o", "sort"), ("search", "/", "filter"), ("next_cell", "[ ]", "cell"),
        ("mark", "Space", "mark"), ("copy", "y", "copy"), ("write", "w", "write"), ("palette", ":", "command"),
    ),
    CURVES: (
        ("zoom_in", "+/-", "zoom"), ("earlier", "h l", "time"), ("log_y", "y", "log y"), ("overlay", "s", "overlay"),
        ("metric", "m", "metric"), ("next_cell", "[ ]", "trial"), ("write", "w", "write"), ("palette", ":", "command"),
    ),
    HARDWARE: (
        ("drain", "D", "drain"), ("start_worker", "W", "worker"), ("note", "m", "note"), ("write", "w", "write"),
        ("palette", ":", "command"),
    ),
    LOGS: (
        ("follow", "f", "follow"), ("search", "/", "search"), ("next_match", "n N", "match"), ("overlay", "s", "level"),
        ("earlier", "h l", "10 min"), ("day_back", "H L", "hour"), ("next_cell", "[ ]", "trial"),
        ("palette", ":", "command"),
    ),
    RESULTS: (
        ("next_cell", "[ ]", "cell"), ("open", "↵", "trials"), ("write", "w", "write"), ("copy", "y", "copy"),
        ("palette", ":", "command"),
    ),
    EVENTS: (
        ("replay_back", ", .", "replay"), ("undo", "u", "undo"), ("note", "m", "note"), ("ack", "a", "seen"),
        ("search", "/", "filter"), ("write", "w", "write"), ("palette", ":", "command"),
    ),
}  # fmt: skip


def hints(
    screen: int,
    width: int,
    snapshot: Snapshot,
    jobs: Sequence[Job],
    readonly: bool,
    ascii_only: bool = False,
    missing: bool = False,
    keymap: Keymap | None = None,
    stepless: bool = False,
) -> tuple[Hint, ...]:
    """Returns the hints of the key bar for a screen and width, the most useful first; only keys that apply now.

    `missing`: there is no database, so only keys that create one or need none apply. `stepless`: the trials of the
    selected cell have no curves.
    """
    bar = tuple(hint for hint in BARS[screen] if not missing or hint[0] in WITHOUT_DATABASE)
    if screen == CURVES and stepless:
        bar = tuple(hint for hint in bar if hint[0] not in ON_CURVES)
    if screen == QUEUE:
        first = FEW if width < 70 else ELEVEN
        bar = tuple(sorted(bar, key=lambda hint: first.index(hint[0]) if hint[0] in first else len(first)))
    found = []
    for name, key, label in bar:
        action = _action(name, jobs, snapshot)
        if action is not None and readonly:
            continue
        enabled = _applies(action, jobs, snapshot) if action is not None else name not in ON_ROWS or bool(snapshot.jobs)
        if name == "metric":
            enabled = any(not job.task for job in jobs)  # the study of daily bars has one metric to judge by
        if not enabled:
            continue
        label = action.label if action is not None and action.id in ("resume", "undrain", "resume_queue") else label
        label = {"withdraw the drain": "stay", "resume the queue": "resume queue"}.get(label, label)
        shown = keymap.hint(name, key) if keymap is not None else key
        if shown:  # the user's file may have removed the key
            id = "log_y" if name == "copy" else name if action is None else action.id
            found.append(Hint(shown.replace("↵", "Enter") if ascii_only else shown, label, id))
    return tuple(found)


def _action(name: str, jobs: Sequence[Job], snapshot: Snapshot) -> Action | None:
    """Returns the action of a hint; of the two actions of p, P and D the one that applies now."""
    found = next((action for action in ACTIONS if action.id == name), None)
    if found is None or found.key is None:
        return found
    for action in ACTIONS:
        if action.key == found.key and _applies(action, jobs, snapshot):
            return action
    return found


def _applies(action: Action, jobs: Sequence[Job], snapshot: Snapshot) -> bool:
    if not action.needs_jobs:
        return action.applies_to(None, snapshot)
    return any(action.applies_to(job, snapshot) for job in jobs)
