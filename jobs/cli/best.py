"""Implements `fts best`: prints the best trial of a cell as command-line options, as Python, or as JSON."""

from __future__ import annotations

import keyword
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.command import PLACE, SEED_BITS, CommandCell, filled, named, text_of
from fts.jobs.api.load import UnknownStudy
from fts.jobs.api.load import study as study_of
from fts.jobs.api.names import variable
from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec, trial_folder
from fts.jobs.cli.app import here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.output import emit, emit_json, say
from fts.jobs.cli.selection import one_cell, only_cell
from fts.jobs.cli.show import reading
from fts.jobs.records.trial_roles import search_of
from fts.jobs.status import formatting, naming, trial_facts
from fts.jobs.status.sanitize import clean
from fts.raising import quoted
from fts.state import queries
from fts.state.pareto_front import first_of, front
from fts.state.values import TrialStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fts.state.values import Job, Trial

PARAMETERS, REPORT = "parameters.json", "report.jsonl"  # files in the folder of a command's trial
FRESH = "FTS_FRESH_FOLDER"  # stands for the path of a new folder
NEW_FOLDER = '"$(mktemp -d)"'


@click.command()
@click.argument("cell", required=False)
@click.option(
    "--args",
    "form",
    flag_value="args",
    help="command-line options, --lr=0.01 --layers=3; for a command the whole line  [default]",
)
@click.option("--python", "form", flag_value="python", help="a Python expression: dict(lr=0.01, layers=3)")
@click.option("--json", "form", flag_value="json", help="one JSON object: parameters, value, trial, axes")
@click.option("--by", metavar="GOAL", help="goal that decides which trial is best, of several  [default: the first]")
def best(cell: str | None, form: str | None, by: str | None) -> None:
    """Print the best trial of one CELL (mnist/S, or its job number), to use it again.

    CELL may be omitted if there is only one.

    Stdout has nothing but the parameters: `python train.py $(fts best mnist/S)`. For a command it has the complete
    command line with all values, for your shell: `eval "$(fts best mnist/S)"`.
    """
    with reading() as db:
        jobs = queries.jobs(db)
        job = only_cell(jobs) if cell is None else one_cell(jobs, cell)
        trials = queries.trials(db, job.id)
    every = front(job, trials)
    found = best_by(job, every, by)
    if found is None:
        why, lists = formatting.without_best(job), f"`fts trials {job.id}`"
        more = "" if lists in why else f"; {lists} lists what it has"
        raise NothingThere(f"job {job.id} ({naming.cell_name(job)}) has no best trial: {why}{more}")
    cell_of_command = command_of(job)
    line = None if cell_of_command is None else command_line(cell_of_command, found, here().outputs, job)
    if form == "json":
        fields = {
            "job": job.id, "study": job.study, "experiment": job.experiment, "cell": job.cell, "axes": job.labels,
            "trial": found.number, "metric": job.metric, "direction": str(job.direction), "value": found.value,
            "params": found.params, "metrics": trial_facts.metrics_of(found), "seed": found.seed,
            "command": line,
        }  # fmt: skip
        if len(job.goals) > 1:
            fields["goals"] = {name: str(goal) for name, goal in job.goals.items()}
            fields["front"] = [
                {"trial": one.number, "params": one.params, "metrics": trial_facts.metrics_of(one), "seed": one.seed}
                for one in every
            ]
        return emit_json("best", fields)
    if not found.params:
        say("it has no parameters: its function draws none")
    shown = as_python(found.params) if form == "python" else line or as_words(found.params)
    emit(shown)
    if any(clean(part) != part for part in shown.split("\n")):
        say("a value has characters that are not shown as they are: --json has them")
    if cell_of_command is not None and form != "python" and Path(cell_of_command.folder) != Path.cwd():
        say(f"it runs in {cell_of_command.folder}")
    if len(job.goals) == 1:
        value = formatting.score(found.value)
        return say(f"t{found.number} of {naming.cell_name(job)}: {job.metric} {value}{equals(job, trials, found)}")
    text = ", ".join(f"{name} {formatting.number(trial_facts.metrics_of(found)[name])}" for name in job.goals)
    say(f"t{found.number} of {naming.cell_name(job)}: {text}")
    numbers = " ".join(f"t{one.number}" for one in every)
    count = formatting.count(len(every), "trial")
    return say(f"front: {count} that no other beats in every goal: {numbers}; --by {list(job.goals)[-1]}, --json")


def equals(job: Job, trials: Sequence[Trial], best: Trial) -> str:
    """Returns `; as good: 2 others`, and how many trials have ended if the search goes on."""
    same = sum(
        trial.status is TrialStatus.COMPLETE and trial.is_ranked and trial.value == best.value
        for trial in search_of(trials)
    )
    as_good = f"; as good: {formatting.count(same - 1, 'other')}" if same > 1 else ""
    left = job.trials_wanted - job.trials_ended
    so_far = f"; so far: {job.trials_ended} of {job.trials_wanted} trials have ended" if left > 0 else ""
    return as_good + so_far


