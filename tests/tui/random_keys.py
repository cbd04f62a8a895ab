"""Anything at all, typed into a real monitor: keys, clicks, pastes and sizes drawn by a seed. The monitor goes on.

By hand: python -m tests.tui.random_keys FIRST_SEED LAST_SEED [KEYS]
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fts.frozen import dataclass
from tests.tui import study
from tests.tui.grid import Grid
from tests.tui.terminal import Terminal

HOME = (120, 40)
LEAST, MOST = (1, 1), (300, 90)
LETTERS = "abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPRSTUVXYZ0123456789"  # without q, which leaves, Q and W
SIGNS = " /:?[]{}()<>,.;+-=!@#$%&*_|~'\"\\^`"
NAMED = {
    "escape": "\x1b", "enter": "\r", "tab": "\t", "shift+tab": "\x1b[Z", "backspace": "\x7f", "delete": "\x1b[3~",
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "f1": "\x1bOP", "f5": "\x1b[15~", "insert": "\x1b[2~",
    "alt+up": "\x1b[1;3A", "alt+down": "\x1b[1;3B", "shift+up": "\x1b[1;2A", "shift+right": "\x1b[1;2C",
    "ctrl+right": "\x1b[1;5C", "ctrl+home": "\x1b[1;5H", "ctrl+end": "\x1b[1;5F", "unfocus": "\x1b[O",
    "focus": "\x1b[I",
}  # fmt: skip
CONTROLS = "".join(chr(ord(c) - 96) for c in "abdefghijklmnoprstuvwxy")  # without those that leave or go to the shell
OPENERS = ":?/eemYwox"  # they open something: a walk that opens nothing finds nothing
SCREENS = "1234567"
QUIET_S = 60.0  # in which it has worked off everything
LOOK_S, BUSY = 0.02, 0.34  # between looks; share of them that find it at work while it rests

# A worker would train for hours: the key answers, and starts none.
MONITOR = """
import os, sys, traceback
from fts.tui.__main__ import main
from fts.tui.app import Monitor
from fts.jobs.actions import handlers

def keep_fault(self, error):
    with open("fault.txt", "a") as file:
        traceback.print_exception(error, file=file)
    fatal(self, error)

handlers._command = lambda db, words: "nothing was started"
fatal, Monitor._handle_exception = Monitor._handle_exception, keep_fault
os.chdir(sys.argv.pop())
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Step:
    """What happens next: bytes that are typed, or another size (columns, rows)."""

    typed: str = ""
    size: tuple[int, int] | None = None
    pause_s: float = 0.0


def steps(seed: int, count: int) -> Iterator[Step]:
    """`count` of them, always the same of one seed."""
    dice = random.Random(seed)
    for _ in range(count):
        kind = dice.random()
        pause = dice.choice((0.0, 0.0, 0.0, 0.002, 0.02, 0.02, 0.1 if dice.random() < 0.2 else 0.0))
        if kind < 0.03:
            yield Step(size=size(dice), pause_s=pause)
        elif kind < 0.06:
            yield Step(click(dice), pause_s=pause)
        elif kind < 0.07:
            yield Step(f"\x1b[200~{''.join(dice.choices(LETTERS + SIGNS, k=dice.randint(1, 40)))}\x1b[201~")
        elif kind < 0.35:
            yield Step(dice.choice(list(NAMED.values())), pause_s=pause)
        elif kind < 0.45:
            yield Step(dice.choice(OPENERS), pause_s=pause)
        elif kind < 0.52:
            yield Step(dice.choice(SCREENS), pause_s=pause)
        elif kind < 0.57:
            yield Step(dice.choice(CONTROLS), pause_s=pause)
        else:
            yield Step(dice.choice(LETTERS + SIGNS), pause_s=pause)


def size(dice: random.Random) -> tuple[int, int]:
    """Any, small ones as often as large ones."""
    if dice.random() < 0.4:
        return dice.choice(((1, 1), (40, 8), (60, 15), (80, 24), (120, 40), (200, 60), (300, 90), (80, 5), (20, 24)))
    most = dice.choice(((40, 12), (100, 30), MOST))
    return dice.randint(LEAST[0], most[0]), dice.randint(LEAST[1], most[1])


def click(dice: random.Random) -> str:
    """Pressed and released, or the wheel turned, somewhere near the upper left corner."""
    x, y = dice.randint(1, 120), dice.randint(1, 40)
    if dice.random() < 0.3:
        return f"\x1b[<{dice.choice((64, 65))};{x};{y}M"
    return f"\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m"


