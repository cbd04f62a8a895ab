"""Measures the monitor itself: CPU time, memory, bytes sent to the terminal. Shown in About and in the header."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.driver import Driver

OPENSSL = ("ssl", "_hashlib")  # asyncio imports the first, hashlib the second; the monitor needs neither
SAID_EVERY_S = 55.0  # less than a minute: the header is repainted each minute


@contextmanager
def without_openssl() -> Iterator[None]:
    """Blocks imports of OpenSSL inside the block; saves 5 MB. Modules fall back as on a Python without OpenSSL."""
    spared = [name for name in OPENSSL if name not in sys.modules] if find_spec("_md5") else []
    for name in spared:
        sys.modules[name] = None  # type: ignore[assignment]  # makes an import of it fail
    try:
        yield
    finally:
        for name in spared:
            del sys.modules[name]


class MonitorCost:
    """Counts CPU time and bytes since it was made."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.cpu_began = _cpu_s()
        self.bytes = 0
        self._brief = ""
        self._since = (self.began, self.cpu_began, 0)  # monotonic seconds, CPU seconds, bytes at the last `brief`

    def counting(self, kind: type[Driver]) -> type[Driver]:
        """Returns a subclass of Textual's driver that counts the bytes it sends."""
        cost = self

        class Counting(kind):  # type: ignore[valid-type, misc]  # the kind depends on where the monitor runs
            def write(self, data: str) -> None:
                cost.bytes += len(data.encode("utf-8", "replace"))
                super().write(data)

        return Counting

    def brief(self) -> str:
        """Returns `0.4% cpu, 0.6 KB/s` for the header: the mean of the last minute or more; empty in the first.

        Changes at most once in 55 s, because each repaint of the header costs bytes, too.
        """
        began, cpu, sent = self._since
        now = time.monotonic()
        if now - began >= SAID_EVERY_S:
            share, rate = 100 * (_cpu_s() - cpu) / (now - began), (self.bytes - sent) / (now - began) / 1000
            self._brief = f"{share:.1f}% cpu, {rate:.1f} KB/s"
            self._since = (now, _cpu_s(), self.bytes)
        return self._brief

    def words(self) -> list[str]:
        """Returns the lines of About."""
        elapsed = max(time.monotonic() - self.began, 1e-9)
        cpu = 100 * (_cpu_s() - self.cpu_began) / elapsed
        return [
            f"{cpu:.2f} % of a core since the start {elapsed:.0f} s ago",
            f"{self.bytes / elapsed / 1000:.2f} KB/s sent, {self.bytes / 1000:.0f} KB in all",
            f"{resident_bytes() / (1 << 20):.0f} MB of memory",
        ]


def _cpu_s() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def resident_bytes() -> int:
    """Returns the resident memory now (Linux), or its peak on other systems."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  # a pseudo file
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
