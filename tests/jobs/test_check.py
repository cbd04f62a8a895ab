"""`fts check`: real trials in a temporary folder; what would hurt is named, and nothing is written where one stands."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

from fts.jobs import functions
from fts.jobs.check import causes, examine, files, whole
from fts.jobs.check.differences import compared, first_difference
from fts.jobs.check.examine import Examination, Examined
from fts.jobs.check.rehearsal import ENOUGH, SeenTrial
from fts.jobs.check.whole import StudyEstimate
from fts.jobs.settings import Places
from fts.jobs.supervisor.attempt import AttemptEnd, Ended
from fts.jobs.supervisor.template import CAN_FORK
from tests import forks
from tests.fts_process import Study, wait_until

SOUND = """
    import time, numpy, fts
    def objective(trial, size="S"):
        x = trial.suggest_float("x", 0.0, 1.0)
        rng = numpy.random.default_rng(fts.seed(trial, "noise"))
        checkpoint = fts.checkpoint(trial)
        state = checkpoint.load() or {"epoch": -1, "w": numpy.zeros(3)}
        for epoch in range(state["epoch"] + 1, 5):
            state["w"] = state["w"] + x + numpy.random.default_rng(fts.seed(trial, f"{epoch}")).normal(size=3)
            fts.report(trial, epoch, loss=float(state["w"].sum()), seconds=time.perf_counter())
            state["epoch"] = epoch
            checkpoint.save(state)
            trial.should_prune()
        return float(state["w"].sum())
"""
FORGETS = """
    import fts
    def objective(trial):
        x, momentum, checkpoint = trial.suggest_float("x", 0.0, 1.0), 0.0, fts.checkpoint(trial)
        state = checkpoint.load() or {"epoch": -1, "w": 0.0}
        for epoch in range(state["epoch"] + 1, 5):
            momentum = 0.9 * momentum + x
            state = {"epoch": epoch, "w": state["w"] + momentum}
            trial.report(state["w"], epoch)
            checkpoint.save(state)
            trial.should_prune()
        return state["w"]
"""
NEVER_LOADS = """
    import fts
    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        for epoch in range(5):
            trial.report(x / (epoch + 1), epoch)
            fts.checkpoint(trial).save({"epoch": epoch})
            trial.should_prune()
        return x
"""
UNSEEDED = """
    import numpy
    def objective(trial):
        noise = numpy.random.default_rng()
        return trial.suggest_float("x", 0.0, 1.0) + noise.normal()
"""
HASHES = """
    def objective(trial):
        names = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}
        return sum(len(name) / (n + 1) for n, name in enumerate(names)) + trial.suggest_float("x", 0, 1)
"""
RAISES = """
    def objective(trial):
        raise FileNotFoundError("there is no data/train.csv")
"""
OF_OTHERS = """
    def objective(config):
        return config.lr
"""
RELATIVE = """
    def objective(trial):
        return float(open("data/none.csv").read())
"""
WRITES = """
    def objective(trial):
        open("model.pt", "w").write("weights")
        for epoch in range(3):
            trial.report(1.0, epoch)
            trial.should_prune()
        return trial.suggest_float("x", 0.0, 1.0)
"""


LATE = """
    import time, fts
    def objective(trial, n=1):
        x, checkpoint = trial.suggest_float("x", 0.0, 1.0), fts.checkpoint(trial)
        for epoch in range(6):
            time.sleep(0.2)
            trial.report(x, epoch)
        checkpoint.save({"done": True})
        return x
"""
ITS_OWN_PRUNER = """
    import optuna
    def objective(trial):
        trial.suggest_float("x", 0.0, 1.0)
        for epoch in range(3):
            trial.report(1.0, epoch)
        raise optuna.TrialPruned
