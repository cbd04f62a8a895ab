"""Trials load the same from the database's view and from the exports."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from fts.analysis import load_trials
from fts.analysis.trials_table import COLUMNS, NoTrials, best_trials, ranked, tidy_trials
from fts.state.db import open_database
from tests.analysis.tables import trial_rows, trial_table


def database(path):
    """A real database of ours with four trials of one cell."""
    open_database(path).close()
    now = time.time()
    with closing(sqlite3.connect(path)) as connection:
        labels = {"budget": "2M", "horizon": 1, "task": "threshold_1pct", "tier": "a25"}
        job = {"experiment": "phase6a_2M_h1_threshold_1pct", "kind": "cell", "study": "patchtst", "cell": "2M/h1"}
        job |= {"labels": json.dumps(labels), "metric": "val_loss", "direction": "minimize"}
        job |= {"status": "done", "rank": 1.0, "trials_wanted": 4}
        insert(connection, "job", job | {"spec": "{}", "spec_md5": "s", "created_at": now})
        columns = {row[1] for row in connection.execute("PRAGMA table_info(trial)")}
        for row in trial_rows(n=4):
            row["params"] = json.dumps({name: row[name] for name in ("learning_rate", "weight_decay", "dropout")})
            row |= {
                "job_id": 1,
                "direction": "minimize",
                "started_at": now,
                "effective": "{}",
                "train_seconds": 60 * row["minutes"],
            }
            insert(connection, "trial", {name: value for name, value in row.items() if name in columns})
        connection.commit()
    return path


def insert(connection, table, row):
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def exports(folder):
    rows = trial_rows(n=4)
    for row in rows:
        for gone in ("budget", "horizon", "task", "tier", "learning_rate", "dropout", "minutes"):
            row.pop(gone)
        row |= {"params": json.loads(row["params"]), "badges": [], "train_seconds": 144.0}
    cell = folder / "phase6a_2M_h1_threshold_1pct"
    cell.mkdir(parents=True)
    (cell / f"{cell.name}_all_trials.json").write_text(json.dumps(rows))
    return folder


def test_both_sources_give_the_documented_columns_and_the_same_numbers(tmp_path):
    from_db, from_files = load_trials(database(tmp_path / "fts.db")), load_trials(exports(tmp_path / "hpo"))
    for table in (from_db, from_files):
        assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    same = ["budget", "horizon", "task", "value", "dropout", "learning_rate", "d_model", "n_layers", "minutes"]
    pd.testing.assert_frame_equal(from_db[same], from_files[same], check_dtype=False)


def test_the_database_is_opened_read_only(tmp_path):
    path = database(tmp_path / "fts.db")
    before = path.read_bytes()
    assert len(load_trials(path)) == 4
    assert path.read_bytes() == before


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NoTrials, match="neither a database file nor"):
        load_trials(tmp_path / "nothing.db")
    with pytest.raises(NoTrials, match="holds no"):
        load_trials(tmp_path)
    (tmp_path / "text.db").write_text("hello " * 200)
    with pytest.raises(ValueError, match="cannot be read as a database of fts"):
        load_trials(tmp_path / "text.db")
    (tmp_path / "x_all_trials.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        load_trials(tmp_path)


def test_an_empty_table_keeps_its_columns():
    assert list(tidy_trials(pd.DataFrame()).columns) == list(COLUMNS)
    assert len(best_trials(trial_table([]))) == 0


def test_the_best_trial_follows_the_objective():
    by_loss = trial_table([("2M", 1)], n=10)
    assert best_trials(by_loss)["value"].iloc[0] == by_loss["value"].min()
    by_auc = trial_table([("2M", 1)], n=10, objective="val_auc")
    assert best_trials(by_auc)["value"].iloc[0] == by_auc["value"].max()


def test_replicates_of_a_winner_are_not_ranked_with_the_search():
    assert len(ranked(trial_table([("2M", 1)], n=5, kind="replicate"))) == 0


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, fts.analysis; print([m for m in ('torch', 'sklearn', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
