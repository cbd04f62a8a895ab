"""Trials side by side within a cell: the record is that of the lag alone, whatever runs when and whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest

from fts.jobs.api.bare_cell import BareCell
from fts.jobs.api.lag import seen_below
from fts.jobs.api.spec import seed_for
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.proposal import drawn_for
from fts.jobs.search.pure_sampler import PureSampler
from fts.jobs.supervisor.parallel_trials import Begun, ParallelTrials, may_begin, next_begun
from tests import forks
from tests.fts_process import Study
from tests.jobs import toy

RANGE = {"kind": "float", "low": 0.0, "high": 1.0, "log": False}
# so that more trials run at once than this machine has cores
CORES = "import os\nos.cpu_count = lambda: 8\nos.sched_getaffinity = lambda pid: range(8)\n"


def study_of(folder: Path, keeps: bool = True) -> Study:
    """The toy study, on a machine that believes in eight cores."""
    study = toy.write(folder, keeps)
    (folder / "cores").mkdir()
    (folder / "cores" / "sitecustomize.py").write_text(CORES)
    study.environ["PYTHONPATH"] += f":{folder / 'cores'}"
    study.environ[forks.CUSTOM] = str(folder / "cores")
    return study


def put_in_line(study: Study, parallel: int, trials: int, *words: str) -> None:
    study.ok("enqueue", "train.py:objective", "--parallel", str(parallel), "--trials", str(trials), *words)


def run(study: Study, slots: int, workers: int = 60) -> int:
    """Workers, one after another, until the queue is empty; how many it took."""
    for n in range(1, workers + 1):
        code = study.start("worker", "--until-empty", "--slots", str(slots)).wait(600)
        if code == 0:
            return n
        assert code == -signal.SIGKILL, (study.folder / "said.txt").read_text()[-3000:]
    raise AssertionError(f"{workers} workers were not enough")


def record(study: Study) -> list[toy.Outcome]:
    (found,) = toy.recorded(study).values()
    return found


def most_at_once(study: Study, job: int = 1) -> int:
    """How many trials of the job ran at the same time, by the record."""
    rows = study.query(
        f"SELECT began_at, a.ended_at FROM attempt a JOIN trial t ON t.id = trial_id WHERE job_id = {job}"
    )
    return max(sum(one["began_at"] <= row["began_at"] < (one["ended_at"] or 9e99) for one in rows) for row in rows)


def lagging_optuna(folder: Path, trials: int, sampler: str, parallel: int) -> list[toy.Outcome]:
    """The same file under plain Optuna, each trial in a study of its own that holds trials 0..n-k alone."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    code = (folder / "train.py").read_text().replace("from moments import moment", "moment = lambda *_: None")
    names: dict[str, Any] = {}
    exec(compile(code.replace("fts.checkpoint(trial) if", "None if False and"), "train.py", "exec"), names)
    ended: list[optuna.trial.FrozenTrial] = []
    unknown = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
    for n in range(trials):
        study = optuna.create_study(sampler=PureSampler(sampler, 0), pruner=toy.Pruner("median"))
        known = max(0, n - parallel + 1)
        study.add_trials([*ended[:known], *[unknown] * (n - known)])
        trial = study.ask()
        random.seed(seed_for(0, n, "train"))
        try:
            study.tell(trial, names["objective"](trial, "S"))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        ended.append(study.trials[n])
    return [
        toy.Outcome(
            t.params, t.state.name.lower(), t.value if t.state.name == "COMPLETE" else None, t.intermediate_values
        )
        for t in ended
    ]


def test_the_record_is_that_of_the_lag_with_four_slots_with_one_and_in_plain_optuna(tmp_path: Path) -> None:
    four, one = study_of(tmp_path / "four"), study_of(tmp_path / "one")
    for study, slots in ((four, 4), (one, 1)):
        put_in_line(study, 4, 9)
        assert run(study, slots) == 1
    assert record(four) == record(one) == lagging_optuna(four.folder, 9, "tpe", 4)
    assert most_at_once(four) > 1 == most_at_once(one)


def test_killed_with_several_trials_running_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    put_in_line(study, 3, 8)
    kills = {
        "t0 drew kind": "trial", "t1 reported 2": "worker", "t2 saved 3": "trial", "t4 reported 1 write 3": "trial",
        "t5 judged 2": "worker trial", "t7 drew all": "worker",
    }  # fmt: skip
    for moment, who in kills.items():
        (study.folder / "kills" / f"00001_train {moment}").write_text(who)
    assert run(study, 3) in (3, 4)  # t5 and t7 run side by side: both may kill the same worker, or one comes too late
    assert toy.killed(study) in (len(kills), len(kills) - 1)
    assert record(study) == lagging_optuna(study.folder, 8, "tpe", 3)
    assert not study.query("SELECT * FROM event WHERE verb IN ('drifted', 'resume_mismatch')")


