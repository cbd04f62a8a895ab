"""What a signal asks is told to the database once, and again when somebody has withdrawn it there."""

from __future__ import annotations

from fts.jobs.supervisor.orders import Orders


def test_a_signal_waits_to_be_recorded_until_the_database_knows_as_much():
    board = Orders()
    assert board.unrecorded is None
    board.signal("drain_trial", "SIGUSR1 to process 7")
    assert board.unrecorded == ("drain_trial", "SIGUSR1 to process 7")
    board.recorded("drain_trial")
    assert board.unrecorded is None
    board.signal("stop", "SIGTERM to process 7")
    assert board.unrecorded == ("stop", "SIGTERM to process 7")
    board.from_database("stop", {})
    assert board.unrecorded is None


def test_a_withdrawal_does_not_hide_that_a_signal_still_holds():
    board = Orders()
    board.signal("stop", "SIGTERM to process 7")
    board.recorded("stop")
    board.from_database(None, {})
    assert board.order == "stop"
    assert board.unrecorded == ("stop", "SIGTERM to process 7")


def test_a_weaker_signal_changes_nothing_and_what_the_worker_decides_itself_names_nobody():
    board = Orders()
    board.signal("stop", "SIGTERM to process 7")
    board.signal("drain_trial", "SIGUSR1 to process 7")
    assert board.unrecorded == ("stop", "SIGTERM to process 7")
    own = Orders()
    own.signal("stop")
    assert own.order == "stop"
    assert own.unrecorded is None
