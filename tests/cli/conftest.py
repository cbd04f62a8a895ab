from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fts.state.db import Database
from tests.cli.study import Said, make_study, places_of, runner


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTS_DATA", str(places_of(tmp_path).data))
    for name in ("FTS_DB", "FTS_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Jobs 1 to 4: 2M/h1, 2M/h3, 20M/h1, 20M/h3, all waiting."""
    opened = make_study(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def fts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    return runner(tmp_path, capsys)
