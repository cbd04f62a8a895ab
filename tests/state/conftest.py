"""One real SQLite file per test, closed afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.state.db import Database
from tests import new_databases
from tests.state.helpers import new_db

MADE = (
    "test_faults",
    "test_fresh",
    "test_migration",
    "test_opening",
    "test_processes",
    "test_schema",
)  # files that test how


@pytest.fixture(autouse=True)
def _databases_are_made(request: pytest.FixtureRequest) -> Iterator[None]:
    with new_databases.off(request.path.stem in MADE):
        yield


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = new_db(tmp_path)
    yield database
    database.close()
