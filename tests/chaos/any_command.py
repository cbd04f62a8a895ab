"""A command with a checkpoint of its own: reports first, then saves; `--to` says where its metrics go.

Standard library alone: it starts a hundred times.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--to")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    kept = Path(os.environ["FTS_CHECKPOINT_DIR"]) / "state.json"
    folder = Path(os.environ["FTS_FOLDER"])
    state: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"epoch": 0, "loss": 1.0, "seen": []}
    tell = {"report": report, "stdout": stdout, "csv": csv, "tensorboard": tensorboard, "results": results}[given.to]
    for epoch in range(state["epoch"] + 1, given.epochs + 1):
        time.sleep(float(os.environ.get("STORM_PAUSE_S", "0.02")))
        loss = state["loss"] * (1 - given.lr) + int(os.environ["FTS_SEED"]) % 11 / 1000
        state = {"epoch": epoch, "loss": loss, "seen": [*state["seen"], {"epoch": epoch, "val_loss": loss}]}
        tell(folder, state)
        draft = kept.with_suffix(".new")
        draft.write_text(json.dumps(state))
        draft.replace(kept)


def report(folder: Path, state: dict[str, Any]) -> None:
    with Path(os.environ["FTS_REPORT"]).open("a") as file:
        file.write(json.dumps(state["seen"][-1]) + "\n")


def stdout(folder: Path, state: dict[str, Any]) -> None:
    print(f"epoch {state['epoch']} val_loss={state['loss']!r}", flush=True)


def csv(folder: Path, state: dict[str, Any]) -> None:
    """A new file for each start, as Lightning does."""
    path = folder / "logs" / f"version_{os.getpid()}" / "metrics.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("epoch,val_loss\n")
    with path.open("a") as file:
        file.write(f"{state['epoch']},{state['loss']!r}\n")


def results(folder: Path, state: dict[str, Any]) -> None:
    draft = folder / "results.new"
    draft.write_text(json.dumps(state["seen"]))
    draft.replace(folder / "results.json")


def tensorboard(folder: Path, state: dict[str, Any]) -> None:
    sys.path.insert(0, os.environ["STORM_ROOT"])
    from fts.jobs.trial.tensorboard import masked_crc

    (folder / "logs").mkdir(exist_ok=True)
    tag = b"val_loss"
    value = bytes([0x0A, len(tag)]) + tag + bytes([0x15]) + struct.pack("<f", state["loss"])
    summary = bytes([0x0A, len(value)]) + value
    event = bytes([0x10, state["epoch"], 0x2A, len(summary)]) + summary
    head = struct.pack("<Q", len(event))
    record = head + struct.pack("<I", masked_crc(head)) + event + struct.pack("<I", masked_crc(event))
    with (folder / "logs" / f"events.out.tfevents.{os.getpid()}").open("ab") as file:
        file.write(record)


main()
