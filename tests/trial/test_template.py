"""Forked trial processes are as fresh as started ones, end as they do, and are not forked where that is not safe."""

from __future__ import annotations

import copy
import errno
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ReferenceType, ref

import optuna
import psutil
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from fts.jobs.api.function import FunctionCell
from fts.jobs.api.lag import seen_below
from fts.jobs.python import python
from fts.jobs.search.past_trial import PastTrial
from fts.jobs.search.proposal import drawn_for
from fts.jobs.search.pure_sampler import PureSampler
from fts.jobs.search.recorded_study import Rebuilt
from fts.jobs.search.sampler import study_before
from fts.jobs.supervisor.child import Starter, TrialProcess, environment
from fts.jobs.supervisor.process_tree import started_at
from fts.jobs.supervisor.template import CAN_FORK, CannotFork, KnownTrials, Template
from fts.jobs.trial import earlier_trials
from fts.jobs.trial import template as its_loop
from fts.jobs.trial.optuna_trial import make_trial
from tests.fts_process import ROOT, Study
from tests.trial.harness import Record, attempt, cell_of, log_of, spec_of

forks = pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux alone")
WORDS = python("-m", "fts.jobs.trial.function")
PATIENCE_S = 60.0


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Template]:
    made = Template(WORDS, tmp_path / "logs" / "log", environment(1), tmp_path)
    yield made
    made.close()


def fork(template: Template, folder: Path) -> TrialProcess:
    return TrialProcess(WORDS, folder / "logs" / "child", template=template, root=folder)


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@forks
@pytest.mark.parametrize(("end", "code"), [("quit", 0), ("stop", 75), ("kill", -9)])
def test_how_a_forked_process_ends_is_known_and_its_pid_is_its_own_until_then(
    template: Template, tmp_path: Path, end: str, code: int
) -> None:
    with fork(template, tmp_path) as child:
        assert (child.facts(PATIENCE_S)[0]["pid"], child.poll()) == (child.pid, None)
        assert os.getsid(child.pid) == child.pid
        os.kill(child.pid, signal.SIGKILL) if end == "kill" else child.send({"do": end})
        assert child.wait(PATIENCE_S) == code
    wait_until(lambda: not Path(f"/proc/{child.pid}").exists())


@forks
def test_a_template_keeps_nothing_of_its_forks_and_waits_without_a_processor(
    template: Template, tmp_path: Path
) -> None:
    """Its descriptors would be used up after some hundred trials."""
    ours, its, held = psutil.Process().num_fds(), psutil.Process(template._popen.pid), []
    Template(WORDS, tmp_path / "logs" / "other", environment(1), tmp_path).close()
    assert psutil.Process().num_fds() == ours
    for _ in range(3):
        with fork(template, tmp_path) as child:
            child.facts(PATIENCE_S)
        wait_until(lambda: not its.children())
        held.append(its.num_fds())
        assert not template._codes, "the next process may have the same pid"
    before, _ = sum(its.cpu_times()[:2]), time.sleep(0.5)
    assert held[0] == held[2] and sum(its.cpu_times()[:2]) - before < 0.03


@forks
def test_a_template_that_cannot_fork_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    ours, its = socket.socketpair()
    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(its_loop, "threads", lambda: 1)
    assert not its_loop.TemplateLoop(its, -1, -1).fork([])
    assert json.loads(ours.recv(1000)) == {"refused": "[Errno 11] Resource temporarily unavailable"}
    ours.close()
    its.close()


@forks
def test_a_template_whose_library_has_threads_forks_all_the_same(tmp_path: Path) -> None:
    """Those of OpenBLAS end before a fork."""
    template = Template(WORDS, tmp_path / "logs" / "log", environment(2), tmp_path)
    try:
        with fork(template, tmp_path) as child:
            assert child.facts(PATIENCE_S)[0]["fact"] == "ready"
        wait_until(lambda: not psutil.Process(template._popen.pid).children())
    finally:
        template.close()