def test_random_search_pays_nothing_and_grids_need_no_history() -> None:
    cell = BareCell("s", "s", trials=9, metric="loss", sampler="random", space={"x": RANGE}, parallel=4)
    for number in range(9):
        known = [PastTrial(n, {"x": n / 9}, "complete", 1.0) for n in range(seen_below(cell, number))]
        assert drawn_for(cell, known, number) == drawn_for(replace(cell, parallel=1), (), number)


def test_idle_slots_join_the_first_cell_in_line_before_they_claim_the_next_job(tmp_path: Path) -> None:
    study = study_of(tmp_path, keeps=False)
    put_in_line(study, 3, 4, "--name", "first", "--memory", "100MB")
    put_in_line(study, 1, 2, "--name", "second", "--memory", "100MB")
    run(study, 3)
    began = study.query("SELECT job_id, number FROM trial ORDER BY started_at, id")
    assert [(row["job_id"], row["number"]) for row in began][:3] == [(1, 0), (1, 1), (1, 2)]
    assert study.one("SELECT COUNT(*) FROM trial WHERE status IN ('complete', 'pruned')") == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallel", "slots", "sampler", "seed"), [(4, 4, "tpe", 1), (3, 2, "cmaes", 2), (6, 4, "nsgaii", 3)]
)
def test_a_storm_of_kills_changes_no_number(tmp_path: Path, parallel: int, slots: int, sampler: str, seed: int) -> None:
    """Worker, trials or both, at random moments in random numbers, again and again."""
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    study = study_of(tmp_path)
    put_in_line(study, parallel, 40, "--sampler", sampler)
    toy.plan(study, ["00001_train"], 40, 40, seed, keeps=True)
    rng, killed = random.Random(seed), 0
    for _ in range(200):
        worker = study.start("worker", "--until-empty", "--slots", str(slots))
        until = time.monotonic() + rng.uniform(0.5, 4.0)
        while worker.poll() is None and time.monotonic() < until and killed < 40:
            time.sleep(0.05)
        if worker.poll() is None and killed < 40:
            victims = psutil.Process(worker.pid).children(recursive=True)
            for victim in rng.sample(victims, rng.randint(0, len(victims))):
                os.kill(victim.pid, signal.SIGKILL)
            if rng.random() < 0.7:
                worker.kill()
            killed += 1
        if worker.wait(600) == 0:
            break
    assert killed > 5
    assert record(study) == lagging_optuna(study.folder, 40, sampler, parallel)


def begun(text: str) -> list[Begun]:
    """`3r 5i 6p b7p`: 3 runs, 5 is interrupted, 6 was put back by a retry, so was 7, which is beside the search."""
    found = []
    for word in text.split():
        number = int(word.strip("bripx"))
        found.append(Begun(number, None if word[0] == "b" else number, word[-1] == "r", word[-1] == "p"))
    return found


@pytest.mark.parametrize(
    ("there", "parallel", "expected"),
    [
        ("", 4, None), ("3r", 4, None), ("3i", 1, 3), ("5i 3i 4r", 4, 3), ("3p", 1, 3), ("7i 3p", 1, 7),
        ("7r 3p", 4, None),  # 7 knows 3
        ("7r 4p", 4, 4),  # and does not know 4
        ("2r 6p", 4, None), ("3r 6p", 4, 6), ("3p 6p", 4, 3), ("3r 7p 8p", 4, None), ("3r 7p b8p", 4, 8),
    ],
)  # fmt: skip
def test_what_goes_on_next_never_meets_what_it_knows(there: str, parallel: int, expected: int | None) -> None:
    assert next_begun(begun(there), parallel) == expected


def test_a_new_trial_begins_when_all_that_it_knows_have_ended() -> None:
    assert may_begin(4, begun("1r 2r 3r"), 4) and not may_begin(4, begun("0r 2r"), 4)
    assert may_begin(9, begun("b1r"), 2) and not may_begin(9, begun("7p"), 2)


@pytest.mark.parametrize("at", ["may_start", "call_slot"])
def test_an_error_between_two_trials_ends_the_job_instead_of_waiting_for_ever(at: str) -> None:
    """The trial counted as running, so the leading slot waited for its end."""

    def fails(*_: Any) -> bool:
        raise OSError(f"{at}: disk I/O error")

    calls = {"may_start": lambda live: True, "call_slot": lambda: None} | {at: fails}
    opened = iter([SimpleNamespace(number=0)])
    trials = ParallelTrials(2, lambda live: next(opened, None), lambda *_: None, lambda trial: None, **calls)
    errors: list[str] = []

    def lead() -> None:
        try:
            trials.lead(None)
        except OSError as error:
            errors.append(str(error))

    leading = threading.Thread(target=lead, daemon=True)
    leading.start()
    leading.join(10)
    assert errors == [f"{at}: disk I/O error"]
