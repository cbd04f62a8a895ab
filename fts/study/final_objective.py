"""Trains a final model as a trial: on training and validation windows, and evaluates it if the test set is open.

python -m fts.study.final_objective --facts-fd 5        (the supervisor starts it for jobs of kind `train`)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.trial.process import Commands, main, say
from fts.state.values import Cause
from fts.study.cell import TrialSpec
from fts.study.objective import run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator


def run_final(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """Yields the facts of the trial; if a person has opened the test set, the result includes the test scores."""
    from fts.study.final_model import build_final  # here, not above: torch and pandas, about 3 s

    for fact in run_trial(spec, orders, build_final):
        ended = fact["fact"] == "result" and fact["reason"] != Cause.DIVERGED  # a diverged training has no model
        if ended and spec.opened_by is not None and spec.dry_run_rows is None:
            from fts.study.sealed import evaluate_test

            say(f"the test set was opened by {spec.opened_by}")
            fact = fact | {"test": evaluate_test(Path(spec.folder) / "model", spec.data_root, spec.opened_by)}
        yield fact


if __name__ == "__main__":
    sys.exit(main(run_final, TrialSpec.from_json))
