"""Finds what can be enqueued: study files and functions in a folder, installed studies, studies in the queue.

Does not run the user's code: it only reads files, and lists a broken one with its error.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api import load
from fts.jobs.api.bare_cell import BareCell, default_of
from fts.jobs.api.command import BareStudy, CommandCell
from fts.jobs.api.form import YES, Found
from fts.jobs.api.spec import BadSpec
from fts.jobs.cli import enqueue, enqueue_command
from fts.jobs.cli.errors import sentence_of
from fts.jobs.cli.newcomer import LARGEST, functions_of
from fts.jobs.form import cost, fields
from fts.jobs.form.offers import Offer, OfFile, OfWords, is_objective
from fts.jobs.functions import changed_fields, clean
from fts.jobs.status import formatting
from fts.jobs.study_file.study import StudyFile
from fts.jobs.study_file.words import STUDY_FILE, names_a_function, names_a_study
from fts.raising import quoted
from fts.state.files import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fts.jobs.settings import Places
    from fts.state.values import Job

USUAL = "study.toml"
MOST_FILES = 50  # TOML files, and Python files, read per folder
FILE, WORDS, INSTALLED, QUEUE = "file", "words", "installed", "queue"


def key_of(kind: str, *parts: str) -> str:
    """Returns the key that identifies a study in the form. JSON, because a path may contain any character."""
    return json.dumps([kind, *parts])


def found(places: Places, folders: Sequence[Path]) -> Iterator[Found]:
    """Yields every study once, study files first."""
    seen: set[str] = set()
    names: set[str] = set()
    for each in _all(places, [folder.absolute() for folder in dict.fromkeys(folders)]):
        if each.key not in seen and (each.kind != QUEUE or each.title not in names):
            seen.add(each.key)
            if each.kind == FILE and each.note:
                names.add(each.note)
            yield each


def _all(places: Places, folders: Sequence[Path]) -> Iterator[Found]:
    for folder in folders:
        yield from (_file(path) for path in _files(folder, ".toml") if _is_study(path))
    for folder in folders:
        for path in _files(folder, ".py"):
            yield from _functions(path)
    for name in sorted(load.installed()):
        yield _installed(name, Path.cwd())
    try:
        yield from _queue(places)
    except Exception as error:  # noqa: BLE001  # an unreadable database must not hide the files
        yield Found(key_of(QUEUE, ""), "the queue", QUEUE, str(places.db.parent), problem=sentence_of(error))


def _files(folder: Path, ending: str) -> list[Path]:
    """Returns the files of a folder with this suffix, study.toml first."""
    try:
        every = sorted(path for path in folder.iterdir() if path.suffix == ending and path.is_file())
    except OSError:
        return []
    return sorted(every[:MOST_FILES], key=lambda path: (path.name != USUAL, path.name))


def _is_study(path: Path) -> bool:
    """Returns whether a TOML file is a study: named study.toml, or with a table [study]."""
    if path.name == USUAL:
        return True
    try:
        text = path.read_text(errors="replace") if path.stat().st_size <= LARGEST else ""
    except OSError:
        return False
    return any(line.strip().replace(" ", "").startswith("[study]") for line in text.splitlines())


def _file(path: Path) -> Found:
    """Reads a study file and freezes its first cell; an exception becomes the problem of the entry."""
    key = key_of(FILE, str(path.parent), path.name)
    try:
        study = StudyFile.read(path)
        labels = study.labels
        table = study.tables.get("study", {})
        name = str(table.get("name", "")) if isinstance(table, dict) else ""
        check_tables(study)
        return Found(key, path.name, FILE, str(path.parent), name or formatting.count(len(labels), "cell"))
    except Exception as error:  # noqa: BLE001  # a broken file is listed with its error
        return Found(key, path.name, FILE, str(path.parent), problem=sentence_of(error))


def check_tables(study: StudyFile) -> None:
    """Checks the file without running the user's code, that is without `space.from`. Raises BadSpec."""
    space = study.tables.get("space")
    without_code = study
    if isinstance(space, dict) and "from" in space:
        without_code = dataclasses.replace(
            study, tables={**study.tables, "space": {k: v for k, v in space.items() if k != "from"}}
        )
        without_code = _without_users_of_space(without_code)
    first = study.labels[0]
    without_code.cells(lambda _, labels: labels == first)


def _without_users_of_space(study: StudyFile) -> StudyFile:
    """Removes what may name parameters from `space.from`: expressions, warm start. Choosing the study checks them."""
    tables = {name: table for name, table in study.tables.items() if name != "forbid"}
    if isinstance(search := tables.get("search"), dict):
        tables["search"] = {name: value for name, value in search.items() if name != "warm_start"}
    if isinstance(space := tables.get("space"), dict) and not space:
        tables.pop("space")
    return dataclasses.replace(study, tables=tables)


