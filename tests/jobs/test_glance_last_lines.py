"""What a job said last: three lines, cleaned, from its log or from the journal, never from a file elsewhere."""

import time

import pytest

from fts.jobs.status.log_excerpt import last_lines, lines_until, log_file, trouble
from fts.jobs.status.surface import Surface
from fts.state.values import Cause
from tests.tui.values import NOW, make_event, make_job, make_snapshot, make_trial, make_worker

RUNNING = {"worker_id": 1, "lease_until": NOW + 50, "attempt": 1}


def study(tmp_path, text="one\ntwo\n\nthree\nfour\n", name="a.log"):
    folder = tmp_path / "outputs"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / name).write_text(text)
    return folder


def lost_job(**changes):
    return make_job(5, "20M", 3, "running", **RUNNING | changes)


def silent():
    return make_worker(heartbeat_at=NOW - 180)


def test_a_lost_job_is_the_trouble_whoever_is_selected():
    snapshot = make_snapshot(jobs=(lost_job(), make_job(6)), workers=(silent(),))
    assert trouble(snapshot, NOW, selected=6).id == 5
    assert trouble(snapshot, NOW - 178, selected=6) is None


def test_a_failed_job_is_the_trouble_when_it_is_selected():
    failed = make_job(6, status="failed", ended_at=NOW - 60)
    snapshot = make_snapshot(jobs=(lost_job(), failed), workers=(make_worker(),))
    assert trouble(snapshot, NOW, selected=6).id == 6
    assert trouble(snapshot, NOW, selected=5) is None


def test_a_job_whose_worker_was_declared_lost_waits_with_its_last_lines_until_somebody_works():
    job = make_job(5, cause=Cause.LOST_WORKER)
    assert trouble(make_snapshot(jobs=(job,), workers=(make_worker(status="lost"),)), NOW).id == 5
    assert trouble(make_snapshot(jobs=(job,), workers=(make_worker(2),)), NOW) is None


def test_the_last_three_lines_of_the_log_that_say_something(tmp_path):
    folder = study(tmp_path)
    trial = make_trial(1, 5, 23, "running", log_path="outputs/logs/a.log")
    found = last_lines(lost_job(), [trial], (), folder)
    assert found.lines == ("two", "three", "four")
    assert found.title == "20M/h3 t23 · its worker is lost"
    for surface in Surface:
        assert "outputs/logs/a.log" in found.where(surface)
        assert "fts logs 5" in found.where(surface)
    assert not found.where(Surface.COMMAND_LINE).startswith("5"), "a key of the monitor does nothing in a shell"


def test_a_failed_job_shows_what_the_journal_kept_of_it(tmp_path):
    folder = study(tmp_path)
    failed = make_job(6, status="failed", cause=Cause.OUT_OF_MEMORY)
    event = make_event(1, NOW, "failed", 6, data={"log_tail": "a\nb\nTraceback\nMemoryError"})
    found = last_lines(failed, [], (event,), folder)
    assert found.lines == ("b", "Traceback", "MemoryError")
    assert "journal" in found.where(Surface.MONITOR)


def test_a_replay_shows_no_line_that_was_written_later(tmp_path):
    folder = study(tmp_path)
    trial = make_trial(1, 5, 23, "running", log_path="outputs/logs/a.log")
    assert last_lines(lost_job(), [trial], (), folder, past=True) is None


def test_hostile_lines_are_cleaned_and_foreign_files_stay_closed(tmp_path):
    folder = study(tmp_path, "\x1b[2Jowned \u202eabc\n")
    trial = make_trial(1, 5, 23, "running", log_path=str(folder / "logs" / "a.log"))
    (line,) = last_lines(lost_job(), [trial], (), folder).lines
    assert "\x1b" not in line
    assert "\u202e" not in line
    secret = tmp_path / "secret.txt"
    secret.write_text("do not show me\n")
    for path in (str(secret), "../secret.txt", "outputs/../../secret.txt"):
        elsewhere = make_trial(1, 5, 23, "running", log_path=path)
        assert last_lines(lost_job(), [elsewhere], (), folder) is None


def test_a_study_that_was_moved_has_its_logs_beside_it(tmp_path):
    folder = study(tmp_path)
    assert log_file(folder, "/somewhere/else/outputs/logs/a.log") == (folder / "logs" / "a.log").resolve()


def at(day: int, hour: int, minute: int) -> float:
    return time.mktime((2026, 7, day, hour, minute, 0, 0, 0, -1))


LOG_OF_TWO_DAYS = ("23:50:00 start", "Traceback", "00:10:00 ep 1", "00:20:00 ep 2", "  and more", "00:30:00 ep 3")


@pytest.mark.parametrize(("when", "lines"), [
    (at(22, 23, 40), 0), (at(22, 23, 55), 2), (at(23, 0, 15), 3), (at(23, 0, 25), 5), (at(23, 9, 0), 6),
])  # fmt: skip
def test_a_replay_reads_a_log_as_far_as_it_was_written(when, lines):
    assert lines_until(LOG_OF_TWO_DAYS, at(23, 0, 30), when) == LOG_OF_TWO_DAYS[:lines]
