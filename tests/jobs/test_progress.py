"""A person at a terminal sees job, trial n of N, epoch, value, best and ETA; a pipe gets plain lines."""

import errno
import io
import logging
import os
import re
import termios
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fts.jobs.library.progress import ProgressLine
from fts.jobs.status import formatting
from fts.jobs.supervisor.progress_events import EpochReported, JobLeft, JobStarted, Note, TrialEnded, TrialStarted
from fts.jobs.worker.console import Console, ConsoleLog, bar
from fts.state.values import Direction
from tests.tui.values import make_job

JOB = SimpleNamespace(
    id=1, experiment="phase6a_2M_h1_threshold_1pct", cell="2M/h1", trials_wanted=4, best_value=None, steps=10,
    deciding_metric="val_loss",
)  # fmt: skip


# `epochs` and `effective_batch` are parameters of the flagship, and texts in the space of somebody else's function
def trial(number, status="running", value=None):
    return SimpleNamespace(
        number=number, architecture="d128-L12-h8-ff256", epochs=0, objective="val_loss",
        direction=Direction.MINIMIZE, effective={"epochs": "few"}, status=status, value=value, best_epoch=3,
        cause="finished", message=None,
    )  # fmt: skip


def epoch(number, loss):
    return {"epoch": number, "val_loss": loss, "val_auc": 0.7, "samples_per_s": 500.0}


def story(live):
    out = io.StringIO()
    progress = Console(out, live=live)
    progress.tell(JobStarted(JOB, 1))
    progress.tell(TrialStarted(JOB, trial(0)))
    progress.tell(EpochReported(JOB, trial(0), epoch(3, 0.51)))
    progress.tell(TrialEnded(JOB, trial(0, "complete", 0.51)))
    progress.tell(TrialStarted(JOB, trial(1)))
    progress.tell(EpochReported(JOB, trial(1), epoch(5, 0.49)))
    return progress, out


def test_a_baseline_ends_at_no_epoch():
    progress, out = story(live=False)
    ended = trial(2, "complete", 0.46)
    ended.best_epoch = None
    progress.tell(TrialEnded(JOB, ended))
    first, *_, last = (line for line in out.getvalue().splitlines() if "complete" in line)
    assert "val_loss 0.5100, best epoch 3 (finished)" in first and last.endswith("complete: val_loss 0.4600 (finished)")


def test_a_value_that_is_not_of_the_best_epoch_is_not_said_to_be() -> None:
    """The value of a function is what it returned; its best report may be another."""
    progress, out = story(live=False)
    progress.tell(TrialEnded(JOB, trial(3, "complete", 2.4491)))
    assert out.getvalue().splitlines()[-1].endswith("2.4491, best epoch 3 (finished)")


class FullDisk(io.StringIO):
    """A log on a disk without room: every flush fails while `failure` is set."""

    failure: int | None = errno.ENOSPC

    def flush(self) -> None:
        if self.failure is not None:
            raise OSError(self.failure, os.strerror(self.failure))


@pytest.mark.parametrize("live", [False, True])
def test_a_log_on_a_full_disk_ends_no_worker(live: bool) -> None:
    log = FullDisk()
    progress = Console(log, live=live)
    progress.tell(Note("one"))
    progress.tell(JobStarted(JOB, 1))
    log.failure = None
    progress.tell(Note("room again"))
    progress.close()
    assert "room again" in log.getvalue()


def test_a_reader_that_has_gone_is_still_told_of() -> None:
    gone = FullDisk()
    gone.failure = errno.EPIPE
    with pytest.raises(BrokenPipeError):
        Console(gone, live=False).tell(Note("one"))


def test_a_pipe_gets_one_plain_line_per_event():
    _, out = story(live=False)
    assert "\x1b" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == 6
    assert all("  2M/h1" in line for line in out.getvalue().splitlines())
    assert "t1 epoch 5 val_loss 0.4900 auc 0.7000 500 samples/s" in out.getvalue()


def test_a_terminal_keeps_one_live_line_that_says_it_all():
    _, out = story(live=True)
    last = out.getvalue().rsplit("\x1b[J", 1)[-1]
    for part in ("t1/4", "ep 5/10", "now 0.4900", "best 0.5100", "eta"):
        assert part in last


def screen(text: str) -> list[str]:
    """What a terminal shows after this text."""
    lines = [""]
    for part in re.split(r"(\x1b\[\d+A\x1b\[J|\n)", text):
        if up := re.match(r"\x1b\[(\d+)A", part):
            lines[-1 - int(up[1]) :] = [""]
        elif part == "\n":
            lines.append("")
        else:
            lines[-1] += part
    return [line for line in lines if line]


def test_log_lines_stay_above_the_live_line_which_ends_with_an_error_of_the_job() -> None:
    """A line of the log was erased instead of the live line, which stayed; and it stayed after a job was released."""
    progress, out = story(live=True)
    warns = ConsoleLog(progress)
    before = screen(out.getvalue())
    warns.handle(logging.LogRecord("fts.worker", logging.WARNING, "", 0, "heartbeat not written", (), None))
    assert [line[10:] for line in screen(out.getvalue())[-2:]] == ["heartbeat not written", before[-1][10:]]
    progress.tell(JobLeft(JOB, "back in the queue: no room"))
    progress.tell(Note("later"))
    assert [line[10:] for line in screen(out.getvalue())[-2:]] == ["2M/h1: back in the queue: no room", "later"]


def test_a_live_line_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fts.jobs.worker.console.Console.columns", property(lambda self: 40))
    _, out = story(live=True)
    assert len(screen(out.getvalue())[-1]) == 39


def test_the_live_line_goes_when_the_worker_leaves():
    progress, out = story(live=True)
    progress.close()
    assert out.getvalue().endswith("\x1b[J")


def test_of_two_jobs_of_one_name_the_later_has_its_number():
    progress, out = story(live=False)
    later = SimpleNamespace(**{**vars(JOB), "id": 5})
    progress.tell(JobStarted(later, 1))
    progress.tell(Note("t0 waits", later))
    progress.tell(Note("t0 waits", JOB))
    said = [line.split("  ", 1)[1] for line in out.getvalue().splitlines()[-3:]]
    assert said == ["2M/h1#5: 4 trials, attempt 1", "2M/h1#5 t0 waits", "2M/h1 t0 waits"]


def test_bars_have_one_width():
    assert {len(bar(share / 100)) for share in range(-5, 106)} == {16}


def test_the_message_of_an_error_cannot_steer_the_terminal():
    out = io.StringIO()
    Console(out, live=False).tell(Note("t1 failed: \x1b[31mred \u202eback\nsecond line"))
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    assert out.getvalue().split("  ", 1)[1] == "t1 failed: \ufffd[31mred \ufffdback\nsecond line\n"


def test_the_line_of_a_script_takes_one_row_of_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps would leave its first rows behind at each change."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 30))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        line = ProgressLine("損失_of_a_study_with_a_long_name")
        job = make_job(1, trials_complete=0, best_value=None, best_trial=None)
        for ended in range(3):
            line.show([replace(job, trials_complete=ended)], 100)
        line.name = "short"
        line.show([replace(job, trials_complete=3)], 100)
        said = b""
        while b"short" not in said:
            said += os.read(master, 4096)
    os.close(master)
    rows = said.decode().split("\r")[1:]
    assert len(rows) == 4 and {formatting.width(row) for row in rows} == {29}, rows
    assert rows[-1].startswith("short: 3 of 100 trials")