"""


def examined(folder: Path, body: str, memory: int = 8 << 30, reports: int | None = None, **fields: Any) -> Examined:
    """What `fts check` finds of train.py:objective in this folder."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(textwrap.dedent(body))
    cells = functions.cells("train.py:objective", folder, 20, **fields)
    places = Places(folder / "outputs" / "fts.db", folder / "data")
    machine = whole.TrialMachine(places, "cpu", 1, 2, memory)
    checked = whole.check(cells, machine, 120.0, reports, lambda *_: None, lambda _: None)
    return checked.cells[0]


def told(found: Examined, about: str) -> tuple[str, str]:
    return next((finding.status, finding.told) for finding in found.findings if finding.about == about)


def test_a_sound_study_is_well_and_nothing_is_written(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "helper.py").write_text("ONE = 1\n")
    (study.folder / "train.py").write_text("import helper\n" + textwrap.dedent(SOUND))
    before = sorted((str(path), path.stat().st_mtime_ns) for path in study.folder.rglob("*"))
    words = ("train.py:objective", "-m", "size=S,M", "--metric", "loss", "--trials", "10")
    found = study.json("check", *words, "--cell", "S")["check"]
    assert sorted((str(path), path.stat().st_mtime_ns) for path in study.folder.rglob("*")) == before
    assert found["well"] and found["forecast"]["cells"] == 1 and found["forecast"]["seconds"] > 0
    (cell,) = found["cells"]
    assert cell["repeatable"] and cell["resumable"] and cell["reports"] == 5 and cell["peak_bytes"] > 1 << 20
    assert list(cell["params"]) == ["x"] and cell["distributions"]["x"]["kind"] == "float"
    assert "seconds is not" in next(one["told"] for one in cell["findings"] if one["about"] == "repeatable")
    shown = study.json("check", *words, "--show", "1")["trials"]
    assert [(one["cell"], one["number"]) for one in shown] == [("S", 0), ("M", 0)]
    assert shown[0]["params"] == cell["params"] == shown[1]["params"]  # both cells share their first draws


@pytest.mark.parametrize(
    ("body", "about", "expected"),
    [
        pytest.param(FORGETS, "resumable", "its checkpoint does not hold everything", marks=pytest.mark.slow),
        pytest.param(
            NEVER_LOADS, "resumable", "it wrote a checkpoint and did not continue from it", marks=pytest.mark.slow
        ),
        (UNSEEDED, "repeatable", "train.py line 4 makes a generator without a seed"),
        pytest.param(HASHES, "repeatable", "train.py line 4 goes through a set", marks=pytest.mark.slow),
        (RAISES, "runs", "there is no data/train.csv"),
        (OF_OTHERS, "runs", "declare the arguments with --space NAME=LOW:HIGH"),
        (RELATIVE, "runs", "; the trial runs in /"),
    ],
    ids=["forgets", "never loads", "unseeded", "hashes", "raises", "of others", "relative"],
)
def test_what_would_hurt_is_named(tmp_path: Path, body: str, about: str, expected: str) -> None:
    with forks.off(body == HASHES):  # all forks have one hash seed
        found = examined(tmp_path, body)
    status, sentence = told(found, about)
    assert (status, found.has_problems) == ("bad", True) and expected in sentence


def test_a_parameter_that_its_branch_did_not_draw_is_no_fault(tmp_path: Path) -> None:
    body = """
        def objective(trial, kind, depth):
            trial.report(1.0, 0)
            trial.report(0.5, 1)
            return 0.5
    """
    kind = {"kind": "choice", "choices": ["a"]}
    depth = {"kind": "int", "low": 1, "high": 3, "when": "kind == 'b'"}
    found = examined(tmp_path, body, space={"kind": kind, "depth": depth})
    assert not found.has_problems and told(found, "resumable")[0] == "ok"


def test_a_function_without_checkpoints_begins_anew_and_its_files_are_named(tmp_path: Path) -> None:
    found = examined(tmp_path, WRITES)
    assert not found.has_problems and found.repeatable
    assert "started again: it has no checkpoint; a kill costs at most" in told(found, "resumable")[1]
    status, sentence = told(found, "files")
    assert status == "warn" and "model.pt" in sentence


