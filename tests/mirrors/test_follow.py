"""What a mirror shows of a study: every trial in its order, and after any number of passes what a fresh one shows."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.mirrors import follow as mirrors
from fts.jobs.mirrors import mlflow
from fts.jobs.mirrors.follow import CannotMirror, Mirror, follow
from fts.jobs.mirrors.runs import MirroredCell, Run
from fts.state import queries, transitions
from fts.state.backup import backup
from fts.state.db import open_database, open_for_reading
from fts.state.restore import restore
from fts.state.values import Cause, TrialStatus
from tests.cli.study import Said
from tests.fts_process import wait_until
from tests.mirrors.made import Made, Memory, begin, claim, end, everything, fresh, report


def by_name(runs: dict[str, Run]) -> dict[str, Run]:
    return {run.name: run for run in runs.values()}


def test_every_trial_is_shown_with_parameters_axes_steps_and_how_it_ended(made: Made) -> None:
    db, _, _ = made
    shown = by_name(fresh(db))
    assert list(shown) == ["t0000", "t0001", "t0002", "t0003", "t0004"]
    best, failed, pruned, live = (shown[f"t000{n}"] for n in (1, 2, 3, 4))
    assert best.params == {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5, "data": "mnist", "size": "S"}
    assert [(point.step, point.values["acc"]) for point in best.points] == [(0, pytest.approx(0.7)), (1, 0.8)]
    assert best.results == {"acc": 0.8, "loss": pytest.approx(0.2)} and best.cell.goals == {"acc": "maximize"}
    assert (failed.status, failed.notes["cause"], failed.notes["message"]) == ("failed", "diverged", "it broke")
    assert (pruned.status, [point.step for point in pruned.points]) == (TrialStatus.PRUNED, [0, 1, 2, 3])
    assert list(pruned.points[0].values) == ["acc", "loss", "train/f1"]
    assert (live.status, live.ended_at, live.results) == (TrialStatus.RUNNING, None, {})
    assert live.notes["attempts"] == "1: ?, lost worker; 2: ?, not ended" and live.last_step == 4
    assert shown["t0000"].notes["facts.note"] == "a | b c", "what could steer a screen is gone"


def test_a_later_pass_reads_what_changed_and_shows_what_a_fresh_mirror_shows(made: Made) -> None:
    db, claimed, live = made
    memory = Memory()
    mirror = Mirror(memory, everything)
    mirror.bring_up_to_date(db)
    memory.puts.clear()
    report(db, claimed, live, 5, 9)
    mirror.bring_up_to_date(db)
    assert memory.puts == ["train_mnist_S t0004"] and memory.runs == fresh(db)
    end(db, claimed, live)
    following = begin(db, claimed, 5, 1)
    mirror.bring_up_to_date(db)
    transitions.finish_trial(db, claimed, following, "failed", Cause.CODE_ERROR, message="a bug")
    transitions.finish_job(db, claimed)
    mirror.bring_up_to_date(db)
    assert memory.runs == fresh(db)
    memory.puts.clear()
    mirror.bring_up_to_date(db)
    assert memory.puts == [], "nothing happened"
    transitions.retry(db, [1], who="me")
    again = claim(db)
    transitions.rerun_trial(db, again, following)
    report(db, again, following, 1, 3)
    mirror.bring_up_to_date(db)
    assert memory.runs == fresh(db) and by_name(memory.runs)["t0005"].status is TrialStatus.RUNNING


def test_passes_at_any_moments_of_a_search_end_as_one_at_its_end(made: Made) -> None:
    db, claimed, live = made
    chance, memory = random.Random(4), Memory()
    mirror = Mirror(memory, everything)
    report(db, claimed, live, 5, 6)
    end(db, claimed, live)
    for number in range(5, 9):
        trial = begin(db, claimed, number, 0)
        for step in range(5):
            report(db, claimed, trial, step, step + 1)
            if chance.random() < 0.4:
                mirror.bring_up_to_date(db)
        end(db, claimed, trial, 0.1 * number)
    transitions.finish_job(db, claimed)
    mirror.bring_up_to_date(db)
    assert memory.runs == fresh(db) and len(memory.runs) == 9


def test_a_pass_that_reads_everything_knows_the_latest_event(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the first passes over a long study, one per thousand events, would all read everything."""
    db, _, _ = made
    monkeypatch.setattr(mirrors, "EVENTS", 2)
    mirror = Mirror(Memory(), list)
    assert mirror.bring_up_to_date(db).trials == 5
    assert mirror.event[0] == queries.events(db, limit=1)[0].id
    assert mirror.bring_up_to_date(db).trials == 1, "the live one"


