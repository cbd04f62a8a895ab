"""`fts budgets` shows the architectures of each model size, `fts enqueue` adds cells to the queue."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fts.jobs.api.halving import HALVING, Halving
from fts.jobs.api.lag import MOST_PARALLEL, PRICE
from fts.jobs.cli.app import AS_JSON, COUNT, Whole, here
from fts.jobs.cli.output import emit_json, emit_table, say
from fts.jobs.status import formatting
from fts.study import choices, matrix
from fts.study.cell import LIMITS, CellSpec
from fts.study.space import parse_override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CELL = re.compile(r"([A-Za-z0-9.]+)[/_]h([-+]?[0-9][0-9.,]{0,11})", re.IGNORECASE)  # also with an invalid horizon
EXPERIMENT = re.compile(r"phase6a_([A-Za-z0-9.]+)_h(\d{1,9})_([A-Za-z0-9_.-]+)")


class Listed(click.ParamType):  # type: ignore[type-arg]  # it takes types only since click 8.4
    """Reads `2M,20M` as a tuple. Refuses an empty list or element, because it may come from an unset variable."""

    name = "list"

    def __init__(self, element: type[str] | type[int], example: str) -> None:
        self.element, self.example = element, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not any(parts):
            self.fail(f"the list is empty; expected a list such as {self.example}", param, ctx)
        if not all(parts):
            self.fail(f"{value!r} has an empty element; expected a list such as {self.example}", param, ctx)
        if self.element is int and (odd := next((part for part in parts if not HORIZON.fullmatch(part)), None)):
            self.fail(f"{value!r} is not a list of whole numbers: {odd!r}; expected {self.example}", param, ctx)
        found = [self.element(part.removeprefix("h")) if self.element is int else part for part in parts]
        return tuple(dict.fromkeys(found))


HORIZON = re.compile(r"h?[0-9]{1,9}")


@click.command()
@click.argument("budget", required=False)
@click.option(
    "--tier", help=f"count parameters as for a new cell of this tier ({', '.join(choices.TIERS)})  [default: none]"
)
@click.option("--features", type=COUNT, help="number of features per day  [default: 25, as in tier a25]")
@click.option("--context", type=COUNT, help="number of days in a window  [default: 80]")
@click.option(
    "--norm", help="normalisation of a window: revin, partial, none, revin+stats, partial+stats  [default: revin]"
)
@AS_JSON
def budgets(
    budget: str | None, tier: str | None, features: int | None, context: int | None, norm: str | None, as_json: bool
) -> None:
    """List the model sizes; with BUDGET, every architecture of that size with its number of parameters.

    An architecture belongs to a size by its number of parameters, which also depends slightly on window and norm.
    """
    from fts.model.budgets import BUDGETS

    if budget is not None and budget not in BUDGETS:
        raise click.UsageError(f"there is no budget {budget!r}; there are {', '.join(BUDGETS)}")
    window = _window_of(tier, features, context, norm)
    shapes = {name: _counted(name, window) for name in ([budget] if budget else BUDGETS)}
    if not as_json and window != USUAL_WINDOW:
        say(f"counted for {window['n_features']} features, windows of {window['context']} days, norm {window['norm']}")
    if as_json:
        return emit_json("budgets", shapes)
    if budget is None:
        rows = [
            (
                name,
                formatting.parameters(BUDGETS[name]),
                len(sizes),
                len(set(sizes.values())),
                *_range(list(sizes.values())),
            )
            for name, sizes in shapes.items()
        ]
        columns = ("budget", "nominal", "architectures", "sizes", "smallest", "largest")
        return emit_table(columns, rows, right=columns[1:])
    rows_of_one = [
        (name, f"{count:,}", f"{100 * (count / BUDGETS[budget] - 1):+.1f} %") for name, count in shapes[budget].items()
    ]
    return emit_table(("architecture", "parameters", "off nominal"), rows_of_one, right=("parameters", "off nominal"))


USUAL_WINDOW: dict[str, Any] = {"n_features": 25, "context": choices.CONTEXT, "norm": "revin"}


def _window_of(tier: str | None, features: int | None, context: int | None, norm: str | None) -> dict[str, Any]:
    """Returns what decides the number of parameters: the tier's values, replaced by those that were given."""
    from fts.study.recipe import FEATURES

    if tier is not None and tier not in FEATURES:
        raise click.UsageError(choices.unknown_tier(tier))
    usual = USUAL_WINDOW
    if tier is not None:
        of_tier = choices.WINDOWS.get(tier, {})
        usual = usual | {"n_features": FEATURES[tier]} | {k: v for k, v in of_tier.items() if k in usual}
    asked = {"n_features": features, "context": context, "norm": norm}
    return usual | {name: value for name, value in asked.items() if value is not None}


