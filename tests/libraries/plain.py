"""Runs an objective under plain Optuna with the worker's sampler and pruner, and prints its trials as JSON.

python -P tests/libraries/plain.py FILE.py:FUNCTION '{"n_trials": 8, "direction": "minimize", ...}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import optuna


def main(objective: str, given: dict[str, Any]) -> None:
    import fts
    from fts.jobs.api.spec import seed_for
    from fts.jobs.trial.function import seed_everything

    file, _, name = objective.rpartition(":")
    path = Path(file).absolute()
    sys.path.insert(0, str(path.parent))
    module: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(path.read_bytes(), str(path), "exec"), module)

    def seeded(trial: optuna.Trial) -> Any:
        seed_everything(seed_for(given["seed"], trial.number, "train"))  # as a worker does
        return module[name](trial)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction=given["direction"],
        sampler=fts.PureSampler(given["sampler"], given["seed"]),
        pruner=fts.PurePruner(given["pruner"]),
    )
    study.optimize(seeded, n_trials=given["n_trials"])
    told = [
        {
            "number": one.number,
            "params": one.params,
            "status": one.state.name.lower(),
            "value": one.value if one.state is optuna.trial.TrialState.COMPLETE else None,
            "epochs": {str(step): value for step, value in sorted(one.intermediate_values.items())},
        }
        for one in study.trials
    ]
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
