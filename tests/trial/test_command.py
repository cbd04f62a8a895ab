"""A command in any language is a trial like a function: its metrics arrive, it ends with all it started, it resumes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fts.jobs import commands
from fts.jobs.api.command import BareStudy, CommandCell, filled
from fts.jobs.api.spec import BadSpec
from fts.jobs.supervisor.child import Starter
from fts.jobs.supervisor.template import CAN_FORK
from fts.jobs.trial.command import why_not_started
from fts.jobs.trial.error_text import how_to_find
from tests.trial import harness
from tests.trial.harness import PATIENCE_S, Fact, Record, attempt, log_of, spec_of, start

STARTER = Starter(Path(tempfile.mkdtemp()) / "logs" / "trial_process.log")  # a worker's: it forks where that can be
PARAMS = {"lr": 0.25, "layers": 2}
TRAIN = """
import json, os, signal, sys, time
from pathlib import Path
lr, epochs, wait_s = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
if "own group" in sys.argv:
    os.setpgid(0, 0)  # as `timeout` does
folder = Path(os.environ["FTS_CHECKPOINT_DIR"])
Path("pids").open("a").write(f"{os.getpid()}\\n")
terms = []
signal.signal(signal.SIGTERM, lambda *_: terms.append(1))
kept = folder / "state.json"
state = json.loads(kept.read_text()) if kept.exists() else {"epoch": 0, "loss": 1.0}
while state["epoch"] < epochs:
    state["loss"] = state["loss"] * (1 - lr) + 0.01 * state["epoch"]
    print("epoch", state["epoch"], f"val_loss={state['loss']!r}", flush=True)
    with open(os.environ["FTS_REPORT"], "a") as report:
        print(json.dumps({"epoch": state["epoch"], "val_loss": state["loss"], "acc": 1 - state["loss"]}), file=report)
    state["epoch"] += 1
    kept.with_suffix(".part").write_text(json.dumps(state))
    kept.with_suffix(".part").replace(kept)
    time.sleep(wait_s)
    if terms:
        print("terms", len(terms), flush=True)
        sys.exit(75)