def _counted(budget: str, window: dict[str, Any]) -> dict[str, int]:
    """Returns the number of parameters by architecture."""
    from fts.model.budgets import grid
    from fts.study.space import check_norms, counted

    check_norms({"choices": [window["norm"]]})
    n_features, more = window["n_features"], {name: window[name] for name in ("context", "norm")}
    try:
        return {shape.name: counted(shape, n_features, more) for shape in grid(budget, n_features, **more)}
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _range(sizes: list[int]) -> tuple[str, str]:
    return (formatting.parameters(min(sizes)), formatting.parameters(max(sizes))) if sizes else ("—", "—")


def _overrides(texts: Iterable[str]) -> dict[str, dict[str, Any]] | None:
    """Returns the ranges of --space by parameter, or None for the default space."""
    found: dict[str, dict[str, Any]] = {}
    for name, distribution in map(parse_override, texts):
        if name in found:
            raise click.UsageError(f"--space {name} is given twice; expected one range per parameter")
        found[name] = distribution
    return found or None


NO_FOLDS = "none"
USUAL = {field.name: field.default for field in dataclasses.fields(CellSpec)}

CELL_OPTIONS = (
    click.option("--trials", default=choices.TRIALS, show_default=True, help="number of trials per cell"),
    click.option(
        "--epochs",
        default=choices.EPOCHS,
        show_default=True,
        help="maximum number of epochs per trial; early stopping may end it sooner",
    ),
    click.option(
        "--task", default=choices.TASK, show_default=True, help=f"prediction task: {', '.join(choices.TASKS)}"
    ),
    click.option(
        "--tier", default=choices.TIER, show_default=True, help=f"set of features: {', '.join(choices.TIERS)}"
    ),
    click.option(
        "--data",
        "dataset",
        metavar="NAME",
        help="name of the data set (default: the tier's data set; see fts data list)",
    ),
    click.option("--objective", help="metric to optimize: val_loss or val_auc  [default: val_loss]"),
    click.option("--loss", help="training loss: bce, focal or softauc (with --objective val_auc)  [default: bce]"),
    click.option(
        "--pos-weight", is_flag=True, default=None, help="weight positive windows by (1 - base rate) / base rate"
    ),
    click.option(
        "--focal-gamma",
        type=float,
        help=f"exponent of --loss focal, larger for more weight on hard windows  [default: {USUAL['focal_gamma']:g}]",
    ),
    click.option("--sampler", help="sampler: tpe, gp or random  [default: tpe; random with halving]"),
    click.option(
        "--pruner",
        help="pruner: none, median or halving. On average 75 random trials with halving find as good a trial as "
        "50 without, in a third of the epochs  [default: none]",
    ),
    click.option(
        "--halving",
        callback=lambda ctx, option, text: None if text is None else Halving.parse(text),
        metavar="RUNG,GROWTH,KEEP,TRAILING",
        help="rule of --pruner halving, frozen with the cell: first rung, growth, share of trials kept, epochs without "
        f"improvement that end a trailing trial; or single numbers by name (keep=1/3,trailing=none)  "
        f"[default: {HALVING.numbers}]",
    ),
    click.option(
        "--parallel",
        type=Whole(1, MOST_PARALLEL),
        metavar="K",
        help=f"number of trials of a cell at once, in idle slots of one worker. {PRICE}  [default: 1]",
    ),
    click.option("--seed", type=int, help="seed of the study  [default: 0]"),
    click.option("--patience", type=int, help="number of epochs without improvement that ends a trial  [default: 10]"),
    click.option("--min-delta", type=float, help="smallest change that counts as improvement  [default: 0.001]"),
    click.option(
        "--space",
        "overrides",
        multiple=True,
        callback=lambda ctx, option, texts: _overrides(texts),
        metavar="NAME=LOW:HIGH",
        help="search a parameter in another range (dropout=0.1:0.3) or among given values (warmup_steps=100,200, "
        "context=20,80, norm=revin,partial)",
    ),
    click.option("--max-steps", type=int, help="end a trial after this many optimizer steps  [default: no limit]"),
    click.option(
        "--batch",
        "--effective-batch",
        "effective_batch",
        type=int,
        help="number of windows per optimizer step  [default: 256]",
    ),
    click.option(
        "--grad-clip", type=float, help=f"largest gradient norm, 0 for no limit  [default: {USUAL['grad_clip']:g}]"
    ),
    click.option(
        "--context", type=int, help=f"number of days in a window  [default: {choices.CONTEXT}, for tier r20: 20]"
    ),
    click.option("--patch", type=int, help=f"number of days in a token  [default: {USUAL['patch']}]"),
    click.option(
        "--stride", type=int, help=f"number of days between the starts of two tokens  [default: {USUAL['stride']}]"
    ),
    click.option(
        "--longest",
        type=int,
        help="use only days on which a window of this many days could end, so that cells with different windows are "
        "evaluated on the same days  [default: --context, for tier r20 at least 80]",
    ),
    click.option(
        "--norm",
        help="features to normalise in each window: all (revin), those in units of price or volume (partial), "
        "none (none); revin+stats and partial+stats keep means and standard deviations as a token  "
        "[default: revin, for tier r20: none]",
    ),
    click.option(
        "--precision",
        help="precision of matrix products: fp32, bf16, or auto (chosen for this machine)  [default: auto]",
    ),
    click.option("--channel-independent", is_flag=True, default=None, help="process each feature separately"),
    click.option(
        "--cv",
        metavar="walk-forward:N",
        help="evaluate each trial on N purged folds instead of one split  [default: one split]",
    ),
    click.option(
        "--split",
        callback=lambda ctx, option, text: _split(text),
        metavar="TRAIN_END,VAL_END",
        help="last days of training and validation (2016-12-31,2017-12-31), or their shares of the rows (0.7,0.15); "
        "the other rows are the test set  [default: 2022-12-31,2024-12-31; 0.7,0.15 if the data ends before]",
    ),
    click.option(
        "--min-positives", type=int, help="refuse a cell with fewer positive windows in validation  [default: 30]"
    ),
)


