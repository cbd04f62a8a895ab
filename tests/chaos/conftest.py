"""One nursery, one data folder and one undisturbed study for all chaos tests."""

import fcntl
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import study
from tests.chaos.harness import Harness, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery | None]:
    if sys.platform != "linux":
        yield None  # ordinary processes do as well, slowly
        return
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study.make_data(tmp_path_factory.mktemp("chaos") / "data")


@pytest.fixture
def make_harness(tmp_path: Path, data: Path, nursery: Nursery | None) -> Iterator[Callable[..., Harness]]:
    """Studies whose workers and trials do not outlive the test, however it ends."""
    made: list[Harness] = []

    def make(name: str = "study", **fields: Any) -> Harness:
        folder = tmp_path / name
        made.append(Harness(study.make_study(folder, data, **fields), nursery, folder))
        return made[-1]

    yield make
    for harness in made:
        harness.close()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path, nursery: Nursery | None) -> dict[str, Any]:
    """The identity of the study when nothing happens to it."""
    return known(tmp_path_factory, data, nursery)


@pytest.fixture(scope="session")
def undisturbed_small(tmp_path_factory: pytest.TempPathFactory, data: Path, nursery: Nursery | None) -> dict[str, Any]:
    """The same of a study of two trials a cell."""
    return known(tmp_path_factory, data, nursery, trials=2)


def known(
    tmp_path_factory: pytest.TempPathFactory, data: Path, nursery: Nursery | None, **fields: Any
) -> dict[str, Any]:
    """Run once, and shared by the processes of a run."""
    mine = tmp_path_factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / f"undisturbed{fields.get('trials', '')}"
    folder.mkdir(exist_ok=True)
    stored = folder / "identity"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stored.exists():
            stored.write_bytes(pickle.dumps(run_in_peace(folder / "study", data, nursery, **fields)))
    identity: dict[str, Any] = pickle.loads(stored.read_bytes())  # noqa: S301  # ours
    return identity


def run_in_peace(folder: Path, data: Path, nursery: Nursery | None, **fields: Any) -> dict[str, Any]:
    harness = Harness(study.make_study(folder, data, **fields), nursery, folder)
    harness.finish()
    assert study.broken(harness.places, harness.journal) == []
    assert study.finished(harness.places)
    return study.identity(harness.places)