SCRIPT = """
    import json, os, random, sys, time
    seed = [word for word in sys.argv if word.startswith("--seed=")]
    random.seed(seed[0] if seed else None)
    noise = random.random()
    path = os.path.join(os.environ["FTS_CHECKPOINT_DIR"], "state.json")
    begin = json.load(open(path))["epoch"] + 1 if os.path.exists(path) else 0
    for epoch in range(begin, 6):
        print(f"epoch {epoch} loss={float(sys.argv[1]) + noise / (epoch + 1)}", flush=True)
        with open(path + ".new", "w") as file:
            json.dump({"epoch": epoch}, file)
        os.replace(path + ".new", path)
        time.sleep(0.1)
"""


@pytest.mark.slow  # tests/test_guide.py checks one, too
def test_a_command_is_checked_like_a_function(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "train.py").write_text(textwrap.dedent(SCRIPT))
    command = ("--metric", "loss", "--regex", "loss=([0-9.]+)", "--", "python", "train.py", "{x:0.0..1.0}")
    found = json.loads(study.ok("check", "--json", *command, "--seed={seed}"))["check"]["cells"][0]
    assert (found["repeatable"], found["resumable"], found["reports"]) == (True, True, 6)
    said = study.fts("check", *command)
    assert said.code == 1 and "does not get its seed" in said.out, said
    assert study.fts("check", "--metric", "loss", "--", "python", "train.py", "{lr}").code == 2
    shown = study.ok("check", "--show", "1", *command, "--seed={seed}")
    assert shown.startswith("t0   python train.py 0.") and "--seed=" in shown
    assert [path.name for path in study.folder.iterdir()] == ["train.py"]


def test_a_command_is_shown_and_tried_with_the_words_that_a_worker_gives_it(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "train.sh").write_text('echo "$@" >> "$TRIED"\necho loss=1\n')
    (study.folder / "study.toml").write_text(
        """
        [study]
        name = "words"
        command = "sh train.sh {args} {args_hydra} {params}"
        [space]
        zeta = { low = 0.0, high = 1.0 }
        alpha = { low = 1, high = 4 }
        mid = ["a", "b"]
        [budget]
        trials = 1
        [metrics]
        loss = { goal = "minimize", regex = "loss=([0-9]+)" }
        """
    )
    study.environ["TRIED"] = str(tmp_path / "tried")
    (shown,) = study.json("check", "study.toml", "--show", "1")["trials"]
    study.fts("check", "study.toml")
    study.ok("enqueue", "study.toml")
    study.ok("worker", "--until-empty")
    tried = [line.split()[:-1] for line in (tmp_path / "tried").read_text().splitlines()]
    assert len(tried) > 1 and {tuple(words) for words in tried} == {tuple(shown["command"][2:-1])}


