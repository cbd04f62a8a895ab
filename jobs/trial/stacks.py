"""Writes into a trial's log which line its code is at, when its process crashes, ends itself, or is about to be killed.

Python's faulthandler writes the stacks, also while a library keeps the interpreter locked; fts.jobs.trial.death reads
them. Nothing is written, and nothing costs time, before the process ends.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY = 60  # from here on a descriptor for the log is sought: code that sends 2 elsewhere for a while keeps this one
# Sent before SIGKILL: it writes the stacks and ends the process. Others use SIGUSR1 and SIGUSR2, such as Lightning.
WHERE: int = signal.SIGRTMAX - 5 if hasattr(signal, "SIGRTMAX") else getattr(signal, "SIGEMT", signal.SIGUSR2)
ENDING = (WHERE, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU)

LOG: list[int] = []  # the descriptor of the trial's log, once there is a function
exit_now = os._exit  # before it is replaced below


def write_stacks() -> None:
    """From now on at a crash, at a timer that ends the process, and at WHERE."""
    if not LOG:
        LOG.append(fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, AWAY))
    os.dup2(2, LOG[0], inheritable=False)  # of the next trial in a reused process
    faulthandler.enable(LOG[0], all_threads=False)
    for number in ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            faulthandler.register(number, LOG[0], all_threads=number == WHERE, chain=True)  # then it ends as before


def tell_own_end(tell: Callable[[dict[str, Any]], None], is_ours: Callable[[int], bool]) -> None:
    """A trial that ends its own process says so first: a kill would pass for one from outside, os._exit for a crash.

    It is a fact {"fact": "ends itself", "how", "signal"}, with the signal's number, or None for an exit. `is_ours`: has
    the signal our handler? It ends the trial; one of the person's own need not.
    """
    me, group = os.getpid(), os.getpgrp()

    def say(how: str, number: int | None) -> None:
        with suppress(Exception):  # the pipe may be closed already, and the end must come
            tell({"fact": "ends itself", "how": how, "signal": number})
        faulthandler.dump_traceback(LOG[0] if LOG else 2, all_threads=False)

    def ends(number: int) -> bool:
        ours = number == signal.SIGTERM and is_ours(number)
        return ours or (number > 0 and signal.getsignal(number) is signal.SIG_DFL)

    def telling(kill: Callable[[int, int], None], is_me: Callable[[int], bool]) -> Callable[[int, int], None]:
        def told(target: int, number: int, /) -> None:
            if is_me(target) and ends(number):
                say("killed itself" if number == signal.SIGKILL else f"sent itself {name_of(number)}", number)
            kill(target, number)

        return told

    def raises(number: int, /) -> None:
        if os.getpid() == me and ends(number):
            say(f"sent itself {name_of(number)}", number)
        raise_signal(number)

    def leaves(status: int) -> None:
        if os.getpid() == me:  # a process that it has forked leaves so
            say(f"called os._exit({status})", None)
        exit_now(status)

    def is_own_group(target: int) -> bool:
        return target == group or (target == 0 and os.getpgrp() == group)

    raise_signal = signal.raise_signal
    os.kill = telling(os.kill, lambda target: target == me or is_own_group(-target))
    os.killpg = telling(os.killpg, is_own_group)
    signal.raise_signal = raises
    os._exit = leaves  # type: ignore[assignment]  # it does not return either


def name_of(number: int) -> str:
    """SIGTERM, or `signal 40`."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