LEAVES = """
import atexit, os, pathlib, signal, sys, threading, time
def objective(trial):
    signal_of_child, woken = signal.getsignal(signal.SIGCHLD), signal.set_wakeup_fd(-1)
    files = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    kinds = sorted(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in files)
    trial.set_user_attr("found", [signal_of_child == signal.SIG_DFL, woken, kinds.count("socket"), len(kinds)])
    atexit.register(pathlib.Path("at_exit").touch)
    threading.Thread(target=lambda: (time.sleep(0.3), pathlib.Path("of_thread").touch())).start()
    sys.stdout.write("no line feed")
    return 1.0
"""


@forks
def test_a_fork_has_and_ends_what_a_new_interpreter_has(tmp_path: Path) -> None:
    found = []
    for forked in (False, True):
        folder = tmp_path / str(forked)
        folder.mkdir()
        cell, record = cell_of(folder, LEAVES), Record(0)
        starter = Starter(folder / "outputs" / "logs" / "trial_process.log")
        try:
            attempt(spec_of(cell, record, ()), record, forked=starter if forked else False)
        finally:
            starter.close()
        assert (record.end["fact"], record.code) == ("result", 0)
        assert (folder / "at_exit").exists() and (folder / "of_thread").exists()
        assert "no line feed" in log_of(cell)
        found.append(record.end["user_attrs"]["found"])
    assert found[0] == found[1] and found[0][:3] == [True, -1, 0]


@forks
def test_a_template_leaves_when_its_worker_is_gone_and_so_do_its_forks(template: Template, tmp_path: Path) -> None:
    child = fork(template, tmp_path)
    child.facts(PATIENCE_S)
    template._talk.close()  # as the kernel does for a worker that is killed
    child._popen.stdin.close()  # type: ignore[union-attr]  # it is there
    wait_until(lambda: template._popen.poll() is not None and started_at(child.pid) is None)
    child.close()


@forks
def test_a_fork_whose_template_died_goes_on_and_its_end_is_noticed(template: Template, tmp_path: Path) -> None:
    with fork(template, tmp_path) as child:
        child.facts(PATIENCE_S)
        template._popen.kill()
        wait_until(lambda: template.is_over)
        assert child.poll() is None
        child.send({"do": "quit"})
        wait_until(lambda: child.poll() is not None)


@forks
def test_a_template_whose_worker_was_killed_with_unread_messages_leaves_without_a_traceback() -> None:
    mine, its = socket.socketpair()
    wake_read, wake_write = os.pipe()
    loop = its_loop.TemplateLoop(its, wake_read, wake_write)
    loop.tell({"forked": 7})
    mine.close()  # with a message unread: the next read fails with ECONNRESET instead of the end of file
    assert loop.serve() is None
    for end in (wake_read, wake_write):
        os.close(end)
    its.close()


