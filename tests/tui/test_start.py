"""What a start loads: modules by name, not seconds. What only a key needs is loaded by that key."""

from __future__ import annotations

import subprocess
import sys

LATER = (
    "fts.tui.command_palette", "fts.tui.screens.dialogs", "fts.tui.screens.help", "fts.tui.screens.enqueue",
    "fts.tui.screens.trials", "fts.tui.screens.curves", "fts.tui.screens.logs", "fts.tui.screens.events",
    "fts.tui.data.form_memory", "fts.tui.data.form_process", "fts.tui.data.form_runs", "fts.tui.legend",
    "fts.tui.pictures", "fts.tui.serve", "textual_serve", "optuna", "numpy", "torch", "huey", "click", "psutil",
    "pynvml", "resvg_py", "importlib.metadata",
)  # fmt: skip


def loaded(code: str) -> set[str]:
    """The modules of a fresh process after some code."""
    told = "import sys; print(*sys.modules)"
    return set(
        subprocess.run(
            [sys.executable, "-c", f"{code}; {told}"], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_a_start_loads_nothing_that_only_a_key_needs():
    found = loaded("import fts.tui.__main__, fts.tui.app, fts.state.db, fts.tui.screens.queue")
    assert "fts.tui.screens.queue" in found
    assert not found.intersection(LATER)


def test_help_waits_neither_for_the_database_nor_for_the_screens():
    found = loaded("import fts.tui.__main__")
    assert not {"peewee", "fts.tui.app", "fts.tui.screens.base"} & found


def test_a_monitor_does_without_openssl_and_leaves_it_to_others():
    assert not {"ssl", "_ssl", "_hashlib"} & loaded("import fts.tui.__main__, fts.tui.app, fts.state.db")
    found = loaded("import fts.tui.__main__, ssl, hashlib; assert ssl.OPENSSL_VERSION and hashlib.md5().hexdigest()")
    assert "_ssl" in found