@pytest.mark.parametrize(("patience_s", "told_s"), [(2.0, 2.0), (300.0, 150.0)])
def test_the_patience_of_two_cells_is_shared_and_not_exceeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float, told_s: float
) -> None:
    given: list[float] = []

    def run(self: Examination, patience_s: float) -> Examined:
        given.append(patience_s)
        return Examined(self.cell)

    monkeypatch.setattr(Examination, "run", run)
    (tmp_path / "train.py").write_text("def objective(trial, size):\n    return 1.0\n")
    cells = functions.cells("train.py:objective", tmp_path, 3, axes={"size": ["S", "M"]})
    machine = whole.TrialMachine(Places(tmp_path, tmp_path), "cpu", 1, 2, None)
    whole.check(cells, machine, patience_s, None, lambda cell, text: None, lambda found: None)
    assert given[0] == pytest.approx(told_s, rel=0.1)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train.py:objective"], "cannot be read"),
        (["train.py:objective", "--patience", "soon"], "is not a length of time; expected 90s, 5m or 1h"),
        (["train.py"], "FILE.py:FUNCTION"),
        (["--metric", "loss", "--", "python", "x.py", "{lr:1}"], "declares no parameter"),
    ],
)
def test_bad_words_are_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], expected: str) -> None:
    said = Study(tmp_path / "study").fts("check", *words)
    assert said.code == 2 and expected in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rng = np.random.default_rng(None)", "line 3 makes a generator without a seed"),
        ("rng = np.random.default_rng(7)", None),
        ("x = uuid.uuid4()", "uuid.uuid4(), which differs in every process"),
        ("for x in {'a', 'b'}: pass", "goes through a set"),
        ("for x in sorted({'a', 'b'}): pass", None),
        ("import torch", "imports torch inside a function"),
        ("cross_val_score(model, x, y, n_jobs=-1)", "line 3 has n_jobs=-1, and processes of joblib seed themselves"),
        ("cross_val_score(model, x, y, n_jobs=1)", None),
        ("x = other()", None),  # it is another function's, which is not called
    ],
)
def test_a_cause_is_read_from_the_code_that_runs(tmp_path: Path, line: str, expected: str | None) -> None:
    (tmp_path / "train.py").write_text(
        f"import numpy as np, uuid\ndef objective(trial):\n    {line}\ndef unused():\n    np.random.default_rng()\n"
    )
    found = causes.causes(tmp_path, "train.py", "objective", "fts.seed(trial)")
    assert [cause.told for cause in found] == [] if expected is None else expected in found[0].told


def test_an_imported_module_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import random\ndef build():\n    return random.Random()\n")
    (tmp_path / "train.py").write_text("from model import build\ndef objective(trial):\n    return build()\n")
    (found,) = causes.causes(tmp_path, "train.py", "objective", "seed")
    assert found.told == "model.py line 3 makes a generator without a seed; write Random(seed)"


HUNGRY = """
    import time
    def objective(trial):
        kept = [bytes(range(256)) * (1 << 18) for _ in range(trial.suggest_int("blocks", 20, 20))]
        time.sleep(60)
        return len(kept)
"""


def test_a_trial_that_takes_too_much_memory_is_killed_before_the_machine_suffers(tmp_path: Path) -> None:
    found = examined(tmp_path, HUNGRY, memory=256 << 20)
    status, sentence = told(found, "memory")
    assert status == "bad" and "and was killed, before this machine had none left" in sentence
    assert [finding.about for finding in found.findings] == ["memory", "draws"]


@pytest.mark.slow
def test_limits_on_time_that_would_end_a_sound_trial_are_named(tmp_path: Path) -> None:
    loop = "    for n in range(3):\n        time.sleep(0.5)\n        trial.report(n, n)\n"
    body = f"import time\ndef objective(trial):\n{loop}"
    found = examined(tmp_path, body, reports=2, trial_timeout_s=1.0, timeout_s=2.0)
    timeouts = [(one.status, one.told) for one in found.findings if one.about == "timeout"]
    assert [status for status, _ in timeouts] == ["bad", "warn"] and "but may take 1 s" in timeouts[0][1]


def test_the_database_of_the_folder_is_not_touched(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    study.ok("init")
    study.ok("enqueue", "study.toml")

    def tree() -> list[tuple[str, int, int]]:
        return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in study.folder.rglob("*"))

    before = tree()
    assert study.fts("check", "study.toml", "--show", "1").code == 0
    assert tree() == before


@pytest.mark.skipif(not CAN_FORK, reason="here every trial is a new interpreter, in the worker, too")
def test_the_forecast_is_of_trials_that_start_as_in_a_worker(tmp_path: Path) -> None:
    """Of a hundred trials that take a moment, new interpreters would be most of the time, and a worker forks."""
    body = f"""
        import os
        def objective(trial):
            trial.suggest_float("x", 0.0, 1.0)
            return float(os.getppid() != {os.getpid()})
    """
    with forks.off():
        found = examined(tmp_path, body)
    assert found.first is not None and found.first.value == 1.0
    assert found.repeatable is False, "the second run is a new interpreter, so that sets have another order"