"""


@pytest.fixture(autouse=True)
def no_template_is_left() -> Iterator[None]:
    yield
    STARTER.close()


def cell_of(folder: Path, *words: str, **fields: Any) -> CommandCell:
    """A cell of this command, as `fts enqueue` makes it."""
    folder.mkdir(exist_ok=True)
    usual: dict[str, Any] = {"metric": "val_loss", "pruner": "none", "trials": 5, "grace_s": 5.0, "study": "study"}
    return commands.cells(words, folder, **usual | fields)[0]


def training(folder: Path, epochs: int = 6, wait_s: float = 0.0, *more: str, **fields: Any) -> CommandCell:
    (folder / "train.py").write_text(TRAIN)
    words = (sys.executable, "train.py", "{lr:0.1..0.5}", str(epochs), str(wait_s), *more)
    return cell_of(folder, *words, **fields)


def ran(cell: CommandCell, record: Record | None = None, act: Callable[..., bool] | None = None) -> Record:
    record = record or Record(0)
    attempt(spec_of(cell, record, (), params=PARAMS), record, act=act, forked=STARTER)
    return record


def gone(pid: int) -> bool:
    """Waits until the process has ended."""
    until = time.monotonic() + PATIENCE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def pids(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "pids").read_text().split()]


# ---------------------------------------------------------------- what it is given, what it reports


def test_a_script_gets_words_and_variables_and_its_report_becomes_epochs(tmp_path: Path):
    script = tmp_path / "train.py"
    script.write_text(
        "import json, os, sys\n"
        "names = [n for n in os.environ if n.startswith('FTS_')]\n"
        "json.dump({n: os.environ[n] for n in names} | {'argv': sys.argv[1:]}, open('seen.json', 'w'))\n"
        "report = {'epoch': 3, 'val_loss': 0.5, 'acc': 0.75, 'tag': 'x'}\n"
        "open(os.environ['FTS_REPORT'], 'a').write(json.dumps(report))\n"
    )
    words = (sys.executable, "train.py", "--lr", "{lr:1e-5..1e-1:log}", "{layers:1..4}{{lr}}", "{args}", "-s{seed}")
    cell = cell_of(tmp_path, *words, axes={"size": ["S"]})
    assert cell.space == {
        "lr": {"kind": "float", "low": 1e-5, "high": 0.1, "log": True},
        "layers": {"kind": "int", "low": 1, "high": 4, "log": False},
    }
    record = ran(cell)
    assert record.end["fact"] == "result" and record.end["value"] == 0.5
    assert record.curve == {3: 0.5} and record.epochs[3]["metrics"] == {"val_loss": 0.5, "acc": 0.75}
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["argv"] == ["--lr", "0.25", "2{lr}", "--size=S", f"-s{seen['FTS_SEED']}"]
    assert (seen["FTS_PARAM_LR"], seen["FTS_PARAM_LAYERS"], seen["FTS_CELL_SIZE"]) == ("0.25", "2", "S")
    assert (seen["FTS_TRIAL"], seen["FTS_THREADS"]) == ("0", "1") and Path(seen["FTS_CHECKPOINT_DIR"]).is_dir()
    assert json.loads(Path(seen["FTS_PARAMS"]).read_text()) == {"lr": 0.25, "layers": 2, "size": "S"}


def test_a_command_that_can_never_start_says_why_and_is_not_tried_again(tmp_path: Path):
    def makes(text: str, mode: int = 0o755) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            (folder / "fit").write_bytes(text.encode())
            (folder / "fit").chmod(mode)

        return make

    for n, (make, expected) in enumerate(
        [
            (makes("echo 1\n"), "its first line is none such as #!/bin/sh"),
            (makes(""), "its first line is none such as #!/bin/sh"),
            (makes("#!/bin/sh\r\n"), r"its first line names a program that is not there, '/bin/sh\r\n'"),
            (makes("#!/bin/sh\n", 0o644), "Permission denied"),
            (lambda folder: (folder / "fit").symlink_to("fit"), "Too many levels of symbolic links"),
            (lambda _: None, "No such file or directory"),
        ]
    ):
        folder = tmp_path / str(n)
        folder.mkdir()
        makes("#!/bin/sh")(folder)
        cell = cell_of(folder, "./fit")
        (folder / "fit").unlink()
        make(folder)
        record = ran(cell)
        assert record.end["lasting"] and record.end["cause"] == "code error", expected
        assert record.end["message"].startswith("./fit cannot be started: ") and expected in record.end["message"]
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    away = tmp_path / "away"
    assert why_not_started("sh", away, missing) == f"{away} is no folder any more; move it back"


def test_names_may_have_dots_where_the_command_has_declared_them(tmp_path: Path):
    words = ("printf", "%s,", "{optimizer.lr:0.1..0.5}", "{item.price}", "{item.price:.2f}", "{args}", "{args_hydra}")
    cell = cell_of(tmp_path, *words, axes={"model.size": ["S"]}, regex="(.)")
    assert list(cell.space or {}) == ["optimizer.lr"]
    values = {"optimizer.lr": 0.25, "model.size": "S"}
    assert filled(cell, values, {})[2:] == [
        "0.25", "{item.price}", "{item.price:.2f}", "--model.size=S", "model.size=S",
    ]  # fmt: skip
    script = tmp_path / "env.sh"
    script.write_text("echo val_loss=$FTS_PARAM_OPTIMIZER_LR $FTS_CELL_MODEL_SIZE\n")
    cell = cell_of(tmp_path, "sh", "env.sh", "{optimizer.lr:0.1..0.5}", axes={"model.size": ["S"]}, regex="=(.*) S")
    record = Record(0)
    attempt(spec_of(cell, record, (), params={"optimizer.lr": 0.25}), record, forked=STARTER)
    assert record.end["value"] == 0.25, record.end


def test_a_shell_script_reports_with_fts_log_and_its_last_report_counts(tmp_path: Path):
    script = tmp_path / "train.sh"
    script.write_text("fts log epoch=1 val_loss=0.25\nfts log epoch=2 val_loss=0.5\necho $1 | tr a-z A-Z\n")
    cell = cell_of(tmp_path, "sh train.sh {name:it's,other} | cat", shell=True, best=False)
    assert cell.script == "train.sh"
    record = Record(0)
    attempt(spec_of(cell, record, (), params={"name": "it's"}), record, forked=STARTER)
    assert (record.end["value"], record.end["best_epoch"], record.curve) == (0.5, 1, {1: 0.25, 2: 0.5})
    assert "\nIT'S\n" in log_of(cell)


ODD = ["a b", "it's", 'say "x"', "$HOME `id` $(id)", "back\\slash", "", "*", "two\nlines", "-n", "#1"]


@pytest.mark.parametrize(
    "place",
    [
        "{v}",
        "'{v}'",
        '"{v}"',
        '"<{v}>"',
        "'<{v}>'",
        '"$(printf %s {v})"',
        '"$(printf %s "{v}")"',
        "# don't\nprintf %s {v}",
        ": $((1<<2));printf %s '{v}'",
        ': $((1 << (2)));printf %s "{v}"',
        "cat > /dev/null <<E; printf %s '{v}'\nit's\nE",
        "cat > /dev/null <<-'E N'\n\"\n\tE N\nprintf %s '{v}'",
        "`echo printf` %s '{v}'",
        '"`printf %s {v}`"',
    ],
)
def test_a_place_in_a_shell_is_quoted_as_its_own_quotes_need(tmp_path: Path, place: str):
    text = place if place[:2] in ("# ", ": ", "ca", "`e") else f"printf %s {place}"
    cell = cell_of(tmp_path, text, shell=True, space={"v": {"kind": "choice", "choices": ODD}})
    for value in ODD:
        words = filled(cell, {"v": value}, {})
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said == (f"<{value}>" if "<{" in place else value), words


IN_LINES = [*ODD, '{"a": [1, 2]}', "x\nEOF\necho broken", "`touch broken`", "\\"]


@pytest.mark.parametrize(
    "text",
    [
        "cat <<EOF\n{v}\nEOF\n",
        "cat <<'EOF'\n{v}\nEOF",
        "cat <<-EOF | cat\n\t{v}\n\tEOF\nprintf %s ''",
        "cat <<A >/dev/null; cat <<EOF\nnot {v}\nA\n{v}\nEOF",
        "printf '%s\\n' \"$(cat <<EOF\n{v}\nEOF\n)\"",
        "cat <<EOF\n$(printf %s {v})\nEOF",
        'cat <<EOF\n$(printf %s "{v}")\nEOF',
        "cat <<EOF\ndon't\nEOF\nprintf '%s\\n' '{v}'",
        "sh <<EOF\nprintf '%s\\n' {v}\nEOF",
        "env A=1 /bin/sh -s <<EOF\nprintf '%s\\n' \"{v}\"; # it's\nEOF",
        "cat <<EOF | sh\nprintf '%s\\n' '{v}'\nEOF",
        "env A=1 \\\n sh \\\n -s<<EOF\nprintf '%s\\n' {v}\nEOF",
        "sh<<EOF\nprintf '%s\\n' {v}\nEOF",
        "cat <<EOF >job.sh; sh job.sh\nprintf '%s\\n' {v}\nEOF",
        'cat > "./job.slurm" <<EOF\nprintf \'%s\\n\' "{v}"\nEOF\nsh job.slurm',
        "cat <<EOF >job\n#!/bin/sh\nprintf '%s\\n' {v}\nEOF\nsh ./job",
        "cat <<EOF >job.sh.txt; cat job.sh.txt\n{v}\nEOF",
        "sh <<OUTER\ncat <<EOF\n{v}\nEOF\nOUTER",
        "sh <<OUTER\nsh <<EOF\nprintf '%s\\n' '{v}'\nEOF\nOUTER",
    ],
)
def test_a_value_in_a_here_document_is_the_text_itself_and_one_word_of_a_script(tmp_path: Path, text: str):
    """`cat <<EOF >config.yaml` got `name: 'a b'`, and the shell ran what a value had between backquotes."""
    cell = cell_of(tmp_path, text, shell=True, space={"v": {"kind": "choice", "choices": IN_LINES}})
    for value in IN_LINES:
        words = filled(cell, {"v": value}, {})
        said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        quoted = "<<'EOF'" in text  # there nothing can be written in place of a line that would end it
        said = said.removeprefix("\t").replace("\nEOF \n", "\nEOF\n") if quoted or "<<-" in text else said
        assert said.removeprefix("don't\n").rstrip("\n") == value.rstrip("\n"), words
    assert not (tmp_path / "broken").exists()


def test_an_awk_line_is_read_by_a_regular_expression(tmp_path: Path):
    program = 'BEGIN { for (i = 0; i < 3; i++) print "epoch " i " val_loss=" {lr:0.1..0.9} * 2 + i; printf "end" }'
    cell = cell_of(tmp_path, "awk", program, regex="val_loss=([-0-9.eE+]+)", best=True)
    record = ran(cell)
    assert record.end["value"] == 0.5 and record.curve == {0: 0.5, 1: 1.5, 2: 2.5}


def test_json_lines_of_output_are_metrics_and_what_is_no_number_is_diverged(tmp_path: Path):
    cell = cell_of(tmp_path, "printf", 'begin\n{"val_loss": 0.5}\n[1]\n{"val_loss": NaN}\n', stdout=True)
    record = ran(cell)
    assert record.end["reason"] == "diverged" and record.end["value"] is None
    assert record.end["message"] == "val_loss is nan, expected a finite number"
    assert record.curve == {0: 0.5, 1: None}


def test_a_report_that_the_command_writes_anew_each_time_is_read_whole(tmp_path: Path):
    text = 'for i in 1 2 3; do echo "{\\"epoch\\": $i, \\"val_loss\\": 0.$i}" > $FTS_REPORT; sleep 0.2; done'
    record = ran(cell_of(tmp_path, text, shell=True))
    assert record.curve == {1: 0.1, 2: 0.2, 3: 0.3} and record.end["value"] == 0.3
    again = (
        f"[ -e again ] || {{ touch again; fts log epoch=1 val_loss=0.1; kill -9 $$; }}; {text.replace('1 2 3', '2')}"
    )
    record = Record(1)
    for _ in range(2):
        ran(cell_of(tmp_path, again, shell=True), record)
    assert record.curve == {1: 0.1, 2: 0.2} and record.end["value"] == 0.2


def test_a_mark_of_utf_8_before_a_report_is_no_part_of_it(tmp_path: Path):
    lines = """(printf '\\357\\273\\277'; echo '{"val_loss": 1}'; echo '{"val_loss": 2}') > $FTS_REPORT"""
    assert ran(cell_of(tmp_path, lines, shell=True)).curve == {0: 1.0, 1: 2.0}


WRITES = "printf 'import ctypes\\n"


@pytest.mark.parametrize(
    ("words", "fields", "told"),
    [
        (("true",), {}, r"without val_loss \(exit code 0\): the report is empty; expected a JSON line with val_loss"),
        (
            ("""echo '{"val_loss": "high"}' > $FTS_REPORT""",),
            {"shell": True},
            r"0\): val_loss is 'high', expected a number",
        ),
        (("echo", "val_loss 3"), {}, r"but it printed it: add --regex 'val_loss \(\[-0-9.eE\+\]\+\)'"),
        (("echo", "val_loss"), {}, "but it printed it: add --stdout or --regex"),
        (("echo", "0.5"), {}, r"output is '0.5'; if that is val_loss, add --regex '\^\(\[-0-9.eE\+\]\+\)\$'"),
        (("echo", "0.5"), {"stdout": True}, r"--stdout does not read: replace it by --regex '\^\("),
        (("echo", "val_loss=3"), {}, r"but it printed it: add --regex 'val_loss=\(\[-0-9.eE\+\]\+\)'"),
        (
            ("echo", "val_loss: 3"),
            {"stdout": True},
            r"not read: replace it by --regex 'val_loss: \(\[-0-9.eE\+\]\+\)'; exp",
        ),
        (("echo", "loss 3"), {"regex": "val_loss=(.*)"}, "its last line of output is 'loss 3'; expected a line"),
        (("echo", '{"loss": 3}'), {"stdout": True}, "it reported loss; expected a JSON line with val_loss on its"),
        (("echo", '{"loss": 3}'), {"stdout": True}, "on its output; or enqueue with --metric loss$"),
        (
            ("echo '[3]' > $FTS_REPORT",),
            {"shell": True},
            r"line of the report is \[3\], expected a JSON object such as",
        ),
        (("echo one; echo two >&2; exit 3",), {"shell": True}, "^the command ended with exit code 3: two$"),
        ((f"{WRITES}raise ValueError(9)' > a.py; python a.py",), {"shell": True}, r"code 1 \(a.py line 2\): ValueErr"),
        ((f"{WRITES}ctypes.string_at(0)' > a.py; exec python a.py",), {"shell": True}, r"SIGSEGV\) \(a.py line 2\)$"),
    ],
)
def test_an_end_without_a_result_says_what_was_seen_and_what_was_expected(tmp_path, words, fields, told):
    record = ran(cell_of(tmp_path, *words, **fields))
    assert record.end["fact"] == "failed" and record.end["cause"] == "code error"
    assert re.search(told, record.end["message"]), record.end["message"]


@pytest.mark.parametrize(
    ("lines", "curve"),
    [
        (['{"value": 0.3}', '{"value": 0.2}'], {0: 0.3, 1: 0.2}),
        (['{"epoch": 5, "value": 0.3}'], {5: 0.3}),
        (["0.3", "2e-1"], {0: 0.3, 1: 0.2}),
        (['{"value": 0.3, "acc": 1}', '{"val_loss": 0.2}'], {0: 0.2}),
        (['{"metric": "acc", "value": 0.3}', '{"val_loss": 0.2}'], {0: 0.2}),
    ],
)
def test_a_number_without_a_name_is_the_goal_where_there_is_one(
    tmp_path: Path, lines: list[str], curve: dict[int, float]
):
    text = "; ".join(f"echo '{line}' >> $FTS_REPORT" for line in lines)
    assert ran(cell_of(tmp_path, text, shell=True)).curve == curve


def test_with_several_goals_no_number_is_taken_without_its_name(tmp_path: Path):
    goals = {"val_loss": "minimize", "acc": "maximize"}
    text = "echo 0.3 >> $FTS_REPORT; fts log value=1; fts log value=2"
    record = ran(cell_of(tmp_path, text, shell=True, goals=goals))
    assert "it reported value" in record.end["message"], record.end


def test_a_command_that_reports_another_name_is_told_at_its_second_step(tmp_path: Path):
    """Not when it ends, hours later; and not where the deciding metric of a step is in a line of its own."""
    record = ran(cell_of(tmp_path, "fts log epoch=0 loss=1; fts log epoch=1 loss=1; sleep 1", shell=True))
    assert [fact["names"] for fact in record.told if fact["fact"] == "lacking"] == [["loss"]]
    fine = "for e in 0 1; do fts log epoch=$e loss=1; fts log epoch=$e val_loss=2; done"
    record = ran(cell_of(tmp_path / "fine", fine, shell=True))
    assert not any(fact["fact"] == "lacking" for fact in record.told) and record.end["value"] == 2


@pytest.mark.parametrize(
    ("body", "cause", "lasting", "told"),
    [
        ("import no_such_package_x", "code error", True, r"'no_such_package_x'; install it for \S*python"),
        ("raise AssertionError('Torch not compiled with CUDA enabled')", "machine error", False,
         r"CUDA enabled; \$FTS_DEVICE, which names the device of the trial, is cpu$"),
        ("raise RuntimeError('No CUDA GPUs are available')", "machine error", False, r"is cpu$"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "out of memory", False, "out of memory"),
        ("raise ValueError('no cuda gpus')", "code error", False, "ValueError: no cuda gpus$"),
    ],
)  # fmt: skip
def test_a_missing_package_or_device_is_named_with_what_to_do(tmp_path, body, cause, lasting, told):
    (tmp_path / "train.py").write_text(body)
    record = ran(cell_of(tmp_path, sys.executable, "train.py"))
    assert (record.end["cause"], bool(record.end.get("lasting"))) == (cause, lasting), record.end
    assert re.search(told, record.end["message"]), record.end["message"]


def test_a_module_of_the_users_own_folder_is_not_to_be_installed(tmp_path: Path):
    package = tmp_path / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "model.py").write_text("x = 1")
    (tmp_path / "torch_data").mkdir()
    by_function = harness.run_one(harness.cell_of(tmp_path, "import pkg.model\ndef objective(trial): return 1")).end[
        "message"
    ]
    (tmp_path / "train.py").write_text("import pkg.model")
    by_command = ran(cell_of(tmp_path, sys.executable, "train.py")).end["message"]
    for told in (by_function, by_command):
        assert f"pkg is in {tmp_path}/src, which is not searched" in told and f"PYTHONPATH={tmp_path}/src" in told
        assert "install it for" not in told
    assert how_to_find("torch_data", (tmp_path,), "python") == "install it for python", "a folder without code"
    assert how_to_find("pkg.modle", (tmp_path / "src",), "python") == f"{package} has no modle; did you mean model?"


def test_a_module_that_python_cannot_run_is_named_too(tmp_path: Path):
    record = ran(cell_of(tmp_path, sys.executable, "-m", "no_such_module_x"))
    assert record.end["lasting"] and f"no_such_module_x; install it for {sys.executable}" in record.end["message"]
    record = ran(cell_of(tmp_path / "shell", f"{sys.executable} -c 'import no_such_x' | cat; exit 1", shell=True))
    assert "install it for the python that it starts" in record.end["message"]


# ---------------------------------------------------------------- what ends it


def test_a_kill_from_outside_is_the_machines_fault(tmp_path: Path):
    record = ran(cell_of(tmp_path, "kill -9 $$", shell=True))
    assert record.end["cause"] == "machine error" and "killed by signal 9 (SIGKILL)" in record.end["message"]


@pytest.mark.parametrize("after", [1, 4])
def test_a_trial_killed_with_9_leaves_no_orphan_and_ends_like_an_undisturbed_one(tmp_path: Path, after: int):
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    calm = ran(training(tmp_path / "calm"))
    cell, record = training(tmp_path / "killed", wait_s=0.05), Record(0)

    def kill_trial(child, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and fact["epoch"] >= after:
            os.kill(child.pid, signal.SIGKILL)
            assert gone(pids(tmp_path / "killed")[-1]), "it trains on"
            return True
        return False

    ran(cell, record, act=kill_trial)
    assert not record.end
    ran(cell, record)
    assert record.outcome == calm.outcome
    assert len(pids(tmp_path / "killed")) == 2


@pytest.mark.skipif(not CAN_FORK, reason="here every trial is a new interpreter")
def test_the_trials_of_a_command_are_forked_from_one_process(tmp_path: Path):
    """And one that was killed is replaced; its fork goes on."""
    cell, parents = training(tmp_path, epochs=3, wait_s=0.05), []

    def kill_template(child, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and fact["epoch"] == 0:
            parents.append(psutil.Process(child.pid).ppid())
            if len(parents) == 2:
                os.kill(parents[-1], signal.SIGKILL)
        return False

    outcomes = []
    for number in range(4):
        record = ran(cell, Record(number), act=kill_template)
        outcomes.append(record.outcome)
    assert parents[0] == parents[1] != parents[2] == parents[3]
    assert os.getpid() not in parents, "a new interpreter was started"
    assert [one == outcomes[0] for one in outcomes] == [True] * 4


def test_who_kills_the_keeper_and_then_the_trial_leaves_no_orphan_either(tmp_path: Path):
    cell = training(tmp_path, epochs=1000, wait_s=0.02)

    def kill_both(child, fact: Fact) -> bool:
        if fact["fact"] != "epoch":
            return False
        keeper = os.getpgid(pids(tmp_path)[0])
        os.kill(keeper, signal.SIGKILL)
        trial, until = psutil.Process(child.pid), time.monotonic() + PATIENCE_S
        while "/bin/sh" not in [word for each in trial.children() if each.pid != keeper for word in each.cmdline()]:
            assert time.monotonic() < until, "nobody keeps the group"
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        assert gone(pids(tmp_path)[0]), "it trains on"
        return True

    ran(cell, act=kill_both)


OWN_GROUP = pytest.mark.parametrize("more", [(), ("own group",)], ids=["", "own group"])


@OWN_GROUP
def test_a_stop_is_told_once_and_the_trial_goes_on_from_its_checkpoint(tmp_path: Path, more: tuple[str, ...]):
    cell, record = training(tmp_path, 6, 0.2, *more), Record(0)

    def stop(child, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and fact["epoch"] == 1:
            child.ask_to_stop()
        return False

    ran(cell, record, act=stop)
    assert record.end["fact"] == "stopped" and record.code == 75
    assert "\nterms 1\n" in log_of(cell)
    ran(training(tmp_path, wait_s=0.0), record)
    assert record.end["value"] == record.curve[5] and len(record.curve) == 6


POOLED = """
import json, multiprocessing, os, signal, sys, time
from pathlib import Path

