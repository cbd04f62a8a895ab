"""A machine that systemd boots, over this one's files: its worker is back after kill -9, a power cut and a reboot."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fts_process import ROOT, Study, wait_until

INIT = Path("/lib/systemd/systemd")
NEEDED = ("systemctl", "loginctl", "dbus-daemon", "useradd", "unshare", "nsenter", "pivot_root")
FOLDER = "/home/alice/my study 100%"
TRAIN = """
import random, time, fts
def objective(trial):
    x, checkpoint = trial.suggest_float("x", 0, 1), fts.checkpoint(trial)
    state = checkpoint.load() or {"step": -1, "sum": 0.0}
    for step in range(state["step"] + 1, 8):
        state = {"step": step, "sum": state["sum"] + x * random.random()}
        trial.report(state["sum"], step)
        checkpoint.save(state)
        time.sleep(0.2)
    return state["sum"]
"""
# What a booted machine has: devices, a /run that is empty, control groups of its own; then systemd as process 1.
BOOT = """
set -e
mkdir -p "$0/upper" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
cd "$0/root"
mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run; mount -t tmpfs tmpfs tmp; mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd; mkdir dev/shm dev/pts; mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mkdir run/old; pivot_root . run/old; cd /; umount -l /run/old
exec env -i container=other /lib/systemd/systemd --unit=multi-user.target --log-target=console
"""
NOT_BOOTED = (
    "postgresql ssh munge slurmd slurmctld e2scrub_reap systemd-timesyncd systemd-pstore systemd-udevd "
    "systemd-udev-trigger console-getty getty@tty1"
)


class Machine:
    """Its disk is `folder/upper`, and stays from boot to boot."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.init = folder, 0
        self.group = control_groups() / f"fts-{os.getpid()}"
        units = folder / "upper" / "etc/systemd/system"
        units.mkdir(parents=True)
        for name in NOT_BOOTED.split():
            (units / f"{name}.service").symlink_to(os.devnull)

    def boot(self) -> None:
        self.group.mkdir(exist_ok=True)
        spaces = "--mount --uts --ipc --pid --net --cgroup --fork --kill-child --propagation private"
        joins = f"echo $$ > {self.group}/cgroup.procs"
        words = ["sh", "-c", f'{joins} && exec unshare {spaces} bash -c "$0" "$1"', BOOT, str(self.folder)]
        with (self.folder / "console.txt").open("ab") as console:
            self.shell = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        wait_until(lambda: self.is_up() or self.shell.poll() is not None)
        assert self.shell.poll() is None, (self.folder / "console.txt").read_text()

    def is_up(self) -> bool:
        found = [child for child in psutil.Process(self.shell.pid).children() if child.name() == "systemd"]
        self.init = found[0].pid if found else 0
        return bool(found) and self.root("systemctl", "is-system-running", code=None).strip() in ("running", "degraded")

    def root(self, *words: str, code: int | None = 0) -> str:
        """What a command says that root types there."""
        clean = ["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        entered = ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "--", *clean, *words]
        done = subprocess.run(entered, capture_output=True, text=True, timeout=120, check=False)
        assert code in (None, done.returncode), done
        return done.stdout

    def alice(self, line: str, code: int | None = 0) -> str:
        """What a line of shell says that a person without rights types there, in the folder of her study."""
        bus = 'export HOME=/home/alice XDG_RUNTIME_DIR="/run/user/$(id -u)"'
        paths = f"export PATH=/home/alice/bin:$PATH PYTHONPATH={shlex.quote(str(ROOT))}; cd {shlex.quote(FOLDER)}"
        return self.root("runuser", "-u", "alice", "--", "bash", "-c", f"{bus}; {paths}; {line}", code=code)

    def reboot(self) -> None:
        self.root("systemctl", "reboot")
        self.shell.wait(timeout=120)
        self.boot()

    def cut_the_power(self) -> None:
        """Every process there is gone, without a word."""
        os.kill(self.init, signal.SIGKILL)
        self.shell.wait(timeout=60)

    def value(self, name: str) -> str:
        return self.alice(f'systemctl --user show "fts-*.service" --property={name} --value').strip()


def control_groups() -> Path:
    """Where this machine keeps those of version 2; raises StopIteration if it has none."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(folder) for _, folder, kind, *_ in mounts if kind == "cgroup2")


def may_boot(folder: Path) -> bool:
    if os.getuid() != 0 or not INIT.exists() or not all(map(shutil.which, NEEDED)):
        return False
    if any(Path(place).stat().st_dev != Path("/").stat().st_dev for place in (ROOT, sys.executable, sys.base_prefix)):
        return False  # an overlay shows one file system
    layers = [folder / name for name in ("lower", "upper", "work", "root")]
    for layer in layers:
        layer.mkdir()
    option = f"lowerdir={layers[0]},upperdir={layers[1]},workdir={layers[2]}"
    words = ["unshare", "--mount", "--propagation", "private", "--cgroup"]
    overlay = ["mount", "-t", "overlay", "overlay", "-o", option, str(layers[3])]
    try:
        return control_groups().is_dir() and subprocess.run([*words, *overlay], check=False).returncode == 0
    except StopIteration:
        return False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "try").mkdir()
    if not may_boot(tmp_path / "try"):
        pytest.skip("no systemd here, or no right to mount")
    machine = Machine(tmp_path / "machine")
    try:
        machine.boot()
        yield machine
    finally:
        if machine.init and psutil.pid_exists(machine.init):
            machine.cut_the_power()
        for group in sorted(machine.group.rglob("*/"), reverse=True):
            group.rmdir()
        machine.group.rmdir()


@pytest.mark.slow
def test_the_service_is_back_after_kill_9_a_power_cut_and_a_reboot(machine: Machine, tmp_path: Path) -> None:
    machine.root("useradd", "--create-home", "alice")
    for folder in {*ROOT.parents, *Path(sys.executable).parents, *Path(sys.base_prefix).parents}:
        machine.root("chmod", "o+x", str(folder))
    home = machine.folder / "upper/home/alice"
    study = home / Path(FOLDER).name
    machine.root("runuser", "-u", "alice", "--", "mkdir", "/home/alice/bin", FOLDER)
    (home / "bin/fts").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m fts.jobs.cli "$@"\n')
    (home / "bin/fts").chmod(0o755)
    (study / "train.py").write_text(TRAIN)

    machine.root("loginctl", "enable-linger", "alice")  # she never logs in
    wait_until(lambda: machine.alice("systemctl --user is-system-running", code=None).strip() == "running")
    machine.alice("fts enqueue train.py:objective --trials 6; fts service install")
    machine.alice("sed -i s/^RestartSec=.*/RestartSec=1/ ~/.config/systemd/user/*.service")
    machine.alice("systemctl --user daemon-reload")
    assert ": active" in machine.alice("fts service status")

    wait_until(lambda: "trial_started" in machine.alice("fts events"))
    first = machine.value("MainPID")
    machine.alice(f"kill -9 {first}")
    wait_until(lambda: machine.value("NRestarts") == "1")

    in_the_middle_of_a_new_trial(machine)
    machine.cut_the_power()
    machine.boot()
    in_the_middle_of_a_new_trial(machine)
    machine.reboot()
    wait_until(lambda: "done" in machine.alice("fts queue"))

    machine.alice("fts service remove")
    assert not list(home.glob(".config/systemd/user/*.service"))
    events = machine.alice("fts events --limit 1000")
    assert events.count("worker_started") == 4, events
    assert events.count("worker_lost") == 2 and "drained" in events, events  # kill -9, the power cut; the reboot asks

    calm = Study(tmp_path / "calm")
    (calm.folder / "train.py").write_text(TRAIN)
    calm.ok("enqueue", "train.py:objective", "--trials", "6")
    calm.ok("worker", "--until-empty")
    assert numbers(Study(study)) == numbers(calm)


def in_the_middle_of_a_new_trial(machine: Machine) -> None:
    before = machine.alice("fts trials train").count("complete")
    wait_until(lambda: machine.alice("fts trials train").count("complete") > before)


def numbers(study: Study) -> list[dict[str, object]]:
    trials = "SELECT number, status, params, effective_md5, seed, value, epochs, badges FROM trial ORDER BY number"
    epochs = "SELECT number, epoch, epoch.value, metrics FROM epoch JOIN trial ON trial.id = trial_id ORDER BY 1, 2"
    return study.query(trials) + study.query(epochs)
