"""What follows a search: replicate, train, unseal, predict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.state import queries
from fts.state.db import Database
from tests.cli.study import claim, finished_cell, make_study, places_of, start_trial, store_data


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """The usual jobs 1 to 4, and the data set they name."""
    opened = make_study(tmp_path, data_md5=store_data(tmp_path))
    yield opened
    opened.close()


def test_the_winner_is_put_in_line_again_with_other_seeds_and_only_once(fts, db: Database):
    finished_cell(db)
    first = json.loads(fts("replicate", "2M/h1", "--seeds", "4", "--json").out)["enqueued"][0]
    job = queries.job(db, first["job"])
    assert (job.kind, job.trials_wanted, job.spec["origin"]["job"]) == ("replicate", 4, 1)
    assert json.loads(fts("replicate", "2M/h1", "--seeds", "4", "--json").out)["enqueued"][0]["created"] is False


def test_the_final_model_is_trained_from_the_winner(fts, db: Database):
    finished_cell(db)
    said = fts("train", "1")
    assert said.code == 0 and "repeats trial 0 of phase6a_2M_h1_threshold_1pct" in said.out
    assert queries.jobs(db, ["queued"])[-1].kind == "train"


def test_a_cell_without_a_winner_cannot_be_trained(fts, db: Database):
    start_trial(db, claim(db))
    for command in ("train", "replicate"):
        said = fts(command, "1")
        assert said.code == 1 and "no complete trial" in said.err


def test_without_its_data_set_nothing_follows_a_cell_and_its_test_set_stays_sealed(fts, db: Database, tmp_path: Path):
    finished_cell(db)
    data = places_of(tmp_path).data
    next((data / "processed").glob("SPX.dataset.a25.*.parquet")).unlink()
    for command in (("train", "1"), ("replicate", "1"), ("final", "1", "-y"), ("unseal", "1", "-y")):
        said = fts(*command)
        assert said.code == 1 and "is missing; build or copy it again" in said.err and str(data) in said.err
    shutil.rmtree(data)
    for command in (("train", "1"), ("replicate", "1"), ("final", "1", "-y"), ("unseal", "1", "-y")):
        said = fts(*command)
        assert said.code == 6 and "phase6a_2M_h1_threshold_1pct cannot be trained again" in said.err
    assert len(queries.jobs(db)) == 4 and queries.openings(db) == ()


def test_the_test_set_is_opened_once_and_stands_in_the_journal(fts, db: Database):
    finished_cell(db)
    assert fts("unseal", "1", "-n").code == 0 and queries.opening(db, "phase6a_2M_h1_threshold_1pct") is None
    assert fts("unseal", "1").code == 2  # nobody can be asked, and nobody said -y
    assert fts("unseal", "1", "-y").code == 0
    assert queries.events(db, limit=1)[0].verb == "unsealed"
    again = fts("unseal", "1", "-y")
    assert again.code == 1 and "open already" in again.err
    assert "no complete trial" in fts("unseal", "2").err


def test_a_job_that_is_no_cell_is_said_to_be_there(fts, db: Database):
    finished_cell(db)
    put = json.loads(fts("train", "1", "--json").out)["enqueued"][0]["job"]
    for command in (("train", str(put)), ("replicate", str(put)), ("final", str(put), "-y"), ("unseal", str(put))):
        said = fts(*command)
        assert said.code == 1 and f"job {put} (2M/h1 final) is a train; only a cell has a winner" in said.err
    assert "no job matches '99'" in fts("train", "99").err


def test_an_unknown_model_is_named_with_what_there_is(fts, db: Database, tmp_path: Path):
    bars = tmp_path / "bars.csv"
    bars.write_text("Date,Open\n")
    said = fts("predict", "nobody", str(bars))
    assert said.code == 6 and "none yet" in said.err
