"""A terminal may stand still (Ctrl-S, a pager), and with it who tells it something; nobody else may wait for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.supervisor.progress_events import EpochReported
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import transitions
from fts.state.db import open_database
from fts.state.errors import DatabaseBusy
from tests.fts_process import Study

OBJECTIVE = """
def objective(trial):
    for epoch in range(300):
        trial.report(1.0 / (epoch + 1), epoch)
    return 0.0
"""


class AsksAnother(Console):
    """While it is told of an epoch, somebody else writes to the database."""

    def __init__(self, db: Path) -> None:
        super().__init__(live=False)
        self.db, self.epochs, self.refused = db, 0, 0

    def tell(self, event: Any) -> None:
        if isinstance(event, EpochReported):
            self.epochs += 1
            if self.epochs % 30 == 0:
                other = threading.Thread(target=self.write)
                other.start()
                other.join()

    def write(self) -> None:
        db = open_database(self.db, busy_timeout_s=0.2)
        try:
            transitions.pause_queue(db, "a look", who="test")
            transitions.resume_queue(db, who="test")
        except DatabaseBusy:
            self.refused += 1
        finally:
            db.close()


def test_others_may_write_while_a_worker_tells_of_epochs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(OBJECTIVE)
    study.ok("enqueue", "train.py:objective", "--trials", "1", "--pruner", "none")
    places = Places(study.outputs / "fts.db", tmp_path / "data")
    asks = AsksAnother(places.db)
    assert run_job(places, WorkerSettings(poll_s=0.1), 1, asks) == 0
    assert (asks.epochs, asks.refused) == (300, 0)