def best_by(job: Job, found: Sequence[Trial], by: str | None) -> Trial | None:
    """Returns the trial of the Pareto front that is best in one goal. Raises BadSpec for an unknown goal."""
    if by is None or not found:
        return first_of(found)
    if by not in job.goals:
        raise BadSpec(
            f"--by names {quoted(by)}; {hint(by, job.goals)}expected one of the goals: {', '.join(job.goals)}"
        )
    if by == job.metric:
        return first_of(found)
    return min(found, key=lambda trial: (job.goals[by].key(trial_facts.metrics_of(trial)[by]), trial.number))


def command_of(job: Job) -> CommandCell | None:
    """Returns the cell of a job that runs a command; None if it runs something else or its spec cannot be read."""
    try:
        cell = study_of(job.study).cell(job.spec)
    except (BadSpec, UnknownStudy):
        return None
    return cell if isinstance(cell, CommandCell) else None


def command_line(cell: CommandCell, trial: Trial, outputs: Path, job: Job) -> str:
    """Returns the command with all values, quoted for a shell. The trial folder is a new one, so it starts afresh."""
    parameters = trial_folder(outputs, job.experiment, job.id, trial.number) / PARAMETERS
    own = {
        "params": str(parameters) if parameters.exists() else PARAMETERS,
        "seed": trial.seed % 2**SEED_BITS,
        "number": trial.number,
        "checkpoint_dir": FRESH,
        "folder": FRESH,
        "threads": trial.threads or 1,
        "shrink": 0,
    }
    words = filled(cell, {**trial.params, **cell.axes}, own)  # of a shell's command: /bin/sh -c TEXT
    if not cell.shell and PLACE.search(cell.command[0]) is None:
        words[0] = cell.command[0]  # as it was typed, without its folder
    variables = variables_of(cell, trial, own, words)
    used = sum(text.count(FRESH) for text in (*words, *variables.values()))
    if cell.shell and not variables and not used:
        return words[-1]
    before = f"{FRESH}={NEW_FOLDER}; " if used > 1 else ""  # each `mktemp -d` would make another folder
    folder = f'"${FRESH}"' if used > 1 else NEW_FOLDER
    line = [f"{shlex.quote(name)}={in_shell(text, folder)}" for name, text in variables.items()]
    if not all(name.isascii() and name.isidentifier() for name in variables):
        line = ["env", *line]  # a shell itself sets only variables with plain names
    return before + " ".join([*line, *(in_shell(word, folder) for word in words)])


def variables_of(cell: CommandCell, trial: Trial, own: Mapping[str, Any], words: Sequence[str]) -> dict[str, str]:
    """Returns the variables that the command needs: those whose names are among its words, and values that are not."""
    through = named(cell)
    params = {f"FTS_PARAM_{variable(name)}": (name, text_of(value)) for name, value in trial.params.items()}
    axes = {f"FTS_CELL_{variable(name)}": (name, text_of(value)) for name, value in cell.axes.items()}
    values = {**params, **axes, "FTS_SEED": ("seed", str(own["seed"]))}
    others = {f"FTS_{name.upper()}": str(value) for name, value in own.items() if name not in ("seed", "number")}
    others |= {"FTS_TRIAL": str(own["number"]), "FTS_REPORT": f"{FRESH}/{REPORT}"}
    if trial.device:
        others["FTS_DEVICE"] = trial.device
    every = {name: text for name, (_, text) in values.items()} | others
    all_in_words = through & {"args", "args_hydra", "params"}
    needed = {name for name, (of, _) in values.items() if of not in through and (of == "seed" or not all_in_words)}
    needed |= {name for name in every if any(name in word for word in words)}
    return dict(cell.env) | {name: text for name, text in every.items() if name in needed}


def in_shell(text: str, folder: str) -> str:
    """Quotes a word for a shell; `folder` is the shell code in place of FRESH."""
    word = shlex.quote(text)
    return word.replace(FRESH, f"'{folder}'" if word.startswith("'") else folder)


def as_words(params: Mapping[str, Any]) -> str:
    """Returns `--lr=0.01 --opt='a b'`, quoted for a shell."""
    return " ".join(shlex.quote(f"--{name}={value}") for name, value in params.items())


def as_python(params: Mapping[str, Any]) -> str:
    """Returns `dict(lr=0.01, layers=3)`, or a literal with braces if a name is no Python identifier."""
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in params):
        return f"dict({', '.join(f'{name}={value!r}' for name, value in params.items())})"
    return repr(dict(params))
