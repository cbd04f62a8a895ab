"""Writes a frame or a table as txt, svg, png, csv or json, copied text to a file, and faults to the monitor's log."""

from __future__ import annotations

import json
import os
import time
import traceback
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.search.prune_line import value_of
from fts.jobs.status import formatting, naming
from fts.state.files import atomic_write, csv_text, expanded, home, open_log
from fts.state.values import EPOCH_NUMBERS
from fts.tui.data import table_rows
from fts.tui.data.trial_store import place_of
from fts.tui.data.view import CURVES, EVENTS, HARDWARE, LOGS, SCREENS, TRIALS, View
from fts.tui.render import theme
from fts.tui.render.text import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style

    from fts.state.values import Event, Job, Trial
    from fts.tui.render.text import Line

CELL_WIDTH, CELL_HEIGHT = 8.4, 18.0
FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
KINDS = ("txt", "svg", "png", "csv", "json")


def svg(lines: Sequence[Line], palette: str = "dark", title: str = "") -> str:
    """Draws the frame as SVG. Every character has its own x, so that no font can shift a column."""
    name = theme.in_pictures(palette)
    colours = theme.palette(name)
    columns = max((sum(formatting.width(text) for text, _ in line) for line in lines), default=1)
    width, height = columns * CELL_WIDTH + 16, len(lines) * CELL_HEIGHT + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.1f} {height:.1f}">',
        f"<title>{escape(title)}</title>" if title else "",
        f'<rect width="100%" height="100%" rx="6" fill="{colours.background}"/>',
        f'<g font-family="{FONT}" font-size="14px" xml:space="preserve">',
    ]
    for row, line in enumerate(lines):
        parts += _svg_row(line, 8.0, 8.0 + row * CELL_HEIGHT, name, colours.background)
    return "\n".join([*filter(None, parts), "</g></svg>\n"])


def _svg_row(line: Line, x: float, y: float, palette: str, background: str) -> list[str]:
    parts = []
    for text, role in line:
        style = theme.style(role, palette)
        columns = formatting.width(text)
        fore, back = _colours(style)
        if back != background:
            size = f'width="{columns * CELL_WIDTH:.1f}" height="{CELL_HEIGHT}"'
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{back}"/>')
        if text.strip():
            parts.append(_svg_text(text, x, y + 13.5, fore, bool(style.bold)))
        x += columns * CELL_WIDTH
    return parts


def _svg_text(text: str, x: float, y: float, colour: str, bold: bool) -> str:
    places, at = [], x
    kept = []
    for char in text:
        if char != " ":
            places.append(f"{at:.1f}")
            kept.append(char)
        at += formatting.width(char) * CELL_WIDTH
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{" ".join(places)}" y="{y:.1f}" fill="{colour}"{weight}>{escape("".join(kept))}</text>'


def _colours(style: Style) -> tuple[str, str]:
    fore = style.color.get_truecolor().hex if style.color else "#ffffff"
    back = style.bgcolor.get_truecolor().hex if style.bgcolor else "#000000"
    return (back.upper(), fore.upper()) if style.reverse else (fore.upper(), back.upper())


def png(svg_text: str) -> bytes:
    """Converts SVG to PNG."""
    import resvg_py  # here, not above: 10 MB, needed for PNG only

    return bytes(
        resvg_py.svg_to_bytes(svg_string=svg_text, font_family="DejaVu Sans Mono", monospace_family="DejaVu Sans Mono")
    )


def table(view: View) -> list[dict[str, Any]]:
    """Returns the rows of the screen in the order shown: jobs, trials, steps, samples, lines of a log, or events."""
    if view.screen == TRIALS:
        return [trial_row(trial) for trial in table_rows.trials_of(view)]
    if view.screen == EVENTS:
        return [event_row(event) for event in table_rows.events_of(view)]
    if view.screen == CURVES:
        return curve_rows(view)
    if view.screen == HARDWARE:
        return [asdict(sample) for sample in view.details.samples]
    if view.screen == LOGS:
        return [{"path": view.details.log_path, "line": line} for line in view.details.log]
    return [job_row(job) for job in table_rows.jobs_of(view)]


