"""Implements `fts check`: tries a study with real trials before you enqueue it, and reports the problems."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs import functions
from fts.jobs.api.amounts import read_duration
from fts.jobs.api.command import BareStudy
from fts.jobs.api.names import means_jobs
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli import enqueue, enqueue_command, enqueue_study, limits
from fts.jobs.cli.app import AS_JSON, COUNT, Whole, here
from fts.jobs.cli.output import emit, emit_json, put, say
from fts.jobs.interrupts import ends_as_interrupted
from fts.jobs.own_search import not_taken_over
from fts.jobs.settings import worker_settings
from fts.jobs.status import formatting
from fts.jobs.study_file.cells import cells_of
from fts.jobs.study_file.study import StudyFile
from fts.jobs.unused_names import unread
from fts.state.location import has_study

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.check.examine import Examined
    from fts.jobs.check.whole import Checked, StudyEstimate, TrialMachine
    from fts.state.values import Job

EXCLUDED = ("wanted", "again", "dry_run", "as_json")  # options of `fts enqueue` that `fts check` does not have
COLOUR = {"ok": "green", "warn": "yellow", "bad": "red"}
PATIENCE = "5m"
PROBLEMS_FOUND = 1  # exit code


class Duration(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return read_duration(str(value), "it")
        except BadSpec:
            self.fail(f"{value!r} is not a length of time; expected 90s, 5m or 1h", param, ctx)


CHECK_OPTIONS = (  # options that only `fts check` has
    click.Option(["--cell", "names"], multiple=True, metavar="CELL", help="only this cell, such as mnist/S; repeat it"),
    click.Option(
        ["--show", "count"],
        type=Whole(1, 1000),
        help="draw and print this many trials per cell, run none  [default: run them]",
    ),
    click.Option(
        ["--patience", "patience_s"],
        type=Duration(),
        default=PATIENCE,
        show_default=True,
        metavar="TIME",
        help="time for all cells; a trial that takes longer is compared up to where it got",
    ),
    click.Option(["--reports"], type=COUNT, help="stop each trial after this many reports  [default: at its end]"),
    click.Option(["--slots"], type=Whole(1, 1024), help="worker slots in the forecast  [default: as `fts worker`]"),
)  # fmt: skip


def params_of(command: click.Command) -> list[click.Parameter]:
    """Returns the options of `fts enqueue` that define the study, and those of `fts check`."""
    return [one for one in command.params if one.name not in EXCLUDED] + list(CHECK_OPTIONS)


@click.command(params=params_of(enqueue.enqueue))
@AS_JSON
def check(objective: str, **options: Any) -> int:
    """Try a study before you enqueue it. Type `fts check` where you would type `fts enqueue`.

    Runs a real trial of each cell in a temporary folder and shows its parameters, seconds and memory. Runs it again (is
    it repeatable?), and once more, killed with -9 after its second report and continued (is it resumable?). Then shows
    a forecast for the whole study. Enqueues nothing and writes nothing into this folder.

    Exit code 0: no problem was found; 1: there is a problem; 2: the command line is wrong.

    Other options: fts check study.toml --help, fts check --help -- COMMAND
    """
    return run(lambda **words: enqueue.cells_of(objective, **words), **options)


@click.command(params=params_of(enqueue_command.enqueue_command))
@AS_JSON
def check_command(words: tuple[str, ...], **options: Any) -> int:
    """Try a command before you enqueue it. Type `fts check` where you would type `fts enqueue`.

    Runs a real trial of each cell in a temporary folder and shows its parameters, seconds and memory. Runs it again (is
    it repeatable?), and once more, killed with -9 after its second report and continued (is it resumable?). Then shows
    a forecast for the whole study. Enqueues nothing and writes nothing into this folder.

    Exit code 0: no problem was found; 1: there is a problem; 2: the command line is wrong.
    """
    return run(lambda **options: enqueue_command.cells_of(words, **options), **options)


OF_FILE = ("file", "settings", "warm", "name")  # parameters taken over from `fts enqueue STUDY.toml`


@click.command(params=[one for one in enqueue_study.enqueue_study.params if one.name in OF_FILE] + list(CHECK_OPTIONS))
@AS_JSON
def check_study(file: Path, settings: tuple[str, ...], warm: tuple[str, ...], name: str | None, **options: Any) -> int:
    """Try a study file before you enqueue it.

    Runs a real trial of each cell in a temporary folder and shows its parameters, seconds and memory. Runs it again (is
    it repeatable?), and once more, killed with -9 after its second report and continued (is it resumable?). Then shows
    a forecast for the whole study. Enqueues nothing and writes nothing into this folder.

    Exit code 0: no problem was found; 1: there is a problem; 2: the file or the command line is wrong.
    """
    return run(lambda: cells_of(StudyFile.read(file, settings).named(name).warmed(warm), here().db), **options)


def run(
    made: Callable[..., Sequence[BareCell]],
    names: tuple[str, ...],
    count: int | None,
    patience_s: float,
    reports: int | None,
    slots: int | None,
    as_json: bool,
    **words: Any,
) -> int:
    """Checks the chosen cells, or only draws trials (`count`); returns the exit code."""
    from fts.jobs.check.whole import chosen  # here, not above: --help need not load the supervisor

    cells = made(**words)
    if means_jobs(cells[0].study):
        functions.refuse_name_of_jobs(cells[0].study, jobs_there())  # as `fts enqueue` would
    picked = chosen(cells, names)
    machine = machine_here(slots)
    with ends_as_interrupted():  # it kills the trial and deletes the temporary folder
        if count is not None:
            return show(picked, machine, count, as_json)
        typed = limits.typed_fields() if "trials" in click.get_current_context().params else None  # None: a study file
        ignored = unread(cells) + not_taken_over(cells, typed)
        return examine(cells if not names else picked, machine, patience_s, reports, as_json, ignored)


def jobs_there() -> tuple[Job, ...]:
    """Returns the jobs of the database of this command; none if there is none."""
    from fts.jobs.cli.show import reading  # here: for a name of an earlier study only
    from fts.state import queries  # here: see above

    if not has_study(here().db):
        return ()
    with reading() as db:
        return tuple(queries.jobs(db))


def machine_here(slots: int | None) -> TrialMachine:
    from fts.jobs.check.whole import TrialMachine
    from fts.jobs.sensors import detect

    settings = worker_settings(slots) if slots is None else worker_settings(planning=True)
    sensors = detect.from_env(Path())
    try:
        total = sensors.read().total
    finally:
        sensors.close()
    return TrialMachine(here(), settings.device, settings.threads, slots or settings.slots, total)


# -- what was found


def examine(
    cells: Sequence[BareCell],
    machine: TrialMachine,
    patience_s: float,
    reports: int | None,
    as_json: bool,
    ignored: Sequence[str],
) -> int:
    from fts.jobs.check import whole

    study = BareStudy(cells[0].study)
    if not as_json:
        put(click.style(opening(cells), bold=True))

    def tell(cell: BareCell, text: str) -> None:
        if not as_json:
            say(f"{study.title(cell)}: {text}")

    def found(examined: Examined) -> None:
        if not as_json:
            print_cell(study.title(examined.cell), examined)

    checked = whole.check(cells, machine, patience_s, reports, tell, found)
    if as_json:
        emit_json("check", as_dict(checked, study))
    else:
        print_whole(checked, study, ignored)
    return PROBLEMS_FOUND if checked.has_problems else 0


def opening(cells: Sequence[BareCell]) -> str:
    first = cells[0]
    what = getattr(first, "objective", None) or shlex.join(getattr(first, "command", ()))
    return f"{first.study}: {formatting.count(len(cells), 'cell')} of {formatting.cut(what, 70)}"


def print_cell(title: str, examined: Examined) -> None:
    emit()
    put(click.style(title, bold=True))
    for finding in examined.findings:
        print_finding(finding.status, finding.about, finding.told)


def print_finding(status: str, about: str, told: str) -> None:
    mark = click.style(f"{status:<4}", fg=COLOUR[status])
    lines = formatting_lines(told)
    emit_styled(f"  {mark}  {about:<10}  {lines[0]}")
    for line in lines[1:]:
        emit(f"{'':20}{line}")


def emit_styled(text: str) -> None:
    put(text)


def formatting_lines(text: str) -> list[str]:
    """Wraps the sentence for a terminal; a pipe gets it in one line."""
    import textwrap  # here, not above: --help does not need it

    from fts.jobs.cli.output import terminal_columns
    from fts.jobs.status.sanitize import clean

    room = terminal_columns()
    if room == formatting.ENDLESS:
        return [clean(text)]
    return textwrap.wrap(clean(text), max(30, room - 20), break_long_words=False, break_on_hyphens=False) or [""]


def print_whole(checked: Checked, study: BareStudy, ignored: Sequence[str]) -> None:
    forecast = checked.forecast
    emit()
    warned = len(ignored)
    if forecast is not None:
        put(click.style("the whole study", bold=True))
        for sentence in forecast.sentences():
            is_memory = sentence.startswith("memory")
            status = "ok" if is_memory or forecast.seconds is not None else "warn"  # warn: the time is not known
            status = "bad" if is_memory and forecast.fits is False else status
            warned += status == "warn"
            about, colon, rest = sentence.partition(": ") if is_memory else ("time", ":", sentence)
            print_finding(status, about, rest if colon else sentence)
    for sentence in ignored:
        print_finding("warn", "reads", sentence)
    if checked.not_checked:
        titles = ", ".join(study.title(cell) for cell in checked.not_checked[:8])
        more = ", ..." if len(checked.not_checked) > 8 else ""
        say(f"not checked, because --patience ran out: {titles}{more}")
    bad = sum(finding.status == "bad" for cell in checked.cells for finding in cell.findings)
    bad += forecast is not None and forecast.fits is False
    if bad:
        say(f"{formatting.count(bad, 'problem')} found; nothing was enqueued")
    else:
        warned += sum(finding.status == "warn" for cell in checked.cells for finding in cell.findings)
        well = f"No problem; {formatting.count(warned, 'warning')}." if warned else "All is well."
        if checked.not_checked:
            some = formatting.count(len(checked.cells), "cell")
            well = f"No problem in the {some} that ran; {formatting.count(warned, 'warning')}."
        say(f"{well} Replace `check` by `enqueue` to add it to the queue.")


def as_dict(checked: Checked, study: BareStudy) -> dict[str, Any]:
    return {
        "study": study.name,
        "well": not checked.has_problems,
        "cells": [cell_dict(one, study) for one in checked.cells],
        "not_checked": [study.title(cell) for cell in checked.not_checked],
        "forecast": None if checked.forecast is None else forecast_dict(checked.forecast),
    }


def cell_dict(one: Examined, study: BareStudy) -> dict[str, Any]:
    seen = one.first
    return {
        "cell": study.title(one.cell),
        "axes": one.cell.axes,
        "params": {} if seen is None else seen.params,
        "distributions": {} if seen is None else seen.distributions,
        "reports": 0 if seen is None else len(seen.reports),
        "value": None if seen is None or seen.cut else seen.value,
        "first_report_s": None if seen is None else seen.first_report_s,
        "step_s": None if seen is None else seen.step_s,
        "trial_s": one.trial_s,
        "peak_bytes": None if seen is None else seen.peak_bytes,
        "repeatable": one.repeatable,
        "resumable": one.resumable,
        "findings": one.findings,
    }


def forecast_dict(forecast: StudyEstimate) -> dict[str, Any]:
    return {**vars(forecast), "fits": forecast.fits}


# -- trials as they would be drawn


def show(cells: Sequence[BareCell], machine: TrialMachine, count: int, as_json: bool) -> int:
    from fts.jobs.check import whole

    study = BareStudy(cells[0].study)
    every, failed = [], False
    last = None
    for one in whole.show(cells, machine, count):
        failed |= one.problem is not None
        every.append({"cell": study.title(one.cell), "number": one.number, "params": one.params, "command": one.words,
                      "problem": one.problem})  # fmt: skip
        if as_json:
            continue
        title = study.title(one.cell)
        if title != last and len(cells) > 1:
            put(click.style(title, bold=True))
        last = title
        given = " ".join(f"{name}={plain_value(value)}" for name, value in one.params.items()) or "no parameter"
        emit(f"t{one.number:<3} {command_text(one) if one.words else given}")
        if one.problem:
            say(f"t{one.number} failed: {one.problem}")
    if as_json:
        emit_json("trials", every)
    elif count > whole.STARTUP and cells[0].sampler != "random":
        say(f"from t{whole.STARTUP} on, trials depend on the results; these are drawn as if there were none")
    return PROBLEMS_FOUND if failed else 0


def command_text(one: Any) -> str:
    return one.words[0] if one.cell.shell else shlex.join(one.words)


def plain_value(value: Any) -> str:
    text = formatting.number(value)
    return text if re.fullmatch(r"[^\s'\"]+", text) else repr(text)
