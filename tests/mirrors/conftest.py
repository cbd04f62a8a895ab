"""The study of these tests, and `fts` as a person types it in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.study import Said, runner
from tests.mirrors.made import Made, make_study


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    found = make_study(tmp_path)
    yield found
    found[0].close()


@pytest.fixture
def fts(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    monkeypatch.chdir(tmp_path)
    return runner(tmp_path, capsys)
