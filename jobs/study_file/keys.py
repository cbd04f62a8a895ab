"""Every table and key of a study file, and the values it accepts (docs/study-toml.md has a row for each)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.api.bare_cell import CHOICES, DAY_S, LIMITS
from fts.jobs.api.halving import LIMITS as HALVING_LIMITS
from fts.jobs.api.halving import BadHalving, Halving
from fts.jobs.api.nearest import hint
from fts.jobs.status.concern import About
from fts.jobs.study_file import values
from fts.jobs.study_file.faults import At, BadStudy, unknown
from fts.raising import quoted

if TYPE_CHECKING:
    from fts.jobs.study_file.values import Reader

LEARN = "learn"


@dataclass(frozen=True)
class TableKey:
    """One key of a table."""

    read: Reader  # raises ValueError
    expected: str  # in words, for error messages


def _count(name: str) -> TableKey:
    low, high = (int(end) for end in LIMITS[name])
    return TableKey(values.whole(low, high), f"a whole number from {low} to {high:,}")


def _choice(name: str) -> TableKey:
    return TableKey(values.one_of(*CHOICES[name]), f"one of {', '.join(CHOICES[name])}")


def _time(name: str) -> TableKey:
    low, high = LIMITS[name]
    return TableKey(
        values.seconds(low, high), f'a time such as "36h", "10m" or "90s", from {low:g} s to {high / DAY_S:g} days'
    )


def _halving(value: Any) -> Halving:
    given = values.mapping(value)
    usual = asdict(Halving())
    unknown((), given, usual, "number of the halving rule")
    return Halving(**usual | {name: None if each == "none" else each for name, each in given.items()})


def _warm_start(value: Any) -> tuple[dict[str, Any] | str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(each if isinstance(each, str) else values.mapping(each) for each in value)


def _memory(value: Any) -> int | str:
    if value == LEARN or (isinstance(value, str) and ":" in value):
        return str(value)
    return values.size(value)


def _stall(value: Any) -> float | str:
    low, high = LIMITS["stall_s"]
    return LEARN if value == LEARN else float(values.seconds(low, high)(value))


def _no_address(_value: Any) -> Any:
    raise BadStudy((), "is secret, and this file is copied and committed; use `fts notify add` for addresses")


def _kinds(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    for each in value:
        if each not in set(About):
            raise BadStudy((), f"has {quoted(each, 40)}; {hint(str(each), About)}expected some of {', '.join(About)}")
    return tuple(value)


def _path(expected: str) -> TableKey:
    return TableKey(values.text, expected)


FUNCTION = 'a function, such as "train:objective" or "train.py:objective"'

STUDY: Mapping[str, TableKey] = {
    "name": TableKey(values.text, "a name"),
    "objective": TableKey(values.text, FUNCTION),
    "command": TableKey(values.words, 'a command, such as "python train.py --lr {lr}"'),
    "shell": TableKey(values.flag, "true or false"),
    "stdout": TableKey(values.flag, "true or false"),
    "csv": _path("a path such as '{folder}/**/metrics.csv'"),
    "tensorboard": _path("a folder such as '{folder}/logs'"),
    "results": _path("a path such as '{folder}/results.json'"),
    "best": TableKey(values.flag, "true or false"),
    "grace": TableKey(values.seconds(0.0, DAY_S), 'a time such as "30s"'),
    "seed": _count("seed"),
    "python": TableKey(values.text, 'an interpreter, such as ".venv/bin/python"'),
    "env": TableKey(values.environment, 'a table of texts, such as { OMP_NUM_THREADS = "1" }'),
    "code": TableKey(values.texts, 'a list of files and folders, such as ["train.py", "model/"]'),
    "sync": TableKey(values.texts, 'a list of files and folders, such as ["."]'),
    "data": TableKey(values.texts, 'a list of files and folders, such as ["data/x.parquet"]'),
}
OF_COMMANDS = ("shell", "stdout", "csv", "tensorboard", "results", "best", "grace")

BUDGET: Mapping[str, TableKey] = {
    "trials": _count("trials"),
    "epochs": _count("steps"),
    "timeout": _time("timeout_s"),
    "trial_timeout": _time("trial_timeout_s"),
    "seeds": _count("seeds"),
}
SEARCH: Mapping[str, TableKey] = {
    "sampler": _choice("sampler"),
    "pruner": _choice("pruner"),
    "halving": TableKey(_halving, f"a table of {', '.join(HALVING_LIMITS)}"),
    "percentile": TableKey(values.between(*LIMITS["percentile"]), "a number from 0 to 100"),
    "prune_by": TableKey(values.text, "the name of a metric with a goal"),
    "parallel": _count("parallel"),
    "diverged": _choice("diverged"),
    "warm_start": TableKey(_warm_start, 'a list of tables { lr = 1e-3 } and of trials "STUDY/CELL:t5"'),
}
RESOURCES: Mapping[str, TableKey] = {
    "memory": TableKey(
        _memory, f'"{LEARN}", a size such as "8GB" (at least 16MB), or a function such as "train:memory"'
    ),
    "gpu": _count("gpu"),
    "threads": _count("threads"),
    "stall": TableKey(_stall, f'"{LEARN}", or a time such as "10m"'),
    "on_oom": _choice("on_oom"),
    "process": _choice("process"),
}
METRIC: Mapping[str, TableKey] = {
    "goal": _choice("direction"),
    "regex": TableKey(values.text, "a regular expression with one group around the number"),
    "constraint": TableKey(values.text, 'a limit such as "<= 2e6"'),
}
PARAMETER: Mapping[str, TableKey] = {
    "low": TableKey(values.number, "a number"),
    "high": TableKey(values.number, "a number"),
    "step": TableKey(values.number, "a number above 0"),
    "log": TableKey(values.flag, "true or false"),
    "choices": TableKey(lambda value: value if isinstance(value, list | tuple) else values.flag(None), "a list"),
    "when": TableKey(values.text, "an expression such as \"optimizer == 'sgd'\""),
    "kind": TableKey(values.one_of("float", "int", "choice"), "one of float, int, choice"),
}
BASELINE: Mapping[str, TableKey] = {"objective": TableKey(values.text, FUNCTION)}
NOTIFY: Mapping[str, TableKey] = {
    "urls": TableKey(_no_address, "no addresses"),
    "on": TableKey(_kinds, f"a list of {', '.join(About)}"),
}

TABLES: Mapping[str, Mapping[str, TableKey] | None] = {  # None: the user chooses its keys
    "study": STUDY,
    "matrix": None,
    "space": None,
    "forbid": None,
    "budget": BUDGET,
    "metrics": None,
    "search": SEARCH,
    "resources": RESOURCES,
    "cell": None,
    "baseline": BASELINE,
    "notify": NOTIFY,
}
IN_A_CELL = ("budget", "space", "forbid", "search", "resources")  # what [[cell]] may change


def checked(at: At, given: Any, known: Mapping[str, TableKey], what: str = "key") -> dict[str, Any]:
    """Returns the table with every value read. Raises BadStudy for an unknown key or a wrong value."""
    if not isinstance(given, Mapping):
        raise BadStudy(at, f"is {quoted(given)}, expected a table")
    unknown(at, given, known, f"{what} of [{at[0]}]" if len(at) == 1 else what)
    return {name: value_of((*at, name), value, known[name]) for name, value in given.items()}


def value_of(at: At, value: Any, key: TableKey) -> Any:
    """Reads one value. Raises BadStudy."""
    try:
        return key.read(value)
    except BadStudy as error:
        raise BadStudy((*at, *error.at), str(error).removeprefix(".".join(error.at)).strip()) from None
    except BadHalving as error:
        raise BadStudy(at, f"has a wrong number: {error}") from None
    except (ValueError, TypeError, OverflowError):
        raise BadStudy(at, f"is {quoted(value)}, expected {key.expected}") from None


assert {one.name for one in fields(Halving)} == set(HALVING_LIMITS), "the numbers of a rule"