@pytest.mark.parametrize(
    ("checked", "ending"), [(1, ", estimated from 1 cell"), (2, ", estimated from 2 cells"), (3, "")]
)
def test_a_forecast_names_the_number_of_cells_that_ran(checked: int, ending: str) -> None:
    forecast = StudyEstimate(cells=3, trials=12, checked=checked, slots=2, seconds=5.0)
    assert list(forecast.sentences()) == [f"3 cells, 12 trials: about 5 s with 2 slots, without pruning{ending}"]


def test_what_a_run_did_not_reach_is_not_called_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its runs (0 first, 1 again, 2 killed, 3 continued) hangs before its report number `step`."""
    monkeypatch.setattr(examine, "LEAST_S", 1.5)
    body = """
        import pathlib, time
        def objective(trial):
            runs = pathlib.Path(__file__).parent / "runs"
            number = len(runs.read_text()) if runs.exists() else 0
            runs.write_text("x" * (number + 1))
            for step in range(COUNT):
                time.sleep(60.0 if (number, step) == (RUN, STEP) else 0.05)
                trial.report(1.0, step)
            time.sleep(60.0 if (number, COUNT) == (RUN, STEP) else 0.0)
            return trial.suggest_float("x", 0.0, 1.0)
    """
    no_more = "not known: killed with -9 after 2 reports and continued, it made no further report in 1.5 s"
    for count, run, step, about, expected in (
        (0, 1, 0, "repeatable", ("warn", "not known: the second run reported nothing in 1.5 s")),
        (4, 1, 0, "repeatable", ("warn", "not known: the second run reported nothing in 1.5 s")),
        (4, 1, 2, "repeatable", ("ok", "run twice, the first 2 reports are equal")),
        (4, 1, 4, "repeatable", ("ok", "run twice, the first 4 reports are equal")),
        (4, 9, 0, "repeatable", ("ok", "run twice, all 4 reports and the value are equal")),
        (4, 3, 0, "resumable", ("warn", no_more)),
        (4, 3, 1, "resumable", ("warn", no_more)),
    ):
        own = body.replace("COUNT", str(count)).replace("RUN", str(run)).replace("STEP", str(step))
        assert told(examined(tmp_path / f"{count}_{run}_{step}", own), about) == expected


def test_nothing_is_said_of_what_a_run_did_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that only the end writes, memory and time of a run that was not whole, files that are too many."""
    monkeypatch.setattr(files, "MOST", 3)
    for name, body, reports, about, expected in (
        ("late", LATE, None, "resumable", "its first checkpoint came at its end"),
        ("late", LATE, None, "files", "not known whether it writes where you stand"),
        ("cut", LATE, 3, "memory", "until it was ended here; what it takes later is not known"),
        ("cut", LATE, 3, "resumable", "it had no checkpoint by then"),
        ("pruned", ITS_OWN_PRUNER, None, "runs", "it ended itself as pruned"),
    ):
        for n in range(3 if name == "late" else 0):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{n}.txt").touch()
        found = examined(tmp_path / name, body, reports=reports)
        assert expected in told(found, about)[1]
        assert name != "late" or found.resumable is False, "a kill before the checkpoint costs the whole trial"
        assert name == "late" or found.trial_s is None, "nobody saw a whole trial"


def test_a_forecast_of_memory_is_no_larger_than_what_ran() -> None:
    whole_ones = StudyEstimate(2, 8, 2, 1, 5.0, peak_bytes=1 << 30, memory=8 << 30)
    assert whole_ones.fits is True and "memory: 1.0 GB with 1 slot, of 8.0 GB" in list(whole_ones.sentences())
    part = StudyEstimate(2, 8, 1, 1, 5.0, peak_bytes=1 << 30, memory=8 << 30, peak_at_least=True)
    assert part.fits is None
    assert "memory: at least 1.0 GB with 1 slot, of 8.0 GB, estimated from 1 cell" in list(part.sentences())
    assert StudyEstimate(2, 8, 1, 1, 5.0, peak_bytes=8 << 30, memory=8 << 30, peak_at_least=True).fits is False


