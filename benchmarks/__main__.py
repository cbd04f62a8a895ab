"""`make bench`: measures this machine in one run and writes benchmarks/results.md, with a row for every speed claim.

python -m benchmarks [--full] [NAME ...]        NAME: trainer, peers, overhead, memory, state, pruning, monitor ...
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results.md"
# module -> heading of its section of the page
PARTS = {
    "trainer": "Training speed: ours against a plain trainer, and share of the machine's matrix product",
    "peers": "Training speed against other PatchTST implementations (`pip install '.[peers]'`)",
    "overhead": "What the queue costs: between trials, at start, in writes",
    "runner": "A kill -9 and the bookkeeping, here and under Optuna's own runner",
    "checkpoint": "What checkpoints cost",
    "memory": "Predicted and measured peak memory",
    "learned": "Memory learned from the record, simulated: what the nearest trials say, and the largest so far",
    "state": "The database: transitions and reads with few and many rows",
    "exports": "What exports after a trial cost in a large job",
    "scale": "What a trial and a report of a function cost, and whether it grows with the number of trials",
    "watchdog": "What watching costs",
    "pruning": "What pruning saves (`python -m benchmarks.pruning DB` for recorded curves)",
    "equal_epochs": "Halving with a third of the epochs: best validation loss above that of fifty unpruned trials",
    "writers": "Many slots that write at once: group commit beside one commit for each fact",
    "cluster": "A thousand slots at one head; a simulated week of twenty nodes with five losses a day",
    "lag": "What trials side by side cost in best value: a lag of k trials (`python -m benchmarks.lag`)",
    "monitor": "What the monitor costs",
    "looks": "What a look at a large queue costs the monitor, in processor time of a thread",
    "exactness": "A search restarted or killed: how many trials equal an undisturbed one",
    "coverage": "How often a 95 % interval holds the truth",
    "claims": "How often a claim of the flagship's report is wrong, now and by the rules before",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="measure this machine, write benchmarks/results.md")
    parser.add_argument("--full", action="store_true", help="more repeats, all shapes; an hour instead of minutes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(PARTS)}")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name.split(":")[0] not in PARTS]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(PARTS)}")
    pages: list[str] = []
    for name in given.names or PARTS:
        page = measure(name, given.full)
        pages += [page] if page is not None else []
        text = "\n".join([heading(given.full), *pages])
        if not given.names:
            RESULTS.write_text(text)  # after each part: an interrupted run keeps its results
    print(text if given.names else f"written: {RESULTS}")
    return 0


def heading(full: bool) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        "# Benchmarks\n\nWritten by `make bench`; measure your own machine, trust ratios more than digits.\n\n"
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}, {'full' if full else 'quick'} run, load {os.getloadavg()[0]:.1f} at its end.\n"
    )


def measure(name: str, full: bool) -> str | None:
    """Returns one section of the page, or part of one (`claims:folds`); None if packages are missing."""
    name, _, piece = name.partition(":")
    print(f"measuring: {PARTS[name]}", file=sys.stderr, flush=True)
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ImportError as missing:
        print(f"  left out: {missing}", file=sys.stderr)
        return None
    pieces = getattr(module, "PIECES", {})
    if piece and piece not in pieces:
        sys.exit(f"{name} has no piece {piece!r}; it has {', '.join(pieces) or 'none'}")
    rows = pieces[piece](not full) if piece else module.rows(quick=not full)
    for row in rows:
        print(f"  {row.line()}", file=sys.stderr)
    return f"\n## {PARTS[name]}\n\n{table(rows)}\n"


def table(rows: Sequence[Any]) -> str:
    """Returns benchmarks.Row values as markdown, without empty columns."""
    lines = [{**asdict(row), "ratio": row.ratio} for row in rows]
    shown = [name for name in COLUMNS if any(line[name] not in (None, "") for line in lines)]
    head = [COLUMNS[name] for name in shown]
    body = [[cell(name, line[name]) for name in shown] for line in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


COLUMNS = {
    "name": "what",
    "ours": "measured",
    "unit": "unit",
    "reference": "other half",
    "reference_name": "which is",
    "ratio": "ratio (above 1: better)",
    "share_of_peak": "share of peak",
    "repeats": "n",
    "spread": "±",
    "note": "note",
}


def cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in ("share_of_peak", "spread"):
        return f"{value:.0%}"
    if name == "ratio":
        return f"{value:.2f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
