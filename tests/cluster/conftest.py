"""A test that fails leaves no worker behind, which would keep the nodes of the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fts_process import STARTED


@pytest.fixture(autouse=True)
def no_worker_stays() -> Iterator[None]:
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
        process.wait()
    STARTED.clear()
