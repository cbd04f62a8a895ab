"""A random search with halving is the unpruned one with some trials ended early: replays of curves tell its result."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from benchmarks.pruning import Pool, recorded, replay
from fts.jobs.api.halving import Halving
from fts.jobs.settings import Places
from fts.jobs.supervisor.trial_runner import TrialRunner
from fts.state import queries
from fts.study.matrix import write
from tests.jobs.science import cells_of, make_data, opened, run_queue

RULE = Halving(first_rung=1, growth=3, keep=0.5, trailing=2)
TRIALS = 6


def test_halving_with_random_proposals_is_the_replay_of_the_unpruned_search(tmp_path):
    places = Places(tmp_path / "outputs" / "fts.db", make_data(tmp_path / "data").root)
    (halved,) = cells_of(places, trials=TRIALS, epochs=5, seed=3, halving=RULE)
    db = opened(places)
    written = write(db, [halved, replace(halved, pruner="none", halving=None)], who="test")
    run_queue(places)
    ended, plain = (queries.trials(db, line.job_id) for line in written)
    assert [trial.params for trial in ended] == [trial.params for trial in plain], "what was ended taught nobody"
    assert all(trial.reused_from is None for trial in (*ended, *plain)), "each ran for itself"
    assert {str(trial.status) for trial in ended} == {"complete", "pruned"}
    for trial in ended:
        said = trial.message or ""
        assert ("the best" in said and f" epoch {trial.epochs}" in said) == (str(trial.status) == "pruned"), said
    told = [event for event in queries.events(db, limit=500) if event.verb == "trial_pruned"]
    assert [event.message for event in told] == [
        f"trial {trial.number} pruned: {trial.message}" for trial in ended if str(trial.status) == "pruned"
    ]
    assert [event.data["epochs"] for event in told] == [t.epochs for t in ended if str(t.status) == "pruned"]

    curves = recorded(db, queries.job(db, written[1].job_id), patience=0)
    pool = Pool("unpruned", tuple(curves[number] for number in range(TRIALS)))
    replayed = replay(pool, range(TRIALS), "halving", RULE)
    best = min((trial for trial in ended if str(trial.status) == "complete"), key=lambda trial: trial.value)
    assert (replayed.winner, replayed.value, replayed.epochs) == (
        best.number,
        best.value,
        sum(trial.epochs for trial in ended),
    )
    db.close()


def test_without_a_pruner_a_report_costs_the_same_after_100_000_others() -> None:
    """The curve was copied at each report of a command: minutes of the worker for a trial of 100,000 steps."""

    class NotRead(dict[int, float]):
        def items(self) -> Any:
            raise AssertionError("it is read")

    runner: Any = SimpleNamespace(cell=SimpleNamespace(pruner="none"))
    assert TrialRunner._prune_reason(runner, 3, NotRead({3: 0.5})) is None
