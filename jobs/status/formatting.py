"""Formats numbers, times, sizes, glyphs and columns for the status, the command line and the monitor."""

from __future__ import annotations

import locale
import math
import os
import sys
import time
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from fts.state.values import Job, JobStatus, TrialStatus, in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LATEST = 253_402_214_400.0  # the end of year 9999
MB, GB = 1 << 20, 1 << 30  # bytes


# One column each; section 4.4 of the monitor's specification. A colour and a word always accompany the glyph.
GLYPHS: dict[str, str] = {
    JobStatus.QUEUED: "◌",
    JobStatus.RUNNING: "►",
    JobStatus.PAUSED: "‖",
    JobStatus.DONE: "✓",
    JobStatus.FAILED: "✗",
    JobStatus.CANCELLED: "⊗",
    TrialStatus.INTERRUPTED: "↻",
    TrialStatus.COMPLETE: "✓",
    TrialStatus.PRUNED: "⊘",
}
BEST, LOST = "★", "?"
EIGHTHS = "▏▎▍▌▋▊▉█"
SPARKS = "▁▂▃▄▅▆▇█"
TROUGH = "·"


def glyph_of(status: str) -> str:
    """Returns the character for a job's or trial's state."""
    return GLYPHS[status]


# ---------------------------------------------------------------- ASCII

_ASCII = {
    **dict(zip("◌►‖✓✗⊘↻⊗★•·│┤└┘┴┬─╌┊●", ".>=+X-rc*@.||++++-=|o", strict=True)),
    **dict(zip("—–…±°↵→←↑↓▕▏░▒▓×≤≥", "--~~ <><^v[]:+%x<>", strict=True)),
    **dict(zip(SPARKS, "._-=+*%#", strict=True)),
    "┈": "~",  # a dotted line; ╌, a dashed one, is =, the area between two :
    "━": "=",  # the upper edge of the focused pane; ─ is that of the others
    "┃": "!",  # the hard limit in a meter; ┊, the soft one, is |
    **{eighth: "#" if n > 3 else "." for n, eighth in enumerate(EIGHTHS) if n},
}