def _split(text: str | None) -> dict[str, Any] | None:
    """Parses `2016-12-31,2017-12-31` or `0.7,0.15` into the split of a cell."""
    if text is None:
        return None
    from fts.data.splits import BadSplit, parse  # here, not above: numpy

    first, comma, second = (part.strip() for part in text.partition(","))
    by_date = "-" in text
    try:
        content = {"train_end": first, "val_end": second} if by_date else {"train": float(first), "val": float(second)}
        parse(content)
    except (BadSplit, ValueError) as error:
        why = str(error) if comma and isinstance(error, BadSplit) else "two days or two shares are needed"
        raise click.BadParameter(
            f"{text!r}: {why}; write --split 2016-12-31,2017-12-31 or --split 0.7,0.15", param_hint="'--split'"
        ) from None
    return content


def cell_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for those fields of CellSpec that a user may choose."""
    for option in reversed(CELL_OPTIONS):
        command = option(command)
    return command


def specs_of(
    wanted: Iterable[tuple[str, int, str]], trials: int, epochs: int, tier: str, dataset: str | None, **fields: Any
) -> list[CellSpec]:
    """Returns the frozen specs for (budget, horizon, task)."""
    chosen = {name: value for name, value in fields.items() if value is not None}
    return [
        spec
        for budget, horizon, task in wanted
        for spec in matrix.make_cells(here(), [budget], [horizon], trials, epochs, task, tier, dataset, **chosen)
    ]


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--matrix", "whole", is_flag=True, help="enqueue all budgets x all horizons")
@click.option(
    "--budgets",
    "budgets_",
    type=Listed(str, "2M,20M"),
    metavar="2M,20M",
    help="model sizes, of tiny (for tests), 2M, 20M, 200M, 2B  [default: 2M,20M,200M,2B]",
)
@click.option(
    "--horizons", type=Listed(int, "1,3,5"), metavar="1,3,5", help="horizons in trading days  [default: 1,3,5]"
)
@cell_options
@click.option(
    "--baselines/--no-baselines",
    default=None,
    help="add a baseline job (volatility forecasts, regression, trees ...) before each horizon  "
    "[default: with --matrix]",
)
@click.option(
    "--seeds",
    "winner_seeds",
    type=Whole(1, 1000),
    help="number of seeds with which the winner of each cell is trained after its search; with 1, the report makes no "
    f"claim for it  [default: {choices.SEEDS}; a cell that has a job keeps its own]",
)
@click.option(
    "--folds",
    "winner_folds",
    metavar="KofN",
    help="walk-forward: after its search, train the winner of each cell again for each of the last K of N folds of "
    "days, together with the baselines; the report shows the result first. none: only one split  [default: "
    f"{choices.FOLDS}; a cell that has a job keeps its own]",
)
@click.option(
    "--warm-start", is_flag=True, help="first try the best parameters of other horizons and of the smaller budget"
)
@click.option("--again", is_flag=True, help="search a cell again, although it has a job")
@click.option("--no-check", is_flag=True, help="skip the dry run of one step per cell")
@click.option("-n", "--dry-run", is_flag=True, help="test every cell with one step, enqueue nothing")
@AS_JSON
def enqueue(
    cells: tuple[str, ...],
    whole: bool,
    budgets_: tuple[str, ...] | None,
    horizons: tuple[int, ...] | None,
    task: str,
    baselines: bool | None,
    warm_start: bool,
    again: bool,
    no_check: bool,
    dry_run: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Enqueue a study: your own, or cells of the PatchTST study.

    Your own: fts enqueue train.py:objective, fts enqueue study.toml, or fts enqueue --metric loss -- ./train.sh. Each
    has its own options: fts enqueue train.py:objective --help, fts enqueue study.toml --help, fts enqueue --help --
    COMMAND

    The options below are only for the PatchTST study: one CELL (2M/h1), or its whole --matrix. Each cell is first
    tested with one optimizer step, then frozen as it is now. A cell that already has a job, also an ended one, is not
    enqueued again; more --trials extend its job and keep its results.
    """
    from fts.state.db import open_for_person  # here, not above: a wrong flag must not create a database
    from fts.state.location import has_study
    from fts.study.baseline_jobs import with_baselines as put_before

    folds = fields.pop("winner_folds")
    fields["winner_folds"] = None if folds == NO_FOLDS else folds
    specs = specs_of(_wanted(cells, whole, budgets_, horizons, task), **fields)
    check, with_baselines = not no_check, not cells if baselines is None else baselines
    db = None if dry_run and not has_study(here().db) else open_for_person(here().db)  # a dry run makes no database
    try:
        if warm_start and db is not None:
            from fts.study.warm_start import with_warm_trials

            specs = with_warm_trials(db, specs, again=again)
        chosen = put_before(specs) if with_baselines else specs
        usual = choices.SEEDS if fields["winner_seeds"] is None else 1
        lines = matrix.enqueue_cells(
            db, here(), chosen, check=check, dry_run=dry_run, again=again, tell=say, new_seeds=usual,
            new_folds=choices.FOLDS if folds is None else None,
        )  # fmt: skip
    finally:
        if db is not None:
            db.close()
    _report(lines, dry_run, as_json)


