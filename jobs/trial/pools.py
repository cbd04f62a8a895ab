"""Writes to the log that a process of a multiprocessing.Pool ended early: a Pool waits for its result for ever."""

from __future__ import annotations

import importlib.util
import signal
import sys
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.process import say
from fts.jobs.trial.stacks import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

POOL = "multiprocessing.pool"
CURE = "a Pool waits for its result for ever (concurrent.futures.ProcessPoolExecutor raises an error instead)"


def watch() -> None:
    """Watches every Pool that this process and its forks will make, without importing the module."""
    if POOL in sys.modules:
        _patch(sys.modules[POOL])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Patches the module as soon as the user's code, or a library, has imported it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != POOL:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loads = spec.loader.exec_module

            def load_and_patch(module: ModuleType) -> None:
                loads(module)
                _patch(module)

            spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def _patch(module: ModuleType) -> None:
    joins = getattr(module.Pool, "_join_exited_workers", None)  # not part of its documented interface
    if joins is None or getattr(joins, "is_ours", False):
        return
    said: set[str] = set()

    def join_exited_workers(pool: list[Any]) -> Any:
        before = list(pool)
        found = joins(pool)  # first: a process that ends between a look of ours and its own would be missed
        for worker in before:
            if worker.exitcode and (how := _ending(worker.exitcode)) not in said:
                said.add(how)  # once: a Pool whose initializer raises starts processes for ever
                say(f"process {worker.pid} of a multiprocessing.Pool ended {how}, and {CURE}")
        return found

    join_exited_workers.is_ours = True  # type: ignore[attr-defined]
    module.Pool._join_exited_workers = staticmethod(join_exited_workers)


def _ending(code: int) -> str:
    if code > 0:
        return f"with exit code {code}"
    return f"by {name_of(-code)}" + (" (the kernel without memory, or a person)" if code == -signal.SIGKILL else "")