def test_a_search_again_gets_a_name_of_its_own_and_the_first_one_keeps_its_name(made: Made) -> None:
    db, _, _ = made
    (first,) = {run.cell.name for run in fresh(db).values()}
    row = db.execute_sql("SELECT * FROM job WHERE id = 1")
    values = dict(zip([column[0] for column in row.description], row.fetchone(), strict=True))
    values |= {"id": 9, "status": "cancelled", "spec_md5": "f" * 32, "lease_until": None, "worker_id": None}
    stored = {k: v for k, v in values.items() if k not in ("budget", "horizon", "task", "tier")}
    marks = ", ".join("?" * len(stored))
    db.execute_sql(f"INSERT INTO job ({', '.join(stored)}) VALUES ({marks})", list(stored.values()))
    db.execute_sql("UPDATE trial SET job_id = 9 WHERE number = 4")
    names_now = {run.cell.name for run in fresh(db).values()}
    assert names_now == {first, f"{first}_job9"}


def test_a_trial_that_is_gone_from_the_database_goes_from_the_mirror(made: Made) -> None:
    db, _, _ = made
    memory = Memory()
    mirror = Mirror(memory, everything)
    mirror.bring_up_to_date(db)
    with db.atomic():
        for table in ("epoch", "draw", "attempt"):
            db.execute_sql(f"DELETE FROM {table} WHERE trial_id = (SELECT id FROM trial WHERE number = 4)")
        db.execute_sql("DELETE FROM trial WHERE number = 4")
    done = Mirror(memory, everything).bring_up_to_date(db)
    assert done.removed == 1 and memory.runs == fresh(db)


def test_who_follows_survives_a_place_that_is_away_and_a_database_that_is_replaced(made: Made, tmp_path: Path) -> None:
    db, claimed, live = made
    said: list[str] = []
    stopped: list[int] = []

    class Away(Memory):
        away = False

        def put(self, run: Run) -> bool:
            if self.away:
                raise CannotMirror("the place is away")
            return super().put(run)

    place = Away()
    thread = threading.Thread(
        target=follow, args=(Mirror(place, everything), db.path),
        kwargs={"every_s": 0.05, "until_idle": False, "stops": lambda: bool(stopped), "say": said.append},
    )  # fmt: skip
    thread.start()
    try:
        wait_until(lambda: len(place.runs) == 5)
        place.away = True
        report(db, claimed, live, 5, 7)
        wait_until(lambda: said == ["the place is away; trying again"])
        place.away = False
        place.runs.clear()  # as a server that begins anew
        wait_until(lambda: said[-1] == "the mirror is up to date again")
        assert len(place.runs) == 5
        end(db, claimed, live)
        wait_until(lambda: place.runs == fresh(db))
    finally:
        stopped.append(1)
        thread.join(10)
    assert not thread.is_alive() and len(said) == 2


def test_a_place_that_fails_in_the_first_pass_is_tried_again_and_one_that_never_answered_is_not(made: Made) -> None:
    class Fails(Memory):
        def begin(self, cells: Sequence[MirroredCell]) -> None:
            if self.puts == ["never"]:
                raise CannotMirror("nobody answers")

        def put(self, run: Run) -> bool:
            if len(self.puts) == 1:
                self.puts.append("the connection broke")
                raise CannotMirror("the connection broke")
            return super().put(run)

    place, said = Fails(), []
    options: Any = {"every_s": 0.05, "until_idle": False, "say": said.append}
    follow(Mirror(place, everything), made[0].path, stops=lambda: len(said) == 2, **options)
    assert said == ["the connection broke; trying again", "the mirror is up to date again"]
    assert place.runs == fresh(made[0])
    place.puts = ["never"]
    with pytest.raises(CannotMirror, match="nobody answers"):
        follow(Mirror(place, everything), made[0].path, stops=lambda: False, **options)


