"""One real SQLite file per test, closed afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.state.db import Database
from tests.state.helpers import new_db


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = new_db(tmp_path)
    yield database
    database.close()