def _report(lines: list[matrix.CellLine], dry_run: bool, as_json: bool) -> None:
    if as_json:
        content = [
            {
                "experiment": line.cell.experiment,
                "kind": line.cell.kind,
                "cell": f"{line.cell.budget}/h{line.cell.horizon}",
                "job": line.job_id,
                "created": line.created,
                "state": "new" if line.is_new else line.status,
                "extended_from": line.extended_from,
                "trials": line.cell.trials,
                "told": line.told,
                "found": line.found,
                "identity": line.cell.identity,
                "pruner": line.cell.pruner,
                "halving": line.cell.to_json()["halving"],
            }
            for line in lines
        ]
        return emit_json("enqueued", content)
    if after := _after([line for line in lines if line.is_new]):
        say(f"after each search, its winner is trained {after}")
    rows = [
        (
            line.job_id,
            f"{line.cell.budget}/h{line.cell.horizon}",
            line.cell.experiment,
            f"{line.cell.trials} x {line.cell.epochs}",
            _outcome(line, dry_run),
        )
        for line in lines
    ]
    emit_table(("job", "cell", "experiment", "trials x epochs", "state"), rows, right=("job",))
    for line in lines:
        if not line.is_new or line.note:
            say(line.told)
    for rule, sampler in dict.fromkeys((line.cell.halving, line.cell.sampler) for line in lines):
        if rule is not None:
            say(f"halving: {rule.told}; sampler {sampler}")
    return say(_summary(lines, dry_run))


