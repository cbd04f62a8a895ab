"""One small study for every file that asks what came out: run once by real workers, shared by the processes of a run.

Every number of its test part is NaN. What runs to its end with finite numbers has not read them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.jobs.cli import main
from fts.jobs.settings import Places
from fts.state.db import Database
from tests.jobs.science import Ran, copied, opened, run_study


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The finished study. Nobody changes it: whoever must, takes a copy."""
    mine = tmp_path_factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "science"
    folder.mkdir(exist_ok=True)
    known = folder / "sound.md5"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first process runs it, the others wait and read
        if not known.exists():
            known.write_text(run_study(folder).sound_md5)
    return Ran(Places(folder / "outputs" / "fts.db", folder / "data"), known.read_text())


@pytest.fixture
def db(ran: Ran) -> Iterator[Database]:
    opened_db = opened(ran.places)
    yield opened_db
    opened_db.close()


@pytest.fixture
def fts(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]  # a closure
    """`fts(...)` on a copy of the study: exit code, stdout, stderr."""
    monkeypatch.setenv("FTS_DATA", str(ran.places.data))
    copy = copied(ran.places, tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--db", str(copy.db), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    run.places = copy  # type: ignore[attr-defined]
    return run
