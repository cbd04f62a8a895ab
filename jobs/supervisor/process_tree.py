"""Finds, signals and ends process trees, of our children and of dead workers."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from enum import StrEnum
from pathlib import Path

import psutil

SAME_START_S = 2.0  # an older fts recorded seconds since the epoch, which may differ by one between two readings
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BOOT_S = 1e9  # longer than any uptime, so that boot and seconds since it fit into one number
BOOTS = 1000  # makes every such number larger than any date


class Reaped(StrEnum):
    """What happened to a process that a dead worker had recorded."""

    GONE = "gone"  # no process has that pid
    NOT_OURS = "not ours"  # the pid belongs to another, younger process: left alone
    STOPPED = "stopped"  # it ended after SIGTERM
    KILLED = "killed"


def reap_recorded(pid: int, pid_started: float, grace_s: float = 10.0) -> Reaped:
    """Ends a trial process that a dead worker recorded, only if pid *and* start time (within 2 s) match.

    Its descendants get no signal before it has ended: it may need its pools for its last checkpoint.
    """
    if pid <= 1 or pid == os.getpid() or not psutil.pid_exists(pid):
        return Reaped.GONE
    if not same_process(pid, pid_started):
        return Reaped.NOT_OURS if started_at(pid) is not None else Reaped.GONE
    found = signal_tree(pid, signal.SIGCONT) | set(descendants(pid))
    root = {process for process in found if process.pid == pid}
    for process in root:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + grace_s
    while wait_gone(root, 0.1) and time.monotonic() < deadline:
        found.update(fast_descendants(pid))
    survivors = {process for process in found if is_living(process)}
    for process in survivors:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_gone(survivors, 5.0)
    return Reaped.KILLED if any(process.pid == pid for process in survivors) else Reaped.STOPPED


def is_of_another_study(pid: int, log: Path) -> bool:
    """Does the process write to the log of a study that this one is a copy of? Linux only."""
    output = Path(f"/proc/{pid}/fd/1")
    try:
        opened, named = output.stat(), output.readlink()
        if log.exists() and os.path.samestat(opened, log.stat()):
            return False  # the same file, even if the folder has another name
        return named.parts[-3:] == log.parts[-3:] and os.path.samestat(opened, named.stat())
    except OSError:
        return False


def wait_gone(processes: set[psutil.Process], timeout_s: float) -> set[psutil.Process]:
    """Waits until all have ended; returns those that have not. We are not their parent, so a zombie counts as ended."""
    deadline = time.monotonic() + timeout_s
    while (living := {p for p in processes if is_living(p)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return living


def is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def started_at(pid: int) -> float | None:
    """Returns a number that identifies the start of a living process; None if it has ended or is a zombie.

    On Linux it encodes the boot and the seconds since then. A date would be computed from the wall clock, which may be
    set: then a living worker recorded before would count as dead. Elsewhere the kernel stores the date itself.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        since_boot = _since_boot(pid)
        return process.create_time() if since_boot is None else since_boot
    except psutil.Error:
        return None


def _since_boot(pid: int) -> float | None:
    try:
        boot = int(BOOT_ID.read_text()[:5], 16)
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    return (BOOTS + boot) * BOOT_S + ticks / os.sysconf("SC_CLK_TCK")


def same_process(pid: int, pid_started: float) -> bool:
    """Is the process recorded with this pid and start time alive?"""
    found = started_at(pid)
    if found is not None and pid_started < BOOTS * BOOT_S <= found:  # recorded by an older fts, as a date
        found = _date_of_start(pid)
    return found is not None and abs(found - pid_started) <= SAME_START_S


def _date_of_start(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def signal_tree(pid: int, number: signal.Signals) -> set[psutil.Process]:
    """Signals a process group and all descendants in other groups; returns all processes found.

    SIGCONT, which each trial gets at its end, finds them the fast way: the children of a stopped process neither start
    nor end, so none is missing.
    """
    find = fast_descendants if number == signal.SIGCONT else descendants
    found: set[psutil.Process] = set()
    while new := set(find(pid)) - found:  # a child forked during one pass is found in the next
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not found:
                os.killpg(pid, number)
        for process in new:
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getpgid(process.pid) != pid:
                    process.send_signal(number)
        found |= new
        if number == signal.SIGKILL:
            break  # killed processes cannot fork, and stay visible until they are reaped
    return found


def fast_descendants(pid: int) -> list[psutil.Process]:
    """Like `descendants`, but cheap enough for every second; a child that starts or ends right now may be missing.

    psutil reads every process of the machine (3 ms here, more on a busy one); Linux lists the children of a thread.
    """
    found, new = [pid], [pid]
    while new:
        try:
            new = [child for parent in new for child in listed_children(parent)]
        except OSError:  # no such list on this system, a thread has just ended, or the program of another user
            return descendants(pid)
        found += new
    processes = []
    for each in found:
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(each))
    return processes


def listed_children(pid: int) -> list[int]:
    threads = sorted(Path(f"/proc/{pid}/task").iterdir())
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def descendants(pid: int) -> list[psutil.Process]:
    """Returns the process and all its living descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.AccessDenied:  # psutil reads every process, and /proc with hidepid=1 refuses those of other users
        return [process, *visible_descendants(pid)]
    except psutil.Error:
        return []


def visible_descendants(pid: int) -> list[psutil.Process]:
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            children.setdefault(process.ppid(), []).append(process)
    found, new = [], children.get(pid, [])
    while new:
        found += new
        new = [child for parent in new for child in children.get(parent.pid, ())]
    return found
