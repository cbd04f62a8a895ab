"""Writes the report's conclusions in plain English: what was found, its caveats, and what is missing."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.records.trial_roles import role_of
from fts.jobs.report.statistics import (
    LEVEL,
    at_least,
    at_the_edge,
    audit,
    mean_curse,
    still_improving,
)
from fts.jobs.search.importance import BY_CHANCE
from fts.jobs.status import formatting, trial_facts
from fts.state.pareto_front import front
from fts.state.values import JobStatus, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fts.jobs.records.intervals import EstimatedValue
    from fts.jobs.report.data import CellReport, StudyReport
    from fts.jobs.report.statistics import AxisTest, CellImportance

FOUND, CAUTION, MISSING = "found", "caution", "missing"
HEADINGS = {FOUND: "What was found", CAUTION: "Read with caution", MISSING: "Missing so far"}
FEW_TRIALS = 10
MOST_NAMES = 6


@dataclass(frozen=True)
class Sentence:
    kind: str
    about: str  # the topic, in a word or two
    text: str


def sentences(
    study: StudyReport,
    effects: Sequence[AxisTest],
    depends: Sequence[AxisTest],
    shares: Sequence[CellImportance],
) -> list[Sentence]:
    """Returns all sentences, those about findings first."""
    found = [
        *_best(study),
        *_again(study),
        *_baseline(study),
        *_effects(study, effects),
        *_depends(study, depends),
        *_important(shares),
        *_improving(study),
        *_edges(study, shares),
        *_pruning(study),
        *_invalid(study),
        *_failed(study),
        *_missing(study),
    ]
    return sorted(found, key=lambda one: list(HEADINGS).index(one.kind))


def lead(study: StudyReport) -> str:
    """Returns one line: how many cells have a result, from how many trials and how much work."""
    trials = [trial for cell in study.cells for trial in cell.trials]
    counted = Counter(str(trial.status) for trial in trials)
    by_status = ", ".join(f"{counted[str(s)]:,} {s}" for s in TrialStatus if counted[str(s)])
    seconds = math.fsum(cell.seconds for cell in study.cells)
    done = len(study.with_result)
    if len(study.cells) > 1:
        have = f"{done} of {len(study.cells)} cells {'has' if done == 1 else 'have'} a result"
    else:
        have = "It has a result" if done else "It has no result yet"
    counts = f" ({by_status})" if by_status else ""
    spent = formatting.spell(seconds)
    return f"{have}, from {len(trials):,} trial{'' if len(trials) == 1 else 's'}{counts} and {spent} of work."


def named(cells: Iterable[CellReport]) -> str:
    """Returns `mnist/S, mnist/M and 4 more`."""
    names = [cell.name for cell in cells]
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMES - 1])} and {len(names) - MOST_NAMES + 1} more"


def of_all(n: int, cells: Sequence[CellReport]) -> str:
    """Returns ` in 3 of 6 cells`; "" if there is one cell."""
    return f" in {n} of {len(cells)} cells" if len(cells) > 1 else ""


def among(cells: Sequence[CellReport], study: StudyReport) -> str:
    """Returns ` (mnist/S, mnist/M)`; "" in a study of one cell."""
    return f" ({named(cells)})" if len(study.cells) > 1 else ""


def value(number: float | None) -> str:
    return "—" if number is None or not math.isfinite(number) else trial_facts.number(number)


def between(interval: EstimatedValue) -> str:
    """Returns `0.41 (95 % interval 0.38 to 0.44, Student's t, n = 3)`."""
    method = {"t": "Student's t", "bootstrap": "bootstrap over rows", "Wilson": "Wilson"}[interval.method]
    if not interval.is_known:
        return f"{value(interval.value)} (n = {interval.n}: no interval)"
    ends = f"{value(interval.low)} to {value(interval.high)}"
    return f"{value(interval.value)} (95 % interval {ends}, {method}, n = {interval.n})"


def _best(study: StudyReport) -> Iterator[Sentence]:
    for metric, direction in dict.fromkeys((cell.metric, cell.direction) for cell in study.with_result):
        cells = [cell for cell in study.with_result if (cell.metric, cell.direction) == (metric, direction)]
        first = min(cells, key=lambda cell: cell.key(cell.best.value or 0.0) if cell.best else math.inf)
        assert first.best is not None, "it has a result"
        every = [trial.value for cell in cells for trial in cell.complete]
        if len(every) > 1 and len(set(every)) == 1 and not first.goals:
            text = f"All {len(every):,} complete trials have the same {metric}, {value(every[0])}: none is better."
            yield Sentence(CAUTION, "best value", text)
            continue
        which = "lowest" if str(direction) == "minimize" else "highest"
        where = f" of {first.name}" if len(study.cells) > 1 else ""
        n = len(first.complete)
        others = ""
        if first.goals:
            on_front = len(front(first.job, first.trials))
            others = f" It is one of {on_front:,} trials there that no other one beats in every goal."
            others = others if on_front > 1 else " It is the only trial there that no other one beats in every goal."
        yield Sentence(
            FOUND,
            "best value",
            f"The {which} {metric} is {value(first.best.value)}, of trial t{first.best.number}{where}"
            f"{as_good(first, cells)}.{others}",
        )
        how = " `--seeds 5` runs each winner again." if "folder" in first.job.spec else ""
        if n > 1 and first.replicates is None:
            yield Sentence(
                CAUTION,
                "best of many",
                f"That value is the best of {n:,} of its cell. As far as values depend on chance, it is partly luck: "
                "the same configuration measured again will on average be worse." + how,
            )


def as_good(first: CellReport, cells: Iterable[CellReport]) -> str:
    """Returns ` and of 8 others`: the trials of these cells with the same value as the best one of `first`."""
    if first.goals or first.best is None:
        return ""
    n = sum(trial.value == first.best.value for cell in cells for trial in cell.complete) - 1
    return f" and of {formatting.count(n, 'other')}" if n > 0 else ""


def _again(study: StudyReport) -> Iterator[Sentence]:
    again = [cell for cell in study.with_result if cell.replicates is not None]
    for cell in again[:MOST_NAMES]:
        assert cell.replicates is not None and cell.best is not None, "chosen for it"
        curse = cell.replicates.curse
        where = f"{cell.name}: " if len(study.cells) > 1 else ""
        values, n = {trial.value for trial in cell.replicates.trials}, len(cell.replicates.trials)
        if values == {cell.best.value} or (len(values) == 1 and n > 1):
            runs = "one run with another seed" if n == 1 else f"{n} runs with other seeds"
            same = f"the same {cell.metric} to the last digit"
            if values != {cell.best.value}:
                same = f"{same}, {value(cell.replicates.interval.value)}, but not that of the search"
            text = f"{where}{runs} gave {same}: perhaps it uses no seed."
            yield Sentence(CAUTION, "other seeds", text)
            continue
        than = f"{value(abs(curse))} {'worse' if curse > 0 else 'better'} than" if curse else "the same as"
        yield Sentence(
            FOUND,
            "other seeds",
            f"{where}with other seeds the winner has a mean {cell.metric} of {between(cell.replicates.interval)}, "
            f"{than} in the search.",
        )
    mean = mean_curse(study)
    over = "on average over cells, which count as independent here although they share the seeds of their trials"
    if mean is not None and mean.is_known and mean.high > mean.low:
        if mean.low > 0:
            text = f"The searches overstate their winners: by {between(mean)} {over}."
        elif mean.high < 0:
            text = f"With other seeds the winners did better than in the search: {between(mean)} {over}."
        else:
            text = (
                f"It is not shown that the searches overstate their winners: the difference is {between(mean)} {over}."
            )
        yield Sentence(FOUND, "winner's curse", text)


def _baseline(study: StudyReport) -> Iterator[Sentence]:
    cells = [cell for cell in study.with_result if cell.baseline is not None]
    if not cells:
        return
    beaten = [
        cell
        for cell in cells
        if cell.baseline and cell.best and cell.key(cell.best.value or 0.0) < cell.key(cell.baseline.value or 0.0)
    ]
    lost = [cell for cell in cells if cell not in beaten]
    text = (
        f"The best trial is better than the baseline{of_all(len(beaten), cells)}"
        if beaten
        else f"No best trial is better than the baseline{' of its cell' if len(cells) > 1 else ''}"
    )
    rest = f"; not in {named(lost)}" if lost and beaten else ""
    yield Sentence(FOUND, "baseline", f"{text}{rest}. This compares single values, without an interval.")
    luck = [
        cell
        for cell in beaten
        if cell.replicates and cell.baseline
        and cell.key(cell.replicates.interval.value) >= cell.key(cell.baseline.value or 0.0)
    ]  # fmt: skip
    if luck:
        text = f"With other seeds its mean is not better than the baseline{of_all(len(luck), cells)}"
        yield Sentence(CAUTION, "baseline", f"{text}{among(luck, study)}: the best trial was chosen for being good.")


def _effects(study: StudyReport, effects: Sequence[AxisTest]) -> Iterator[Sentence]:
    for one in effects:
        axis = study.label(one.axis)
        levels = sorted(one.levels, key=lambda level: one.levels[level])
        many = formatting.count(one.blocks, "group") + " of cells that differ in nothing else"
        if not one.can_tell:
            yield Sentence(
                CAUTION,
                axis,
                too_few("best value", axis, one),
            )
        elif one.differs:
            yield Sentence(
                FOUND,
                axis,
                f"The best value depends on {axis}: {levels[0]} ranks first on average, {levels[-1]} last "
                f"(p = {p(one.p_holm)}, permutation within {many}).",
            )
        else:
            yield Sentence(
                FOUND,
                axis,
                f"It is not shown that the best value depends on {axis} (p = {p(one.p_holm)}, {many}).",
            )


def _depends(study: StudyReport, depends: Sequence[AxisTest]) -> Iterator[Sentence]:
    for axis in dict.fromkeys(one.axis for one in depends):
        mine = [one for one in depends if one.axis == axis]
        label = study.label(axis)
        real = [one for one in mine if one.differs]
        able = [one for one in mine if one.can_tell]
        if real:
            listed = ", ".join(f"{one.what} (p = {p(one.p_holm)})" for one in real)
            groups, family = formatting.count(mine[0].blocks, "group"), formatting.count(mine[0].tests, "parameter")
            yield Sentence(
                FOUND,
                label,
                f"The best configuration depends on {label}: {listed}; permutation of whole cells in {groups}, "
                f"Holm over {family}.",
            )
        elif able:
            yield Sentence(
                FOUND,
                label,
                f"It is not shown that the best configuration depends on {label} (smallest p = "
                f"{p(min(one.p_holm for one in able))}). That does not show that one configuration serves all.",
            )
        else:
            one = min(mine, key=lambda test: test.smallest)
            yield Sentence(
                CAUTION,
                label,
                too_few("best configuration", label, one),
            )


def too_few(what: str, axis: str, test: AxisTest) -> str:
    """Explains a test that cannot reach p <= LEVEL, because so few cells have too few permutations."""
    least = min(1.0, test.smallest * test.tests)
    groups = "1 group" if test.blocks == 1 else f"{test.blocks} groups"
    corrected = f", corrected for {test.tests} tests" if test.tests > 1 else ""
    # with one group, more values of this axis do not help
    more = "the same values" if test.blocks == 1 else f"more values of {axis}, or the same"
    return (
        f"There are too few cells to show whether the {what} depends on {axis}: with {groups} of cells that differ in "
        f"nothing else, p is at least {least:.2g}{corrected}, and {LEVEL:g} or less would show it. "
        f"Enqueue {more} at more values of another axis."
    )


def p(probability: float) -> str:
    return "0.001 or less" if probability <= 0.001 else f"{probability:.2g}"


def _important(shares: Sequence[CellImportance]) -> Iterator[Sentence]:
    if not shares:
        return
    first = Counter(one.shares[0].name for one in shares if one.real())
    cells = [one.cell for one in shares]
    if not any(one.varies for one in shares):
        yield Sentence(CAUTION, "importance", "All trials have the same value, so no parameter can be judged by it.")
        return
    if not first:
        yield Sentence(
            FOUND,
            "importance",
            f"No parameter explains more of the trials' ranks than chance does{of_all(len(cells), cells)}.",
        )
        return
    every = first.total()
    if len(cells) > 1 and at_least(every, len(cells), BY_CHANCE) > LEVEL:
        yield Sentence(
            FOUND,
            "importance",
            f"It is not shown that any parameter matters: one explains more of the trials' ranks than chance does"
            f"{of_all(every, cells)}, and chance alone gives about {BY_CHANCE:.0%} of such cells.",
        )
        return
    name, n = first.most_common(1)[0]
    best = max(
        (one for one in shares if one.real() and one.shares[0].name == name), key=lambda one: one.shares[0].share
    )
    where = f" (most in {best.cell.name})" if len(cells) > 1 else ""
    yield Sentence(
        FOUND,
        "importance",
        f"{name} goes with the largest share of the trials' ranks{of_all(n, cells)}: {best.shares[0].share:.0%}"
        f"{where}, where chance gives up to {best.chance:.0%}. It is an association within what was "
        "tried, not a cause.",
    )


def _improving(study: StudyReport) -> Iterator[Sentence]:
    cells = [cell for cell in study.with_result if still_improving(cell)]
    if cells:
        yield Sentence(
            CAUTION,
            "search length",
            f"The best trial came in the last fifth of the search{of_all(len(cells), study.cells)}"
            f"{among(cells, study)}: more trials may find a better one.",
        )
    short = [cell for cell in study.with_result if len(cell.complete) < FEW_TRIALS]
    if short:
        yield Sentence(
            CAUTION,
            "few trials",
            f"Fewer than {FEW_TRIALS} trials are complete{of_all(len(short), study.cells)}{among(short, study)}.",
        )


def _edges(study: StudyReport, shares: Sequence[CellImportance]) -> Iterator[Sentence]:
    """Warns about edges of important parameters only: the place of an unimportant one means nothing."""
    important = {one.cell.job.id: {each.name for each in one.real()} for one in shares}
    found: dict[tuple[str, str], list[CellReport]] = {}
    for cell in study.with_result:
        for name, side in at_the_edge(cell).items():
            if name not in important.get(cell.job.id, {name}):
                continue
            found.setdefault((name, side), []).append(cell)
    for (name, side), cells in found.items():
        yield Sentence(
            CAUTION,
            "edge",
            f"The winner's {name} lies at the {side} end of its range{of_all(len(cells), study.cells)}"
            f"{among(cells, study)}: a wider range may find a better one.",
        )


def _pruning(study: StudyReport) -> Iterator[Sentence]:
    audits = [one for one in map(audit, study.cells) if one is not None]
    if not audits:
        return
    every = [trial for cell in study.cells for trial in cell.trials]
    pruned = sum(trial.status is TrialStatus.PRUNED for trial in every)
    ended = pruned + sum(cell.ended for cell in study.cells)
    spared = sum(one.spared for one in audits)
    saved = spared / max(sum(trial.epochs for trial in every) + spared, 1)
    unknown = pruned - sum(one.pruned for one in audits)  # in cells without a complete trial of known length
    least = f"; what {unknown:,} of them saved is not known" if unknown else ""
    yield Sentence(
        FOUND,
        "pruning",
        f"{pruned:,} of {ended:,} trials were pruned, which saved about {saved:.0%} of all {study.step}s{least}.",
    )
    weak = [one for one in audits if math.isfinite(one.agreement) and one.agreement < 0.5]
    if weak:
        one = min(weak, key=lambda audit: audit.agreement)
        yield Sentence(
            CAUTION,
            "pruning",
            f"Early values tell little of late ones{of_all(len(weak), study.cells)}: in {one.cell.name} the values at "
            f"{study.step} {one.step} and at the end agree with a rank correlation of {one.agreement:.2f} "
            f"(n = {one.n} complete trials). Good trials may have been pruned.",
        )


def _failed(study: StudyReport) -> Iterator[Sentence]:
    failed = [trial for cell in study.cells for trial in cell.trials if trial.status is TrialStatus.FAILED]
    if failed:
        cause, n = Counter(str(trial.cause or "unknown cause") for trial in failed).most_common(1)[0]
        every = sum(len(cell.trials) for cell in study.cells)
        yield Sentence(
            CAUTION, "failures", f"{len(failed):,} of {every:,} trials failed, {n:,} of them with `{cause}`; see below."
        )


def _invalid(study: StudyReport) -> Iterator[Sentence]:
    invalid = sum(cell.invalid for cell in study.cells)
    if invalid:
        every = sum(cell.ended for cell in study.cells)
        text = f"{invalid:,} of {every:,} complete trials break a constraint; none of them counts as a result."
        yield Sentence(FOUND, "constraints", text)


def _missing(study: StudyReport) -> Iterator[Sentence]:
    for cell in study.cells[: 10 * MOST_NAMES]:
        job = cell.job
        if cell.newer:
            yield Sentence(
                MISSING, cell.name, f"This page shows job {job.id}, an older search of the cell: {cell.newer}."
            )
        for trial in cell.failed_extra:
            why = (trial.message or str(trial.cause)).replace("`", "'").rstrip(".")
            yield Sentence(MISSING, cell.name, f"Its {role_of(trial)}, t{trial.number}, failed: {why}.")
        left = job.trials_wanted - job.trials_ended
        if cell.best is None and job.status in (JobStatus.DONE, JobStatus.FAILED):
            yield Sentence(MISSING, cell.name, formatting.without_best(job) + ".")
        elif left > 0 and job.status is not JobStatus.DONE:
            trials = formatting.count(left, "trial")
            text = f"{trials} of {job.trials_wanted:,} still to run (job {job.id} is {job.status})."
            yield Sentence(MISSING, cell.name, text)
    absent = math.prod(len(values) for values in study.axes.values()) - len(study.cells)
    if study.axes and absent > 0:
        text = f"{formatting.count(absent, 'combination')} of the axes {'has' if absent == 1 else 'have'} no job."
        yield Sentence(MISSING, "matrix", text)
