"""One half-finished study, built once; every test gets a copy of its own. Clocks are in UTC."""

from __future__ import annotations

import os
import time

import pytest

from tests.tui import study


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The database of tests.tui.study, to be copied, never opened for writing."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    path = tmp_path_factory.mktemp("built") / "study" / "outputs" / "fts.db"
    path.parent.mkdir(parents=True)
    study.build(path)
    if before is None:
        os.environ.pop("TZ")
    else:
        os.environ["TZ"] = before
    return path


@pytest.fixture
def db_path(built, tmp_path):
    """A copy to act on."""
    return study.copy(built, tmp_path / "study" / "outputs")


@pytest.fixture(autouse=True)
def _own_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def _no_settings_of_the_tester(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def _questions_take_keys_at_once(monkeypatch):
    """A story types quicker than a person reads."""
    from fts.tui.screens.dialogs import Confirm

    monkeypatch.setattr(Confirm, "SETTLE_S", 0.0)
