"""What the monitor itself costs: processor, memory, bytes sent. About shows it, the benchmark measures it."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any


class Cost:
    """Counts from its creation on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.cpu_began = _cpu_s()
        self.bytes = 0

    def count_writes_of(self, driver: Any) -> None:
        """Counts every byte that goes to the terminal; the driver is Textual's own."""
        send = driver.write

        def counted(data: str) -> None:
            self.bytes += len(data.encode("utf-8", "replace"))
            send(data)

        driver.write = counted

    def words(self) -> list[str]:
        """Sentences for About."""
        elapsed = max(time.monotonic() - self.began, 1e-9)
        cpu = 100 * (_cpu_s() - self.cpu_began) / elapsed
        return [
            f"{cpu:.2f} % of a core since the start {elapsed:.0f} s ago",
            f"{self.bytes / elapsed / 1000:.2f} KB/s sent, {self.bytes / 1000:.0f} KB in all",
            f"{resident_bytes() / 1e6:.0f} MB of memory",
        ]


def _cpu_s() -> float:
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def resident_bytes() -> int:
    """Resident memory now (Linux), or its peak where that is all the system tells."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  # a pseudo file
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