def row_of(view: View) -> dict[str, Any] | None:
    """Returns the row under the cursor, the first one until another is chosen; None if there is none.

    Does not make the other rows: ten thousand trials would take seconds.
    """
    if view.screen == TRIALS:
        trials = table_rows.trials_of(view)
        return trial_row(trials[place_of(trials, view.trial_id) or 0]) if trials else None
    if view.screen == EVENTS:
        events = table_rows.events_of(view)
        chosen = next((event for event in events if event.id == view.event_id), next(iter(events), None))
        return None if chosen is None else event_row(chosen)
    jobs = table_rows.jobs_of(view)
    return job_row(jobs[table_rows.cursor_in(jobs, view.job_id)]) if jobs else None


def job_row(job: Job) -> dict[str, Any]:
    """Returns a job as a row, without its spec."""
    row = asdict(job)
    row.pop("spec")
    return {"cell": naming.cell_name(job)} | row


def trial_row(trial: Trial) -> dict[str, Any]:
    row = asdict(trial)
    row.pop("effective")
    params = row.pop("params")
    return row | {f"param_{name}": value for name, value in params.items()}


def curve_rows(view: View) -> list[dict[str, Any]]:
    """Returns the steps of the trial whose curve is shown, with every metric that it reported."""
    job, trial = view.job, view.trial
    if job is None or trial is None:
        return []
    rows, deciding = [], job.deciding_metric
    for epoch in view.epochs(trial.id):
        names = dict.fromkeys([job.metric, deciding, *sorted(EPOCH_NUMBERS), *epoch.metrics])
        numbers = {name: value for name in names if (value := value_of(epoch, name, deciding)) is not None}
        rows.append({"cell": view.name, "trial": trial.number, "step": epoch.epoch, "at": epoch.at, **numbers})
    return rows


def event_row(event: Event) -> dict[str, Any]:
    return {"id": event.id, "at": event.at, "who": event.who, "verb": str(event.verb), "message": event.message}


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Formats rows as CSV. A text that a spreadsheet would run as a formula gets a quote before it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(names, [[cell_of(row.get(name, "")) for name in names] for row in rows], end="\r\n")


def cell_of(value: Any) -> Any:
    """Returns a value for one cell of a table: several values in one become JSON."""
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else value


def write(view: View, lines: Sequence[Line], kind: str, palette: str, folder: Path) -> Path:
    """Writes a view to a file in `folder` named after screen and time. Returns its path. Raises OSError."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(view.now))
    path = folder / f"{SCREENS[view.screen].lower()}-{stamp}.{kind}"
    atomic_write(path, document(view, lines, kind, palette))
    return path


def document(view: View, lines: Sequence[Line], kind: str, palette: str) -> bytes:
    """Returns the bytes of a view as txt, svg, png, csv or json."""
    if kind == "csv":
        return as_csv(table(view)).encode()
    if kind == "json":
        found = {"schema": 1, "taken_at": view.now, "screen": SCREENS[view.screen], "rows": table(view)}
        return (json.dumps(found, indent=1, default=str) + "\n").encode()
    if kind == "txt":
        return as_text(lines).encode()
    picture = svg(lines, palette, title=f"{view.glance.title} {formatting.when(view.now, view.now)}")
    return png(picture) if kind == "png" else picture.encode()


def clip_file() -> Path:
    """Returns the file that also gets copied text, because tmux or mosh may not pass it on to the clipboard."""
    state = expanded(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state")
    return state / "fts" / "clip.txt"


def keep_clip(text: str) -> Path:
    """Writes copied text to the clip file, readable by the owner only. Raises OSError."""
    path = clip_file()
    atomic_write(path, text, durable=False)
    return path


def keep_fault(fault: str, error: Exception) -> str:
    """Appends a fault of the monitor to monitor.log. Returns where the details are, or why they were not written."""
    path = clip_file().with_name("monitor.log")
    try:
        with os.fdopen(open_log(path), "a") as file:
            file.write("".join((time.strftime("%F %T "), fault, "\n", *traceback.format_exception(error))))
    except OSError as problem:
        return f"not logged: {problem.strerror}"
    return f"details in {path}"


def yaml(params: dict[str, Any]) -> str:
    """Formats flat parameters as YAML, strings in quotes."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sorted(params.items()))