def _after(lines: list[matrix.CellLine]) -> str:
    """Says `with 2 other seeds (--seeds 1: none)`, and on which folds."""
    others = max((line.cell.winner_seeds for line in lines), default=1) - 1
    told = [f"with {formatting.count(others, 'other seed')} (--seeds 1: none)"] if others else []
    folds = next((line.cell.winner_folds for line in lines if line.cell.winner_folds), None)
    if folds is not None:
        judged, of = folds.split("of")
        told.append(f"by walk-forward on the last {judged} of {of} folds, with the baselines (--folds none: off)")
    return ", and ".join(told)


def _outcome(line: matrix.CellLine, dry_run: bool) -> str:
    """Returns the last column: what happened to a cell, or what would happen."""
    if line.is_new:
        return "would be enqueued" if dry_run else "queued"
    if line.extended_from is not None:
        more = f" from {line.extended_from}" if line.cell.trials > line.extended_from else ""
        return f"{'would be ' if dry_run else ''}extended{more}"
    return f"already there ({line.status})"


def _summary(lines: list[matrix.CellLine], dry_run: bool) -> str:
    new = sum(line.is_new for line in lines)
    extended = sum(line.extended_from is not None for line in lines)
    there = len(lines) - new - extended
    parts = [f"{new} of {len(lines)} {'would be ' if dry_run else ''}enqueued"]
    parts += [f"{extended} {'would be ' if dry_run else ''}extended"] if extended else []
    parts += [f"{there} {'is' if there == 1 else 'are'} already there"] if there else []
    if dry_run:
        return f"dry run: nothing was enqueued; {', '.join(parts)}"
    end = ". `fts worker` runs them, `fts status` shows their progress" if new + extended else ": nothing to do"
    return ", ".join(parts) + end


def _wanted(
    cells: tuple[str, ...],
    whole: bool,
    budgets_: tuple[str, ...] | None,
    horizons: tuple[int, ...] | None,
    task: str,
) -> list[tuple[str, int, str]]:
    """Returns (budget, horizon, task) in the order in which they will run."""
    if cells and (whole or budgets_ or horizons):
        raise click.UsageError("name cells or give --matrix, --budgets and --horizons, not both")
    if not cells and not (whole or budgets_ or horizons):
        raise click.UsageError(
            "name what to enqueue: study.toml, train.py:objective, or -- and a command; for the PatchTST study, "
            "--matrix or a cell such as 2M/h1"
        )
    if not cells:
        return [(b, h, task) for b in budgets_ or choices.BUDGETS for h in horizons or choices.HORIZONS]
    return [parse_cell(cell, task, or_function=True) for cell in cells]


def parse_cell(word: str, task: str, *, or_function: bool = False) -> tuple[str, int, str]:
    """Parses 2M/h1, 2M_h1 or phase6a_2M_h1_threshold_1pct into (2M, 1, task).

    Raises UsageError; `or_function`: the command also takes functions and study files.
    """
    from fts.model.budgets import BUDGETS

    match = CELL.fullmatch(word) or EXPERIMENT.fullmatch(word)
    known = {name.lower(): name for name in BUDGETS}
    if match is None or match[1].lower() not in known:
        cell = f"a cell of the PatchTST study (such as 2M/h1; budgets {', '.join(BUDGETS)})"
        if not or_function:
            function = "; `fts enqueue` and `fts worker` run a function" if ":" in word or word.endswith(".py") else ""
            raise click.UsageError(f"{word!r} is not {cell}{function}")
        raise click.UsageError(
            f"{word!r} is neither a function (FILE.py:FUNCTION, such as train.py:objective) nor a study's file "
            f"(study.toml), nor {cell}{_file_meant(word)}"
        )
    low, high = LIMITS["horizon"]
    if not HORIZON.fullmatch(match[2]) or not low <= int(match[2]) <= high:
        raise click.UsageError(f"the horizon of {word!r} is {match[2]}, expected a whole number from {low} to {high}")
    return known[match[1].lower()], int(match[2]), match[3] if match.re is EXPERIMENT else task


def _file_meant(word: str) -> str:
    """Returns `; did you mean train.py:objective?` if that file exists here."""
    module, colon, function = word.partition(":")
    file = module if module.endswith(".py") else module.replace(".", "/") + ".py"
    try:
        return f"; did you mean {file}:{function or 'objective'}?" if colon and Path(file).is_file() else ""
    except (OSError, ValueError):
        return ""
