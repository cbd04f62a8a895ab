"""The signals that give a worker orders."""

from __future__ import annotations

import os
import signal

from fts.jobs.supervisor.orders import Orders
from fts.state.values import WorkerOrder

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # those that give orders


def listening(detached: bool = False) -> Orders:
    """Makes signals give orders; a detached worker ignores the end of its terminal. Returns the orders.

    Called before the worker registers: from then on others know its pid, and a signal must not kill it.
    """
    orders = Orders()

    def take(signum: int, _frame: object) -> None:
        order = WorkerOrder.DRAIN_TRIAL if signum == signal.SIGUSR1 else WorkerOrder.STOP
        orders.signal(order, f"{signal.Signals(signum).name} to process {os.getpid()}")

    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN if detached and signum == signal.SIGHUP else take)
    return orders


def stop_listening() -> None:
    """Ignores signals in a process that ends with its worker: one during Python's shutdown would kill the process."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
