"""Makes cells from a function in a file: one per combination of the values of its axes.

cells("train.py:objective", trials=100, axes={"size": ["S", "M"]})        # two cells of the study "train"
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.jobs.api.command import BareStudy, Cell
from fts.jobs.api.function import OWN_NAMES, TRIAL, FunctionCell
from fts.jobs.api.goals import goals_of
from fts.jobs.api.grid import most_trials
from fts.jobs.api.load import installed
from fts.jobs.api.names import means_jobs
from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import NAME, BadSpec, md5_of
from fts.jobs.api.study import Axis, Metric
from fts.jobs.axis_words import Value, checked_axes
from fts.jobs.objective_file import BadObjective, Function, inspect, to_file_path
from fts.jobs.search.needs import too_old

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.api.bare_cell import BareCell
    from fts.state.values import Job

MOST_CELLS = 10_000
OLDEST = (3, 11)  # oldest Python for a trial process
SHORT = "run"  # name of the function in a message


def cells(
    objective: str,
    folder: Path,
    trials: int,
    axes: Mapping[str, Sequence[Value]] | None = None,
    study: str | None = None,
    **fields: Any,
) -> list[FunctionCell]:
    """Returns one cell per combination of the axes' values. Raises BadObjective or BadSpec."""
    objective = to_file_path(objective, folder)
    found = inspect(objective, folder)
    axes = checked_axes(axes or {})
    check_baseline(fields.get("baseline"), folder, list(axes))
    name = checked_name(study or clean(found.path.stem))
    space = fields.get("space")
    if fields.get("python") is not None:
        check_interpreter(fields["python"], folder, needs_optuna=found.needs_optuna(axes, space))
    check_parameters(found, list(axes), space)
    made = []
    for values in combinations(axes):
        labels = dict(zip(axes, values, strict=True))
        made.append(frozen(found, objective, folder, study=name, trials=trials, axes=labels, **fields))
    return with_unique_names(made)


def check_baseline(baseline: str | None, folder: Path, axes: Sequence[str]) -> None:
    """Raises BadObjective if the function cannot be read, or if a required parameter gets no value."""
    if baseline is None:
        return
    found = inspect(to_file_path(baseline, folder), folder)
    known = {TRIAL, *OWN_NAMES, *axes}
    missing = [name for name in found.required if name not in known and name != found.parameters[0]]
    if missing and not found.is_decorated:
        raise BadObjective(
            f"the baseline {found.name} of {found.path.name} needs {', '.join(missing)}, which nothing gives: "
            f"it gets a trial, and by name the axes, {', '.join(OWN_NAMES)}"
        )


def frozen(
    found: Function, objective: str, folder: Path, *, study: str, axes: Mapping[str, Value], **fields: Any
) -> FunctionCell:
    """Returns one cell of the function. Raises BadSpec."""
    name = experiment_name(study, tuple(axes.values()))
    fields = {"code_md5": found.md5} | fields
    cell = FunctionCell(study, name, objective, str(folder), axes=dict(axes), **fields)
    return FunctionCell.from_json(cell.to_json())


def checked_name(name: str) -> str:
    """Returns the name. Raises BadSpec if it is not allowed for a study of functions or commands."""
    if not NAME.fullmatch(name):
        raise BadSpec(
            f"the study's name is {name!r}, expected a-z, A-Z, 0-9 and _.- (at most 80); give one with --name"
        )
    if name in installed():
        raise BadSpec(f"{name!r} is the name of an installed study; give this one another with --name")
    return name


def refuse_name_of_jobs(study: str, jobs: Iterable[Job] = ()) -> None:
    """Raises BadSpec for a new study whose name commands would take for jobs. An earlier one can go on: study:7."""
    if means_jobs(study) and all(job.study != study for job in jobs):
        meant = "every job" if study.lower() == "all" else "jobs by their numbers"
        raise BadSpec(f"the study's name is {study!r}, which means {meant} in a command; give another one with --name")


