"""A test that fails leaves no worker behind, which would keep the nodes of the next one; the table at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.noticed import TABLE
from tests.fts_process import STARTED


@pytest.fixture(autouse=True)
def no_worker_stays() -> Iterator[None]:
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
        process.wait()
    STARTED.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TABLE:
        terminalreporter.section("disturbances: noticed after, next epoch after")
    for what, noticed, onward in TABLE:
        terminalreporter.write_line(f"{what:<32}{noticed:<10}{onward}")
