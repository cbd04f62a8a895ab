"""What a trial has started is found and ended, by the system's own list or by `ps`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fts.jobs.trial import orphans

STARTS = """
    import subprocess, sys, time
    from pathlib import Path
    from fts.jobs.trial import orphans
    if sys.argv[1] == "ps":
        orphans.LISTED = Path("/no/such/folder")
    starts = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", starts], stdout=subprocess.PIPE, text=True)
    pids = {child.pid, int(child.stdout.readline())}
    assert pids <= set(orphans.descendants()), (pids, orphans.descendants())
    orphans.adopt()
    orphans.end_children()
    print(*pids, *orphans.descendants())
"""


@pytest.mark.parametrize("how", ["list", "ps"])
def test_all_that_a_process_started_is_found_and_ended(how: str) -> None:
    if how == "ps" and shutil.which("ps") is None:
        pytest.skip("no ps here")
    if how == "list" and not orphans.LISTED.is_dir():
        pytest.skip("this system has no such list")
    words = [sys.executable, "-c", textwrap.dedent(STARTS), how]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    started = [int(word) for word in ended.stdout.split()]
    assert len(started) == 2, "and nothing is left below it"
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_list_of_macos_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`ps` of macOS right-aligns, and its first process has no parent."""
    told = tmp_path / "ps"
    listed = ("    1     0", "  310     1", " 4711   310", " 4712  4711", " 4713   310")
    told.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in listed) + "echo $$ 310\n")
    told.chmod(0o755)
    monkeypatch.setattr(orphans, "PS", (str(told),))
    children = orphans.by_ps()
    assert (children(310), children(4711), children(4712)) == ([4711, 4713], [4712], [])


def test_a_system_without_ps_lists_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "LISTED", Path("/no/such/folder"))
    monkeypatch.setattr(orphans, "PS", ("/no/such/ps",))
    assert orphans.descendants() == []
