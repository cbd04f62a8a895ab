"""Trial processes that fail by the machine's fault, by the code's, or for want of memory, and are then repaired."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.actions.registry import by_id
from fts.jobs.devices import DEVICE, FoundDevices
from fts.jobs.python import python
from fts.jobs.settings import Places, WorkerSettings
from fts.jobs.status.explain import why
from fts.jobs.status.forecast import seen_forecast
from fts.jobs.supervisor import trial_runner
from fts.jobs.supervisor.machine_errors import pause_s
from fts.jobs.trial import cause as causes
from fts.jobs.trial.cause import DeviceMissing, cause_of
from fts.jobs.trial.death import cause_of_death, count_oom_kills, exit_sentence, log_tail, split_stacks
from fts.jobs.trial.error_text import sentence_of
from fts.jobs.trial.function import names_no_file
from fts.jobs.worker.console import Console
from fts.jobs.worker.worker import run_job
from fts.state import queries, transitions
from fts.state.db import Database, open_database
from fts.state.errors import WrongStatus
from fts.state.scheduling import MAX_OUTAGES
from fts.state.values import FAULTS, Cause, Fault, Job, JobStatus, TrialStatus
from fts.study.matrix import make_cells, write
from tests.chaos.study import difference, identity, make_data

SETTINGS = WorkerSettings(poll_s=0.05, outage_pause_s=0.01, stall={})


# ---------------------------------------------------------------- the rule


def test_an_import_error_of_several_lines_tells_the_error_that_it_was_raised_from():
    """As numpy's, which begins with IMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!"""
    try:
        try:
            raise ImportError("libstdc++.so.6: cannot open shared object file")
        except ImportError as error:
            raise ImportError("\nPLEASE READ THIS!\n\nImporting the C extensions failed.") from error
    except ImportError as error:
        told = sentence_of(error)
    assert told.startswith("libstdc++.so.6: cannot open shared object file (ImportError, test_whose_fault.py line"), (
        told
    )


def test_import_errors_in_a_circle_are_told():
    one, other = ImportError("one\nand more"), ImportError("other\nand more")
    one.__cause__, other.__cause__ = other, one
    assert sentence_of(one) == "other (ImportError)"


def test_few_open_files_are_enough_for_the_stacks():
    code = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "from fts.jobs.trial.stacks import WHERE, write_stacks\n"
        "write_stacks(); write_stacks(); os.kill(os.getpid(), WHERE)"
    )
    ended = subprocess.run([*python(), "-c", code], capture_output=True, text=True, timeout=60)
    assert "line 3 in <module>" in ended.stderr and "OSError" not in ended.stderr, ended.stderr


def test_every_cause_is_somebodys_fault_or_an_ordinary_end():
    ordinary = {Cause.FINISHED, Cause.EARLY_STOPPED, Cause.MAX_STEPS, Cause.PRUNED, Cause.REUSED}
    assert set(FAULTS) | ordinary == set(Cause) and not set(FAULTS) & ordinary
    assert [cause for cause in Cause if cause.fault is Fault.TRIAL] == [Cause.DIVERGED, Cause.TIME_LIMIT]


def test_the_trial_process_uses_the_words_of_the_record():
    words = [value for name, value in vars(causes).items() if name.isupper() and isinstance(value, str)]
    assert {Cause(word) for word in words} == {
        Cause.OUT_OF_MEMORY, Cause.DISK, Cause.DATA_ERROR, Cause.MACHINE_ERROR, Cause.CODE_ERROR
    }  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """As torch.OutOfMemoryError is, and torch.cuda's."""


