"""Every test process computes on one thread that sleeps while it waits: two files run side by side on two cores."""

import os
from pathlib import Path

import pytest

for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}.items():
    os.environ.setdefault(name, value)  # before torch is imported; with spinning threads the suite took thrice as long
os.environ["FTS_NOTIFY"] = os.devnull  # nobody is sent a message by a test


# Files that take longest on one worker, the longest first: begun last, one of them would leave the other core idle.
LONGEST = (
    "chaos/test_world.py",
    "jobs/test_control_story.py",
    "jobs/test_watch_stories.py",
    "jobs/test_whose_fault.py",
    "chaos/test_stopped.py",
    "training/test_checkpoint.py",
    "jobs/test_science_shared.py",
    "test_end_to_end.py",
    "chaos/test_kill.py",
    "jobs/test_science_cv.py",
    "jobs/test_science_final.py",
    "training/test_memory.py",
    "jobs/test_heat_story.py",
    "analysis/test_report.py",
    "jobs/test_extended.py",
    "analysis/test_conclusions.py",
    "chaos/test_soak.py",
    "analysis/test_page_numbers.py",
    "chaos/test_found.py",
    "chaos/test_small_disk.py",
    "cli/test_damage.py",
    "tui/test_two_monitors.py",
    "jobs/test_science_planted.py",
    "tui/test_menus.py",
    "tui/test_proof.py",
    "tui/test_idle.py",
    "tui/test_serve.py",
    "jobs/test_commands_matrix.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Otherwise xdist begins with the files of the most tests, which are the quick ones."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; slow tests may take up to two hours, whichever command runs them."""
    here = Path(__file__).parent
    rank = {here / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(7200))