def wander(terminal: Terminal, seed: int, count: int) -> None:
    """Does all steps; raises AssertionError when the monitor ends."""
    for n, step in enumerate(steps(seed, count)):
        if step.size is not None:
            terminal.resize(*step.size)
        else:
            terminal.key(step.typed)
        if step.pause_s:
            time.sleep(step.pause_s)
        if n % 16 == 0:
            assert terminal.is_alive(), f"seed {seed}: it has ended before step {n}: {last_words(terminal)}"
            catch_up(terminal)


def is_at_rest(terminal: Terminal, for_s: float) -> bool:
    """Whether its main thread waits most of the time: on a busy machine one that does not still uses little of it."""
    looks = max(int(for_s / LOOK_S), 1)
    busy = 0
    for _ in range(looks):
        time.sleep(LOOK_S)
        busy += terminal.process.status() in ("running", "disk-sleep")
    return busy <= looks * BUSY


def catch_up(terminal: Terminal) -> None:
    """Waits while it works off what it has got: a person does not type for minutes into a busy one."""
    becomes_quiet(terminal, 0.06)


def becomes_quiet(terminal: Terminal, for_s: float = 1.0) -> float:
    """Seconds until it rests for so many; raises AssertionError when it goes on."""
    began = time.monotonic()
    while time.monotonic() - began < QUIET_S:
        assert terminal.is_alive(), f"it has ended: {last_words(terminal)}"
        if is_at_rest(terminal, for_s):
            return time.monotonic() - began
    raise AssertionError(f"busy {QUIET_S:.0f} s after the last key; now {terminal.screen[-200:]!r}")


ESCAPES = 12  # of a menu in a field of a form above a zoomed pane of a filtered, marked, ranged, replayed, frozen table


def comes_home(terminal: Terminal) -> None:
    """Esc, so often as there can be anything to leave, then 1: the queue is shown; raises AssertionError where not."""
    terminal.resize(*HOME)
    time.sleep(0.3)
    for _ in range(ESCAPES):
        assert terminal.is_alive(), f"it has ended: {last_words(terminal)}"
        terminal.key("\x1b")
        time.sleep(0.15)  # behind it a key would make one of both
        becomes_quiet(terminal, 0.1)
    terminal.key("1")
    becomes_quiet(terminal)
    began = time.monotonic()
    while not is_queue(text := whole_picture(terminal)):  # one that is read while a second turns may be of two pictures
        assert time.monotonic() - began < QUIET_S, f"this is not the queue: {text!r}"


def whole_picture(terminal: Terminal) -> str:
    """What stands on the screen: all of it is sent again to a terminal of another size."""
    terminal.resize(HOME[0] + 1, HOME[1])
    becomes_quiet(terminal)
    terminal.wait_quiet(0.5)
    terminal.grid = Grid(*HOME)
    terminal.resize(*HOME)
    becomes_quiet(terminal)
    terminal.wait_quiet(0.5)
    return terminal.grid.text


def is_queue(text: str) -> bool:
    """Whether the whole of it is shown, and nothing in front of it."""
    rows = text.split("\n")
    return "[1 Queue]" in rows[0] and any(re.search(r"# cell +state", row) for row in rows) and "? help" in rows[-1]


def last_words(terminal: Terminal) -> str:
    """The traceback that it left, else the end of what it sent."""
    terminal.wait_quiet(0.3, 3.0)
    fault = terminal.db.parent.parent / "fault.txt"
    return fault.read_text() if fault.exists() else repr(terminal.screen[-1000:])


STUDY = '''"""A function that ends at once."""


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    return x * x
'''


def place(folder: Path, built: Path) -> Path:
    """A study to walk in: its database, with a file beside it that the form finds."""
    home = folder / "study"
    path = study.copy(built, home / "outputs")
    (home / "train.py").write_text(STUDY)
    return path


def run(path: Path, seed: int, count: int) -> None:
    """One walk, and home again."""
    with Terminal(path, HOME, code=MONITOR, last=str(path.parent.parent)) as terminal:
        terminal.wait_ready()
        wander(terminal, seed, count)
        becomes_quiet(terminal)
        comes_home(terminal)


def main() -> None:
    first, last = int(sys.argv[1]), int(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2500
    failed = 0
    with tempfile.TemporaryDirectory(prefix="keys-") as folder:
        built = Path(folder) / "built" / "outputs" / "fts.db"
        built.parent.mkdir(parents=True)
        study.build(built, now=time.time())
        for seed in range(first, last + 1):
            path = place(Path(folder) / str(seed), built)
            began = time.monotonic()
            try:
                run(path, seed, count)
                print(f"seed {seed}: well after {time.monotonic() - began:.0f} s", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}: {error}\n", flush=True)
            shutil.rmtree(path.parent.parent, ignore_errors=True)
    print(f"{failed} of {last - first + 1} failed")


if __name__ == "__main__":
    main()