def test_all_is_well_is_said_of_cells_that_ran(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    (study.folder / "train.py").write_text(textwrap.dedent(LATE))
    words = ("train.py:objective", "-m", "n=1,2", "--trials", "2")
    said = study.fts("check", *words, "--patience", "1s").err
    assert "not checked, because --patience ran out: n=2" in said and "No problem in the 1 cell that ran" in said


def test_a_run_that_was_ended_early_says_how_to_learn_more(tmp_path: Path) -> None:
    for reports in (1, 2):
        status, sentence = told(examined(tmp_path / str(reports), SOUND, reports=reports), "resumable")
        assert status == "warn" and f"ended here after {reports} report" in sentence and "raise --reports" in sentence


@pytest.mark.parametrize("pause_s", [0.0, 0.2], ids=["ended", "cut"])  # how the first run ends
def test_a_second_run_that_fails_is_named(tmp_path: Path, pause_s: float) -> None:
    body = f"""
        import pathlib, time
        def objective(trial):
            mark = pathlib.Path(__file__).with_name("mark")
            first = not mark.exists()
            mark.touch()
            for epoch in range(3):
                trial.report(1.0, epoch)
                time.sleep({pause_s})
                assert first, "it has run before"
            return trial.suggest_float("x", 0.0, 1.0)
    """
    found = examined(tmp_path, body, reports=2)
    status, sentence = told(found, "repeatable")
    assert (status, found.repeatable) == ("bad", False) and "it has run before" in sentence


def test_what_steers_the_search_is_compared_too(tmp_path: Path) -> None:
    """Constraints that the trial sets, attributes that a constraint reads, and ranges; not other attributes."""
    for name, body, fields, expected in (
        ("set", "trial.set_constraint('n', new)", {}, "not: the constraint n of the result is"),
        ("attribute", "trial.set_user_attr('n', new)", {"constraints": {"n": "<= 2"}}, "not: n of the result is"),
        ("other", "trial.set_user_attr('n', new)", {}, "value is equal in both runs, n is not: n of the result is"),
        ("range", "trial.suggest_categorical('c', [1] * len(os.listdir()))", {}, "not: c is drawn from (1), then"),
    ):
        body = body.replace("new", "time.time_ns()")
        found = examined(
            tmp_path / name,
            f"""
    import os, time
    def objective(trial):
        {body}
        open(str(os.getpid()), "w").close()
        return trial.suggest_float("x", 0.0, 1.0)
    """,
            **fields,
        )
        assert told(found, "repeatable")[1].startswith(expected), name
        assert found.repeatable is (name == "other"), name


def test_reports_that_both_runs_have_are_compared_in_any_order() -> None:
    ended = AttemptEnd(Ended.STOPPED, {}, ENOUGH)
    one = SeenTrial(0, {}, {}, {step: {"loss": 1.0} for step in (9, 8, 7, 6)}, end=ended)
    other = SeenTrial(0, {}, {}, {9: {"loss": 1.0}, 8: {"loss": 2.0}}, end=ended)
    assert compared(one, other) == 2
    difference = first_difference(one, other)
    assert difference is not None and difference.told == "loss of report 8 is 1, then 2"


def test_the_end_of_a_terminal_deletes_the_temporary_folder(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", TMPDIR=str(tmp_path))
    (study.folder / "train.py").write_text("import time\ndef objective(trial): time.sleep(60)\n")
    for number, words in ((signal.SIGHUP, ()), (signal.SIGTERM, ("--show", "2"))):
        command = study.start("check", "train.py:objective", *words)
        wait_until(lambda: list(tmp_path.glob("fts-check-*/*/logs/*")) + list(tmp_path.glob("fts-check-*/*/*/logs/*")))
        command.send_signal(number)
        assert command.wait(60) == 130
        assert not list(tmp_path.glob("fts-check-*"))
