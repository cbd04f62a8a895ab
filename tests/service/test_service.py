"""The service of a worker: what is written is what systemd and launchd take, and what it starts is a worker."""

from __future__ import annotations

import os
import plistlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fts.jobs.devices import BadSetting
from fts.jobs.service import unit
from fts.jobs.service.manager import LAUNCHD, SYSTEMD
from fts.jobs.service.unit import Service
from tests.fts_process import Study, wait_until

ODD = 'my study 100% %h $HOME "x" \\n é'
TRAIN = """
import os, time

def objective(trial):
    for step in range(1000):
        trial.report(step, step)
        time.sleep(0.05)
        if os.path.exists("go"):
            break
    return trial.suggest_float("x", 0, 1)
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("service")
    made = Study(folder / ODD, XDG_CONFIG_HOME=str(folder / "config"), HOME=str(folder))
    (made.folder / "train.py").write_text(TRAIN)
    made.ok("enqueue", "train.py:objective", "--trials", "1")
    return made


def written(study: Study, kind: str, *words: str) -> str:
    """What -n shows, without the line that names the file."""
    said = study.ok("service", "install", "-n", "--manager", kind, *words)
    assert not list(study.folder.parent.glob("config/**/*.*")), "a dry run writes nothing"
    return said.partition("\n")[2]


def words_of_systemd(line: str) -> list[str]:
    """The command as systemd reads it: quotes and backslashes, then %% and $$."""
    import shlex

    return [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit_of_an_odd_folder(study: Study, tmp_path: Path, system: bool) -> None:
    path = tmp_path / "fts-odd.service"
    path.write_text(written(study, SYSTEMD, *(["--system"] if system else [])))
    done = subprocess.run(
        ["systemd-analyze", "verify", *([] if system else ["--user"]), str(path)],
        capture_output=True, text=True, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "fts-odd" not in done.stderr, done.stderr


def test_what_the_unit_starts_stops_at_a_checkpoint_with_0_and_goes_on_after_a_kill(study: Study) -> None:
    text = written(study, SYSTEMD, "--slots", "1")
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert lines["Restart"] == "on-failure" and lines["KillMode"] == "mixed"
    assert int(lines["TimeoutStopSec"]) > 120, "a trial has 120 s for its checkpoint"
    assert lines["WorkingDirectory"].replace("%%", "%") == f"{study.folder}/"
    command = words_of_systemd(lines["ExecStart"])
    assert command[-4:] == ["worker", "--detached", "--slots", "1"] and str(study.outputs / "fts.db") in command

    def start() -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(command, cwd=study.folder, env=study.environ, stderr=subprocess.DEVNULL)
        wait_until(lambda: study.one("SELECT count(*) FROM trial WHERE status = 'running'"))
        return worker

    worker = start()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0, "an end with 0 is not started again"
    assert study.one("SELECT status FROM job") == "queued"
    worker = start()
    worker.kill()
    assert worker.wait(60) == -signal.SIGKILL, "this end is started again"
    (study.folder / "go").touch()
    worker = subprocess.Popen(command, cwd=study.folder, env=study.environ, stderr=subprocess.DEVNULL)
    wait_until(lambda: study.one("SELECT status FROM job") == "done")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


def test_launchd_gets_a_list_that_reads_back(study: Study) -> None:
    found = plistlib.loads(written(study, LAUNCHD, "--device", "cpu", "--", "--create").encode())
    assert found["WorkingDirectory"] == str(study.folder)
    assert found["ProgramArguments"][-4:] == ["--detached", "--device", "cpu", "--create"]
    assert study.fts("service", "install", "-n", "--", "--creat").code == 2
    assert study.fts("service", "install", "-n", "--", "--until-empty").code == 2
    assert found["KeepAlive"] == {"SuccessfulExit": False} and found["RunAtLoad"] is True
    assert found["ExitTimeOut"] == unit.STOP_S > 120
    assert found["EnvironmentVariables"]["FTS_LEASE_S"] == "5" and "FTS_DB" not in found["EnvironmentVariables"]
    assert found["StandardErrorPath"] == str(study.outputs / "logs" / "worker.log")
    own = {name: study.environ[name] for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME")}  # its notify.toml and GPUs
    assert own.items() <= found["EnvironmentVariables"].items()


def test_the_end_of_a_folders_name_ends_its_line() -> None:
    """A backslash there would take the next line in, and a blank would be cut off."""
    for odd in ("/a/end\\", "/a/blank "):
        text = unit.systemd(Service(("fts",), Path(odd), Path(odd) / "log", {}))
        assert f"\nWorkingDirectory={odd}/\n" in text
        assert not any(line.endswith(("\\", " ")) for line in text.splitlines()), text


def test_status_where_there_is_no_study_does_not_name_a_command_that_is_refused(tmp_path: Path) -> None:
    said = Study(tmp_path).fts("service", "status")
    assert said.code == 1 and said.out.startswith("not installed: there is no study at "), said


def test_two_folders_of_one_name_are_two_services() -> None:
    names = {Service(("fts",), Path(folder) / "study", Path("/log"), {}).name for folder in ("/a", "/b")}
    assert len(names) == 2 and all(name.startswith("fts-study-") for name in names)


def test_a_folder_that_no_service_can_name_is_refused() -> None:
    with pytest.raises(BadSetting, match="line break"):
        Service(("fts",), Path("/a\nExecStart=x"), Path("/log"), {})


def test_install_asks_systemd_status_reads_it_and_remove_leaves_nothing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, answer in (("systemctl", 'case "$*" in *is-active*) echo active;; esac'), ("loginctl", "echo no")):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/asked\n{answer}\n')
        (tools / name).chmod(0o755)
    monkeypatch.setitem(study.environ, "PATH", f"{tools}:{os.environ['PATH']}")
    shutil.rmtree(study.outputs / "logs", ignore_errors=True)
    said = study.fts("service", "install", "--manager", SYSTEMD)
    assert (study.outputs / "logs").is_dir(), "systemd starts nothing whose log has no folder"
    (path,) = (study.folder.parent / "config" / "systemd" / "user").glob("fts-*.service")
    assert said.code == 0 and "sudo loginctl enable-linger" in said.err and f"wrote {path}" in said.err, said
    assert str(sys.executable) in path.read_text()
    said = study.fts("service", "status", "--manager", SYSTEMD)
    assert said.code == 0 and said.out == f"{path.stem}: active ({path})\n"
    for words, cure in (("status", "status` shows"), ("remove", "remove` removes"), ("install -n", "remove` removes")):
        said = study.fts("service", *words.split(), "--system", "--manager", SYSTEMD)
        assert said.code and f"a service for your user: {path}; `fts service {cure} it" in said.out + said.err, said
    assert study.fts("service", "remove", "--manager", SYSTEMD).code == 0 and not path.exists()
    assert study.fts("service", "remove", "--manager", SYSTEMD).code == 6
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[1:3] == ["systemctl --user daemon-reload", f"systemctl --user enable --now {path.name}"], asked
    assert f"systemctl --user disable --now {path.name}" in asked
    monkeypatch.setitem(study.environ, "PATH", str(Path(sys.executable).parent))
    said = study.fts("service", "install", "--manager", SYSTEMD)
    assert said.code == 1 and "there is no systemctl here: -n shows the service" in said.err, said


LAUNCHCTL = """#!/bin/sh
# as launchctl: what is loaded cannot be loaded again, and what is not can be neither found nor unloaded;
# bootout returns before the service has ended, here for one `print`
echo launchctl "$@" >> {0}/asked
case "$1" in
    print) test -f {0}/loaded || exit 113; echo "	state = $(cat {0}/loaded)"
        ! grep -q SIGTERMed {0}/loaded || rm {0}/loaded ;;
    bootstrap) test ! -f {0}/loaded || exit 5; echo running > {0}/loaded ;;
    kickstart) test -f {0}/loaded || exit 113; echo running > {0}/loaded ;;
    bootout) test -f {0}/loaded || exit 3; echo SIGTERMed > {0}/loaded ;;
