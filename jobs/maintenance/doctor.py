"""Checks everything a long run depends on; reports in one line each whether it is ok, and what to do if not.

What cannot be determined is reported as unknown, never as ok.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import stat
import sys
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts import __version__
from fts.frozen import dataclass
from fts.installing import installing
from fts.jobs.api.load import UnknownStudy, installed, study
from fts.jobs.cgroups import cores_in_words, usable_cores
from fts.jobs.cli.errors import sentence_of
from fts.jobs.maintenance import cleanup
from fts.jobs.sensors import detect
from fts.jobs.sensors.reading import HOTTEST
from fts.jobs.settings import BadSetting, Places, best_device
from fts.jobs.status import formatting
from fts.jobs.status.conditions import disk_low
from fts.jobs.status.sanitize import clean
from fts.jobs.supervisor.process_tree import same_process
from fts.state import checks, queries, slot_lock, transitions
from fts.state.db import open_database, open_for_reading
from fts.state.errors import SchemaTooOld, StateError
from fts.state.files import no_space, room, shell_path
from fts.state.location import not_a_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fts.jobs.api.study import Study
    from fts.state.db import Database

PACKAGES = ("optuna", "huey", "peewee", "textual")
OF_STUDIES = {"patchtst": ("torch", "TA-Lib")}  # study -> packages that its extra installs
FEW_FILES = 1000  # a trial writes about five, and more with checkpoints and artifacts
MEMORY_LITTLE = 2 * formatting.GB  # bytes; torch and a 2M trial need about 1 GB


@dataclass(frozen=True)
class Diagnosis:
    name: str
    state: str  # ok | warn | bad | unknown
    text: str
    cure: str | None = None
    fix: str | None = None  # key of FIXES, if `fts doctor --fix` can fix it

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(places: Places) -> list[Diagnosis]:
    """Runs all checks and returns their findings."""
    of_outputs = (unusable,) if not_a_folder(places.db) else (database, exposed, linked, slots, leftovers)
    checks: tuple[Callable[[Places], Iterator[Diagnosis]], ...] = (
        python, packages, machine, terminal, sensed, messages, *of_outputs, data,
    )  # fmt: skip
    return [finding for check in checks for finding in answered(check, places)]


def answered(check: Callable[[Places], Iterator[Diagnosis]], places: Places) -> Iterator[Diagnosis]:
    """Yields the findings of a check; an error of the check becomes a finding."""
    try:
        yield from check(places)
    except (OSError, StateError) as error:
        yield Diagnosis(check.__name__, "bad", f"cannot be checked: {sentence_of(error)}")


def fix_all(places: Places, found: list[Diagnosis]) -> list[str]:
    """Fixes what can be fixed safely; returns a sentence for each fix."""
    done: list[str] = []
    for key in dict.fromkeys(finding.fix for finding in found if finding.fix):
        try:
            done += FIXES[key](places)
        except (OSError, StateError) as error:
            done.append(f"not fixed: {sentence_of(error)}")
    return done or ["nothing to fix"]


# ---------------------------------------------------------------- environment


def python(_places: Places) -> Iterator[Diagnosis]:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Diagnosis("python", "ok", text)


def packages(_places: Places) -> Iterator[Diagnosis]:
    """Reads the versions from metadata, because importing torch would take seconds."""
    versions, missing = _versions(PACKAGES)
    for study_name, names in OF_STUDIES.items():
        found, absent = _versions(names)
        versions += found
        if absent:
            cure = f"{installing(f'fts-hpo[{study_name}]')} where its jobs are to run"
            yield Diagnosis("packages", "ok", f"not installed, for the study {study_name}: {', '.join(absent)}", cure)
    if missing:
        yield Diagnosis("packages", "bad", f"{', '.join(missing)} missing", "make setup")
    else:
        yield Diagnosis("packages", "ok", ", ".join([f"fts {__version__}", *versions]))


def _versions(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Returns `optuna 5.0.0` for each installed package, and the names of the missing ones."""
    versions, missing = [], []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return versions, missing


