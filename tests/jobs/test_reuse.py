"""A configuration that has run is not run again: its result stands for the twin, marked so."""

from dataclasses import replace

from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import queries
from fts.state.db import open_database
from fts.study.matrix import make_cells, write
from tests.chaos.study import make_data

PARAMS = {"learning_rate": 3e-4, "weight_decay": 1e-3, "warmup_steps": 5, "dropout": 0.2}


def test_an_identical_configuration_is_recognised_and_its_result_reused(tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data"))
    fields = {"context": 20, "effective_batch": 32, "min_positives": 3, "split": {"train": 0.6, "val": 0.3}}
    cell = make_cells(places, ("tiny",), (1,), 3, 2, "threshold_1pct", "a20", **fields)[0]
    only = {name: {"kind": "choice", "choices": [value]} for name, value in PARAMS.items()}
    shape = {"architecture": {"kind": "choice", "choices": cell.space["architecture"]["choices"][:1]}}
    db = open_database(places.db)
    job = write(db, [replace(cell, space=only | shape)])[0].job_id
    assert run_job(places, WorkerSettings(poll_s=0.1, stall={}), job, Console(live=False)) == 0
    first, *twins = queries.trials(db, job)
    assert str(first.status) == "complete" and first.reused_from is None and "reused" not in first.badges
    for twin in twins:
        assert (twin.value, twin.best_epoch, twin.val_auc) == (first.value, first.best_epoch, first.val_auc)
        assert twin.reused_from == first.id and "reused" in twin.badges and twin.cause == "reused"
        assert twin.epochs == 0, "nothing was trained for it"
        for name in ("n_params", "n_train", "n_val", "n_pos", "prior_loss", "base_rate", "label_md5", "data_md5"):
            assert getattr(twin, name) == getattr(first, name) is not None, f"a score is shown beside {name}"
    assert queries.job(db, job).trials_complete == 3
