"""Writes the current stacks to a trial's log when its process crashes, ends itself, or is about to be killed.

Python's faulthandler writes them, also while a library holds the interpreter lock; fts.jobs.trial.death reads them.
Before the process ends, nothing is written and no time is spent.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.wrapped import Wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_LOG_FD = 60  # the log's descriptor is at least this, so that code that redirects descriptor 2 does not affect it
# Sent before SIGKILL: it writes the stacks and ends the process. Libraries such as Lightning use SIGUSR1 and SIGUSR2.
WHERE: int = signal.SIGRTMAX - 5 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGEMT", signal.SIGUSR2)
ENDING = (WHERE, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU)

LOG: list[int] = []  # the descriptor of the trial's log, after the first write_stacks()
exit_now = os._exit  # before it is replaced below


def write_stacks() -> None:
    """From now on, writes the stacks at a crash, at a signal in ENDING, and at WHERE."""
    if not LOG:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # `ulimit -n`; F_DUPFD refuses a number that is not below
        lowest = MIN_LOG_FD if files == resource.RLIM_INFINITY else min(MIN_LOG_FD, files // 2)
        LOG.append(fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, lowest))
    os.dup2(2, LOG[0], inheritable=False)  # a reused process has a new log for each trial
    faulthandler.enable(LOG[0], all_threads=False)
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            faulthandler.register(number, LOG[0], all_threads=number == WHERE, chain=True)  # then ends as before


def tell_own_end(tell: Callable[[dict[str, Any]], None], is_ours: Callable[[int], bool]) -> None:
    """Makes code that ends its own process send the fact `ends itself` first.

    Otherwise its signal would look as if it came from outside, and its os._exit like a crash. The fact has "how" and
    "signal" (a number, or None for an exit). `is_ours`: does the signal have our handler, which ends the trial? A
    handler of the user's own may not.
    """
    me, group = os.getpid(), os.getpgrp()

    def say(how: str, number: int | None) -> None:
        with suppress(Exception):  # the pipe may be closed already; the process must end anyway
            tell({"fact": "ends itself", "how": how, "signal": number})
        faulthandler.dump_traceback(LOG[0] if LOG else 2, all_threads=False)

    def ends(number: int) -> bool:
        ours = number == signal.SIGTERM and is_ours(number)
        return ours or (number > 0 and signal.getsignal(number) is signal.SIG_DFL)

    def reporting(name: str, kill: Callable[[int, int], None], is_me: Callable[[int], bool]) -> Wrapped:
        def report_and_kill(target: int, number: int, /) -> None:
            if is_me(target) and ends(number):
                say("killed itself" if number == signal.SIGKILL else f"sent itself {name_of(number)}", number)
            kill(target, number)

        return Wrapped("os", name, kill, report_and_kill)

    def raises(number: int, /) -> None:
        if os.getpid() == me and ends(number):
            say(f"sent itself {name_of(number)}", number)
        raise_signal(number)

    def leaves(status: int) -> None:
        if os.getpid() == me:  # a forked process also ends by os._exit
            say(f"called os._exit({status})", None)
        exit_now(status)

    def is_own_group(target: int) -> bool:
        return target == group or (target == 0 and os.getpgrp() == group)

    raise_signal = signal.raise_signal
    os.kill = reporting("kill", os.kill, lambda target: target == me or is_own_group(-target))
    os.killpg = reporting("killpg", os.killpg, is_own_group)
    signal.raise_signal = Wrapped("signal", "raise_signal", raise_signal, raises)
    os._exit = Wrapped("os", "_exit", exit_now, leaves)  # it does not return either


def name_of(number: int) -> str:
    """Returns a signal's name, or `signal 40` if it has none."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
