"""Makes the cells of one study from its tables: what runs, its space, search, resources and goals."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs import commands, functions, objective_file
from fts.jobs.api.bare_cell import OBJECTIVE
from fts.jobs.api.code import whole_md5
from fts.jobs.api.command import BareStudy
from fts.jobs.api.expression import BadExpression, Expression
from fts.jobs.api.function import VALUE
from fts.jobs.api.grid import GRID
from fts.jobs.api.halving import PERCENTILE, Halving
from fts.jobs.api.spec import NAME, BadSpec
from fts.jobs.api.study import IDLE, MINIMIZE
from fts.jobs.study_file import code, keys, matrix, regex, space, warm
from fts.jobs.study_file.faults import At, BadStudy, unknown
from fts.jobs.study_file.tables import Params, Tables, changed, metrics_of, placed_at, title_of, values_of
from fts.raising import quoted
from fts.state.files import expanded

if TYPE_CHECKING:
    from fts.jobs.api.bare_cell import BareCell
    from fts.jobs.study_file.matrix import Labels
    from fts.jobs.study_file.study import StudyFile


USUAL_TRIALS = 20


class Freezing:
    """Makes the cells of one file. Every method raises BadStudy with the key of the error."""

    def __init__(
        self, file: StudyFile, recorded: Callable[[str], Params] | None = None, outputs: Path | None = None
    ) -> None:
        self.file, self.folder, self.recorded, self.outputs = file, file.folder, recorded, outputs
        tables = file.tables
        for name in tables:
            if name in keys.STUDY and name not in keys.TABLES:
                raise BadStudy((name,), "is above every table; move it below [study]")
        unknown((), tables, keys.TABLES, "table")
        for name, table in tables.items():
            if name != "cell" and not isinstance(table, Mapping):
                raise BadStudy((name,), f"is {quoted(table)}, expected a table")
        self.study = keys.checked(("study",), tables.get("study", {}), keys.STUDY)
        self.metrics = metrics_of(tables.get("metrics", {}))
        if "notify" in tables:
            keys.checked(("notify",), tables["notify"], keys.NOTIFY)
        self.is_command = self._kind()
        self.axes = values_of(matrix.cells(tables.get("matrix", {})))
        self.python = self._python()

    def cells(self, wanted: Callable[[str, Labels], bool] | None) -> list[BareCell]:
        every = matrix.cells(self.file.tables.get("matrix", {}))
        overrides = self._overrides(every)
        source = self._source()
        name = self._name(source)
        shown = BareStudy(name)
        chosen = [labels for labels in every if wanted is None or wanted(title_of(shown, labels), labels)]
        made_by_function = self._spaces([labels for labels in chosen if self._from(labels, overrides)], overrides)
        made: list[Any] = []
        for labels in chosen:
            tables = changed(self.file.tables, labels, overrides)
            fields = self._fields(tables, labels, made_by_function.get(_key(labels)), source)
            try:
                made.append(self._frozen(source, name, labels, fields))
            except BadStudy:
                raise
            except BadSpec as error:
                of_cell = f"cell {title_of(shown, labels)}: " if labels else ""
                raise BadStudy((), f"{of_cell}{error}") from None
        names = (functions.experiment_name(name, tuple(labels.values())) for labels in every)
        return functions.with_unique_names(made, names)

    # -- what runs

    def _kind(self) -> bool:
        """Is it a command?"""
        given = [name for name in ("objective", "command") if name in self.study]
        if len(given) != 1:
            what = "has both objective and command; keep one" if given else "has neither objective nor command"
            raise BadStudy(("study",), f'{what}, such as objective = "train:objective"')
        if given == ["objective"]:
            for name in keys.OF_COMMANDS:
                if name in self.study:
                    raise BadStudy(("study", name), "belongs to a command, and the study has an objective")
            for name, each in self.metrics.items():
                if "regex" in each:
                    raise BadStudy(("metrics", name, "regex"), "reads the output of a command; a function returns it")
            return False
        for name in ("python",):
            if name in self.study:
                raise BadStudy(("study", name), "belongs to an objective; a command names its own interpreter")
        return True

    def _source(self) -> objective_file.Function | commands.ParsedCommand:
        """Reads the file of the function or command."""
        if not self.is_command:
            with placed_at(("study", "objective")):
                return objective_file.inspect(self.objective, self.folder)
        given = self.study["command"]
        shell = self.study.get("shell", False)
        with placed_at(("study", "command")):
            if shell and not isinstance(given, str):
                raise BadSpec("is a list, expected one text for the shell")
            words = (given,) if shell else tuple(map(_at_home, _split(given))) if isinstance(given, str) else given
            return commands.parse_command(words, self.folder, shell, self.study.get("env", {}).get("PATH"))

    @cached_property
    def objective(self) -> str:
        """The function as FILE.py:FUNCTION."""
        return self.function(("study", "objective"), self.study["objective"])

    def function(self, at: At, text: str) -> str:
        """Finds `train:objective` or `train.py:objective` in the study's folder and returns FILE.py:FUNCTION."""
        found = objective_file.to_file_path(text, self.folder)
        if OBJECTIVE.fullmatch(found):
            return found
        if not objective_file.MODULE.fullmatch(text):
            raise BadStudy(at, f"is {quoted(text)}, expected {keys.FUNCTION}")
        module, _, name = text.partition(":")
        path = module.replace(".", "/")
        raise BadStudy(at, f"is {quoted(text)}, but there is no {path}.py in {self.folder}{_imported(module, name)}")

    def _name(self, source: objective_file.Function | commands.ParsedCommand) -> str:
        stem = source.stem if isinstance(source, commands.ParsedCommand) else source.path.stem
        if isinstance(source, objective_file.Function) and stem == "__init__":
            stem = source.path.parent.name
        with placed_at(("study", "name")):
            given = self.study.get("name", functions.clean(stem))
            if not NAME.fullmatch(given):
                raise BadSpec(f"{quoted(given)} is not a name, expected a-z, A-Z, 0-9 and _.- (at most 80)")
            try:
                return functions.checked_name(given)
            except BadSpec:
                raise BadSpec(f"{given!r} is the name of an installed study; give this one another") from None

    def _python(self) -> str | None:
        if (given := self.study.get("python")) is None:
            return None
        found = shutil.which(given) if "/" not in given else str((self.folder / expanded(given)).absolute())
        if found is None or not Path(found).is_file():
            raise BadStudy(("study", "python"), f"names {found or given}, which is not a file; expected an interpreter")
        return found

    @cached_property
    def _code(self) -> tuple[str, ...]:
        if "code" in self.study:
            return code.named(self.study["code"], self.folder, self.outputs)
        return () if self.is_command else code.imported(self.objective.rpartition(":")[0], self.folder)

    @cached_property
    def _sync(self) -> tuple[str, ...]:
        return code.sent(self.study.get("sync", (".",) if self._data else ()), self._data, self.folder, self.outputs)

    @cached_property
    def _data(self) -> tuple[str, ...]:
        return code.data_sets(self.study.get("data", ()), self.folder)

    def _frozen(
        self,
        source: objective_file.Function | commands.ParsedCommand,
        name: str,
        labels: Labels,
        fields: dict[str, Any],
    ) -> BareCell:
        fields |= {
            "sync": self._sync,
            "data": self._data,
            "code": self._code,
            "code_md5": whole_md5(source.md5, self.folder, self._code),
        }
        if isinstance(source, commands.ParsedCommand):
            with placed_at(("study", "command")):
                return commands.frozen(source, self.folder, study=name, axes=labels, **fields)
        declared = fields.get("space")
        with placed_at(("study", "objective")):
            functions.check_parameters(source, list(labels), declared)
        if self.python is not None and not self._checked_python:
            with placed_at(("study", "python")):
                needs = source.needs_optuna(labels, declared)
                functions.check_interpreter(self.python, self.folder, needs_optuna=needs)
            self._checked_python = True
        made = functions.frozen(source, self.objective, self.folder, study=name, axes=labels, **fields)
        if made.warm_start and declared is None:
            with placed_at(("search", "warm_start")):
                functions.refuse_unused_start(made)
        return made

    _checked_python = False

    # -- what differs between cells

    def _overrides(self, every: Sequence[Labels]) -> list[tuple[Expression, Tables]]:
        given = self.file.tables.get("cell", [])
        if not isinstance(given, list | tuple):
            raise BadStudy(("cell",), "is a table, expected [[cell]] with two brackets")
        found = []
        for number, table in enumerate(given, 1):
            at = ("cell", str(number))
            if not isinstance(table, Mapping):
                raise BadStudy(at, f"is {quoted(table)}, expected a table")
            unknown(at, table, ("where", *keys.IN_A_CELL), "table of [[cell]]")
            if "where" not in table:
                raise BadStudy(at, "has no where, such as where = \"size == 'L'\"")
            try:
                where = Expression.parse(table["where"])
                space.unknown_name((*at, "where"), where, self.axes)
                chosen = [labels for labels in every if where.holds(labels)]
            except BadExpression as error:
                raise BadStudy((*at, "where"), f"is not an expression: {error}") from None
            if not chosen:
                raise BadStudy((*at, "where"), f"chooses no cell: {quoted(where.text)}")
            for name, inner in table.items():
                if name != "where" and not isinstance(inner, Mapping):
                    raise BadStudy((*at, name), f"is {quoted(inner)}, expected a table")
                if name in keys.TABLES and (known := keys.TABLES[name]) is not None:
                    keys.checked((*at, name), inner, known)
            found.append((where, {name: inner for name, inner in table.items() if name != "where"}))
        return found

    def _from(self, labels: Labels, overrides: Sequence[tuple[Expression, Tables]]) -> str | None:
        given = changed(self.file.tables, labels, overrides).get("space", {})
        if not isinstance(given, Mapping):
            raise BadStudy(("space",), f"is {quoted(given)}, expected a table")
        if (text := given.get(space.FROM)) is not None and not isinstance(text, str):
            raise BadStudy(
                ("space", space.FROM), f"is {quoted(text)}, expected {keys.FUNCTION}; no parameter can have this name"
            )
        return text

    def _spaces(
        self, chosen: Sequence[Labels], overrides: Sequence[tuple[Expression, Tables]]
    ) -> dict[tuple[Any, ...], space.Space]:
        """Returns the spaces from the functions of `from`, by cell. Each function is called in one process."""
        by_function: dict[str, list[Labels]] = {}
        for labels in chosen:
            by_function.setdefault(self._from(labels, overrides) or "", []).append(labels)
        found: dict[tuple[Any, ...], space.Space] = {}
        for text, those in by_function.items():
            objective = self.function(("space", space.FROM), text)
            with placed_at(("space", space.FROM)):
                objective_file.inspect(objective, self.folder)
            env = self.study.get("env", {})
            spaces = space.of_cells(objective, self.folder, self.python, those, env)
            found |= {_key(labels): each for labels, each in zip(those, spaces, strict=True)}
        return found

    def _fields(
        self,
        tables: Tables,
        labels: Labels,
        made: space.Space | None,
        source: objective_file.Function | commands.ParsedCommand,
    ) -> dict[str, Any]:
        """Returns the fields of one cell, except those of the function or command."""
        declared = (made or {}) | space.parameters(tables.get("space", {}))
        in_words = source.declared if isinstance(source, commands.ParsedCommand) else {}
        for name in declared:
            if name in in_words:
                raise BadStudy(("space", name), "is also declared in the command; declare it once")
            if name in labels:
                raise BadStudy(("space", name), "is also an axis of [matrix]; remove one of them")
        whole = declared | in_words
        forbid = space.forbidden(tables.get("forbid", {}))
        if forbid and not whole:
            raise BadStudy(("forbid",), "needs [space]: it cannot check a function that draws its own parameters")
        space.check_expressions(whole, forbid, self.axes, labels)
        budget = keys.checked(("budget",), tables.get("budget", {}), keys.BUDGET)
        fields = {
            "trials": budget.get("trials", USUAL_TRIALS),
            "steps": budget.get("epochs"),
            "timeout_s": budget.get("timeout"),
            "trial_timeout_s": budget.get("trial_timeout"),
            "seeds": budget.get("seeds", 1),
            "seed": self.study.get("seed", 0),
            "space": declared or None,
            "forbid": forbid,
        }
        fields |= self._search(keys.checked(("search",), tables.get("search", {}), keys.SEARCH), whole, forbid, labels)
        fields |= self._resources(keys.checked(("resources",), tables.get("resources", {}), keys.RESOURCES))
        fields |= self._goals()
        if fields["prune_by"] is not None and fields["prune_by"] not in (fields["goals"] or {fields["metric"]: ""}):
            there = ", ".join(fields["goals"] or [fields["metric"]])
            raise BadStudy(
                ("search", "prune_by"), f"is {quoted(fields['prune_by'])}, expected a metric with a goal: {there}"
            )
        fields |= self._running()
        if len(fields["warm_start"]) > fields["trials"]:
            raise BadStudy(("search", "warm_start"), f"has more than the {fields['trials']} trials of the cell")
        return fields

    def _search(
        self, given: Mapping[str, Any], whole: space.Space, forbid: Mapping[str, str], labels: Labels
    ) -> dict[str, Any]:
        pruner = given.get("pruner", "median")
        if "halving" in given and pruner != "halving":
            raise BadStudy(("search", "halving"), f'has numbers, but the pruner is {pruner}; write pruner = "halving"')
        if "percentile" in given and pruner != "percentile":
            raise BadStudy(
                ("search", "percentile"), f'has a number, but the pruner is {pruner}; write pruner = "percentile"'
            )
        at = ("search", "warm_start")
        first = [
            warm.from_record(at, each, whole, forbid, labels, self.recorded)
            if isinstance(each, str)
            else warm.checked(at, each, whole, forbid, labels, draws_rest=given.get("sampler") != GRID)
            for each in given.get("warm_start", ())
        ]
        return {
            "sampler": given.get("sampler", "tpe"),
            "pruner": pruner,
            "halving": given.get("halving", Halving()) if pruner == "halving" else None,
            "percentile": given.get("percentile", PERCENTILE),
            "prune_by": given.get("prune_by"),
            "parallel": given.get("parallel", 1),
            "diverged": given.get("diverged", "worst"),
            "warm_start": tuple(first),
        }

    def _resources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        memory = given.get("memory")
        if isinstance(memory, str) and memory != keys.LEARN:
            at = ("resources", "memory")
            memory = self.function(at, memory)
            with placed_at(at):
                objective_file.inspect(memory, self.folder)
        learns = given.get("stall") == keys.LEARN
        return {
            "memory": memory if isinstance(memory, str) and memory != keys.LEARN else None,  # learn is the default
            "memory_bytes": memory if isinstance(memory, int) else None,
            "on_oom": given.get("on_oom", "alone"),
            "stall": keys.LEARN if learns else IDLE,
            "stall_s": None if learns else given.get("stall"),
            "gpu": given.get("gpu", 0),
            "threads": given.get("threads"),
            "process": given.get("process", "fresh"),
        }

    def _goals(self) -> dict[str, Any]:
        goals = {name: each["goal"] for name, each in self.metrics.items() if "goal" in each}
        if not goals and (self.is_command or self.metrics):
            named = next(iter(self.metrics), "val_loss")
            why = "name none with a goal" if self.metrics else "are missing: a command reports numbers by name"
            raise BadStudy(("metrics",), f'{why}; write {named} = {{ goal = "minimize" }}')
        metric = next(iter(goals), VALUE)
        return {
            "metric": metric,
            "direction": goals.get(metric, MINIMIZE),
            "goals": goals if len(goals) > 1 else {},
            "constraints": {name: each["constraint"] for name, each in self.metrics.items() if "constraint" in each},
        }

    def _running(self) -> dict[str, Any]:
        baseline = keys.checked(("baseline",), self.file.tables.get("baseline", {}), keys.BASELINE)
        found: dict[str, Any] = {"env": self.study.get("env", {}), "baseline": None}
        if "baseline" in self.file.tables:
            at = ("baseline", "objective")
            if "objective" not in baseline:
                raise BadStudy(("baseline",), f"has no objective, expected {keys.FUNCTION}")
            found["baseline"] = self.function(at, baseline["objective"])
            with placed_at(at):
                functions.check_baseline(found["baseline"], self.folder, list(self.axes))
        if not self.is_command:
            return found | {"python": self.python}
        found["regex"] = regex.joined({name: each["regex"] for name, each in self.metrics.items() if "regex" in each})
        names = {"grace": "grace_s"}
        return found | {names.get(name, name): self.study[name] for name in keys.OF_COMMANDS[1:] if name in self.study}


def _at_home(word: str) -> str:
    """Expands ~ at the start of a word, as a shell does."""
    return str(expanded(word)) if word == "~" or word.startswith("~/") else word


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadSpec(f"{quoted(text)} is not a command: {error}") from None


def _key(labels: Labels) -> tuple[Any, ...]:
    return tuple(labels.items())


def _imported(module: str, name: str) -> str:
    """Returns how to use a function of an installed package; empty if there is no such package."""
    try:
        if find_spec(module.partition(".")[0]) is None:
            return ""
    except (ImportError, ValueError, AttributeError):
        return ""
    return (
        f"; a function of a package is imported by a file of your own: write objective.py with "
        f'`from {module} import {name}`, and here "objective:{name}"'
    )
