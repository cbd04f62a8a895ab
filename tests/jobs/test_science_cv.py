"""A cell judged by walk-forward folds runs through the real worker, its baselines on the same windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.analysis.answers import answers
from fts.analysis.findings import findings
from fts.analysis.summarise import summarise
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli.selection import one_job
from fts.jobs.settings import Places
from fts.jobs.status.naming import cell_name
from fts.state import queries
from fts.state.values import JobStatus
from fts.study.baseline_jobs import baseline_of
from fts.study.margins import predictions_path, question
from fts.study.matrix import write
from fts.study.report_data import study_data
from tests.jobs.science import cells_of, make_data, opened, poison_test_part, run_queue


def test_a_trial_is_judged_on_every_fold_and_compared_on_all_their_windows(tmp_path: Path):
    manifest = make_data(tmp_path / "data")
    poison_test_part(manifest)
    places = Places(tmp_path / "outputs" / "fts.db", manifest.root)
    (cell,) = cells_of(places, trials=1, epochs=2, cv="walk-forward:3")
    baseline = replace(baseline_of(cell), trials=3)  # prior, regression, forest
    db = opened(places)
    write(db, [baseline, cell], who="test")
    run_queue(places)
    jobs = {job.kind: job for job in queries.jobs(db)}
    assert [job.status for job in jobs.values()] == [JobStatus.DONE] * 2, [job.message for job in jobs.values()]
    assert jobs["cell"].experiment == "phase6a_tiny_h1_threshold_1pct_wf3"
    assert question(jobs["cell"]) == question(jobs["baseline"])
    (trial,) = queries.trials(db, jobs["cell"].id)
    rival = queries.trials(db, jobs["baseline"].id)[1]
    mine, theirs = (
        pd.read_parquet(predictions_path(places, jobs[kind], one))
        for kind, one in (("cell", trial), ("baseline", rival))
    )
    assert mine["date"].equals(theirs["date"]) and mine["date"].is_monotonic_increasing
    assert len(mine) == trial.n_val == rival.n_val and trial.n_pos == mine["y"].sum()
    p, y = mine["p"].to_numpy(float), mine["y"].to_numpy(float)
    assert trial.val_loss == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), abs=1e-5)
    assert trial.epochs == 2 and len(queries.epochs(db, trial.id)) == 2
    (margin,) = queries.margins(db)
    assert margin.n == len(mine)
    db.close()


@pytest.mark.parametrize("wrong", ["walk-forward", "walk-forward:1", "k-fold:5", "walk-forward:99"])
def test_another_cv_is_refused_by_name(tmp_path: Path, wrong: str):
    places = Places(tmp_path / "fts.db", make_data(tmp_path / "data").root)
    with pytest.raises(BadSpec, match="walk-forward:N"):
        cells_of(places, cv=wrong)


@pytest.mark.slow
def test_a_cell_judged_on_folds_beside_the_plain_one_is_a_matrix_of_its_own(tmp_path: Path):
    """The page itself asks for it, so it must not be taken for mixed data, nor hide the plain cell."""
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data").root)
    cells = [cells_of(places, trials=1, epochs=1, cv=cv)[0] for cv in (None, "walk-forward:2")]
    db = opened(places)
    write(db, cells, who="test")
    run_queue(places)
    study = study_data(db, places)
    plain, folded = summarise(study)
    jobs = queries.jobs(db)
    names = [cell_name(job) for job in jobs]
    assert [one_job(jobs, name).spec["cv"] for name in ("tiny/h1", "tiny/h1 wf2")] == [None, "walk-forward:2"]
    said = {finding.rule for finding in findings(study, (plain, folded)) if finding.kind == "error"}
    db.close()
    assert not said & {"mixed data", "equal labels"}
    asked = [answer.question for answer in answers((plain, folded), ())]
    assert len(set(asked)) == 8, "each answer says which of the two it is about"
    assert (plain.task, folded.task) == ("threshold_1pct", "threshold_1pct walk-forward:2")
    assert [len(group.cells) for group in (plain, folded)] == [1, 1]
    assert sorted(names) == ["tiny/h1", "tiny/h1 wf2"]
