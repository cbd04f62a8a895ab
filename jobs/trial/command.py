"""Runs a user's command as a trial: starts it, reads its reports, and ends it with all processes that it started.

    python -Pm fts.jobs.trial.command --facts-fd 5        (the supervisor starts it)

The command's output goes to the trial's log. Its reports are read from files (fts.jobs.trial.reports), so nothing is
lost when either process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import resource
import signal
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api import protocol
from fts.jobs.api.code import md5_now
from fts.jobs.api.command import SEED_BITS, CommandCell, filled, filled_path, text_of
from fts.jobs.api.function import shrinks
from fts.jobs.api.names import variable
from fts.jobs.api.spec import TrialSpec
from fts.jobs.python import this_python
from fts.jobs.trial import orphans, process
from fts.jobs.trial.cause import CODE_ERROR, MACHINE_ERROR, NO_DEVICE, cause_of, is_foreign
from fts.jobs.trial.death import (
    cause_of_death,
    count_oom_kills,
    exception_line,
    exit_sentence,
    last_printed,
    log_tail,
    size_of,
    split_stacks,
)
from fts.jobs.trial.error_text import how_to_find, print_error, sentence_of, with_place
from fts.jobs.trial.group import ProcessGroup
from fts.jobs.trial.own_modules import remove_old_bytecode
from fts.jobs.trial.process import Commands, Throttle, log_to, say
from fts.jobs.trial.reports import LONGEST, CommandReport, CompleteLines, Reports, Window
from fts.jobs.trial.running import is_finite
from fts.jobs.trial.signalled import SIGNALLED_S
from fts.jobs.trial.sources import SourceCopy, number_in, source_of
from fts.state.files import ABSENT, atomic_write, below, make_folder, naming, open_log
from fts.state.values import HUGE

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_S = 0.02  # the longest time between two looks at the command
SHORTEST_POLL_S = 0.001
POLL_SHARE = 0.1  # of a command's time so far: the end of one that takes milliseconds is seen as soon
CODE_CHANGED = "code changed"  # badge: the script has changed since it was enqueued
REPORT, PARAMETERS, ATTEMPTS = "report.jsonl", "parameters.json", "attempts.json"
AGAIN_ALLOWED = 3  # times in a row that a command may ask to run again without a new report or checkpoint file
PYTHON = re.compile(r"python[\d.]*")
NUMBER = "([-0-9.eE+]+)"  # group of a regular expression, as the pages show it
BARE_NUMBER = f"--regex '^{NUMBER}$'"
NO_MODULE = re.compile(r"(?:Error|python[\d.]*): No module named '?([\w.]+)'?")
RAISED_BY_DEVICE = re.compile(r"[\w.]*(?:RuntimeError|AssertionError|AcceleratorError|SystemError): ")
KILLED_IN_SHELL = {128 + number: -number for number in (signal.SIGKILL, signal.SIGTERM)}  # exit codes of a shell
# errors of a start that comes to the same at every try; others are, say, a lack of memory
LASTING = {errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC, errno.ELOOP}


class CannotStart(OSError):
    """The command could not be started."""


def main() -> int:
    return process.main(run, read)


def read(data: Any) -> TrialSpec:
    """Reads the specification of a command's trial. Raises BadSpec."""
    return TrialSpec.from_json(data, CommandCell.from_json)


def run(spec: TrialSpec, orders: Commands) -> Iterator[dict[str, Any]]:
    """Runs one trial. Yields the fact `started`, then how it ended; its epochs are sent directly."""
    cell: CommandCell = spec.cell
    orphans.adopt()
    log_to(Path(spec.log_path).absolute())
    try:
        modules: dict[Path, bytes] = {}
        md5 = md5_now(md5_of_script(cell), Path(cell.folder), cell.code, modules)
        remove_old_bytecode(modules)
        badges = [] if md5 in ("", cell.code_md5) else [CODE_CHANGED]
        orders.training = True
        trial = CommandTrial(spec, orders)
        yield {"fact": "started", **facts_of(trial), "code_md5": md5, "badges": badges}
        yield trial.run(badges)
    except CannotStart as error:
        yield {"fact": "failed", "cause": CODE_ERROR, "message": str(error), "lasting": True}
    except Exception as error:  # noqa: BLE001  # such as a full disk or a missing folder: must end only this trial
        with contextlib.suppress(OSError):
            print_error(error)
        foreign = is_foreign(error)
        yield {"fact": "failed", "cause": cause_of(error), "message": sentence_of(error), "foreign": foreign}


