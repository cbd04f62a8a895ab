"""Runs a real worker as a process of its own; the tests start it by path, so that it can be killed.

    python run_worker.py [--until-empty] [--locks FOLDER]

`--locks` makes it take its slot lock elsewhere: another machine on the same database, as far as locks go.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import fts.jobs.worker.worker as worker
from fts.jobs.settings import places, worker_settings
from fts.jobs.worker.signals import stop_listening
from fts.state.slot_lock import SlotLock


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--until-empty", action="store_true")
    parser.add_argument("--locks", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)8d %(threadName)s %(name)s %(message)s")
    if given.locks:

        class OtherLock(SlotLock):
            def __init__(self, folder: Path, slot: int) -> None:
                super().__init__(given.locks, slot)

        other: Any = OtherLock
        worker.SlotLock = other  # type: ignore[misc]
    settings = worker_settings(slots=1, threads=1, device="cpu", until_empty=given.until_empty)
    code = worker.work(places(), settings)
    stop_listening()
    return code


if __name__ == "__main__":
    sys.exit(main())
