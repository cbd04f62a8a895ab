"""Compares two runs of the same trial: finds the first number that differs, in the order of the trial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.check.words import span
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Collection

    from fts.jobs.check.rehearsal import SeenTrial

ROUNDING = 1e-5  # a smaller relative difference comes from another order of a sum


@dataclass(frozen=True)
class RunDifference:
    """The first number that differs between two runs."""

    what: str  # draw | report | value | constraint | metric | end
    name: str
    told: str  # a clause: `loss of report 3 is 0.41, then 0.43`
    relative: float | None = None

    @property
    def rounding(self) -> bool:
        """Whether another order of a sum can explain it."""
        return self.relative is not None and self.relative < ROUNDING


def first_difference(one: SeenTrial, other: SeenTrial, among: Collection[str] | None = None) -> RunDifference | None:
    """Compares only `among` metrics, if given. Returns None if the runs are equal as far as both went."""
    return (
        of_draws(one, other)
        or of_reports(one, other, among)
        or (of_ends(one, other, among) if compared(one, other) == math.inf else None)
    )


def compared(one: SeenTrial, other: SeenTrial) -> float:
    """Returns how many reports `first_difference` compares; infinite: also the ends."""
    if one.ended and not other.cut:
        return math.inf
    return len(one.reports.keys() & other.reports.keys())


def of_draws(one: SeenTrial, other: SeenTrial) -> RunDifference | None:
    if one.cut or other.cut:  # the shorter run may not have reached its last draws
        names = [name for name in one.params if name in other.params]
    else:
        names = list(dict.fromkeys([*one.params, *other.params]))
    for name in names:
        first, second = (seen.params.get(name, "not drawn") for seen in (one, other))
        if first != second:
            return RunDifference("draw", name, f"{name} is drawn as {quoted(first, 40)}, then as {quoted(second, 40)}")
        ranges = [seen.distributions.get(name) for seen in (one, other)]
        if ranges[0] != ranges[1] and None not in ranges:
            from_, then = (span(each) for each in ranges if each is not None)
            return RunDifference("draw", name, f"{name} is drawn from {from_}, then from {then}")
    return None


def of_reports(one: SeenTrial, other: SeenTrial, among: Collection[str] | None = None) -> RunDifference | None:
    steps = {*one.reports, *other.reports}
    if one.cut or other.cut:  # the other reports may not have arrived yet
        steps = one.reports.keys() & other.reports.keys()
    for step in sorted(steps):
        found = [seen.reports.get(step) for seen in (one, other)]
        if found[0] is None or found[1] is None:
            missing = "first" if found[0] is None else "second"
            return RunDifference("end", "reports", f"report {step} is missing in the {missing} run")
        for name in {**found[0], **found[1]}:
            if among is not None and name not in among:
                continue
            first, second = found[0].get(name), found[1].get(name)
            if not same(first, second):
                return RunDifference(
                    "report",
                    name,
                    f"{name} of report {step} is {shown(first, second)}",
                    relative(first, second),
                )
    return None


def of_ends(one: SeenTrial, other: SeenTrial, among: Collection[str] | None = None) -> RunDifference | None:
    if one.end.how != other.end.how:
        return RunDifference("end", "end", f"it ends as {one.end.how}, then as {other.end.how}: {other.message}")
    if not same(one.value, other.value):
        text = f"the value is {shown(one.value, other.value)}"
        return RunDifference("value", "value", text, relative(one.value, other.value))
    first, second = one.constraints, other.constraints
    for name in {**first, **second}:  # each of them decides
        if not same(first.get(name), second.get(name)):
            text = f"the constraint {name} of the result is {shown(first.get(name), second.get(name))}"
            return RunDifference("constraint", name, text, relative(first.get(name), second.get(name)))
    first, second = one.attributes | one.metrics, other.attributes | other.metrics
    for name in {**first, **second}:
        if (among is None or name in among) and not same(first.get(name), second.get(name)):
            text = f"{name} of the result is {shown(first.get(name), second.get(name))}"
            return RunDifference("metric", name, text, relative(first.get(name), second.get(name)))
    return None


def same(one: Any, other: Any) -> bool:
    """Compares exactly; NaN equals NaN."""
    return one == other or (is_nan(one) and is_nan(other))


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def relative(one: Any, other: Any) -> float | None:
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (one, other)):
        return None
    largest = max(abs(one), abs(other))
    return abs(one - other) / largest if largest else 0.0


def shown(one: Any, other: Any) -> str:
    """Formats both values with as many digits as are needed to differ."""
    for digits in (4, 8, 12, 17):
        texts = [f"{value:.{digits}g}" if isinstance(value, int | float) else "missing" for value in (one, other)]
        if texts[0] != texts[1]:
            break
    return f"{texts[0]}, then {texts[1]}"