class Accelerator(RuntimeError):
    """As torch.AcceleratorError is."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "out of memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EFBIG, "File too large"), "machine error"),
        (ImportError("libcudart.so.99: cannot open shared object file"), "machine error"),
        (ModuleNotFoundError("No module named 'torch'"), "machine error"),
        (OSError("libtorch.so: cannot open shared object file: No such file or directory"), "machine error"),
        (OSError(errno.EACCES, "Permission denied"), "machine error"),
        (OSError(errno.EBADF, "Bad file descriptor"), "code error"),
        (ChildProcessError(errno.ECHILD, "No child processes"), "code error"),
        (io.UnsupportedOperation("not readable"), "code error"),
        (DeviceMissing("this machine has no cuda:1 now"), "machine error"),
        (AssertionError("Torch not compiled with CUDA enabled"), "machine error"),
        (RuntimeError("Found no NVIDIA driver on your system"), "machine error"),
        (Accelerator("CUDA error: unknown error"), "machine error"),
        (Accelerator("CUDA error: device-side assert triggered"), "code error"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "code error"),
        (KeyError("x"), "code error"),
        (ValueError("failed to map segment"), "code error"),  # no loader speaks through a ValueError
    ],
)
def test_an_exception_is_put_down_to_whose_fault_it_is(error, cause):
    assert cause_of(error) == cause


def test_a_missing_file_is_the_codes_fault_but_not_a_missing_disk_or_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    (tmp_path / "disk").mkdir()  # where nothing is mounted
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    def raised(call: Callable[[], object]) -> OSError:
        with pytest.raises(OSError, match="Errno") as caught:
            call()
        return caught.value

    wrong = ["x.csv", "data/x.csv", str(tmp_path / "x.csv"), "train.py/x.csv", "."]
    assert [names_no_file(raised(Path(name).read_text)) for name in wrong] == [True] * len(wrong)
    assert [names_no_file(raised(Path(name).read_text)) for name in ("disk/x.csv", "link/x.csv")] == [False, False]
    assert not names_no_file(raised(lambda: subprocess.run(["no-such-program"])))  # it does not start


@pytest.mark.parametrize(
    ("code", "oom_kills", "was_ready", "cause"),
    [
        (-signal.SIGKILL, 0, True, Cause.MACHINE_ERROR),
        (-signal.SIGKILL, 1, True, Cause.OUT_OF_MEMORY),
        (-signal.SIGTERM, 1, True, Cause.MACHINE_ERROR),
        (-signal.SIGHUP, 0, True, Cause.MACHINE_ERROR),
        (-signal.SIGXCPU, 0, True, Cause.CODE_ERROR),  # nobody else limits it here
        (-signal.SIGSEGV, 0, True, Cause.CODE_ERROR),
        (-signal.SIGALRM, 0, True, Cause.CODE_ERROR),  # its own timer: it would come again in each of 30 tries
        (-signal.SIGABRT, 0, True, Cause.CODE_ERROR),
        (-signal.SIGBUS, 1, True, Cause.CODE_ERROR),
        (1, 0, True, Cause.CODE_ERROR),
        (1, 0, False, Cause.MACHINE_ERROR),  # it could not import what every trial needs
        (-signal.SIGSEGV, 0, False, Cause.MACHINE_ERROR),
    ],
)
def test_a_death_is_put_down_to_whose_fault_it_is(code, oom_kills, was_ready, cause):
    assert cause_of_death(code, oom_kills, was_ready) is cause
    assert str(abs(code)) in exit_sentence(code, oom_kills)


def test_an_abort_for_want_of_memory_is_told_by_its_last_words(tmp_path):
    log = tmp_path / "trial.log"
    log.write_text("12:00:00 ep 1\nterminate called after throwing an instance of 'std::bad_alloc'\n")
    said = log_tail({tmp_path / "none.log": 0, log: 14})
    assert said.startswith("terminate") and cause_of_death(-signal.SIGABRT, 0, True, said) is Cause.OUT_OF_MEMORY
    assert log_tail({log: log.stat().st_size}) == "", "what an earlier attempt wrote"


def test_the_line_of_a_crash_is_that_of_the_persons_code(tmp_path):
    folder = tmp_path / "böb"
    frames = (
        f'  File "/lib/x.py", line 5 in g\n  File "{tmp_path}/b\\xf6b/train.py", line 7 in f\n'
        '  File "/fts/function.py", line 9 in run'
    )
    other = f'Thread 0x07 (most recent call first):\n  File "{folder}/data.py", line 1 in load\n\n'
    for report in (
        f"Fatal Python error: Aborted\n\nStack (most recent call first):\n{frames}",
        f"Fatal Python error: Bus\n\nCurrent thread 0x01 (most recent call first):\n{frames}\n\nExtension modules: x",
        f"{other}Current thread 0x01 [main] (most recent call first):\n{frames}",
        f"{other}{other}Thread 0x01 (most recent call first):\n{frames}\n",
    ):
        assert split_stacks(f"epoch 3\n{report}", folder) == ("epoch 3", "train.py line 7"), report
        sent = report.replace(f"{tmp_path}/b\\xf6b", f"/tmp/fts-agent-0-x1/code/{'0f' * 16}/src")
        assert split_stacks(sent, folder)[1] == "train.py line 7", "on a node"
        assert split_stacks(f"epoch 3\n{report}", tmp_path / "other") == ("epoch 3", None)
        assert split_stacks("epoch 3", folder) == ("epoch 3", None)


@pytest.mark.parametrize(
    ("group", "file"),
    [("0::/user.slice/a\n", "user.slice/a/memory.events"), ("4:memory:/a\n0::/\n", "memory/a/memory.oom_control")],
)
def test_the_kernels_victims_are_counted_in_our_control_group_first(tmp_path, group, file):
    own, vmstat = tmp_path / "cgroup", tmp_path / "vmstat"
    own.write_text(group)
    vmstat.write_text("nr_free_pages 5\noom_kill 41\n")
    assert count_oom_kills(tmp_path, own, vmstat) == 41
    counts = tmp_path / file
    counts.parent.mkdir(parents=True)
    counts.write_text("low 0\noom 7\noom_kill 3\n")
    assert count_oom_kills(tmp_path, own, vmstat) == 3
    assert count_oom_kills(tmp_path / "x", tmp_path / "y", tmp_path / "z") == 0


def test_pauses_grow_from_nothing_to_a_minute():
    assert [pause_s(n, 1.0) for n in range(1, 11)] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause_s(5000, 1.0) == 60


def test_devices_have_names_and_numbers():
    assert FoundDevices(cuda=2).names == ("cpu", "cuda:0", "cuda:1")
    assert all(DEVICE.fullmatch(name) for name in ("cpu", "mps", "cuda", "cuda:0", "cuda:15"))
    assert not any(DEVICE.fullmatch(name) for name in ("", "gpu", "CUDA", "cuda:", "cuda:01", "cuda:-1", "cuda:1 "))


# ---------------------------------------------------------------- real trials


@dataclass
class Study:
    """One tiny cell of three random trials, and what breaks its trial processes."""

    places: Places
    job_id: int
    db: Database
    trouble: Path

    def work(self, settings: WorkerSettings = SETTINGS) -> Job:
        run_job(self.places, settings, self.job_id, Console(live=False))
        return queries.job(self.db, self.job_id)

    def statuses(self) -> list[str]:
        return [str(trial.status) for trial in queries.trials(self.db, self.job_id)]

    def why(self) -> str:
        snapshot = queries.snapshot(self.db)
        seen_forecast(snapshot)
        return " ".join(why(snapshot.jobs[0], snapshot))

    def key_refuses(self) -> str | None:
        snapshot = queries.snapshot(self.db)
        return by_id("retry").why_not(snapshot.jobs[0], snapshot)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("fault") / "data")


@pytest.fixture
def study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # a generator
    monkeypatch.setattr("signal.signal", lambda *_: None)  # run_job takes over the signals of its process
    monkeypatch.setattr(trial_runner, "OUTAGES_ALLOWED", 3)
    trouble = tmp_path / "trouble"
    trouble.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(trouble), str(Path(__file__).resolve().parents[2])]))
    made = make_study(tmp_path, data, trouble)
    yield made
    made.db.close()


def make_study(folder: Path, data: Path, trouble: Path, **changes: Any) -> Study:
    places = Places(folder / "outputs" / "fts.db", data)
    fields = {"context": 20, "effective_batch": 64, "min_positives": 3, "split": {"train": 0.6, "val": 0.3}}
    (cell,) = make_cells(places, ("tiny",), (1,), 3, 2, "threshold_1pct", "a20", sampler="random", **fields)
    db = open_database(places.db)
    (line,) = write(db, [replace(cell, **changes)])
    return Study(places, line.job_id, db, trouble)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        peace = make_study(tmp_path_factory.mktemp("peace"), data, Path())
        assert peace.work().status is JobStatus.DONE
        peace.db.close()
    return identity(peace.places)


def break_torch(trouble: Path) -> Callable[[], None]:
    """`import torch` fails, as after an update of the driver; returns what repairs it."""
    package = trouble / "torch"
    package.mkdir()
    (package / "__init__.py").write_text('raise ImportError("libcudart.so.99: cannot open shared object file")\n')
    return lambda: shutil.rmtree(package)


BREAKS_CODE = """
import builtins, sys
real = builtins.__import__
def broken(name, *rest, **more):
    if name == "fts.study.build":
        raise KeyError("a name that the code has wrong")
    return real(name, *rest, **more)
