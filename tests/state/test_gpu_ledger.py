"""Processes of one user tell each other which GPUs they hold, and the dead hold none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from fts.jobs.devices import Gpu
from fts.jobs.supervisor.memory_pool import MemoryPool, RoomWant
from fts.state.gpu_ledger import GpuLedger, gpus_folder

GB = 10**9


def pools(folder: Path, memory: int | None = 24 * GB) -> list[MemoryPool]:
    """Two, as two workers have them, of the same two GPUs under other names."""
    names = (("0", "1"), ("GPU-a", "GPU-b"))
    made = [tuple(Gpu(name, memory, f"GPU-{key}") for name, key in zip(each, "ab", strict=True)) for each in names]
    return [MemoryPool(gpus, None, GpuLedger(folder)) for gpus in made]


def take(pool: MemoryPool, slot: int, want: RoomWant) -> list[str] | None:
    asked = iter((False, True))  # the first look finds room, or none
    taken = pool.take(slot, 0, lambda: None, lambda: next(asked), want)
    return [gpu.key for gpu in pool.gpus_of(slot)] if taken else None


def test_what_shares_none_gets_a_gpu_that_no_other_process_has(tmp_path: Path) -> None:
    one, other = pools(tmp_path)
    alone = RoomWant(gpus=1)
    assert take(one, 0, alone) == ["GPU-a"]
    assert take(other, 0, alone) == ["GPU-b"]
    assert take(other, 1, alone) is None and take(one, 1, alone) is None
    one.release(0)
    assert take(other, 1, alone) == ["GPU-a"]
    assert take(one, 0, RoomWant(gpus=2)) is None


def test_bytes_that_were_promised_are_shared_between_processes(tmp_path: Path) -> None:
    one, other = pools(tmp_path)
    ten = RoomWant(gpus=1, gpu_bytes=10 * GB)
    assert take(one, 0, ten) == take(other, 0, ten) == ["GPU-a"]
    assert take(one, 1, ten) == ["GPU-b"], "a third would need 30 GB of 24"
    assert take(other, 1, RoomWant(gpus=1)) is None
    one.release(0)
    assert take(other, 1, RoomWant(gpus=1, gpu_bytes=12 * GB)) == ["GPU-a"]


def test_a_gpu_in_use_is_shared_before_an_empty_one_is(tmp_path: Path) -> None:
    pool, ten = pools(tmp_path)[0], RoomWant(gpus=1, gpu_bytes=10 * GB)
    assert take(pool, 0, RoomWant(gpus=1)) == ["GPU-a"] and take(pool, 1, ten) == ["GPU-b"]
    pool.release(0)
    assert take(pool, 2, ten) == ["GPU-b"]


def test_a_dead_process_holds_nothing_and_its_file_goes(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fts.state.gpu_ledger import GpuLedger\n"
        "GpuLedger(Path(sys.argv[1])).hold({'GPU-a': None}); print('held', flush=True); time.sleep(999)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    (pool, _) = pools(tmp_path)
    assert take(pool, 0, RoomWant(gpus=2)) is None
    holder.kill()
    holder.wait()
    assert take(pool, 0, RoomWant(gpus=2)) == ["GPU-a", "GPU-b"]
    assert len(list((tmp_path / "GPU-a").iterdir())) == 2, "the lock, and what this process holds"


def test_a_gpu_counts_as_held_again_once_its_process_writes_after_somebody_removed_the_folder(tmp_path: Path) -> None:
    one, other = pools(tmp_path)
    assert take(one, 0, RoomWant(gpus=1)) == ["GPU-a"]
    shutil.rmtree(tmp_path)
    open_files = psutil.Process().num_fds()
    assert take(one, 1, RoomWant(gpus=1)) == ["GPU-b"]
    assert psutil.Process().num_fds() == open_files + 1, "the removed file is closed"
    assert take(other, 0, RoomWant(gpus=1)) is None
    one.release(0)
    assert take(other, 0, RoomWant(gpus=1)) == ["GPU-a"]


def test_without_a_folder_to_write_to_each_process_is_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file"):
        one, other = (MemoryPool((Gpu("0"),), None, GpuLedger(folder)) for _ in range(2))
        assert take(one, 0, RoomWant(gpus=1)) == take(other, 0, RoomWant(gpus=1)) == ["0"]


def test_the_folder_is_that_of_the_users_state() -> None:
    assert gpus_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/fts/gpus")
    assert gpus_folder({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local" / "state" / "fts" / "gpus"
