"""Finds free GPUs for one trial, without those that earlier trials wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fts.jobs.devices import Gpu
    from fts.state.gpu_waits import WaitingTrial


class GpuUse:
    """What is in use of each GPU. Bytes None: the whole GPU."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self.gpus = tuple(gpus)
        self._used = {gpu.key: 0 for gpu in gpus}
        self._begun: set[str] = set()  # in use, if only with unknown or no bytes
        self._closed: set[str] = set()

    def add(self, gpus: Iterable[Gpu], bytes_: int | None) -> None:
        for gpu in gpus:
            self._used[gpu.key] = self._used.get(gpu.key, 0) + (bytes_ or 0)
            self._begun.add(gpu.key)
            if bytes_ is None:
                self._closed.add(gpu.key)

    def add_elsewhere(self, gpu: Gpu, bytes_: int | None) -> None:
        """Adds what other processes use of a GPU; 0: nothing."""
        if bytes_ != 0:
            self.add([gpu], bytes_)

    def find(self, count: int, bytes_: int | None, among: Collection[str] | None = None) -> tuple[Gpu, ...] | None:
        """Returns the fullest GPUs with enough room, so that empty ones stay free for trials that need a whole GPU.

        None: too few have it. `among`: only these GPUs.
        """
        fits = [gpu for gpu in self.gpus if (among is None or gpu.key in among) and self._fits(gpu, bytes_)]
        fits.sort(key=lambda gpu: -self._used[gpu.key])
        return tuple(fits[:count]) if len(fits) >= count else None

    def leave_to(self, earlier: Iterable[WaitingTrial]) -> bool:
        """Sets aside what these trials wait for, in their order. Returns whether one of them cannot begin yet.

        If one cannot, no later trial gets any of its GPUs: a trial that waits for two would never get them.
        """
        waits = False
        for one in earlier:
            found = self.find(one.gpus, one.bytes, one.of)
            if found is not None:
                self.add(found, one.bytes)
            elif not one.of.isdisjoint(self._used):
                self._closed |= one.of
                waits = True
        return waits

    def _fits(self, gpu: Gpu, bytes_: int | None) -> bool:
        used = self._used[gpu.key]
        if gpu.key in self._closed:
            return False
        if bytes_ is None:
            return gpu.key not in self._begun
        return not used or (gpu.usable is not None and used + bytes_ <= gpu.usable)