def _functions(path: Path) -> Iterator[Found]:
    for function in functions_of(path):
        arguments = [*function.args.posonlyargs, *function.args.args]
        if function.name != "objective" and not (arguments and arguments[0].arg == "trial"):
            continue
        title = f"{path.name}:{function.name}"
        takes = ", ".join(argument.arg for argument in arguments[1:])
        yield Found(
            key_of(WORDS, str(path.parent), title),
            title,
            "function",
            str(path.parent),
            f"takes {takes}" if takes else "",
        )


def _installed(name: str, folder: Path) -> Found:
    key = key_of(INSTALLED, name)
    try:
        study = load.study(name)
    except load.UnknownStudy as error:
        return Found(key, name, INSTALLED, str(folder), problem=str(error))
    if study.enqueue_form:
        return Found(key, name, INSTALLED, str(folder), " x ".join(axis.label or axis.name for axis in study.axes))
    own = ", ".join(f"`fts {command.name}`" for command in study.commands) or "it has no command either"
    return Found(key, name, INSTALLED, str(folder), problem=f"it has no form; its own commands enqueue it: {own}")


# ---------------------------------------------------------------- studies in the queue


def _queue(places: Places) -> Iterator[Found]:
    with cost.reading(places) as db:
        if db is None:
            return
        from fts.state import queries  # here: peewee

        jobs = queries.jobs(db)
    own = load.installed()
    by_study: dict[str, list[Job]] = {}
    for job in jobs:
        if job.study not in own and job.kind == "cell" and job.unreadable is None:
            by_study.setdefault(job.study, []).append(job)
    for name, those in by_study.items():
        yield _of_queue(name, those)


def _of_queue(name: str, jobs: Sequence[Job]) -> Found:
    """Makes the entry of a study in the queue: its study file if there is one, else the same command line again."""
    folder = Path(str(jobs[-1].spec.get("folder", "")))
    key = key_of(QUEUE, name)
    note = f"{formatting.count(len(jobs), 'job')} in the queue"
    for path in _files(folder, ".toml") if folder.is_absolute() else ():
        if _is_study(path) and _name_of(path) == name:
            return dataclasses.replace(_file(path), title=name, kind=QUEUE, note=note)
    try:
        words, typed = words_of(jobs)
        check_words(words, typed, folder, jobs)
    except Exception as error:  # noqa: BLE001  # see _all
        return Found(key, name, QUEUE, str(folder), note, sentence_of(error))
    options = _as_words(words, typed)
    line = [*options, *words] if words[:1] == ["--"] else [*words, *options]  # what follows -- belongs to the command
    return Found(key_of(WORDS, str(folder), shlex.join(line)), name, QUEUE, str(folder), note)


def _as_words(words: Sequence[str], typed: dict[str, str]) -> list[str]:
    command = enqueue_command.enqueue_command if words[:1] == ["--"] else enqueue.enqueue
    return fields.words_of(command, typed)


def _name_of(path: Path) -> str:
    try:
        study = StudyFile.read(path)
        table = study.tables.get("study", {})
        if not isinstance(table, dict):
            return ""
        usual = str(table.get("objective", "")).rpartition(":")[0].removesuffix(".py").rpartition("/")[2]
        return str(table.get("name") or clean(usual))
    except BadSpec:
        return ""


def words_of(jobs: Sequence[Job]) -> tuple[list[str], dict[str, str]]:
    """Returns the function or command of these jobs, and their options as texts by field."""
    job = jobs[-1]
    cell = BareStudy(job.study).cell(job.spec)
    assert isinstance(cell, BareCell), "a bare study has bare cells"
    typed = {"name": job.study}
    axes: dict[str, list[str]] = {}
    for each in jobs:
        for axis, value in each.labels.items():
            values = axes.setdefault(axis, [])
            if str(value) not in values:
                values.append(str(value))
    if axes:
        typed["axes"] = shlex.join(f"{axis}={','.join(values)}" for axis, values in axes.items())
    typed["trials"] = str(max(each.spec.get("trials", cell.trials) for each in jobs))
    if cell.space:
        typed["parameters"] = shlex.join(_parameter(name, one) for name, one in cell.space.items())
    if cell.warm_start:
        typed["warm_start"] = shlex.join(json.dumps(each) for each in cell.warm_start)
    if cell.goals:
        typed["goals"] = shlex.join(f"{name}={goal.value}" for name, goal in job.goals.items())
    else:
        typed |= {"metric": cell.metric, "direction": cell.direction}
    if cell.constraints:
        typed["constraints"] = shlex.join(f"{name}{bound}" for name, bound in cell.constraints.items())
    plain = (
        "seed",
        "sampler",
        "pruner",
        "percentile",
        "parallel",
        "seeds",
        "steps",
        "baseline",
        "prune_by",
        "on_oom",
        "gpu",
        "threads",
        "process",
    )
    typed |= {name: str(getattr(cell, name)) for name in plain if getattr(cell, name) != default_of(cell, name)}
    times = ("stall_s", "trial_timeout_s", "timeout_s")
    typed |= {name: f"{plain_number(getattr(cell, name))}s" for name in times if getattr(cell, name) is not None}
    if cell.halving is not None:
        typed["halving"] = cell.halving.numbers
    if cell.memory or cell.memory_bytes:
        typed["memory"] = cell.memory or str(cell.memory_bytes)
    if not isinstance(cell, CommandCell):
        python = getattr(cell, "python", None)
        typed |= {"interpreter": str(python)} if python else {}
        return [str(getattr(cell, "objective", ""))], typed
    flags = {name: YES for name in ("shell", "stdout", "best") if getattr(cell, name)}
    texts = {
        name: str(getattr(cell, name)) for name in ("regex", "csv", "tensorboard", "results") if getattr(cell, name)
    }
    return ["--", *cell.command], typed | flags | texts | {"grace_s": plain_number(cell.grace_s)}