def slow(x):
    time.sleep(0.2)
    return float(x)

if __name__ == "__main__":
    many = multiprocessing.get_context("spawn").Pool(2)
    terms = []
    signal.signal(signal.SIGTERM, lambda *_: terms.append(1))
    kept = Path(os.environ["FTS_CHECKPOINT_DIR"]) / "epoch"
    for epoch in range(int(kept.read_text()) if kept.exists() else 0, 4):
        loss = sum(many.map(slow, [epoch, 1]))
        print(json.dumps({"val_loss": loss}), flush=True)
        kept.write_text(str(epoch + 1))
        if terms:
            many.terminate()
            sys.exit(75)
    many.terminate()
"""
WRAPPERS = {
    "the program alone": (sys.executable, "train.py"),
    "a shell": ("sh", "-c", f"{sys.executable} train.py; left=$?; echo saved > after; exit $left"),
    "a shell with a trap": ("sh", "-c", f"trap 'echo trapped' TERM; {sys.executable} train.py; exit $?"),
    "a shell that goes on": ("sh", "-c", f"{sys.executable} train.py; sleep 1000"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which signals a process handles")
@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_pool_of_a_command_lives_until_the_checkpoint_that_a_stop_asks_for(tmp_path: Path, kind: str):
    (tmp_path / "train.py").write_text(POOLED)
    cell, record, asked = cell_of(tmp_path, *WRAPPERS[kind], stdout=True, grace_s=60.0), Record(0), []

    def stop(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and not asked:
            asked.append(fact["epoch"])
            time.sleep(0.1)  # the pool is at the next epoch
            child.ask_to_stop()
        return False

    ran(cell, record, stop)
    assert (record.end["fact"], record.code) == ("stopped", 75), log_of(cell)
    kept = int((tmp_path / "outputs/trials/j/trial_0000/checkpoint/epoch").read_text())
    assert kept == len(record.epochs) > asked[0] + 1, "the epoch that it was at is not lost"
    assert (tmp_path / "after").exists() == (kind == "a shell"), "what follows in the script had its time"


def test_a_command_that_an_engine_ends_before_our_own_process_is_stopped_and_not_failed(tmp_path: Path):
    def signals_later(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "epoch":
            threading.Timer(0.3, os.kill, (child.pid, signal.SIGTERM)).start()
        return False

    text = "fts log epoch=1 val_loss=0.1; sleep 0.15; exit 1"
    record = ran(cell_of(tmp_path, text, shell=True), act=signals_later)
    assert record.end["fact"] == "stopped", record.end
    assert ran(cell_of(tmp_path, text, shell=True)).end["fact"] == "failed"


@pytest.mark.parametrize("script", ["sleep 1000; :", "trap 'exit 0' TERM; sleep 1000", "sleep 1000 & wait"])
def test_a_shell_whose_programs_do_not_handle_the_stop_ends_at_once(tmp_path: Path, script: str):
    cell, began = cell_of(tmp_path, "sh", "-c", f"""echo '{{"val_loss": 1}}'; {script}""", stdout=True), []

    def stop(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "epoch":
            time.sleep(0.3)  # the sleep runs
            began.append(time.monotonic())
            child.ask_to_stop()
        return False

    record = ran(cell, act=stop)
    assert (record.end["fact"], record.code) == ("stopped", 75), log_of(cell)
    assert time.monotonic() - began[0] < 30.0, "not after the grace"


def test_a_command_that_is_told_to_leave_loses_its_programs_and_ends(tmp_path: Path):
    script = "import json, signal, subprocess; signal.signal(signal.SIGTERM, lambda *_: None); "
    script += "print(json.dumps(dict(val_loss=1)), flush=True); subprocess.run(['sleep', '1000'])"
    cell, record = cell_of(tmp_path, sys.executable, "-c", script, stdout=True, grace_s=60.0), Record(0)

    def stop(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "epoch":
            child.ask_to_stop()
            time.sleep(0.3)
            assert child.poll() is None, "its program runs on"
            child.terminate()
        return False

    ran(cell, record, stop)
    assert record.end["fact"] == "stopped", log_of(cell)
    assert record.code in (75, -signal.SIGTERM), "the signal may meet a process that the command has just ended"


@pytest.mark.parametrize("left", ["exit 0", "exit 1", "kill -KILL $$"])
def test_a_signal_of_an_engine_to_all_of_it_is_a_stop(tmp_path: Path, left: str):
    """However the command ends by it: before its trial process has looked, as a rule."""
    script = f"trap 'echo val_loss=999; {left}' TERM; sleep 60 & wait"
    cell, record, struck = cell_of(tmp_path, "sh", "-c", script, stdout=True), Record(0), []

    def strike(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "started" and not struck:
            time.sleep(0.5)
            trial = psutil.Process(child.pid)
            struck.extend(reversed(trial.children(recursive=True)))
            trial.suspend()  # else, on a busy machine, it sees the end of the command before its own signal
            for process in struck:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            trial.terminate()
            trial.resume()
        return False

    ran(cell, record, strike)
    assert (record.end["fact"], record.code) == ("stopped", 75), log_of(cell)


def test_when_the_supervisor_dies_the_command_is_ended_and_what_it_started_too(tmp_path: Path):
    text = "sleep 1000 & echo $! > pids; trap '' TERM; fts log val_loss=1; while :; do sleep 0.1; done"
    cell = cell_of(tmp_path, text, shell=True, grace_s=0.1)
    record = Record(0)
    child = start(spec_of(cell, record, (), params={}), forked=STARTER)
    child.send({"do": "run", "spec": spec_of(cell, record, (), params={}).to_json()}, PATIENCE_S)
    while not any(fact["fact"] == "epoch" for fact in child.facts(PATIENCE_S)):
        pass
    child._popen.stdin.close()
    assert child._popen.wait(PATIENCE_S) == 75
    assert gone(pids(tmp_path)[0])
    child.close()


@OWN_GROUP
def test_a_pruned_command_is_ended(tmp_path: Path, more: tuple[str, ...]):
    cell = training(tmp_path, 100_000, 0.02, *more, pruner="median")

    def prune(child, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and fact["epoch"] == 2:
            assert fact.get("judged", True), "the pruner looks at it"
            child.send({"do": "prune", "number": 0})
        return False

    assert ran(cell, act=prune).end["fact"] == "pruned"
    assert gone(pids(tmp_path)[0])


def test_exit_code_75_runs_it_again_as_long_as_it_gets_on(tmp_path: Path):
    text = "cd $FTS_CHECKPOINT_DIR; n=$(ls | wc -l); [ $n = 4 ] && echo val_loss=$n && exit 0; touch $n; exit 75"
    cell = cell_of(tmp_path, text, shell=True, regex="val_loss=([0-9]+)")
    assert ran(cell).end["value"] == 4
    failed = ran(cell_of(tmp_path, "exit 75", shell=True), Record(1)).end
    assert "asked 3 times to run again (exit code 75) and made no progress" in failed["message"]


def test_a_line_that_a_kill_cut_off_is_no_result(tmp_path: Path):
    first = "touch again; printf 'epoch 0 val_loss=0.5\\nepoch 1 val_loss=0.1'; kill -9 $$"
    text = f"[ -e again ] || {{ {first}; }}; echo epoch 1 val_loss=0.125"
    cell, record = cell_of(tmp_path, text, shell=True, regex="val_loss=([0-9.]+)"), Record(0)
    ran(cell, record)
    assert record.end["cause"] == "machine error"
    ran(cell, record)
    assert record.curve == {0: 0.5, 1: 0.125} and record.end["value"] == 0.125


# ---------------------------------------------------------------- what is refused, and when


@pytest.mark.parametrize(
    ("words", "fields", "told"),
    [
        (("echo", "{lr:0.1..1}", "{lrr}"), {}, r"\{lrr\} is neither .* did you mean \{lr\}\? .*\{checkpoint_dir\}"),
        (("echo", "{lr:0.1}"), {}, r"\{lr:0.1\} declares no parameter, expected"),
        (("echo", "{lr:1..0.1}"), {}, "has no range"),
        (("echo", "{lr:0..1:log}"), {}, "above 0 on a log scale"),
        (("echo", "{lr:0.1..1}", "{lr:0.1..2}"), {}, "declared twice, and differently"),
        (("echo", "--opt", "opt:adam", "sgd"), {}, r"your shell .* quote it: '\{opt:adam,sgd\}'"),
        (("echo", "--opt=opt:a", "--opt=b"), {}, r"your shell .* quote it: '--opt=\{opt:a,b\}'"),
        (("echo", "y=y:-5", "y=0", "y=5", "x"), {}, r"your shell .* quote it: 'y=\{y:-5,0,5\}'"),
        (("echo", "--opt", "opt:a", "b", "c", "--x"), {}, r"your shell .* quote it: '\{opt:a,b,\.\.\.\}'"),
        (("echo", "--x={args}"), {}, "must be a word of its own"),
        (("no-such-program",), {}, "no program 'no-such-program'"),
        (("./train.sh",), {}, "is no file in"),
        (("echo",), {"regex": "val_loss"}, "expected one group around the number"),
        (("echo",), {"regex": "("}, "not a regular expression"),
        (("echo", "{size:1..2}"), {"axes": {"size": [1]}}, "cannot be a parameter and an axis"),
        (("echo",), {"axes": {"args": [1]}}, "'args' cannot name"),
        (("echo", "{lr:1..2}", "{LR:1..2}"), {}, "lr and LR would both be the environment variable FTS_PARAM_LR"),
        (("echo '{args}' {lr:1..2}",), {"shell": True}, "write it without quotes around it, as {args}"),
        (("echo", "{a.b:1..2}", "{a_b:1..2}"), {}, "a.b and a_b would both be the environment variable FTS_PARAM_A_B"),
        (("echo", "{a.b:1..2}", "{a.b:1..3}"), {}, "a.b is declared twice, and differently"),
        (("echo", *["{lr:1..2}"] * 1000), {}, "expected 1 to 1000 words"),
        (("echo", "{lr:1..2}", "x" * 8193), {}, "expected words of at most 8192 characters"),
        (("echo", "{lr:1..2}", "a\0b"), {}, "expected words of at most 8192 characters"),
    ],
)
def test_a_command_that_cannot_be_is_refused_before_anything_is_written(tmp_path, words, fields, told):
    with pytest.raises(BadSpec, match=told):
        cell_of(tmp_path, *words, **fields)


def test_braces_of_other_languages_are_left_alone(tmp_path: Path):
    cell = cell_of(tmp_path, "echo", '{"lr": {lr:0.1..1}, "a": {}}', "${HOME}", "{print $1}", "{1..3}", "{{x:1}}")
    words = filled(cell, {"lr": 0.5}, {})
    assert words[0] == shutil.which("echo"), "as it was when it was enqueued"
    assert words[1:] == ['{"lr": 0.5, "a": {}}', "${HOME}", "{print $1}", "{1..3}", "{x:1}"]


def test_a_cell_is_equal_after_a_way_through_json_and_its_question_is_that_of_its_script(tmp_path: Path):
    cell = training(tmp_path)
    again = BareStudy("study").cell(json.loads(json.dumps(cell.to_json())))
    assert again == cell and again.question == cell.question
    (tmp_path / "train.py").write_text("print()")
    assert training(tmp_path).question == cell.question
    assert cell_of(tmp_path, sys.executable, "train.py", "{lr:0.1..0.9}", "6", "0.0").question != cell.question
