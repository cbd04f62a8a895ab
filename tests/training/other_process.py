"""A trial of tests in a process of its own: stopped, resumed, or saving all the time until it is killed.

python -Pm tests.training.other_process FOLDER stop N | resume | save
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.training.tiny import finish, make_trainer, numbers


def main(folder: Path, what: str, events: int = 0) -> None:
    """`stop` saves after so many events, `resume` prints what it recorded, `save` each step that it has saved."""
    torch.set_num_threads(1)
    if what == "save":
        trainer = make_trainer(max_epochs=100_000, patience=100_000)
        for _ in trainer.run():
            trainer.save(folder)
            print(trainer.step, flush=True)
    trainer = make_trainer(max_epochs=4)
    if what == "resume":
        trainer.load(folder)
        finish(trainer)
        print(json.dumps([result.to_json() for result in numbers(trainer.history)]))
        return
    running = trainer.run()
    for _ in range(events):
        next(running)
    trainer.save(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