def plain_number(value: float) -> str:
    """Returns the number with all its digits and without an exponent, which no duration may have."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def _parameter(name: str, one: Any) -> str:
    if one.get("when"):
        raise BadSpec(f"{name} is drawn only when {one['when']}, which no option says; enqueue the study's file")
    if one["kind"] == "choice":
        return f"{name}={','.join(map(str, one['choices']))}"
    if one.get("step"):
        raise BadSpec(f"{name} has a step, which no option says; enqueue the study's file")
    return f"{name}={one['low']!r}:{one['high']!r}" + (":log" if one.get("log") else "")


def check_words(words: Sequence[str], typed: dict[str, str], folder: Path, jobs: Sequence[Job]) -> None:
    """Checks that the words give the specification of the latest job, except for changed code. Raises BadSpec."""
    from fts.jobs.settings import places

    seen = OfWords(places(None), folder, words).see(typed)
    by_labels = {tuple(sorted(cell.axes.items())): cell for cell in seen.cells}
    for job in jobs[-1:]:
        cell = by_labels.get(tuple(sorted(job.labels.items())))
        differs = [] if cell is None else [name for name in changed_fields(cell, job.spec) if name != "code_md5"]
        if cell is None or differs:
            why = ", ".join(differs) or "its axes"
            raise BadSpec(f"job {job.id} was enqueued with {why}, which no option can set; enqueue the study's file")


# ---------------------------------------------------------------- from a key or a typed text


def offer_of(key: str, places: Places) -> Offer:
    """Returns the offer of a key. Raises BadSpec if the study is gone."""
    kind, *parts = json.loads(key)
    if kind == FILE and len(parts) == 2:
        return OfFile(places, Path(parts[0]), parts[1])
    if kind == WORDS and len(parts) == 2:
        return offer_of_words(shlex.split(parts[1]), places, Path(parts[0]))
    if kind == INSTALLED and parts and parts[0] in load.installed():
        module, _, name = load.study(parts[0]).enqueue_form.partition(":")
        made: Offer = getattr(import_module(module), name)(places, Path.cwd())
        return made
    raise BadSpec("this study is not there any more; choose another")


def typed_key(text: str, folder: Path) -> str:
    """Returns the key of a typed text: FILE.py:FUNCTION, STUDY.toml, or -- and a command. Raises BadSpec."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadSpec(f"{quoted(text)} cannot be read: {error}") from None
    if words[:2] == ["fts", "enqueue"]:
        words = words[2:]
    expected = "expected FILE.py:FUNCTION such as train.py:objective, STUDY.toml, or -- and a command"
    if not words:
        raise BadSpec(f"nothing is typed, {expected}")
    if "--" not in words and names_a_study(words):
        path = next(Path(word) for word in words if STUDY_FILE.fullmatch(word))
        whole = (folder / expanded(path)).absolute()
        return key_of(FILE, str(whole.parent), whole.name)
    if "--" not in words and not names_a_function(words):
        raise BadSpec(f"{quoted(text)} names no study, {expected}")
    if "--" not in words and not any(is_objective(word) for word in words):
        raise BadSpec(f"{quoted(text)} names no function, {expected}")
    return key_of(WORDS, str(folder), shlex.join(words))


def offer_of_words(words: Sequence[str], places: Places, folder: Path) -> OfWords:
    """Returns the offer of a function or command; options in `words` become initial values of the fields."""
    command = enqueue_command.enqueue_command if "--" in words else enqueue.enqueue
    if "--" in words:
        at = list(words).index("--")
        before, base = list(words[:at]), list(words[at:])
    else:
        before, base = list(words), []
    given, rest, _ = command.make_parser(click.Context(command)).parse_args(args=before)
    base = base or [str(given.get("objective") or ""), *rest]
    return OfWords(places, folder, base, as_typed(command, given))


def as_typed(command: click.Command, given: dict[str, Any]) -> dict[str, str]:
    """Converts the options that click has parsed to texts by field."""
    found = {}
    for option in fields.options(command):
        value = given.get(str(option.name))
        if value in (None, (), []):
            continue
        if option.secondary_opts:
            found[str(option.name)] = max(option.opts if value else option.secondary_opts, key=len)
        elif option.is_flag:
            found[str(option.name)] = YES if value else ""
        else:
            found[str(option.name)] = shlex.join(_texts(value)) if option.multiple else str(value)
    return found


def _texts(value: Any) -> Iterable[str]:
    return [str(each) for each in value]