def test_a_restored_study_is_compared_with_all_that_is_shown(made: Made, tmp_path: Path) -> None:
    """Its later trials and events have the numbers of those that were shown."""
    db, claimed, live = made
    db.execute_sql("UPDATE worker SET status = 'stopped'")
    copy = backup(db)
    memory = Memory()
    mirror, reader = Mirror(memory, everything), open_for_reading(db.path)
    for step in range(5, 9):
        report(db, claimed, live, step, step + 1)
        mirror.bring_up_to_date(reader)
    end(db, claimed, live)
    begin(db, claimed, 5, 3)
    mirror.bring_up_to_date(reader)
    db.close()
    restore(copy, db.path)
    restored = open_database(db.path)
    report(restored, claimed, live, 5, 6)
    end(restored, claimed, live, 0.7)
    begin(restored, claimed, 5, 4)
    queries.data_version(reader)
    mirror.bring_up_to_date(reader)
    assert memory.runs == fresh(restored)
    reader.close()
    restored.close()


def test_no_address_shows_a_password_and_a_failure_reads_the_same_at_each_try() -> None:
    for address, shown in {
        "http://u:p/w@h:9": "http://h:9", "https://u:p@w@h/x": "https://h/x", "http://u@h": "http://h",
        "at https://u:p@h and http://v:q@g": "at https://h and http://g", "sqlite:///a@b.db": "sqlite:///a@b.db",
    }.items():  # fmt: skip
        assert mlflow.without_password(address) == shown
    said = {
        mlflow.cause_of(OSError(
            f"API request to http://h:9/{path} failed with exception HTTPConnectionPool(host='h', port=9): Max retries "
            f"exceeded with url: /{path} (Caused by NewConnectionError('<urllib3.Some object at 0x{path}>: refused'))"
        ))
        for path in ("a1", "b2")
    }  # fmt: skip
    assert said == {"a request failed with exception NewConnectionError('the connection: refused')"}


def test_until_idle_ends_with_the_queue(made: Made) -> None:
    db, claimed, live = made
    end(db, claimed, live)
    transitions.finish_job(db, claimed)
    transitions.cancel(db, [job.id for job in queries.jobs(db) if job.status == "queued"], who="me")
    memory = Memory()
    follow(Mirror(memory, everything), db.path, every_s=0.05, until_idle=True, stops=lambda: False, say=print)
    assert memory.runs == fresh(db)


def test_reading_keeps_no_writer_waiting(made: Made) -> None:
    """A pass that hangs in its place has no transaction open: a worker's write goes through at once."""
    db, claimed, live = made
    hangs, goes_on = threading.Event(), threading.Event()

    class Slow(Memory):
        def put(self, run: Run) -> bool:
            hangs.set()
            assert goes_on.wait(30)
            return super().put(run)

    def passes() -> None:
        reader = open_for_reading(db.path)
        Mirror(Slow(), everything).bring_up_to_date(reader)
        reader.close()

    thread = threading.Thread(target=passes)
    thread.start()
    assert hangs.wait(30)
    report(db, claimed, live, 5, 9)
    assert db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "no reader holds the log"
    goes_on.set()
    thread.join(30)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("tensorboard", "tb", "nothing"), 6, "no job matches 'nothing'"),
        (("tensorboard", "tb", "--until-idle"), 2, "--until-idle needs --follow"),
        (("mlflow", ""), 2, "the URI is empty"),
        (("tensorboard",), 2, "Missing argument 'DIR'"),
        (("tensorbord", "tb"), 2, "tensorboard"),
        (("tensorboard", "train.py"), 2, "is a file"),
    ],
)
def test_bad_words_are_one_sentence_and_write_nothing(
    made: Made, fts: Callable[..., Said], tmp_path: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    said = fts("mirror", *words)
    assert said.code == code and sentence in said.err and said.err.count("\n") == 1, said
    assert not (tmp_path / "tb").exists()


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_library_is_one_sentence_with_its_cure(
    made: Made, fts: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name in ("tensorboard", "tensorboard.compat.proto.event_pb2", "mlflow", "wandb"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    said = fts("mirror", kind, "place")
    assert said.code == 2 and re.search(rf"pip install .*{kind}", said.err) and said.err.count("\n") == 1, said
    assert not (tmp_path / "place").exists()
    assert not list(tmp_path.rglob("*.lock")), "nor a file that nobody needs"