def speaks_utf8(environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether the user's locale can show more than ASCII.

    Python turns the C locale into C.UTF-8 before this code runs, so the variables are checked for C.
    """
    chosen = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if chosen == "C.UTF-8" and not environ.get("LC_ALL"):
        chosen = environ.get("LANG") or chosen
    if chosen in ("C", "POSIX"):
        return False
    return "utf" in (sys.stdout.encoding or locale.getpreferredencoding(False)).lower()


def to_ascii(text: str) -> str:
    """Replaces each glyph by ASCII of the same width; braille becomes a character of about the same height."""
    return text if text.isascii() else "".join(map(_ascii_char, text))


@lru_cache(maxsize=4096)
def _ascii_char(char: str) -> str:
    if char.isascii():
        return char
    if "\u2800" <= char <= "\u28ff":
        return _braille_as_ascii(ord(char) - 0x2800)
    return _ASCII.get(char, "?" * _columns(char))


def _braille_as_ascii(dots: int) -> str:
    """Returns a blank, or one of ' - _ by the mean height of the dots that are set (bit order of Unicode braille)."""
    rows = [row for bit, row in enumerate((0, 1, 2, 0, 1, 2, 3, 3)) if dots >> bit & 1]
    if not rows:
        return " "
    mean = sum(rows) / len(rows)
    return "'" if mean < 1 else "-" if mean < 2.2 else "_"


# ---------------------------------------------------------------- jobs


ENDED = (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED)


def trials_ended(job: Job) -> int:
    """Returns the number of ended trials, which count towards trials_wanted."""
    return job.trials_ended


def without_best(job: Job) -> str:
    """Says why a job has no best trial: `no complete trial yet`, or for an ended job how its trials ended."""
    how, lack = _unranked(job)
    if job.status not in ENDED:
        return f"every complete trial so far {lack}" if job.trials_complete else "no complete trial yet"
    if not trials_ended(job):
        return f"no complete trial: none has ended (job {job.status})"
    counts = ((job.trials_pruned, "ended early"), (job.trials_failed, "failed"), (job.trials_complete, how))
    parts = [(n, how) for n, how in counts if n]
    every = "all " if trials_ended(job) > 1 else ""
    sentence = f"{every}{parts[0][1]}" if len(parts) == 1 else ", ".join(f"{n} {how}" for n, how in parts)
    cut_short = job.trials_pruned > job.trials_failed
    cure = "--pruner none or a milder rule" if cut_short else f"`fts trials {job.id}` says why"
    why = f"every complete trial {lack}" if job.trials_complete else "no complete trial"
    return f"{count(trials_ended(job), 'trial')}, {sentence}: {why}; {cure}"


def _unranked(job: Job) -> tuple[str, str]:
    """Returns two words for complete trials that cannot be the best: `infeasible`, `violates a constraint`."""
    if job.spec.get("baseline"):
        return "complete", "is the baseline or violates a constraint"
    # a diverged trial of a function or a command (its cell has axes) or of Optuna has failed, so it is not complete
    is_failed = bool({"axes", "imported_from"} & job.spec.keys())
    if is_failed or job.spec.get("constraints"):
        return "infeasible", "violates a constraint"
    return "diverged", "diverged"


# ---------------------------------------------------------------- numbers


def left(seconds: float | None) -> str:
    """Formats the remaining time in at most five characters: 45s, 41m, 6h12, 17h, 2d4h, 31d; a dash when unknown.

    Never `0s` while something is left.
    """
    if seconds is None or not math.isfinite(seconds):
        return "—"
    seconds = max(seconds, 0)
    if 0 < seconds < 0.5:
        return "<1s"
    if seconds < 55:
        return f"{seconds:.0f}s"
    minutes = round(seconds / MINUTE)
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 600:
        return f"{minutes // 60}h{minutes % 60:02d}"
    hours = round(minutes / 60)
    if hours < 24:
        return f"{hours}h"
    if hours < 240:
        return f"{hours // 24}d{hours % 24}h"
    return f"{min(round(hours / 24), 9999)}d"


def spell(seconds: float) -> str:
    """Formats a duration for a sentence: under 1 s, 12 s, 22 min, 3 h, 3 h 20 min, 4 days; `0 s` is nothing at all."""
    seconds = max(seconds, 0)
    if 0 < seconds < 0.5:
        return "under 1 s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * MINUTE:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 36 * HOUR:
        hours, minutes = divmod(round(seconds / MINUTE), 60)
        return f"{hours} h {minutes:02d} min" if minutes and hours < 10 else f"{hours + minutes / 60:.0f} h"
    return f"{seconds / DAY:.0f} days"


def about(seconds: float) -> str:
    """Formats an estimate: about 12 s, under 1 s."""
    text = spell(seconds)
    return text if text.startswith("under") else f"about {text}"


def spell_range(low: float, high: float) -> str:
    """Formats an interval of durations in the unit of the longer one: `1.4 to 2 min`, `20 to 40 h`.

    Values below ten keep one decimal, so that different ends look different.
    """
    high = max(high, low, 0.0)
    ends = ((90, 1.0, "s"), (90 * MINUTE, MINUTE, "min"), (36 * HOUR, HOUR, "h"), (math.inf, DAY, "days"))
    unit, name = next((unit, name) for below, unit, name in ends if high < below or below == math.inf)

    def end(seconds: float) -> str:
        value = max(seconds, 0.0) / unit
        if 0 < value < 0.05 and name != "s":
            return "under 0.1"  # never `0` for a positive time
        return f"{value:.1f}".removesuffix(".0") if value < 10 and name != "s" else f"{value:.0f}"

    return f"{end(low)} to {end(high)} {name}"


def absence(seconds: float) -> str:
    """Formats how long the user was away, to the minute: 10h02 or 3d04h."""
    minutes = int(min(max(seconds, 0.0), LATEST) // MINUTE) if seconds == seconds else 0
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}"
    return f"{minutes // 1440}d{minutes % 1440 // 60:02d}h"


def plus_minus(seconds: float) -> str:
    """Formats the half width of an interval: 6 min, 9h, 2d."""
    if seconds < 90 * MINUTE:
        return f"{max(seconds / MINUTE, 1):.0f} min"
    return f"{seconds / HOUR:.0f}h" if seconds < 48 * HOUR else f"{seconds / DAY:.0f}d"


def moment(at: float) -> time.struct_time:
    """Converts a time to local time; clamps times outside of the calendar, and NaN to 0."""
    return time.localtime(min(max(at, 0.0), LATEST) if at == at else 0.0)


def honest(at: float, half_width_s: float) -> float:
    """Rounds a forecast time according to its interval: to 10 minutes beyond ± 1 h, to hours beyond ± 1 day."""
    if half_width_s <= HOUR or not math.isfinite(at):
        return at
    step, east = HOUR if half_width_s > DAY else 10 * MINUTE, moment(at).tm_gmtoff  # offset of the local time zone in s
    return round((at + east) / step) * step - east


def midnight(at: float) -> float:
    """Returns the start of that day in local time."""
    day = moment(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


def clock(at: float) -> str:
    """Formats a local time as 08:14."""
    return time.strftime("%H:%M", moment(at))


def seconds_clock(at: float) -> str:
    """Formats a local time as 08:14:02."""
    return time.strftime("%H:%M:%S", moment(at))


def day_clock(at: float) -> str:
    """Formats a local time as Sat 14:20."""
    return time.strftime("%a %H:%M", moment(at))


def when(at: float, now: float) -> str:
    """Formats the shortest unambiguous time: 08:14 today, Wed 22:10 this week, 3 Nov 22:10 otherwise."""
    day = moment(at)
    if day[:3] == moment(now)[:3]:
        return clock(at)
    if abs(at - now) < 6 * DAY:
        return day_clock(at)
    return f"{day.tm_mday} {time.strftime('%b %H:%M', day)}"


def to_the_second(at: float, now: float) -> str:
    """Formats 08:14:02 for today, else as `when`."""
    short = when(at, now)
    return seconds_clock(at) if short == clock(at) else short


def iso(at: float | None) -> str:
    """Formats a time in UTC for files; empty for None."""
    from datetime import UTC, datetime  # here, not above: only exports and reports need it

    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def score(value: float | None, digits: int = 4) -> str:
    """Formats a metric's value: 0.6841, 2.734e-5, or a dash."""
    return "—" if value is None or not math.isfinite(value) else in_words(value, digits)


def best_or_front(job: Job) -> str:
    """Returns `best 0.6841`, or with several goals `front 7`: the number of trials on the Pareto front."""
    return f"best {score(job.best_value)}" if len(job.goals) == 1 else f"front {len(job.front)}"


def short_score(value: float | None, digits: int = 4) -> str:
    """Formats a metric's value without the leading zero: .6841."""
    text = score(value, digits)
    return text[1:] if text.startswith("0.") else text


def size(count: float | None) -> str:
    """Formats bytes: 412 MB, 92 GB. A GB is 2^30 bytes, as in htop and in the sizes of memory modules."""
    if count is None:
        return "—"
    for unit, scale in (("TB", 1 << 40), ("GB", GB), ("MB", MB), ("kB", 1 << 10)):
        if count >= scale:
            amount = count / scale
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{count:.0f} B"


def in_gb(count: int) -> str:
    """Formats bytes to 0.1 GB, to compare them with a limit: 20.4 GB; less than 1 GB like `size`."""
    return f"{count / GB:.1f} GB" if count >= GB else size(count)


def number(value: object, digits: int = 4) -> str:
    """Formats a parameter value for a table: 2.8e-4, 1.234e-4, 0.12, 256, adamw."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or value == 0 or not math.isfinite(value):
        return str(value)
    if abs(value) < 1e-2:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.{digits}g}"


def number_in(value: object, columns: int) -> str:
    """Formats like `number`, with as many digits (at most four) as fit into the columns."""
    texts = [number(value, digits) for digits in (4, 3, 2, 1)]
    return next((text for text in texts if width(text) <= columns), texts[0])


def batch(micro: int | None, accumulation: int | None) -> str:
    """Returns `64x4 = 256 windows`: micro batch x accumulation steps; empty if unknown."""
    if not micro or not accumulation:
        return ""
    return count(micro, "window") if accumulation == 1 else f"{micro}x{accumulation} = {micro * accumulation} windows"


def waits(n: int) -> str:
    """Returns `1 waits`, `2 wait`."""
    return f"{n} {'waits' if n == 1 else 'wait'}"


def count(n: int, one: str, many: str | None = None) -> str:
    """Returns `1 trial`, `2 trials`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def full_stop(text: str) -> str:
    """Adds a full stop, unless the text ends with a punctuation mark."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


# ---------------------------------------------------------------- columns

ENDLESS = 1 << 20  # width of a pipe: nothing is cut


@lru_cache(maxsize=8192)
def width(text: str) -> int:
    """Returns the terminal columns of a cleaned string: wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


NO_COLUMN = ("Mn", "Me", "Mc")  # categories of characters that are drawn over or beside the one before, as in Thai


@lru_cache(maxsize=4096)
def _columns(char: str) -> int:
    if unicodedata.category(char) in NO_COLUMN or "\u1160" <= char <= "\u11ff":  # the latter join a Hangul syllable
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int, ellipsis: str = "…") -> str:
    """Cuts the text to at most `columns` columns and marks the cut with `ellipsis`."""
    if columns <= 0:
        return ""
    if width(text) <= columns:
        return text
    if text.isascii():
        return text[: columns - 1] + ellipsis
    kept, used = [], 0
    for char in text:
        used += _columns(char)
        if used > columns - 1:
            break
        kept.append(char)
    return "".join(kept) + ellipsis


def cut_middle(text: str, columns: int) -> str:
    """Cuts the middle of a name to at most `columns` columns; keeps its end, where similar names differ."""
    if width(text) <= columns or columns < 5 or not text.isascii():
        return cut(text, columns)
    end = (columns - 1) // 2
    return text[: columns - 1 - end] + "…" + text[-end:]


def fit(text: str, columns: int) -> str:
    """Pads or cuts the text to exactly `columns` columns, left aligned."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def fit_right(text: str, columns: int) -> str:
    """Pads or cuts the text to exactly `columns` columns, right aligned."""
    text = cut(text, columns)
    return " " * (columns - width(text)) + text


def bar(part: float, columns: int) -> str:
    """Draws a bar of exactly `columns` columns, filled to `part` (0..1) in eighths of a column."""
    part = min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.0
    full, rest = divmod(int(part * columns * 8 + 1e-9), 8)
    text = EIGHTHS[-1] * full + (EIGHTHS[rest - 1] if rest else "")
    return text + TROUGH * (columns - len(text))


def spark(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """Draws one character per value, scaled between the smallest and the largest (or the given limits)."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low = min(finite) if low is None else low
    high = max(finite) if high is None else high
    return "".join(_spark(value, low, high - low) for value in values)


def _spark(value: float, low: float, span: float) -> str:
    if not math.isfinite(value):
        return " "
    top = len(SPARKS) - 1
    level = round((value - low) / span * top) if 0 < span < math.inf else top // 2
    return SPARKS[min(max(level, 0), top)]


def interval(low: float | None, high: float | None) -> str:
    return "—" if low is None or high is None else f"{low:.3f}-{high:.3f}"


def parameters(n: int | None) -> str:
    """Formats a number of parameters: 2.01M, 1.51B."""
    if n is None:
        return "—"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= scale:
            return f"{n / scale:.2f}{unit}"
    return str(n)