class CommandTrial:
    """One trial of a command in this process: its files, its attempts, its reports."""

    def __init__(self, spec: TrialSpec, orders: Commands) -> None:
        self.spec, self.cell, self.orders = spec, spec.cell, orders
        self.folder, self.log = Path(spec.folder).absolute(), Path(spec.log_path).absolute()
        self.root = self.folder.parents[2]
        self.checkpoints, self.report = self.folder / "checkpoint", self.folder / REPORT
        self.reports = Reports(spec.cell, say)
        self.pace = Throttle(spec.checkpoint_every_s)
        for folder in (self.folder, self.checkpoints):
            make_folder(folder, self.root)
        os.close(open_log(self.report, self.root))
        self.resumed = any(self.checkpoints.iterdir())
        self.windows = self._windows()
        reads_log = self.cell.regex is not None or self.cell.stdout
        self.read_from = self.log if reads_log else self.report
        path = filled_path(self.cell, self.values, self.own)
        self.source = None if path is None else source_of(self.cell, path, say)
        self.mirror = None if self.source is None else SourceCopy(self.source, self.report)
        self._began = self._last_report = time.monotonic()
        self._sent_lacking = False

    # -- the parts of the files that each attempt wrote

    def _windows(self) -> dict[str, list[Window]]:
        """Reads the windows of earlier attempts on the log and the report from the trial's folder."""
        try:
            with naming(self.folder / ATTEMPTS):
                kept = json.loads((self.folder / ATTEMPTS).read_text())
            return {name: [Window(*pair) for pair in kept[name]] for name in ("log", "report")}
        except (*ABSENT, ValueError, LookupError, TypeError):
            return {"log": [], "report": []}

    def _open_windows(self) -> None:
        """Starts the windows of this attempt, and saves them before it writes."""
        for name, path in (("log", self.log), ("report", self.report)):
            size = size_of(path)
            windows = self.windows[name]
            if windows and windows[-1].end is None:
                windows[-1].end = size
            windows.append(Window(size))
        self._keep_windows()

    def _keep_windows(self) -> None:
        kept = {name: [list(asdict(window).values()) for window in of] for name, of in self.windows.items()}
        atomic_write(self.folder / ATTEMPTS, json.dumps(kept), self.root)

    def _close_log(self, whole: bool) -> None:
        """Ends this attempt's window on the log. With `whole`, a last line without a newline gets one."""
        if whole:
            with contextlib.suppress(OSError), self.log.open("rb") as file:
                if file.seek(0, os.SEEK_END) > self.windows["log"][-1].start:
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        print(flush=True)
        self.windows["log"][-1].end = size_of(self.log)
        self._keep_windows()

    # -- its life

    def run(self, badges: list[str]) -> dict[str, Any]:
        """Runs the command until the trial ends or is stopped. Returns the last fact."""
        again = 0
        self._write_parameters()
        words = filled(self.cell, self.values, self.own)
        while True:
            if self.orders.stop_asked():
                return self._stopped()
            reached = self._reached()
            say(" ".join([self.cell.experiment, f"t{self.spec.number}", *badges, "runs", *words])[:2000])
            code = self._attempt(words)
            if code is None:
                return {"fact": "pruned", "peak_bytes": peak_bytes()}
            if code not in (0, protocol.STOPPED) and not self.orders.stop_asked():
                self.orders.await_signal(time.monotonic() + SIGNALLED_S)
            if self.stop_sent or self.orders.terminated or (code != 0 and self.orders.stop_asked()):
                return self._stopped()  # the signal of the stop may have reached it before we passed it on
            if code == protocol.STOPPED:
                again = 0 if self._reached() != reached else again + 1
                if again < AGAIN_ALLOWED:
                    say("asks to run again")
                    continue
            return self._result() if code == 0 else self._failed(code)

    def _attempt(self, words: list[str]) -> int | None:
        """Runs the command once. Returns its exit code (negative: the signal); None: the trial was pruned."""
        self._open_windows()
        name = "log" if self.read_from == self.log else "report"
        lines = self._lines = CompleteLines(self.read_from, self.windows[name])
        self.reports = Reports(self.cell, say)
        self.stop_sent, kill_by, whole = False, float("inf"), False
        oom_kills = count_oom_kills()
        self._take(lines, ended=False)  # reports of earlier attempts first
        group = self._start(words)
        began = time.monotonic()
        try:
            while True:
                code = group.poll()
                whole = code is not None and code >= 0
                self._take(lines, ended=whole)
                if code is not None:
                    self._oom_kills = count_oom_kills() - oom_kills
                    return KILLED_IN_SHELL.get(code, code)
                if self.orders.prune_asked(self.spec.number):
                    group.end(self.cell.grace_s, POLL_S)
                    return None
                if self.orders.stop_asked() and not self.stop_sent:
                    self.stop_sent = True
                    group.ask_to_stop()
                if self.stop_sent and self.orders.supervisor_died and kill_by == float("inf"):
                    kill_by = time.monotonic() + self.cell.grace_s  # a living supervisor does this itself
                late = self.orders.leaving or time.monotonic() > kill_by - self.cell.grace_s / 4
                if self.stop_sent and not group.all_asked and (late or group.rest_is_due()):
                    group.ask_all()
                if time.monotonic() > kill_by:
                    group.kill()
                time.sleep(min(POLL_S, max(SHORTEST_POLL_S, POLL_SHARE * (time.monotonic() - began))))
        finally:
            group.kill()
            orphans.end_children()  # processes that left the group
            self._close_log(whole)

    def _start(self, words: list[str]) -> ProcessGroup:
        try:
            return ProcessGroup(words, self._environment(), self.cell.folder, sys.stdout.fileno())
        except OSError as error:
            if error.errno in LASTING:
                why = why_not_started(words[0], Path(self.cell.folder), error)
                raise CannotStart(f"{words[0]} cannot be started: {why}") from error
            raise OSError(error.errno, f"{words[0]} cannot be started: {error.strerror}") from error

    def _take(self, lines: CompleteLines, ended: bool) -> None:
        if self.mirror is not None:
            self.mirror.update(ended)
        for attempt, line in lines.new(ended):
            report = self.reports.take(attempt, line)
            if report is not None:
                self._tell(report, now=attempt == len(lines.windows) - 1)
            if self.reports.lacks_metric and not self._sent_lacking:
                self._sent_lacking = True
                names = list(self.reports.names)
                say(f"so far it has reported {', '.join(names)} and not {self.cell.metric}, the metric of the study")
                self.orders.tell({"fact": "lacking", "names": names[:10]})

    def _tell(self, report: CommandReport, now: bool) -> None:
        self.orders.tell({"fact": "epoch", "epoch": report.step, "value": report.value, "metrics": report.metrics})
        if now:
            step_s = time.monotonic() - self._last_report
            self._last_report = time.monotonic()
            if self.pace.step_due():
                step = {"step": report.step, "epoch": report.step, "loss": report.value, "step_s": step_s}
                self.orders.tell({"fact": "step", **step})

    def _reached(self) -> Any:
        """Returns the progress of an attempt, for comparison: its number of reports, and its checkpoint files."""
        files = sorted(below(self.checkpoints))
        with contextlib.suppress(OSError):
            return self.reports.count, [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        return self.reports.count, []

    # -- what the command receives

    @property
    def values(self) -> dict[str, Any]:
        """The values of parameters and axes, by name."""
        return {**self.spec.params, **self.cell.axes}

    @property
    def own(self) -> dict[str, Any]:
        return {
            "params": str(self.folder / PARAMETERS),
            "seed": self.spec.seed % 2**SEED_BITS,
            "number": self.spec.number,
            "checkpoint_dir": str(self.checkpoints),
            "folder": str(self.folder),
            "threads": self.spec.threads,
            "shrink": shrinks(self.spec.recipe),
        }

    def _write_parameters(self) -> None:
        text = json.dumps(self.values, indent=1)
        atomic_write(self.folder / PARAMETERS, text + "\n", self.root, durable=False)

    def _environment(self) -> dict[str, str]:
        own = self.own
        ours = {
            "FTS_PARAMS": own["params"],
            "FTS_SEED": str(own["seed"]),
            "FTS_TRIAL": str(own["number"]),
            "FTS_CHECKPOINT_DIR": own["checkpoint_dir"],
            "FTS_FOLDER": own["folder"],
            "FTS_REPORT": str(self.report),
            "FTS_THREADS": str(own["threads"]),
            "FTS_SHRINK": str(own["shrink"]),
            "FTS_DEVICE": self.spec.device,
        }
        ours |= {f"FTS_PARAM_{variable(name)}": text_of(value) for name, value in self.spec.params.items()}
        ours |= {f"FTS_CELL_{variable(name)}": text_of(value) for name, value in self.cell.axes.items()}
        path = os.pathsep.join(
            [*filter(None, [os.environ.get("PATH", os.defpath)]), str(Path(this_python()).parent)]  # finds `fts log`
        )
        return {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **os.environ, **ours, "PATH": path}

    # -- how it ended

    def _stopped(self) -> dict[str, Any]:
        say("stopped")
        return {"fact": "stopped", "step": self.reports.count}

    def _result(self) -> dict[str, Any]:
        reports, best = self.reports.epochs, self.reports.best
        if not reports:
            return {"fact": "failed", "cause": CODE_ERROR, "message": self._without_metric()}
        decides = best if self.cell.best and best is not None else reports[-1]
        sound = is_finite(decides.value)
        size = f"infinite or beyond {HUGE:g}" if math.isinf(decides.value) else decides.value
        say(f"ended with {self.cell.metric} {decides.value:g}")
        return {
            "fact": "result",
            "value": decides.value if sound else None,
            "reason": "finished" if sound else "diverged",
            "message": None if sound else f"{self.cell.metric} is {size}, expected a finite number",
            "metrics": decides.metrics,
            "epochs": self.reports.count,
            "best_epoch": None if best is None else best.step,
            "last_value": reports[-1].value,
            "peak_bytes": peak_bytes(),
        }

    def _without_metric(self) -> str:
        seen = ", ".join(self.reports.names)
        if seen:
            found = f"it reported {seen}"
        elif self.reports.complaints:
            found = self.reports.complaints[0]
        elif self.source is not None:
            found = self.source.found
        elif self.read_from == self.log:
            last = self._lines.last[:200]
            found = f"its last line of output is {last!r}" if last else "it printed nothing"
            option = self._regex_option() or (BARE_NUMBER if number_in(last) is not None else "")
            if self.cell.stdout and option:
                found += f", which --stdout does not read: replace it by {option}"
        else:
            printed = self._regex_option() or ("--stdout or --regex" if self.cell.metric in self._output() else "")
            last = self._output().rpartition("\n")[2].strip()[:200]
            ending = f" and its last line of output is {last!r}" if last else ""
            if number_in(last) is not None:
                ending += f"; if that is {self.cell.metric}, add {BARE_NUMBER}"
            empty = f"each line has over {LONGEST:,} bytes" if self._lines.ignored else "the report is empty"
            found = f"{empty}{f', but it printed it: add {printed}' if printed else ending}"
        expected = f"expected {self.cell.source}" + (
            f"; or enqueue with --metric {seen}" if len(self.reports.names) == 1 else ""
        )
        return f"the command ended without {self.cell.metric} (exit code 0): {found}; {expected}"

    def _regex_option(self) -> str:
        """Returns the --regex that finds `loss=0.5`, `loss: 0.5` or `loss 0.5` in the output; empty: none is there."""
        output = self._output()
        like = re.search(rf"\b{re.escape(self.cell.metric)}(\s*[=:]\s*|[ \t]+)[-+.]?\d", output)
        return f"--regex '{self.cell.metric}{like[1]}{NUMBER}'" if like else ""

    def _failed(self, code: int) -> dict[str, Any]:
        output = self._output()
        cause = cause_of_death(code, self._oom_kills, was_ready=True, output=output).value
        message = exit_sentence(code, self._oom_kills).replace("the trial process", "the command")
        if code == protocol.STOPPED:
            message = f"the command asked {AGAIN_ALLOWED} times to run again (exit code 75) and made no progress"
        output, place = split_stacks(output, folder := Path(self.cell.folder))
        place = exception_line(output, folder) if code == 1 else place  # Python's exit code after an exception
        last = last_printed(output)
        message = with_place(message, place)
        if last and cause != MACHINE_ERROR:
            message += f": {last[:300]}"
        if (code == 1 and RAISED_BY_DEVICE.match(last)) and any(words in last.lower() for words in NO_DEVICE):
            cause = MACHINE_ERROR
            message += f"; $FTS_DEVICE, which names the device of the trial, is {self.spec.device}"
        lacking = NO_MODULE.search(last) if code == 1 else None
        script = folder / (self.cell.script or "")
        if lacking is not None:
            message += f"; {how_to_find(lacking[1], (script.parent, folder), self._python())}"
        say(message)
        ended = {"fact": "failed", "cause": cause, "message": message, "code": code, "peak_bytes": peak_bytes()}
        return ended | {"lasting": lacking is not None}

    def _python(self) -> str:
        """Returns the interpreter that the command starts with, in words."""
        first = self.cell.program or self.cell.command[0]
        return first if not self.cell.shell and PYTHON.fullmatch(Path(first).name) else "the python that it starts"

    def _output(self) -> str:
        """Returns the end of the command's output in this attempt."""
        return log_tail({self.log: self.windows["log"][-1].start})


def why_not_started(program: str, folder: Path, error: OSError) -> str:
    """Says why a program cannot be started: the system names neither a missing folder nor an interpreter."""
    if not folder.is_dir():
        return f"{folder} is no folder any more; move it back"
    if error.errno == errno.ENOEXEC:
        return "it is no program for this machine, and its first line is none such as #!/bin/sh"
    with contextlib.suppress(OSError), (folder / program).open("rb") as file:
        first = file.readline(200)
        if error.errno == errno.ENOENT and first.startswith(b"#!"):
            return f"its first line names a program that is not there, {first[2:].decode(errors='replace')!r}"
    return str(error.strerror)


def md5_of_script(cell: CommandCell) -> str:
    """Returns the md5 of the script as it is now; empty if there is none."""
    if cell.script is None:
        return ""
    try:
        return hashlib.md5((Path(cell.folder) / cell.script).read_bytes()).hexdigest()
    except OSError:
        return ""


def facts_of(trial: CommandTrial) -> dict[str, Any]:
    return {
        "device": trial.spec.device,
        "threads": trial.spec.threads,
        "host": socket.gethostname(),
        "axes": dict(trial.cell.axes),
        "resumed": trial.resumed,
        **({"recipe": trial.spec.recipe} if trial.spec.recipe else {}),
    }


def peak_bytes() -> int:
    """Returns the largest resident size of the command, or of a process that it waited for."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    from fts.jobs.trial.command import main as main_of_module  # not of this copy, which is named __main__

    sys.exit(main_of_module())