def messages(places: Places) -> Iterator[Diagnosis]:
    """Checks whether messages can be sent; shows no part of an address."""
    from fts.jobs.notify import targets  # here, not above: only this check needs it
    from fts.jobs.notify.mailbox import Mailbox
    from fts.jobs.notify.notifier import mailbox_path

    try:
        found = targets.read().targets
    except BadSetting as error:
        yield Diagnosis("messages", "bad", str(error), "correct it, or remove it and `fts notify add` again")
        return
    if not found:
        yield Diagnosis("messages", "ok", "no target for messages", "fts notify add")
    elif importlib.util.find_spec("apprise") is None and any(each.service != "command" for each in found):
        yield Diagnosis(
            "messages", "bad", "the package apprise, which sends them, is missing", installing("fts-hpo[notify]")
        )
    else:
        lines = Mailbox.of(mailbox_path(places), 0).lines
        troubles = {each.name: lines[each.name].trouble for each in found if each.name in lines}
        partly = {name for name, line in lines.items() if line.sent_at == line.last_at}  # a failed try that was sent
        if fine := [each.name for each in found if not troubles.get(each.name)]:
            sent = [name for name in fine if name in lines and lines[name].sent_at]
            if sent:
                yield Diagnosis("messages", "ok", f"sent to {', '.join(sent)}")
            if new := [name for name in fine if name not in sent]:
                text = f"not known whether messages reach {', '.join(new)}: none was sent yet"
                yield Diagnosis("messages", "unknown", text, f"fts notify test {new[0]}")
        for name, trouble in troubles.items():
            if trouble:
                who = f"only some recipients of {name} get them" if name in partly else f"{name} gets none"
                yield Diagnosis("messages", "warn", f"{who}: {trouble}", f"fts notify test {name}")


def _processors() -> Diagnosis:
    cores = cores_in_words(usable_cores())
    try:
        device = best_device()
        untried = " (FTS_DEVICE says so, it was not tried)" if os.environ.get("FTS_DEVICE") and device != "cpu" else ""
        return Diagnosis("processors", "ok", f"{cores}, trials run on {device}{untried}")
    except BadSetting as error:
        cure = "correct FTS_DEVICE or unset it"
        return Diagnosis("processors", "bad", f"{cores}, but no worker can start: {error}", cure)