@forks
def test_a_template_that_is_stopped_keeps_no_worker_waiting(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody told of the end of its fork, so that the slot waited for ever, and no order ended the worker."""
    with fork(template, tmp_path) as child:
        child.facts(PATIENCE_S)
        template._popen.send_signal(signal.SIGSTOP)
        monkeypatch.setattr("fts.jobs.supervisor.template.START_S", 0.1)
        killed = threading.Thread(target=child.kill, daemon=True)
        killed.start()
        killed.join(10.0)
        left, template._over = killed.is_alive(), True
        assert not left and child.poll() == -9


@forks
def test_a_template_that_reads_nothing_keeps_no_worker_waiting(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template._wait_for(lambda: template._modules is not None)
    template._popen.send_signal(signal.SIGSTOP)
    template._talk.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        while True:
            template._talk.send(b"\n" * 4096)
    monkeypatch.setattr("fts.jobs.supervisor.template.START_S", 0.1)
    refused: list[Exception] = []

    def ask() -> None:
        try:
            fork(template, tmp_path)
        except CannotFork as error:
            refused.append(error)
        template.reap(1)

    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    asked.join(10.0)
    assert len(refused) == 1 and not asked.is_alive()


@forks
def test_nothing_is_forked_where_a_person_has_a_module_of_the_same_name(template: Template, tmp_path: Path) -> None:
    (tmp_path / "tqdm.py").write_text("")
    with pytest.raises(CannotFork, match="tqdm"):
        fork(template, tmp_path)


@forks
def test_a_template_with_a_thread_of_its_own_refuses(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    env = environment(1, {"PYTHONPATH": str(tmp_path)})
    template = Template(WORDS, tmp_path / "logs" / "log", env, tmp_path)
    try:
        with pytest.raises(CannotFork, match="threads"):
            TrialProcess(WORDS, tmp_path / "logs" / "child", template=template, root=tmp_path / "nothing")
    finally:
        template.close()


@forks
@pytest.mark.parametrize("process", ["fresh", "reused"])
def test_a_package_that_is_installed_while_a_worker_runs_is_found_by_the_next_trial(
    tmp_path: Path, process: str
) -> None:
    """Its .pth file is read when an interpreter starts, so `fts retry` failed as before as long as that worker ran."""
    venv.create(tmp_path / "venv")
    (packages,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (packages / "all.pth").write_text("\n".join(filter(None, sys.path)))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "wanted.py").write_text("V = 3.0")
    body = "def objective(trial):\n    import wanted\n    return wanted.V"
    cell = cell_of(tmp_path, body, python=str(tmp_path / "venv" / "bin" / "python"), process=process)
    starter = Starter(tmp_path / "outputs" / "logs" / "trial_process.log")
    try:
        ends, templates = [], []
        for number in range(3):
            record = Record(number)
            attempt(spec_of(cell, record, ()), record, forked=starter)
            ends.append((record.end["fact"], record.end.get("value")))
            templates.append(starter._template)
            (packages / "editable.pth").write_text(str(tmp_path / "project"))
        assert ends == [("failed", None), ("result", 3.0), ("result", 3.0)]
        assert templates[0] is not templates[1] is templates[2] is not None
    finally:
        starter.close()


@forks
def test_a_folder_of_packages_that_is_made_while_a_worker_runs_is_found_by_the_next_trial(tmp_path: Path) -> None:
    """Python remembers that it was missing, and a fork remembers what its template knew."""
    body = "def objective(trial):\n    import wanted\n    return wanted.V"
    cell = cell_of(tmp_path, body, env={"PYTHONPATH": f"{tmp_path / 'later'}{os.pathsep}{ROOT}"})
    starter = Starter(tmp_path / "outputs" / "logs" / "trial_process.log")
    try:
        ends, templates = [], []
        for number in range(2):
            record = Record(number)
            attempt(spec_of(cell, record, ()), record, forked=starter)
            ends.append((record.end["fact"], record.end.get("value")))
            templates.append(starter._template)
            (tmp_path / "later").mkdir(exist_ok=True)
            (tmp_path / "later" / "wanted.py").write_text("V = 3.0")
        assert ends == [("failed", None), ("result", 3.0)]
        assert templates[0] is templates[1] is not None
    finally:
        starter.close()


@forks
def test_a_reused_process_ends_when_a_package_changes(tmp_path: Path) -> None:
    study = Study(tmp_path, starts=True, PYTHONPATH=f"{tmp_path / 'site-packages'}{os.pathsep}{ROOT}")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "train.py").write_text(
        "import os\ndef objective(trial):\n    trial.set_user_attr('seen', os.getpid())\n"
        f"    if trial.number == 1:\n        open({str(tmp_path / 'site-packages' / 'new.py')!r}, 'w').close()\n"
        "    return 1"
    )
    study.ok("enqueue", "train.py:objective", "--trials", "4", "--process", "reused")
    study.ok("worker", "--until-empty", "--slots", "1")
    first, second, third, fourth = seen(study)
    assert (first == second, second == third, third == fourth) == (True, False, True)


# -- a process that serves several trials


def test_a_reused_process_that_has_run_other_code_runs_no_more_trials(tmp_path: Path) -> None:
    """Else a trial recorded as one of the changed code would run the modules that its process had imported before."""
    study = Study(tmp_path)
    (tmp_path / "helper.py").write_text("V = 1")
    (tmp_path / "train.py").write_text(
        "import helper\ndef objective(trial):\n    trial.set_user_attr('seen', helper.V)\n"
        "    if trial.number == 1:\n        open('helper.py', 'w').write('V = 22')\n    return 1"
    )
    (tmp_path / "study.toml").write_text(
        '[study]\nobjective = "train.py:objective"\n[budget]\ntrials = 4\n[resources]\nprocess = "reused"\n'
    )
    study.ok("enqueue", "study.toml")
    study.ok("worker", "--until-empty", "--slots", "1")
    assert seen(study) == [1, 1, 22, 22]
    rows = study.query("SELECT number FROM attempt JOIN trial ON trial.id = trial_id WHERE how = 'again'")
    assert [row["number"] for row in rows] == [2]


COUNTS = """
import io, os, sys, threading
seen = []
def objective(trial):
    sys.stderr = io.StringIO()
    seen.append(trial.number)
    trial.set_user_attr("seen", len(seen))
    if trial.number == 2:
        threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()
    return trial.suggest_float("x", 0.0, 1.0)
"""


def seen(study: Study) -> list[int]:
    rows = study.query("SELECT json_extract(facts, '$.attrs.seen') AS n FROM trial WHERE job_id = 1 ORDER BY number")
    return [row["n"] for row in rows]


@pytest.mark.parametrize(("process", "found"), [("fresh", [1, 1, 1, 1, 1]), ("reused", [1, 2, 3, 1, 2])])
def test_what_a_function_leaves_reaches_only_later_trials_of_its_cell_in_a_reused_process(
    tmp_path: Path, process: str, found: list[int]
) -> None:
    study = Study(tmp_path)
    (tmp_path / "train.py").write_text(COUNTS)
    study.ok("enqueue", "train.py:objective", "--trials", "5", "--process", process)
    (tmp_path / "other.py").write_text(
        "import sys\ndef objective(trial):\n    trial.set_user_attr('clean', 'train' not in sys.modules)\n    return 1"
    )
    study.ok("enqueue", "other.py:objective", "--trials", "1", "--process", process)
    study.ok("worker", "--until-empty", "--slots", "1")
    assert study.one("SELECT json_extract(facts, '$.attrs.clean') FROM trial WHERE job_id = 2") == 1
    assert seen(study) == found, "trial 2 left a thread running, so trial 3 got a new process"


@forks
@pytest.mark.parametrize("gpus", ["0", "1"])
def test_the_trials_of_all_cells_of_a_study_have_one_template(tmp_path: Path, gpus: str) -> None:
    """Also where its environment names a GPU, which is known when a trial begins."""
    study = Study(tmp_path, FTS_GPUS="0=24GB")
    (tmp_path / "train.py").write_text(
        "import os\ndef objective(trial, a):\n    trial.set_user_attr('parent', os.getppid())\n    return a"
    )
    study.ok("enqueue", "train.py:objective", "-m", "a=1,2,3", "--trials", "2", "--gpu", gpus, "--memory", "200MB")
    study.ok("worker", "--until-empty", "--slots", "1")
    rows = study.query("SELECT json_extract(facts, '$.attrs.parent') AS parent FROM trial")
    assert (len(rows), len({row["parent"] for row in rows})) == (6, 1)


# -- what a process knows of earlier trials

SPACE = {"x": {"kind": "float", "low": -1.0, "high": 1.0}, "kind": {"kind": "choice", "choices": ["a", "b"]}}


class CellOf:
    space, sampler, seed, direction, diverged, metric, study = SPACE, "tpe", 3, "minimize", "worst", "v", "s"
    forbid: dict[str, str] = {}  # noqa: RUF012
    axes: dict[str, str] = {}  # noqa: RUF012
    goals: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, streams: str) -> None:
        self.streams = streams


def past(number: int) -> PastTrial:
    status = "failed" if number % 7 == 3 else "pruned" if number % 7 == 5 else "complete"
    value = (number * 37 % 11) / 10 if status == "complete" else None
    params = {"x": (number * 29 % 17) / 17, "kind": "ab"[number % 2]}
    return PastTrial(number, params, status, value, {0: 0.5}, diverged=status == "failed")


@pytest.mark.parametrize("streams", ["trial", "name"])
def test_a_study_that_is_kept_between_draws_gives_what_a_rebuilt_one_gives(streams: str) -> None:
    history, kept = [past(number) for number in range(40)], Rebuilt()
    for number in (0, 5, 20, 12, 40, 39):
        cell = CellOf(streams)
        assert drawn_for(cell, history[:number], number, kept) == drawn_for(cell, history[:number], number)
    history[7] = PastTrial(7, {"x": 0.9, "kind": "a"}, "complete", -5.0)  # it ran again
    assert drawn_for(cell, history, 40, kept) == drawn_for(cell, history, 40)


def test_a_kept_study_is_the_one_that_optuna_would_make_of_its_trials() -> None:
    """Also where another one, of more trials, has been made of the same before."""
    history, kept, cell = [past(number) for number in range(40)], Rebuilt(), CellOf("trial")
    for number in (40, 12, 13, 4, 1, 0):
        study = study_before(cell, history, number, RandomSampler(seed=1), kept)
        plain = optuna.create_study(sampler=RandomSampler(seed=1))
        plain.add_trials(study.trials)
        for _ in range(3):
            assert list(map(shown, study.trials)) == list(map(shown, plain.trials))
            assert told(lambda s=study: shown(s.best_trial)) == told(lambda s=plain: shown(s.best_trial))
            for each in (study, plain):
                each.tell(each.ask(), -9.0)
        assert shown(study.best_trial) == shown(plain.best_trial)


def shown(trial: FrozenTrial) -> tuple[object, ...]:
    """All but the times."""
    return trial.number, trial._trial_id, trial.state, trial.values, trial.params, trial.intermediate_values


def told(call: Callable[[], object]) -> object:
    try:
        return call()
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_study_of_a_trial_goes_with_it_and_waits_for_no_garbage_collector(sampler: str) -> None:
    """Of 10,000 trials each held 2 MB: a reused process was replaced, after two seconds, every twenty trials."""

    class Running(SimpleNamespace):
        def drew(self, *_: object) -> None:
            """Nobody is told."""

    history, gone = [past(number) for number in range(40)], list[ReferenceType[optuna.Study]]()
    cell = SimpleNamespace(space=None, sampler=sampler, seed=1, diverged="ignored", direction="minimize", metric="v")
    gc.collect()
    gc.disable()
    try:
        for number in (40, 41):
            running = Running(cell=cell, number=number, spec=SimpleNamespace(params={}), recorded={})
            study = study_before(cell, history, number, PureSampler(sampler, seed=1))
            trial = make_trial(running, study)  # type: ignore[arg-type]  # all that is asked of it
            trial.suggest_float("x", -1.0, 1.0)
            trial.study.set_user_attr("a", 1)
            gone.append(ref(trial.study))
            del study, trial, running
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


def test_each_earlier_trial_is_told_once_and_another_history_from_its_beginning() -> None:
    first, told = [past(number) for number in range(3)], KnownTrials()
    assert [one["number"] for one in told.changed(KnownTrials("a", first))] == [0, 1, 2]
    again = [first[0], past(1), first[2], past(3)]
    assert [one["number"] for one in told.changed(KnownTrials("a", again))] == [1, 3]
    assert [one["number"] for one in told.changed(KnownTrials("b", first[:1]))] == [0]


def test_a_process_that_knows_another_number_of_trials_says_so() -> None:
    class SpecOf:
        cell, number, known, history = CELL, 3, {"history": "a", "trials": 3}, [past(0).to_json(), past(2).to_json()]

    with pytest.raises(RuntimeError, match="knows 2 earlier trials, its specification 3"):
        earlier_trials.study_of(SpecOf)  # type: ignore[arg-type]  # it has the fields


CELL = FunctionCell("s", "s", "train.py:objective", "/", "0" * 32, trials=99)


@pytest.mark.parametrize(
    "orders",
    [
        pytest.param([range(n) for n in range(25)], id="one by one"),
        pytest.param([range(20), range(23), range(23), range(12), range(25)], id="several, none, fewer, all"),
        pytest.param([range(20), [*range(20), 21], range(22), range(23)], id="a number is missing at first"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"direction": "maximize"}, {"parallel": 3}, {"diverged": "ignored"}])
@pytest.mark.parametrize("plain", [True, False])
def test_a_template_that_goes_on_with_its_study_has_the_one_that_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, orders: list[Sequence[int]], changes: dict[str, Any], plain: bool
) -> None:
    monkeypatch.setattr(earlier_trials, "CURRENT", earlier_trials.EarlierTrials())
    cell, told = replace(CELL, **changes), KnownTrials()
    for numbers in orders:
        history = [replace(past(n), diverged=False) if plain else past(n) for n in numbers]
        number = max(numbers, default=-1) + 1
        seen = [one for one in history if one.number < seen_below(cell, number)]
        earlier_trials.prepare(
            {"history": "t", "cell": cell.to_json(), "number": number, "trials": told.changed(KnownTrials("t", seen))}
        )
        found, anew = (
            earlier_trials.CURRENT.study(cell, number, len(seen)),
            study_before(cell, seen, number, earlier_trials.sampler_of(cell)),
        )
        earlier_trials.CURRENT._prepared = earlier_trials.PreparedStudy(
            cell, number, len(seen), found
        )  # as in the template: forks took it
        assert list(map(shown, found.trials)) == list(map(shown, anew.trials))
        assert told_of(found) == told_of(anew)
        assert drawn_of(found) == drawn_of(anew)


def told_of(study: optuna.Study) -> object:
    return told(lambda: shown(study.best_trial))


def drawn_of(study: optuna.Study) -> tuple[float, str]:
    """Its next trial's; the study stays as it is."""
    copied = copy.deepcopy(study)
    trial = copied.ask()
    return trial.suggest_float("x", -1.0, 1.0), trial.suggest_categorical("kind", ["a", "b"])


def test_a_reused_process_uses_the_fork_server_of_multiprocessing_in_every_trial(tmp_path: Path) -> None:
    """Its end was waited for by fts, and in each second trial multiprocessing waited for it again: ECHILD."""
    study = Study(tmp_path)
    (study.folder / "train.py").write_text(
        "import multiprocessing, time\n"
        "def objective(trial):\n"
        "    process = multiprocessing.get_context('forkserver').Process(target=time.sleep, args=(0,))\n"
        "    process.start()\n"
        "    process.join()\n"
        "    return trial.suggest_float('x', 0, 1) + process.exitcode\n"
    )
    study.ok("enqueue", "train.py:objective", "--trials", "3", "--process", "reused")
    study.ok("worker", "--until-empty", "--slots", "1")
    assert study.query("SELECT status, message FROM trial") == [{"status": "complete", "message": None}] * 3
    assert "died unexpectedly" not in next((study.outputs / "logs").glob("*t0001.log")).read_text()
