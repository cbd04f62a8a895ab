"""What a signal asks is told to the database once, and again when somebody has withdrawn it there."""

from __future__ import annotations

from fts.jobs.supervisor.orders import Orders
from fts.state.values import WorkerOrder


def test_a_signal_waits_to_be_recorded_until_the_database_knows_as_much():
    board = Orders()
    assert board.unrecorded is None
    board.signal(WorkerOrder.DRAIN_TRIAL, "SIGUSR1 to process 7")
    assert board.unrecorded == ("drain_trial", "SIGUSR1 to process 7")
    board.recorded(WorkerOrder.DRAIN_TRIAL)
    assert board.unrecorded is None
    board.signal(WorkerOrder.STOP, "SIGTERM to process 7")
    assert board.unrecorded == ("stop", "SIGTERM to process 7")
    board.from_database(WorkerOrder.STOP, {})
    assert board.unrecorded is None


def test_a_withdrawal_does_not_hide_that_a_signal_still_holds():
    board = Orders()
    board.signal(WorkerOrder.STOP, "SIGTERM to process 7")
    board.recorded(WorkerOrder.STOP)
    board.from_database(None, {})
    assert board.order == "stop"
    assert board.unrecorded == ("stop", "SIGTERM to process 7")


def test_a_weaker_signal_changes_nothing_and_what_the_worker_decides_itself_names_nobody():
    board = Orders()
    board.signal(WorkerOrder.STOP, "SIGTERM to process 7")
    board.signal(WorkerOrder.DRAIN_TRIAL, "SIGUSR1 to process 7")
    assert board.unrecorded == ("stop", "SIGTERM to process 7")
    own = Orders()
    own.signal(WorkerOrder.STOP)
    assert own.order == "stop"
    assert own.unrecorded is None