def machine(places: Places) -> Iterator[Diagnosis]:
    import psutil  # here, not above: only this check needs it

    memory = psutil.virtual_memory()
    text = f"{formatting.size(memory.available)} of {formatting.size(memory.total)} free"
    little = memory.available < MEMORY_LITTLE
    yield _processors()
    yield Diagnosis(
        "memory",
        "warn" if little else "ok",
        text,
        "close other programs: a trial needs about 1 GB or more" if little else None,
    )
    folder = next(path for path in (places.outputs, *places.outputs.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    files = room(folder)[1]
    if files == 0:
        yield Diagnosis("disk", "bad", no_space(folder), "fts gc frees checkpoints")
    elif free < disk_low(folder):
        yield Diagnosis("disk", "bad", f"{formatting.size(free)} free for {folder}", "fts gc frees checkpoints")
    elif files is not None and files < FEW_FILES:
        text = f"{formatting.size(free)} free for {folder}, but it takes only {formatting.count(files, 'more file')}"
        yield Diagnosis("disk", "warn", f"{text} (inodes)", "remove some files, not large ones only")
    else:
        yield Diagnosis("disk", "ok", f"{formatting.size(free)} free for {folder}")


def terminal(_places: Places) -> Iterator[Diagnosis]:
    """Checks what the monitor needs of the terminal: encoding, colours, size, tmux."""
    term, colours = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    encoding = (sys.stdout.encoding or "unknown").lower()
    size = shutil.get_terminal_size()
    inside = ", inside tmux" if os.environ.get("TMUX") else ""
    text = (
        f"{term or 'unknown'} {size.columns}x{size.lines}, {encoding}, colours {colours or 'of the terminal'}{inside}"
    )
    if not sys.stdout.isatty():
        yield Diagnosis("terminal", "ok", "none here (output goes to a pipe or a file)")
    elif "utf" not in encoding:
        yield Diagnosis("terminal", "warn", text, "export LC_ALL=C.UTF-8 to see all glyphs; until then fts shows ASCII")
    else:
        yield Diagnosis("terminal", "ok", text)


def sensed(places: Places) -> Iterator[Diagnosis]:
    """Checks which sensors work; the guard acts only on known values."""
    try:
        source = detect.from_env(places.outputs)
    except ValueError as error:
        yield Diagnosis("sensors", "bad", str(error), "unset FTS_SENSORS")
        return
    try:
        reading = source.read()
    finally:
        source.close()
    if reading.temperature is not None:
        yield Diagnosis("temperature", "ok", f"{reading.temperature:.0f} °C ({reading.temperature_source})")
    elif reading.unknown_because is not None:
        cure = "look whether the program that writes it still runs; until then the heat guard cannot act"
        yield Diagnosis("temperature", "warn", f"unknown: {reading.unknown_because}", cure)
    elif reading.thermal_pressure is not None:
        yield Diagnosis("temperature", "ok", f"thermal pressure {reading.thermal_pressure}")
    else:
        cure = "FTS_SENSORS=file:PATH reads your own sensor; without one the heat guard cannot act"
        found = "not available here"
        if (choice := os.environ.get("FTS_SENSORS", "").strip()).startswith("file:"):
            path = Path(choice.removeprefix("file:"))
            why = f"holds no temperature above 0 and up to {HOTTEST:.0f} °C" if path.is_file() else "is not a file"
            found, cure = f"{path} (FTS_SENSORS) {why}", "without a temperature the heat guard cannot act"
        yield Diagnosis("temperature", "unknown", found, cure)
    if reading.gpu_percent is not None:
        used = "" if reading.gpu_memory is None else f", {formatting.size(reading.gpu_memory)} in use"  # None on a Mac
        yield Diagnosis("gpu", "ok", f"{reading.gpu_percent:.0f} % busy{used}")
    else:
        yield Diagnosis("gpu", "unknown", "not measured: no sensor found a GPU")


# ---------------------------------------------------------------- the study


def unusable(places: Places) -> Iterator[Diagnosis]:
    """The outputs folder is something else: one line says so, instead of each check that looks into it."""
    yield Diagnosis("database", "bad", str(not_a_folder(places.db)))


def database(places: Places) -> Iterator[Diagnosis]:
    for finding in checks.sqlite_version():
        yield Diagnosis("sqlite", "ok" if finding.ok else "warn", finding.sentence)
    if not is_there(places.db):
        yield Diagnosis("database", "ok", f"none yet at {places.db}", "fts enqueue creates it")
        return
    mode = places.outputs.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX:  # with the sticky bit (/tmp), others cannot replace files
        text = f"other users can replace files in {places.outputs}"
        yield Diagnosis("folder", "warn", text, f"chmod 700 {shell_path(places.outputs)}")
    try:
        db = open_database(places.db, readonly=True)
    except SchemaTooOld as error:
        yield Diagnosis("database", "bad", str(error), "fts doctor --fix", "migrate")
        return
    except StateError as error:
        yield Diagnosis("database", "bad", str(error))
        return
    try:
        for found in checks.check_all(db)[1:]:  # without the SQLite version, which is reported above
            state = "unknown" if not found.known else "ok" if found.ok else "bad" if found.grave else "warn"
            yield Diagnosis("database", state, found.sentence, found.cure, "state" if found.fixable else None)
        yield from dead_workers(db)
        if paused := queries.flag(db, "queue_paused"):
            yield Diagnosis("queue", "warn", f"paused: {paused['reason']}", "fts resume --queue")
    finally:
        db.close()


def exposed(places: Places) -> Iterator[Diagnosis]:
    """Checks what other users can read: the exports have the same results as the database."""
    if not is_there(places.outputs):
        return
    if not places.outputs.stat().st_mode & 0o055:  # others cannot enter the folder
        yield Diagnosis("private", "ok", f"only its owner can read {places.outputs}")
        return
    closed: list[OSError] = []
    walked = os.walk(places.outputs, onerror=closed.append)
    open_files = [Path(path) / name for path, _, names in walked for name in names]
    open_files = [path for path in open_files if path.name != ".gitkeep" and others_can_read(path)]
    mode = f"{stat.S_IMODE(places.outputs.stat().st_mode):o}"
    if open_files:
        more = f" and {formatting.count(len(open_files) - 1, 'more file', 'more files')}" if len(open_files) > 1 else ""
        text = f"other users can read {min(open_files)}{more} ({places.outputs} has mode {mode})"
        yield Diagnosis("private", "warn", text, f"chmod -R go-rwx {shell_path(places.outputs)}")
    elif closed:
        more = f" and {len(closed) - 1} more" if len(closed) > 1 else ""
        text = f"not known who can read the files in {closed[0].filename}{more}: {closed[0].strerror}"
        yield Diagnosis("private", "unknown", text, f"chmod 700 {shell_path(places.outputs)}")
    else:
        text = f"other users can list {places.outputs} (mode {mode}), but cannot read its files"
        yield Diagnosis("private", "warn", text, f"chmod 700 {shell_path(places.outputs)}")


def others_can_read(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:  # deleted, or not accessible
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o044)


def linked(places: Places) -> Iterator[Diagnosis]:
    """Reports links in place of our folders, because fts neither writes nor deletes through them."""
    for name in ("hpo", "trials", "logs", "models", "report", "scripts"):
        if (path := places.outputs / name).is_symlink():
            text = f"{path} is a link, and fts does not write or delete through links inside {places.outputs}"
            yield Diagnosis("links", "warn", text, f"move its files there, or make {places.outputs} itself the link")


def is_there(path: Path) -> bool:
    """Whether the path exists. Raises OSError if this user may not look there, where Path.exists says False."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def dead_workers(db: Database) -> Iterator[Diagnosis]:
    """Reports workers of this machine that are recorded as running, but whose process is gone."""
    host = socket.gethostname()
    for worker in queries.workers(db):
        if worker.status == "running" and worker.host == host and not same_process(worker.pid, worker.pid_started):
            text = f"worker {worker.id} (process {worker.pid}) has died without stopping properly"
            yield Diagnosis(
                "worker", "warn", text, "fts doctor --fix, or start a worker: it continues the jobs", "workers"
            )


def slots(places: Places) -> Iterator[Diagnosis]:
    """Reports which processes hold the slots of this machine."""
    taken = []
    inside = list(places.outputs.iterdir()) if is_there(places.outputs) else []  # glob hides that it may not look
    for path in sorted(path for path in inside if fnmatchcase(path.name, "slot-*.lock")):
        index = path.stem.removeprefix("slot-")
        try:
            holder = slot_lock.holder(places.outputs, int(index)) if index.isdecimal() else None
        except OSError as error:  # another user's file
            yield Diagnosis(
                "slots", "unknown", f"slot {index}: {sentence_of(error)}", "ask the owner of this file who works there"
            )
            continue
        if holder is not None:
            taken.append(f"slot {index}: {holder}")
    yield Diagnosis("slots", "ok", "; ".join(taken) if taken else "no worker of this study on this machine")


def leftovers(places: Places) -> Iterator[Diagnosis]:
    """Reports what could be deleted, and trial folders that belong to no job."""
    if not is_there(places.db):
        return
    try:
        db = open_database(places.db, readonly=True, check=False)
    except StateError:
        return  # reported by the check of the database
    try:
        found, strange = cleanup.collect(db, places), cleanup.orphans(db, places)
    finally:
        db.close()
    total = sum(item.bytes for item in found)
    if found:
        yield Diagnosis("leftovers", "warn", f"{formatting.size(total)} that no trial needs any more", "fts gc")
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        does = "belong" if more else "belongs"
        text = f"{strange[0].name}{more} in {places.outputs / 'trials'} {does} to no job of this database"
        yield Diagnosis("leftovers", "warn", text, "inspect and remove by hand")
    if not found and not strange:
        yield Diagnosis("leftovers", "ok", "none")


def data(places: Places) -> Iterator[Diagnosis]:
    """Loads each installed study, and runs its checks unless all jobs here belong to other studies."""
    here = studies_in(places)
    for name in sorted(installed()):
        try:
            made = study(name)
        except UnknownStudy as error:  # also one without jobs here: its commands are missing
            cure = "install its package again, or uninstall it"
            yield Diagnosis("data", "bad" if name in here else "warn", clean(str(error)), cure)
            continue
        if not here or name in here:
            yield from checks_of(made, name, places)


def checks_of(made: Study, name: str, places: Places) -> Iterator[Diagnosis]:
    """Runs the checks of one study; whatever its code raises becomes a finding."""
    try:
        for status, text, cure in made.checks(places):
            yield Diagnosis("data", status, text, cure)
    except ModuleNotFoundError as missing:  # the study's packages are not installed
        yield Diagnosis(
            "data", "unknown", f"not checked: the study {name} needs {missing.name}", installing(f"fts-hpo[{name}]")
        )
    except Exception as error:  # noqa: BLE001  # the code of another package may raise anything
        text = f"the checks of the study {name} failed: {type(error).__name__}: {clean(str(error))}"
        yield Diagnosis("data", "bad", text, "tell its authors, or uninstall its package")


def studies_in(places: Places) -> set[str]:
    """Returns the studies of the jobs here; empty without a readable database."""
    if not places.db.exists():
        return set()
    try:
        db = open_for_reading(places.db)
    except (StateError, OSError):
        return set()
    try:
        return {job.study for job in queries.jobs(db)}
    except (StateError, OSError):
        return set()
    finally:
        db.close()


# ---------------------------------------------------------------- fixes


def _fix_state(places: Places) -> list[str]:
    db = open_database(places.db)
    try:
        return checks.fix(db)
    finally:
        db.close()


def _fix_workers(places: Places) -> list[str]:
    """Puts the jobs of dead workers back in the queue; their trial processes end when their stdin closes."""
    db = open_database(places.db)
    try:
        released = transitions.reconcile(db, socket.gethostname(), same_process)
    finally:
        db.close()
    return [f"dead workers marked as stopped; {formatting.count(len(released), 'job')} put back in the queue"]


def _migrate(places: Places) -> list[str]:
    open_database(places.db).close()
    return [f"{places.db} was backed up and migrated to the schema of this fts"]


FIXES: dict[str, Callable[[Places], list[str]]] = {
    "state": _fix_state,
    "workers": _fix_workers,
    "migrate": _migrate,
}