if "fts.study.objective" in sys.orig_argv:
    builtins.__import__ = broken
"""
CRASHES = BREAKS_CODE.replace('raise KeyError("a name that the code has wrong")', "os.kill(os.getpid(), 11)").replace(
    "import builtins, sys", "import builtins, os, sys"
)
LIMITS_MEMORY_ONCE = """
import pathlib, resource, sys
once = pathlib.Path(__file__).with_name("once")
if "fts.study.objective" in sys.orig_argv and not once.exists():
    once.touch()
    resource.setrlimit(resource.RLIMIT_AS, (180 << 20, 180 << 20))
"""


def test_a_library_that_is_missing_for_an_hour_costs_no_trial(study: Study, undisturbed: dict[str, Any]) -> None:
    repair = break_torch(study.trouble)
    job = study.work()
    assert (job.status, job.cause, job.trials_failed) == (JobStatus.FAILED, Cause.MACHINE_ERROR, 0)
    assert "3 times without progress" in str(job.message) and "libcudart.so.99" in str(job.message)
    assert study.statuses() == ["interrupted"]
    waits = [event.at for event in queries.events(study.db, verbs=["waits"])]
    attempts = queries.attempts(study.db, queries.trials(study.db, job.id)[0].id)
    ended = [one.ended_at for one in attempts if one.ended_at is not None]
    assert ended[1] <= waits[0] < ended[2], "a pause is no work on the trial"
    assert f"`fts retry {job.id}` continues it with 3 trials to run" in study.why() and study.key_refuses() is None
    repair()
    assert "retried: 3 trials to run" in transitions.retry(study.db, [job.id]).message
    assert study.work().status is JobStatus.DONE
    assert difference(undisturbed, identity(study.places)) is None
    assert "nothing is left to run: 3 trials: 3 complete" in study.why() and study.key_refuses() is not None
    with pytest.raises(WrongStatus, match="nothing is left to run"):
        transitions.retry(study.db, [job.id])


def test_a_library_that_the_worker_itself_misses_is_the_machines_fault(study: Study) -> None:
    package = study.trouble / "optuna"
    package.mkdir()
    (package / "__init__.py").write_text('raise ImportError("libopt.so.9: cannot open shared object file")\n')
    quick = {"FTS_DATA": str(study.places.data), "FTS_OUTAGE_PAUSE_S": "0.01", "FTS_POLL_S": "0.05"}
    command = python("-m", "fts.jobs.cli", "--db", str(study.places.db), "worker", "--until-empty", "--slots", "1")
    subprocess.run(command, env=os.environ | quick, check=True, capture_output=True, timeout=120)
    job = queries.job(study.db, study.job_id)
    assert (job.status, job.cause, job.attempt) == (JobStatus.FAILED, Cause.MACHINE_ERROR, MAX_OUTAGES)
    assert "(libopt.so.9: cannot open shared object file (ImportError, __init__.py line 1))" in str(job.message)
    assert study.statuses() == []
    assert f"`fts retry {job.id}` continues it with 3 trials to run" in study.why()


def test_a_code_error_is_mended_and_its_trials_run_again_by_number(study: Study, undisturbed: dict[str, Any]) -> None:
    broken = study.trouble / "sitecustomize.py"
    broken.write_text(BREAKS_CODE)
    job = study.work()
    assert (job.status, job.cause, job.trials_failed) == (JobStatus.FAILED, Cause.CODE_ERROR, 3)
    assert study.statuses() == ["failed"] * 3
    drawn = [(trial.params, trial.seed) for trial in queries.trials(study.db, job.id)]
    said = transitions.retry(study.db, [job.id], dry_run=True).message
    assert (
        said.endswith("retried: 3 trials run again (t0 t1 t2)")
        and said in transitions.retry(study.db, [job.id]).message
    )
    again = queries.job(study.db, job.id)
    assert (again.status, again.trials_ended) == (JobStatus.QUEUED, 0), "what runs again is not counted as run"
    transitions.undo(study.db)
    assert study.statuses() == ["failed"] * 3 and queries.job(study.db, job.id).status is JobStatus.FAILED
    transitions.redo(study.db)
    assert study.statuses() == ["interrupted"] * 3
    broken.unlink()
    assert study.work().status is JobStatus.DONE
    assert [(trial.params, trial.seed) for trial in queries.trials(study.db, job.id)] == drawn
    assert difference(undisturbed, identity(study.places)) is None


def test_a_process_that_crashes_three_times_at_the_same_place_has_a_code_error(
    study: Study, data: Path, tmp_path: Path
) -> None:
    (study.trouble / "sitecustomize.py").write_text(CRASHES)
    one = make_study(tmp_path / "one", data, study.trouble, trials=1)
    job = one.work()
    assert (job.status, job.cause, job.trials_failed) == (JobStatus.FAILED, Cause.CODE_ERROR, 1)
    assert str(job.message).startswith(
        "1 trial: 1 code error; none is complete; t0 failed: the trial process sent itself SIGSEGV"
    )
    assert len([e for e in queries.events(one.db, limit=1000) if e.verb == "trial_restarted"]) == 2
    assert "`fts retry 1` runs 1 trial again: t0" in one.why() and one.key_refuses() is None
    one.db.close()


def test_an_import_that_fails_for_want_of_memory_is_no_code_error(study: Study) -> None:
    (study.trouble / "sitecustomize.py").write_text(LIMITS_MEMORY_ONCE)
    job = study.work()
    assert (job.status, job.trials_complete, job.trials_failed) == (JobStatus.DONE, 3, 0)
    (restart,) = [e for e in queries.events(study.db, limit=1000) if e.verb == "trial_restarted"]
    assert restart.data["reason"] == "shrink", restart.message
    first = queries.trial(study.db, job.id, 0)
    assert first.status is TrialStatus.COMPLETE and (first.micro_batch or 64) < 64


@pytest.mark.slow  # it imports torch once more; what it rests on is tested above
def test_a_device_that_is_not_here_any_more_is_the_machines_fault(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "OUTAGES_ALLOWED", 1)  # each try imports torch
    job = study.work(replace(SETTINGS, device="cuda:7", memory_limit=2 << 30))  # past the check at start
    assert (job.status, job.cause, job.trials_failed) == (JobStatus.FAILED, Cause.MACHINE_ERROR, 0)
    assert "no cuda:7 now" in str(job.message)
    assert study.statuses() == ["interrupted"]
