"""Every test process computes on one thread that sleeps while it waits: two files run side by side on two cores."""

import compileall
import gc
import importlib
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import forks, new_databases

for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}.items():
    os.environ.setdefault(name, value)  # before torch is imported; with spinning threads the suite took thrice as long
os.environ["FTS_NOTIFY"] = os.devnull  # nobody is sent a message by a test
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # has `python`
for name in ("LC_ALL", "LC_CTYPE", "LANG"):  # in plain ASCII the product writes other glyphs
    if os.environ.get(name) in ("C", "POSIX"):
        os.environ[name] = "C.UTF-8"

ROOT = Path(__file__).parent.parent
BYTECODE_FORBIDDEN = sys.dont_write_bytecode  # by PYTHONDONTWRITEBYTECODE
sys.dont_write_bytecode = False  # while tests are collected: three workers would each compile all test files again

# Files that take longest on one worker, the longest first: begun last, one of them would leave the other core idle.
LONGEST = (
    "trial/test_stop_pools.py",
    "tui/test_enqueue_form.py",
    "tui/test_dialogs.py",
    "chaos/test_stopped.py",
    "jobs/test_science_shared.py",
    "chaos/test_world.py",
    "tui/test_terminal.py",
    "executors/test_signals.py",
    "executors/test_placement.py",
    "jobs/test_function_faults.py",
    "jobs/test_library.py",
    "jobs/test_made_anew.py",
    "trial/test_command.py",
    "executors/test_contract.py",
    "data/test_dataset.py",
    "chaos/test_lost_database.py",
    "jobs/test_check.py",
    "analysis/test_conclusions.py",
    "tui/test_random_keys.py",
    "cli/test_damage.py",
    "jobs/test_resources.py",
    "training/test_checkpoint.py",
    "executors/test_on_nodes.py",
    "chaos/test_kill.py",
    "jobs/test_control_story.py",
    "cli/test_errors.py",
    "analysis/test_report.py",
    "tui/test_menus.py",
    "jobs/test_startable.py",
    "data/test_layouts.py",
    "jobs/test_whose_fault.py",
    "test_end_to_end.py",
    "tui/test_stories.py",
    "trial/test_stop.py",
    "tui/test_states.py",
    "notify/test_stories.py",
    "chaos/test_soak.py",
    "tui/test_reading.py",
    "cli/test_foreign_folder.py",
    "jobs/test_warm_start.py",
    "notify/test_services.py",
    "tui/test_marking.py",
    "tui/test_any_study.py",
    "tui/test_idle.py",
    "test_files.py",
    "trial/test_template.py",
    "cli/test_odd_rows.py",
    "tui/test_proof.py",
    "chaos/test_small_disk.py",
    "chaos/test_found.py",
    "jobs/test_function_story.py",
    "tui/test_serve.py",
    "tui/test_two_monitors.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        # otherwise xdist begins with the files of the most tests, which are the quick ones
        config.option.loadscopereorder = False
    if hasattr(config, "workerinput"):
        forks.ask_shared()
    elif getattr(config.option, "numprocesses", None):
        forks.share()
    if BYTECODE_FORBIDDEN and not hasattr(config, "workerinput"):
        # Once here, or each of the thousand processes that tests start compiles all of ours again (0.1 s each).
        for folder in ("fts", "jobs", "state", "tui", "tests"):
            compileall.compile_dir(ROOT / folder, quiet=2, rx=re.compile(r"/test_\w+\.py$"))


def pytest_collection() -> None:
    """Each worker of xdist imports another part of the files first, so that they do not all compile the same ones."""
    count, name = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("_COUNT", ""))
    if not name.startswith("gw"):
        return
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    for path in files[int(name[2:]) :: int(count)]:
        with suppress(Exception, pytest.skip.Exception):  # collecting the file reports it
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """What a test writes and imports is compiled as the environment says: its next version comes within a second.

    What was collected stays until the end: the garbage collector need not walk over it again and again.
    """
    sys.dont_write_bytecode = BYTECODE_FORBIDDEN
    if (textual := sys.modules.get("textual.css.stylesheet")) is not None:
        parse_each_style_once(textual.Stylesheet)
    if (screens := sys.modules.get("textual.screen")) is not None:
        draw_for_no_terminal(screens.Screen)
    forks.install()
    new_databases.install()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def parse_each_style_once(sheet: Any) -> None:
    """Hundreds of monitors run in one process, and each parsed the same CSS: a tenth of their time."""
    parsed: dict[Any, Any] = {}
    parse = sheet._parse_rules

    def shared(self: Any, *words: Any, **named: Any) -> Any:
        key = (words, tuple(named.items()), tuple(self._variables.items()))
        if key not in parsed:
            parsed[key] = parse(self, *words, **named)
        return parsed[key]

    sheet._parse_rules = shared
    importlib.import_module("textual.css.model").RuleSet.__hash__ = object.__hash__  # the same, but not in Python


def draw_for_no_terminal(screen: Any) -> None:
    """Without a terminal, Textual throws away the frames that it draws: a third of the time of a monitor of a test.

    What the screen shows, tests ask of the panes or of the compositor, which draws all widgets for `on_screen`.
    """
    refresh = screen._compositor_refresh

    def refresh_a_terminal(self: Any) -> None:
        if not self.app.is_headless:
            refresh(self)
            return
        self._dirty_widgets.clear()
        self._compositor._dirty_regions.clear()
        self.app._update_mouse_over(self)

    screen._compositor_refresh = refresh_a_terminal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; slow tests may take up to two hours, whichever command runs them."""
    here = Path(__file__).parent
    rank = {here / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(7200))
