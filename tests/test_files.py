"""Files are whole or absent, whoever writes, and nothing is written or deleted through a link inside outputs."""

from __future__ import annotations

import ast
import csv
import errno
import io
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fts.jobs.cli import main
from fts.state.files import (
    NOWHERE,
    CannotWrite,
    atomic_write,
    below,
    csv_cell,
    draft_name,
    expanded,
    from_csv_cell,
    home,
    is_file,
    make_folder,
    new_folder,
    open_log,
    private_files,
    reason_of,
    refuse_links,
    remove,
    replacing,
    sweep,
    sweep_below,
)
from tests.namespaces import IN_NAMESPACE, can_mount

ROOT = Path(__file__).parent.parent
THREADS, PROCESSES, ROUNDS = 8, 4, 10
SIZE = 20_000  # more than one page, so that a torn file can be seen


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- many writers


def write_and_read(path: Path, letter: str, found: list[str]) -> None:
    try:
        for _ in range(ROUNDS):
            atomic_write(path, letter * SIZE, durable=False)
            seen = path.read_text()
            if len(seen) != SIZE or len(set(seen)) != 1:
                found.append(f"torn: {len(seen)} characters, {sorted(set(seen))}")
    except Exception as error:  # noqa: BLE001  # another process reports it
        found.append(repr(error))


def one_process(folder: Path, letter: str, said: multiprocessing.SimpleQueue[list[str]]) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=write_and_read, args=(folder / f"table{n % 2}.csv", letter, found))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said.put(found)


