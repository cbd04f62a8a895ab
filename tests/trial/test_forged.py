"""What a person's code writes into the descriptors of its process is no fact of the trial, and costs none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.jobs.test_process import all_facts, spawn
from tests.trial.harness import cell_of, log_of, run_one

READY = '{"fact":"ready","pid":1,"seal":"x"}\n'
RESULT = '{"fact":"result","number":0,"value":-99,"reason":"finished","metrics":{},"epochs":0}'
EVERYWHERE = """
def everywhere(text):
    for fd in range(3, 200):
        try:
            os.write(fd, text.encode())
        except OSError:
            pass
"""
FORGES = {
    "prints": "print(LINE); print(LINE, file=sys.stderr)",
    "a result": "everywhere(LINE + '\\n')",
    "a result without a number": "everywhere(LINE.replace('\"number\":0,', '') + '\\n')",
    "an epoch": 'everywhere(\'{"fact":"epoch","number":0,"epoch":7,"value":-5}\\n\')',
    "readiness": 'everywhere(READY + LINE[:-1] + \',"seal":"x"}\\n\')',
    "half a line": 'everywhere(\'{"fact": "res\')',
    "no text": "everywhere('\\n\\x00\\xff')",
    "in a fork": """pid = os.fork()
    if pid == 0:
        everywhere(LINE + '\\n')
        os._exit(0)
    os.waitpid(pid, 0)""",
}


@pytest.mark.parametrize("what", FORGES)
def test_no_function_forges_a_fact_of_its_trial(tmp_path: Path, what: str) -> None:
    head = f"import os, sys\nLINE, READY = {RESULT!r}, {READY!r}\n{EVERYWHERE}"
    body = f"{head}\ndef objective(trial):\n    {FORGES[what]}\n    trial.report(1, 1)\n    return 0.5\n"
    cell = cell_of(tmp_path, body)
    record = run_one(cell)
    assert record.end.get("value") == 0.5, (record.end, log_of(cell))
    assert {epoch: fact["value"] for epoch, fact in record.epochs.items()} == {1: 1}
    assert not [fact for fact in record.told if "seal" in fact]
    strange = [fact for fact in record.told if fact["fact"] == "garbage"]
    assert bool(strange) == (what != "prints")


def test_no_fact_goes_into_a_file_of_the_person(tmp_path: Path) -> None:
    body = """
    import os, stat
    def objective(trial):
        here = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
        pipes = [fd for fd in here if fd > 2 and not stat.S_ISREG(os.fstat(fd).st_mode)]
        for fd in pipes:
            os.close(fd)
        files = [open(f"own{n}", "w") for n in range(max(pipes))]
        trial.report(1, 1)
        return 1
    """
    record = run_one(cell_of(tmp_path, body))
    assert not record.end, "it cannot tell how it ended; its exit code and its log do"
    assert not any(path.read_text() for path in tmp_path.glob("own*"))


def test_a_trainer_without_a_seal_is_heard(tmp_path: Path) -> None:
    with spawn("say(fact='ready')\nsay(fact='epoch', epoch=1)", tmp_path) as child:
        assert [fact["fact"] for fact in all_facts(child)] == ["ready", "epoch"]


if sys.platform != "linux":  # descriptors have other numbers
    pytestmark = pytest.mark.skip