def combinations(axes: Mapping[str, Sequence[Value]]) -> list[tuple[Value, ...]]:
    """Returns the values of every cell, in the order of the axes. Raises BadSpec if there are too many."""
    found = list(itertools.islice(itertools.product(*axes.values()), MOST_CELLS + 1))
    if len(found) > MOST_CELLS:
        raise BadSpec(f"the axes have more than {MOST_CELLS} combinations; give fewer values")
    return found


ASKED = """
import importlib.util as u, importlib.metadata as m, sys
try:
    optuna = m.version("optuna")
except Exception:
    optuna = "unknown"
print(*sys.version_info[:2], *map(bool, map(u.find_spec, ["optuna", "pip"])), optuna)
"""  # of another interpreter


def check_interpreter(python: str, folder: Path, needs_optuna: bool) -> None:
    """Raises BadObjective if the interpreter is no Python or too old, or if its optuna is missing or too old."""
    try:
        done = subprocess.run(
            [python, "-c", ASKED], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
        major, minor, has_optuna, has_pip, optuna = done.stdout.split()[-5:]  # a wrapper may print something before
        version = int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        why = f": {error}" if isinstance(error, OSError | subprocess.TimeoutExpired) else ""
        raise BadObjective(
            f"{python} does not answer as Python does{why}; expected one such as .venv/bin/python"
        ) from None
    if version < OLDEST:
        raise BadObjective(f"{python} is Python {major}.{minor}, expected {OLDEST[0]}.{OLDEST[1]} or newer")
    if needs_optuna and has_optuna != "True":
        cure = installing("optuna", python=python, has_pip=has_pip == "True")
        raise BadObjective(f"{python} has no optuna, which gives the function its trial: {cure}")
    if needs_optuna and (old := too_old(optuna, python, has_pip == "True")) is not None:
        raise BadObjective(old)


def check_parameters(found: Function, axes: Sequence[str], space: Mapping[str, Any] | None) -> None:
    """Raises BadObjective if a parameter would get no value, or if an axis would be passed to nothing."""
    if found.tuner is not None and space is None and TRIAL not in found.parameters:
        raise BadObjective(
            f"{found.path.name} line {found.tuner.line} runs {found.name} with {found.tuner.name}, which gives it its "
            f"parameters; write `def {SHORT}(trial): return {found.name}"
            "({'lr': trial.suggest_float('lr', 1e-5, 1e-1, log=True)})`, with all of them, and name "
            f"{found.path.name}:{SHORT}"
        )
    if not found.parameters and found.any_name:
        return
    if not found.parameters:
        raise BadObjective(f"{found.name} of {found.path.name} takes no trial; write `def {found.name}(trial)`")
    if TRIAL in found.parameters and (clash := [name for name in [*axes, *(space or {})] if name == TRIAL]):
        raise BadObjective(
            f"{found.name} of {found.path.name} gets the trial as {clash[0]}, so no axis or parameter can have that "
            "name; choose another"
        )
    trial = found.trial_argument(axes, space)
    if trial not in (None, TRIAL, *found.required) and found.takes_value:
        raise BadObjective(
            f"{found.name} of {found.path.name} would get a trial as its first argument {trial}, which is None by "
            f"default; name it {TRIAL} if that is meant, else make another argument the first"
        )
    if (missing := found.lacking(axes, space)) and not found.is_decorated:
        raise BadObjective(
            f"{found.name} of {found.path.name} needs {', '.join(missing)}, which nothing gives: expected an axis "
            f"(-m {missing[0]}=A,B), a parameter (--space {missing[0]}=LOW:HIGH), or the name of a function that "
            f"gives it: `{with_all(found, missing, space)}`"
        )
    if not found.any_name and (unused := [name for name in [*axes, *(space or {})] if name not in found.parameters]):
        if trial is not None:
            return  # it can read them from the trial: trial.params, fts.cell(trial)
        near = hint(unused[0], found.parameters)
        raise BadObjective(
            f"{found.name} of {found.path.name} takes no {', '.join(unused)}; {near}it takes "
            f"{', '.join(found.parameters)}"
        )


def refuse_unused_start(cell: FunctionCell) -> None:
    """Raises BadObjective for parameters of first trials if the function draws none."""
    found = inspect(cell.objective, Path(cell.folder))
    if cell.space is None and not found.needs_optuna(cell.axes, None):
        raise BadObjective(
            f"gives parameters of a first trial, and {found.name} of {found.path.name} draws none; write them as axes "
            "of the cells, such as -m lr=0.1,0.01"
        )


def with_all(found: Function, missing: Sequence[str], space: Mapping[str, Any] | None) -> str:
    """Returns a function that calls this one with what is missing; a function that wants a dict gets the parameters."""
    if space and missing == list(found.parameters[:1]):
        pairs = ", ".join(f"{name!r}: {name}" for name in space)
        return f"def {SHORT}({', '.join(space)}): return {found.name}({{{pairs}}})"
    return f"def {SHORT}(trial): return {found.name}({', '.join(dict.fromkeys([found.parameters[0], *missing]))})"


def experiment_name(study: str, values: Sequence[Value]) -> str:
    """Returns the name for the files of a cell, such as train_mnist_S."""
    return "_".join([study, *(clean(str(value)) for value in values)])[:80]


def with_unique_names(made: list[Cell], every: Iterable[str] | None = None) -> list[Cell]:
    """Makes the cells' names unique: appends the md5 of the labels to a name that occurs twice.

    `every`: the names of all cells of the study, if these are some of them.
    """
    made = [limit_to_grid(cell) for cell in made]
    counts = Counter((cell.experiment for cell in made) if every is None else every)
    return [
        cell
        if counts[cell.experiment] == 1
        else replace(cell, experiment=f"{cell.experiment[:71]}_{cell.question[:8]}")
        for cell in made
    ]


def limit_to_grid(cell: Cell) -> Cell:
    """Limits the trials of a grid search to the number of grid points. Raises BadSpec for an empty grid."""
    most = most_trials(cell)
    if most == 0:
        raise BadSpec(f"the grid of {cell.experiment} has no point: forbid leaves nothing")
    return cell if most is None or most >= cell.trials else replace(cell, trials=most)


def clean(text: str) -> str:
    """Replaces everything except letters, digits and _.- by "-"."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "x"


def declaration(cells: Sequence[BareCell], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the study's declaration with the axes, values and goals of these cells added."""
    known = dict(before or {})
    axes = {axis["name"]: list(axis.get("values", ())) for axis in _listed(known, "axes")}
    for cell in cells:
        for name, value in cell.axes.items():
            values = axes.setdefault(name, [])
            if value not in values:
                values.append(value)
    metrics = {metric["name"]: metric for metric in _listed(known, "metrics")}
    for cell in cells:
        for name, goal in goals_of(cell).items():
            metrics[name] = asdict(Metric(name)) | metrics.get(name, {}) | {"goal": goal}
    declared = BareStudy(cells[0].study).declaration() | known
    listed = [asdict(Axis(name, values=tuple(values))) for name, values in axes.items()]
    return declared | {"axes": listed, "metrics": list(metrics.values())}


def _listed(declaration: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    found = declaration.get(what)
    every = found if isinstance(found, list) else []
    return [one for one in every if isinstance(one, dict) and isinstance(one.get("name"), str)]


def changed_fields(cell: BareCell, spec: Mapping[str, Any]) -> list[str]:
    """Returns the names of the fields in which an earlier job's specification differs from the cell's question."""
    mine = json.loads(json.dumps(cell.to_json()))  # turns tuples into lists
    decides = [name for name in {**mine, **spec} if name not in cell.no_question]
    return [name for name in decides if md5_of(mine.get(name)) != md5_of(spec.get(name))]  # 1 is not 1.0 or True