def test_eight_threads_of_four_processes_write_and_read_the_same_files(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    said = spawn.SimpleQueue()
    writers = [spawn.Process(target=one_process, args=(tmp_path, letter, said)) for letter in "abcd"[:PROCESSES]]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        sweep(tmp_path)  # may catch a draft between its making and its locking: the writer then makes another
    assert [said.get() for _ in writers] == [[]] * PROCESSES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table0.csv", "table1.csv"]


def test_no_two_drafts_share_a_name():
    assert len({draft_name("experiment_results.csv") for _ in range(1000)}) == 1000


# -- all or nothing


class Cut(BaseException):
    """No Exception: as a KeyboardInterrupt comes, between any two lines."""


@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), ValueError("x"), KeyboardInterrupt(), Cut()])
def test_a_write_that_fails_leaves_the_former_file_and_no_draft(tmp_path, error):
    path = tmp_path / "table.csv"
    atomic_write(path, "former")
    with pytest.raises((type(error), CannotWrite)), replacing(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "former" and names(tmp_path) == ["table.csv"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model"
    for content in ("first", "second"):
        with new_folder(path) as draft:
            (draft / "weights").write_text(content)
    with pytest.raises(Cut), new_folder(path) as draft:
        (draft / "weights").write_text("half")
        raise Cut
    assert (path / "weights").read_text() == "second" and names(tmp_path) == ["model"]


@pytest.mark.parametrize("length", [1, 99, 200, 254, 255])
@pytest.mark.parametrize("letter", ["x", "ä", "語"])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path, length, letter):
    name = letter * max(1, length // len(letter.encode()))
    atomic_write(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole" and names(tmp_path) == [name]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_files_and_every_folder_we_make_are_their_owners_only(tmp_path, umask):
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "a" / "b" / "c" / "file", "x")
        with new_folder(tmp_path / "a" / "d" / "model") as draft:
            (draft / "weights").write_text("x")
        os.close(open_log(tmp_path / "logs" / "log"))
    finally:
        os.umask(before)
    made = [path for path in tmp_path.rglob("*") if path.name != "weights"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_disk_that_flushes_no_folders_is_written_to(tmp_path, monkeypatch, code):
    """Some network and FUSE disks: the rename has happened, so the write has not failed."""
    flush = os.fsync

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        flush(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    atomic_write(tmp_path / "x.csv", "whole")
    with new_folder(tmp_path / "model") as draft:
        (draft / "weights").write_text("x")
    assert (tmp_path / "x.csv").read_text() == "whole" and names(tmp_path) == ["model", "x.csv"]


def test_a_folder_that_a_person_made_keeps_its_mode(tmp_path):
    (tmp_path / "outputs").mkdir(mode=0o755)
    (tmp_path / "outputs").chmod(0o755)
    atomic_write(tmp_path / "outputs" / "hpo" / "x.json", "{}")
    assert stat.S_IMODE((tmp_path / "outputs").stat().st_mode) == 0o755


# -- drafts of dead writers

WRITER = """
import sys, time
from pathlib import Path
from fts.state.files import new_folder, replacing
with {call}(Path(sys.argv[1])) as draft:
    print("writing", flush=True)
    time.sleep(600)
"""


def test_threads_that_make_private_files_leave_the_mask_of_the_process_as_it_was():
    """One after the other takes the mask and gives it back, in an order in which the last has seen that of another."""
    before = os.umask(0o022)
    first, second = private_files(), private_files()
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert os.umask(0o077) == 0o077, "the other one is still inside"
        second.__exit__(None, None, None)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_walk_passes_over_what_vanishes_meanwhile(tmp_path):
    """As the checkpoints of a running trial do; a link is named and not followed."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    walk = below(tmp_path)
    assert next(walk).parent == tmp_path
    shutil.rmtree(tmp_path / "a")
    assert {str(path.relative_to(tmp_path)) for path in walk} >= {"b/x"}
    assert tmp_path / "link" / "x" not in below(tmp_path)


@pytest.mark.parametrize("call", ["replacing", "new_folder"])
def test_a_sweep_takes_the_draft_of_a_dead_writer_and_never_that_of_a_living_or_stopped_one(tmp_path, call):
    code = WRITER.format(call=call)
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "there" / "x")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        (draft,) = (tmp_path / "there").iterdir()
        os.utime(draft, (0, 0))
        assert sweep_below(tmp_path) == 0 and draft.exists()
        writer.send_signal(signal.SIGSTOP)
        assert sweep_below(tmp_path) == 0 and draft.exists()
    finally:
        writer.kill()
        writer.wait()
    assert sweep_below(tmp_path) == 1 and list((tmp_path / "there").iterdir()) == []


# -- links


def test_a_link_in_the_place_of_a_file_is_replaced_not_written_through(tmp_path):
    (tmp_path / "thesis").write_text("precious")
    (tmp_path / "table.csv").symlink_to(tmp_path / "thesis")
    atomic_write(tmp_path / "table.csv", "rows")
    assert (tmp_path / "thesis").read_text() == "precious"
    assert (tmp_path / "table.csv").read_text() == "rows" and not (tmp_path / "table.csv").is_symlink()


@pytest.mark.parametrize("linked", ["hpo", "hpo/cell", "hpo/cell/trials"])
@pytest.mark.parametrize("dangling", [False, True])
def test_no_level_below_the_root_may_be_a_link(tmp_path, linked, dangling):
    outside, outputs = tmp_path / "outside", tmp_path / "outputs"
    if not dangling:
        (outside / "cell" / "trials").mkdir(parents=True)
    link = outputs / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(CannotWrite, match=rf"{link} .*is not followed: inside {outputs} fts does not"):
        atomic_write(outputs / "hpo" / "cell" / "trials" / "trial_0000.json", "{}", root=outputs)
    assert not [path for path in outside.rglob("*") if path.is_file()]


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "big disk").mkdir()
    outputs = tmp_path / "outputs"
    outputs.symlink_to(tmp_path / "big disk")
    atomic_write(outputs / "hpo" / "x.json", "{}", root=outputs)
    assert (tmp_path / "big disk" / "hpo" / "x.json").exists()
    refuse_links(outputs / "hpo", outputs)


def test_a_removal_never_goes_through_a_link(tmp_path):
    outside, outputs = tmp_path / "outside", tmp_path / "outputs"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "thesis").write_text("x")
    (outputs / "trial").mkdir(parents=True)
    (outputs / "trial" / "checkpoint").symlink_to(outside)
    (outputs / "linked").symlink_to(outside)
    assert not remove(outputs / "trial" / "checkpoint" / "folder", outputs)
    assert not remove(outputs / "linked" / "folder" / "thesis", outputs)
    assert remove(outputs / "trial", outputs), "a folder with a link in it goes, the link with it"
    assert (outside / "folder" / "thesis").exists()


# -- why not

SAID = {
    errno.ENOSPC: r"the disk of .* is full \(.* free\): free some space",
    errno.EDQUOT: r"the quota of this user on the disk of .* is used up",
    errno.EROFS: "is mounted read-only",
    errno.EACCES: r"this user may not write to .* \(mode 700, owner ",
    errno.EIO: "reports an input/output error",
    errno.EFBIG: "larger than this process or this disk allows",
}


@pytest.mark.parametrize("code", SAID)
def test_every_refusal_of_the_system_is_one_sentence_with_the_true_reason(tmp_path, monkeypatch, code):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(CannotWrite, match=SAID[code]) as refused:
        atomic_write(tmp_path / "deep" / "file", "x")
    assert refused.value.errno == code and "\n" not in str(refused.value) and "Errno" not in str(refused.value)
    assert names(tmp_path / "deep") == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x" * 300, "its name has 300 bytes, this file system allows 255"),
        ("語" * 100, "its name has 300 bytes, this file system allows 255"),
        (f"{'x' * 300}/file", "its name has 300 bytes"),
        ("/".join(["x" * 200] * 30), r"its path has \d+ bytes, more than this system allows"),
        ("file/below", "file is a file, expected a folder"),
        ("folder", "it is a folder, expected a file"),
        ("pipe", "it is not a regular file"),
    ],
)
def test_a_path_that_cannot_be_is_named_with_its_fault(tmp_path, name, told):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotWrite, match=told):
        atomic_write(tmp_path / name, "x")
    assert names(tmp_path) == ["file", "folder", "pipe"]


def test_whether_a_file_is_there_is_not_guessed(tmp_path):
    """From Python 3.14 on Path.is_file says no where nobody can know."""
    (tmp_path / "file").write_text("x")
    found = [is_file(tmp_path / name) for name in ("file", "other", "file/below", ".", "a\0b")]
    assert found == [True, False, False, False, False]
    with pytest.raises(OSError, match="too long"):
        is_file(tmp_path / ("x" * 300))


ON_A_SMALL_DISK = """
import os, subprocess, sys, torch
from pathlib import Path
from fts.training.checkpoint import write_checkpoint, write_weights
from fts.state.backup import backup
from fts.state.db import open_database
from fts.state.errors import DiskFull
from fts.state.disk import full_sentence, is_full
from fts.state.files import atomic_write
from fts.jobs.maintenance.doctor import machine
from fts.jobs.settings import places
disk = Path(sys.argv[1]) / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=40", "none", str(disk)], check=True)
(disk / "weights").mkdir(); (disk / "trial").mkdir()
try:
    for n in range(100):
        (disk / f"filler{n}").write_text("x")
except OSError:
    pass
tensors = {"w": torch.zeros(1000)}
db = open_database(Path(sys.argv[1]) / "fts.db")
for write in (
    lambda: atomic_write(disk / "trial" / "x.json", "x"),
    lambda: write_checkpoint(disk / "trial", lambda: iter(tensors.items()), {}),
    lambda: write_weights(disk / "weights" / "best.safetensors", tensors, {}),
    lambda: backup(db, disk / "weights"),
):
    try:
        write()
    except (OSError, DiskFull) as refused:
        print(refused)
print(full_sentence(disk / "fts.db") if is_full(disk) else "")
def of_disk():
    found = {one.name: one for one in machine(places(str(disk / "trial" / "fts.db")))}["disk"]
    return f"{found.state} {found.text}"
print(of_disk())
(disk / "filler0").unlink(); (disk / "filler1").unlink()
print(of_disk())
try:
    backup(db, disk / "weights")  # one inode for the copy, one for its log
except DiskFull as refused:
    print(refused, [file.name for file in (disk / "weights").iterdir()])
atomic_write(disk / "trial" / "x.json", "x")
subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
try:
    atomic_write(disk / "trial" / "x.json", "y")
except OSError as refused:
    print(refused)
print((disk / "trial" / "x.json").read_text())
"""


@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="no user and mount namespaces here")
def test_a_disk_without_inodes_says_so_and_not_how_many_bytes_are_free(tmp_path):
    done = subprocess.run(
        [*IN_NAMESPACE, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    *inodes, readonly, content = done.stdout.splitlines()
    assert len(inodes) == 8, done.stderr
    few = inodes.pop(6)
    assert few.startswith("warn ") and few.endswith("takes only 2 more files (inodes)"), few
    assert inodes[5].startswith("bad the disk of ")
    assert all("MB free but no free inodes" in line for line in inodes), inodes
    assert inodes[1].startswith("a checkpoint needs 1.1 MB; the disk of ")
    assert inodes[6].endswith("[]"), "nothing of the copy stays"
    assert "is mounted read-only" in readonly and content == "x"


NOBODY = """
import sys
from pathlib import Path
from fts.state.files import CannotWrite, atomic_write
try:
    atomic_write(Path(sys.argv[1]) / "x.json", "x")
except CannotWrite as refused:
    print(refused)
"""


@pytest.mark.skipif(sys.platform != "linux" or not can_mount(), reason="no user namespaces here")
def test_a_folder_without_write_permission_is_named_with_its_mode(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o555)
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-c", NOBODY, str(tmp_path / "shut")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert f"this user may not write to {tmp_path / 'shut'} (mode 555, owner " in done.stdout, done.stderr


def test_a_reason_that_was_said_is_not_said_twice(tmp_path):
    first = CannotWrite(errno.ENOSPC, "a checkpoint needs 3 TB")
    assert reason_of(first, tmp_path / "x") == str(first) == "a checkpoint needs 3 TB"


# -- cells of CSV files


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n'\" ,;.0123456789eEabc＝"), max_size=12))  # noqa: RUF001
def test_a_cell_is_never_a_formula_and_comes_back_to_the_letter(text):
    out = io.StringIO(newline="")
    csv.writer(out).writerow([csv_cell(text)])
    ((cell,),) = list(csv.reader(io.StringIO(out.getvalue(), newline=""))) if text else (("",),)
    assert from_csv_cell(cell) == text
    if cell and cell[0] in "=+-@\t\r":
        assert float(cell) is not None, "only a number may begin so"


@pytest.mark.parametrize("value", [-0.5, "-0.5", "+1e-3", "-.5", -3, None, True, "", "plain", 1e300])
def test_numbers_and_plain_words_stay_as_they_are(value):
    assert csv_cell(value) == value


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-2+3", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "-", "--1"])
def test_formulas_are_quoted(text):
    assert csv_cell(text) == f"'{text}" and csv_cell(f"'{text}") == f"''{text}"


def test_a_csv_cell_holds_lists_and_objects_as_json() -> None:
    """The exported table of results had Python's words, {'a': None}; `fts results --csv` has JSON."""
    for value in ([1, 2.5, None, True, "ü"], {"a": {"b": None}}, []):
        assert json.loads(csv_cell(value)) == value


# -- no way past it

# what writes, by the name of the call; (module, call) -> why it may be there
WRITES = {
    "write_text", "write_bytes", "to_parquet", "write_table", "to_csv", "savefig", "savez", "savez_compressed",
    "save_file",
    "copyfile", "copytree", "copy2", "rename", "replace", "symlink_to", "hardlink_to", "mkdir", "makedirs",
    "rmtree", "touch", "open", "fdopen", "mkstemp", "NamedTemporaryFile",
}  # fmt: skip
ALLOWED = {
    ("fts.state.files.writing", "*"): "it is the one place",
    ("fts.state.files.folders", "*"): "it is the one place",
    ("fts.state.backup", "hardlink_to"): "names a finished copy, never over another one",
    ("fts.state.backup", "rename"): "names a finished copy where there are no hard links",
    ("fts.state.restore", "rename"): "moves the database aside with its log, and the copy into its place",
    ("fts.state.slot_lock", "open"): "a lock file, which lives as long as its holder",
    ("fts.state.gpu_ledger", "open"): "the same",
    ("fts.state.gpu_waits", "open"): "the same",
    (
        "fts.state.gpu_waits",
        "rename",
    ): "shows a lock file when it is locked, so that nobody takes it for one of the dead",
    ("fts.jobs.worker.reserve", "open"): "space that is kept for need; its content means nothing",
    ("fts.jobs.supervisor.child", "write_text"): "to /proc",
    ("fts.jobs.executors.node_data", "*"): "data sets of a node: one takes its name when its md5 is right",
    ("fts.jobs.supervisor.shared_checkpoints", "open"): "the draft of replacing",
    ("fts.jobs.supervisor.staged_files", "rename"): "takes the place of a file, as a list on the disk says",
    ("fts.jobs.executors.on_node", "mkdir"): "the folder of scratch folders, where a person says",
    ("fts.study.evidence", "write_text"): "to /proc",
    ("fts.jobs.records.earlier_exports", "rename"): "moves whole folders aside, below one outputs folder",
    ("fts.study.models", "copytree"): "into the draft of new_folder",
    ("fts.study.parquet", "to_parquet"): "into the draft of replacing",
    ("fts.jobs.records.frames", "write_table"): "into the draft of replacing",
    ("fts.data.files", "write_table"): "into memory",
    ("fts.study.evidence", "to_parquet"): "into the draft of replacing",
    ("fts.study.sealed", "to_parquet"): "into the draft of replacing",
    ("fts.study.fold_trainer", "open"): "the draft of replacing",
    ("fts.study.walk_trainer", "open"): "the draft of replacing",
    ("fts.study.fold_trainer", "savez"): "into the draft of replacing",
    ("fts.study.walk_trainer", "savez"): "into the draft of replacing",
    ("fts.analysis.figures.look", "savefig"): "into memory",
    ("fts.analysis.report", "to_csv"): "into memory",
    ("fts.study.dataset", "to_csv"): "into memory",
    ("fts.training.checkpoint", "save_file"): "into the draft of replacing or new_folder",
    ("fts.training.checkpoint", "open"): "into the draft of new_folder",
    ("fts.training.checkpoint", "rename"): "takes a damaged or old checkpoint out of sight before it goes",
    ("fts.jobs.trial.packed", "open"): "the draft of replacing",
    ("fts.jobs.trial.packed", "savez"): "into the draft of replacing",
    ("fts.jobs.trial.packed", "save_file"): "into the draft of replacing",
    ("fts.data.manifest", "open"): "a lock file",
    ("fts.data.manifest", "mkdir"): "the data folder is shared on purpose: it follows the umask",
    ("fts.data.manifest", "replace"): "moves a file to the name of its content, or a link to its place",
    ("fts.data.manifest", "symlink_to"): "the plain name of a content-addressed file",
    ("fts.data.manifest", "copyfile"): "into the draft of replacing",
    ("fts.jobs.cli.__init__", "open"): "to /dev/null",
    ("fts.jobs.cli.log", "open"): "appends a line to the report of a command, and imports nothing",
    ("fts.tui.render.export", "fdopen"): "appends to a log",
    ("fts.jobs.form.server", "fdopen"): "a pipe",
    ("fts.jobs.mirrors.tensorboard", "fdopen"): "appends; what a kill cuts off is appended later",
}


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in WRITES and writes(name, node):
                yield name, node.lineno


def writes(name: str, node: ast.Call) -> bool:
    """Not `text.replace(a, b)`, `dataclasses.replace(x, y=1)`, `frame.rename(columns=...)`, nor an open for reading."""
    owner = node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
    if name in ("write_text", "to_parquet"):  # functions of these names are ours
        return isinstance(node.func, ast.Attribute)
    if name in ("replace", "rename"):
        return isinstance(node.func, ast.Attribute) and len(node.args) == 1 and not node.keywords
    if name not in ("open", "fdopen"):
        return True
    if owner == "os" and name == "open":
        return any(flag in ast.unparse(node) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "FLAGS"))
    modes = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
    said = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(set(mode) <= set("rwxabt+U") and set(mode) & set("wxa+") for mode in said)


def test_no_file_is_written_past_atomic_write():
    found, used = [], set()
    for package in ("fts", "state", "jobs", "tui"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = module if package == "fts" else f"fts.{module}"
            for name, line in calls(path):
                keys = {(module, name), (module, "*")} & set(ALLOWED)
                used |= keys
                if not keys:
                    found.append(f"{module}:{line} {name}")
    assert not found, f"{found}: use fts.state.files (atomic_write, replacing, new_folder, open_log, make_folder)"
    assert set(ALLOWED) == used, f"no longer needed: {set(ALLOWED) - used}"


def test_make_folder_says_what_is_in_the_way(tmp_path):
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(CannotWrite, match="outputs is a file, expected a folder"):
        make_folder(tmp_path / "outputs" / "hpo")


# -- whose home


def test_who_has_no_home_on_record_is_told_apart_from_who_has_one(monkeypatch):
    monkeypatch.setenv("HOME", "/of/mine")
    assert (home(), expanded("~/a"), expanded("~"), expanded("b/~")) == (
        Path("/of/mine"), Path("/of/mine/a"), Path("/of/mine"), Path("b/~"),
    )  # fmt: skip
    assert expanded("~nobody-of-that-name/a") == Path("~nobody-of-that-name/a")
    nameless(monkeypatch)
    assert (home(), expanded("~/a/b"), expanded("~")) == (NOWHERE, NOWHERE / "a" / "b", NOWHERE)


def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the user is a number alone, as in a container."""

    def nobody(uid: object) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "FTS_NOTIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize(
    "words",
    [
        "enqueue train.py:objective --trials 4", "status", "doctor", "events", "pause --queue", "undo", "notify list",
        "notify test", "service install -n", "service status", "completion bash -n", "completion zsh -n",
        "completion fish -n", "snapshot", "report", "--db ~nobody-of-that-name/fts.db status",
    ],
)  # fmt: skip
def test_each_command_answers_a_person_without_a_name_or_a_home(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def objective(trial):\n    return trial.suggest_float('x', 0, 1)\n")
    assert main(["enqueue", "train.py:objective", "--trials", "2"]) == 0
    nameless(monkeypatch)
    capsys.readouterr()
    assert main(words.split()) in (0, 1, 2, 6)
    said = "".join(capsys.readouterr())
    assert said and "a fault in fts itself" not in said and "Traceback" not in said


def test_homes_and_names_are_asked_for_where_an_answer_may_be_missing():
    asks = {"expanduser", "home", "getpwuid", "getuser", "getlogin"}
    found = {
        str(path.relative_to(ROOT))
        for package in ("fts", "state", "jobs", "tui")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in asks
    }
    in_a_try = {"state/files/reasons.py", "state/user.py", "state/transitions/base.py", "jobs/service/manager.py"}
    assert found == {"state/files/home.py", *in_a_try}
