"""huey's consumer for a worker: one thread per slot, without its signal handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huey.consumer import Consumer, ConsumerStopped

from fts.state.errors import StateError

if TYPE_CHECKING:
    from fts.jobs.worker.worker import Worker


class SlotConsumer(Consumer):  # type: ignore[misc]  # huey has no types
    """huey's consumer without its signal handlers: signals are orders to the worker and interrupt no thread."""

    def __init__(self, huey: Any, worker: Worker) -> None:
        super().__init__(huey, workers=worker.settings.slots, periodic=False, initial_delay=0.2, max_delay=2.0)
        self.worker = worker
        self._stop_flag_timeout = 0.25  # seconds between two checks whether to leave

    def loop(self, health_check_ts: float | None = None) -> float | None:
        try:
            leaves = self.worker.leaves()
        except StateError as error:
            self.worker.queue_unreadable(error)
            leaves = False
        if leaves:
            self.stop(graceful=True)
            raise ConsumerStopped
        return super().loop(health_check_ts)  # type: ignore[no-any-return]  # the same

    def _set_signal_handlers(self) -> None:
        """Leaves them as `listening` has set them."""