esac
"""


def test_launchd_is_asked_for_what_it_can_do_now(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, loaded = tmp_path / "tools", tmp_path / "loaded"
    tools.mkdir()
    (tools / "launchctl").write_text(LAUNCHCTL.format(tmp_path))
    (tools / "launchctl").chmod(0o755)
    monkeypatch.setitem(study.environ, "PATH", f"{tools}:{os.environ['PATH']}")
    (path,) = [study.folder.parent / "Library" / "LaunchAgents" / f"{unit_of(study).name}.plist"]

    def service(*words: str) -> tuple[int, str]:
        said = study.fts("service", *words, "--manager", LAUNCHD)
        return said.code, said.out + said.err

    assert service("install")[0] == 0 and loaded.read_text() == "running\n" and path.is_file()
    code, said = service("install")  # once more: nothing has changed
    assert code == 0 and "has changed" not in said
    code, said = service("install", "--slots", "1")
    assert code == 0 and "launchctl bootout" in said and f"launchctl bootstrap gui/{os.getuid()} " in said
    command = said[said.index("launchctl bootout") :].partition("`")[0]
    assert subprocess.run(["sh", "-c", command], env=study.environ, check=False).returncode == 0, command
    assert loaded.read_text() == "running\n"
    assert service("status")[0] == 0
    loaded.write_text("not running\n")  # after `fts stop`
    code, said = service("status")
    assert code == 1 and "launchctl kickstart" in said
    assert service("install", "--slots", "1")[0] == 0 and loaded.read_text() == "running\n"
    loaded.unlink()  # it was unloaded by hand
    code, said = service("status")
    assert code == 1 and "launchctl bootstrap" in said and "kickstart" not in said
    assert service("remove") == (0, f"removed {path}\n")


def unit_of(study: Study) -> Service:
    return Service(("fts",), study.folder, Path("/log"), {})


def test_a_folder_that_is_not_utf_8_is_refused_in_one_sentence(tmp_path: Path) -> None:
    for made in ({"folder": Path("/caf\udce9")}, {"environment": {"FTS_X": "\udce9"}}):
        with pytest.raises(BadSetting, match="not UTF-8"):
            Service(**{"command": ("fts",), "folder": Path("/a"), "log": Path("/l"), "environment": {}, **made})
