import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fts.state.files import CannotWrite
from fts.state.slot_lock import SlotLock, SlotTaken, holder

OWNER = """
import subprocess, sys, time
from pathlib import Path
from fts.state.slot_lock import SlotLock
SlotLock(Path(sys.argv[1]), 0).acquire()
child = subprocess.Popen(["sleep", "60"], close_fds=False)
print(child.pid, flush=True)
time.sleep(60)
"""


def start_owner(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def test_a_second_taker_learns_who_runs_since_when(tmp_path: Path) -> None:
    owner, child = start_owner(tmp_path)
    with owner:
        with pytest.raises(SlotTaken, match=rf"slot 0 .* process {owner.pid} on {socket.gethostname()}.* since 20"):
            SlotLock(tmp_path, 0).acquire()
        found = holder(tmp_path, 0)
        assert found is not None and found.pid == owner.pid
        owner.kill()
    os.kill(child, signal.SIGKILL)


def test_the_slot_is_free_after_kill_9_although_a_child_of_the_owner_lives(tmp_path: Path) -> None:
    owner, child = start_owner(tmp_path)
    with owner:
        owner.kill()
    assert psutil.pid_exists(child)
    with SlotLock(tmp_path, 0):
        assert holder(tmp_path, 0) is not None
    os.kill(child, signal.SIGKILL)


def test_two_slots_of_one_folder_are_two_locks(tmp_path: Path) -> None:
    with SlotLock(tmp_path, 0), SlotLock(tmp_path, 1):
        held = [holder(tmp_path, slot) for slot in range(3)]
    assert [found.slot if found else None for found in held] == [0, 1, None]


def test_a_released_slot_is_free_and_names_nobody(tmp_path: Path) -> None:
    lock = SlotLock(tmp_path, 0).acquire()
    lock.release()
    lock.release()
    assert holder(tmp_path, 0) is None
    assert lock.path.read_text() == ""


@pytest.mark.parametrize("content", ["", "garbage", "[]", '{"pid": "x"}', "[" * 4000])
def test_an_unreadable_lock_file_still_locks(tmp_path: Path, content: str) -> None:
    lock = SlotLock(tmp_path, 0)
    lock.path.write_text(content)
    with lock:
        lock.path.write_text(content)
        with pytest.raises(SlotTaken, match="an unknown process"):
            SlotLock(tmp_path, 0).acquire()
        assert str(holder(tmp_path, 0)) == "an unknown process"
    with lock:
        pass


def test_the_lock_file_is_private_and_never_a_link(tmp_path: Path) -> None:
    with SlotLock(tmp_path / "locks", 0) as lock:
        assert lock.path.stat().st_mode & 0o777 == 0o600
        assert lock.path.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "slot-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotWrite, match="it is a link"):
        SlotLock(tmp_path, 0).acquire()


def test_a_refused_taker_leaves_no_descriptor(tmp_path: Path) -> None:
    with SlotLock(tmp_path, 0):
        before = psutil.Process().num_fds()
        with pytest.raises(SlotTaken):
            SlotLock(tmp_path, 0).acquire()
        assert psutil.Process().num_fds() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_who_may_not_write_is_told_so_in_a_sentence(tmp_path: Path) -> None:
    lock = tmp_path / "slot-0.lock"
    lock.touch(mode=0o400)
    with pytest.raises(CannotWrite, match="this user may not write to it"):
        SlotLock(tmp_path, 0).acquire()
