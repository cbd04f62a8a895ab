"""A job with as many ended trials as wanted, written into the table at once: ten thousand transitions take minutes."""

from __future__ import annotations

from fts.state.db import Database


def multiply_trials(db: Database, job_id: int, count: int) -> None:
    """Copies trial 0 of the job under the numbers 1 to count - 1, with its epochs; the best one stays trial 0."""
    columns = [row[1] for row in db.execute_sql("PRAGMA table_info(trial)").fetchall() if row[1] != "id"]
    changed = {"number": "k.n", "value": "value + k.n / 1e6", "started_at": "started_at + k.n"}
    numbers = f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count - 1})"
    with db.write():
        db.execute_sql(
            f"INSERT INTO trial ({', '.join(columns)}) {numbers} "
            f"SELECT {', '.join(changed.get(name, name) for name in columns)} FROM trial, k "
            f"WHERE job_id = {job_id} AND number = 0"
        )
        rest = [row[1] for row in db.execute_sql("PRAGMA table_info(epoch)").fetchall() if row[1] != "trial_id"]
        db.execute_sql(
            f"INSERT INTO epoch (trial_id, {', '.join(rest)}) SELECT other.id, {', '.join('e.' + n for n in rest)} "
            f"FROM epoch e JOIN trial t ON t.id = e.trial_id JOIN trial other ON other.job_id = t.job_id "
            f"WHERE t.job_id = {job_id} AND t.number = 0 AND other.number > 0"
        )
        db.execute_sql(f"UPDATE job SET trials_complete = {count}, trials_wanted = {count} WHERE id = {job_id}")


def copy_trials(db: Database, job_id: int, have: int, count: int) -> None:
    """The first `have` trials of the job again and again, up to number count - 1, with all that belongs to each."""
    columns = names_of(db, "trial", "id")
    changed = {"number": "k.n", "value": "value + k.n / 1e6", "started_at": "started_at + k.n * 1e-6"}
    numbers = f"WITH RECURSIVE k(n) AS (SELECT {have} UNION ALL SELECT n + 1 FROM k WHERE n < {count - 1})"
    source = ", ".join(changed.get(name, name) for name in columns)
    with db.write():
        db.execute_sql(
            f"INSERT INTO trial ({', '.join(columns)}) {numbers} SELECT {source} FROM k "
            f"JOIN trial ON job_id = {job_id} AND number = k.n % {have}"
        )
        db.execute_sql(
            f"CREATE TEMP TABLE pair AS SELECT old.id AS old, new.id AS new FROM trial new JOIN trial old "
            f"ON old.job_id = {job_id} AND new.job_id = {job_id} AND old.number = new.number % {have} "
            f"WHERE new.number >= {have}"
        )
        for table in ("draw", "epoch", "attempt", "event"):
            rest = names_of(db, table, "trial_id", "id")
            db.execute_sql(
                f"INSERT INTO {table} (trial_id, {', '.join(rest)}) SELECT pair.new, "
                f"{', '.join('t.' + name for name in rest)} FROM pair JOIN {table} t ON t.trial_id = pair.old"
            )
        db.execute_sql("DROP TABLE pair")
        db.execute_sql(f"UPDATE job SET trials_complete = {count} WHERE id = {job_id}")


def names_of(db: Database, table: str, *without: str) -> list[str]:
    rows = db.execute_sql(f"PRAGMA table_info({table})").fetchall()
    return [row[1] for row in rows if row[1] not in without]
