"""The settings of the successive-halving rule, frozen in a cell's specification when it is enqueued.

The defaults of `Halving` apply to cells that are enqueued from now on. A cell keeps the settings it was enqueued with,
so a study ends under the rule it began with, even if a later version has other defaults.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fts.frozen import dataclass
from fts.raising import quoted

PERCENTILE = 25.0  # of the percentile pruner: this many of 100 trials continue


class BadHalving(ValueError):
    """A setting of the rule has an unknown name, the wrong type or a value out of range."""


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving (Li et al. 2020, section 3), with less patience for trials that do not lead.

    `python -m benchmarks.pruning DB` replays any rule on recorded curves; the results are in docs/LOG.md.
    Raises BadHalving for a value out of range.
    """

    first_rung: int = 1  # epoch of the first rung; no trial is pruned before it
    growth: int = 9  # each rung is at the previous epoch times this
    keep: float = 0.3  # the share of the trials that reached a rung and continue
    trailing: int | None = 4  # a trial that does not lead ends after this many epochs without improvement
    startup: int = 0  # trials with a lower number are never pruned
    margin: float = 0.0  # in units of the objective: a trial this close to the threshold continues

    def __post_init__(self) -> None:
        for number in fields(self):
            _check(number.name, getattr(self, number.name))

    @property
    def told(self) -> str:
        """The rule as a sentence, for previews and reports."""
        rungs = ", ".join(str(self.first_rung * self.growth**k) for k in range(3))
        parts = [f"rungs at epochs {rungs} ... keep the best {self.keep:.3g} of the trials that reach them"]
        if self.margin:
            parts.append(f"and those within {self.margin:g} of the line")
        if self.trailing is not None:
            parts.append(f"a trial that does not lead ends after {_epochs(self.trailing)} without improvement")
        if self.startup:
            parts.append(f"the first {self.startup} trials are never ended")
        return "; ".join(parts)

    @property
    def numbers(self) -> str:
        """The rule as `fts enqueue --halving` takes it, such as `2,3,0.5,2`."""
        values = list(asdict(self).values())
        kept = values if values[FEW:] != [0, 0.0] else values[:FEW]
        return ",".join("none" if value is None else repr(value) for value in kept)

    @classmethod
    def from_json(cls, data: Any) -> Halving:
        """Reads a rule from a specification, which must have every field. Raises BadHalving with the field's name."""
        known = {number.name for number in fields(cls)}
        if not isinstance(data, dict) or set(data) != known:
            got = ", ".join(map(str, data))[:200] if isinstance(data, dict) else repr(data)[:80]
            raise BadHalving(f"halving has {got or 'no numbers'}, expected {', '.join(sorted(known))}")
        return cls(**data)

    @classmethod
    def parse(cls, text: str) -> Halving:
        """Reads `2,3,0.5,2`, or some fields by name: `keep=1/3,trailing=none`. The others have their defaults.

        Raises BadHalving with what was found and what was expected.
        """
        names = [number.name for number in fields(cls)]
        given: dict[str, int | float | None] = {}
        for position, part in enumerate(text.split(",")):
            name, equals, value = part.strip().rpartition("=")
            name = name.strip() if equals else (names[position] if position < len(names) else part)
            if name not in names or name in given:
                raise BadHalving(f"{text!r} is not a halving rule: {EXPECTED}")
            given[name] = _number(name, value.strip(), text)
        return cls(**given)  # type: ignore[arg-type]  # _check in __post_init__ checks the types


FEW = 4  # settings that people choose; startup and margin are shown only if they are not zero
EXPECTED = (
    "expected first rung, growth, share kept, epochs a trailing trial is given, such as 2,3,0.5,2, "
    "or by name, such as keep=1/3,trailing=none"
)
LIMITS: dict[str, tuple[float, float]] = {
    "first_rung": (1, 10_000),
    "growth": (2, 100),
    "keep": (0.01, 1.0),
    "trailing": (1, 10_000),
    "startup": (0, 100_000),
    "margin": (0.0, 10.0),
}
WHOLE = ("first_rung", "growth", "trailing", "startup")


def _check(name: str, value: Any) -> None:
    if value is None and name == "trailing":
        return
    low, high = LIMITS[name]
    kind = int if name in WHOLE else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:  # NaN fails this too
        whole = "a whole number from " if name in WHOLE else ""
        raise BadHalving(f"{name} of the halving rule is {quoted(value)}, expected {whole}{low:g} to {high:g}")


def _number(name: str, word: str, text: str) -> int | float | None:
    """Reads `2`, `0.5`, `1/3`, or `none` for `trailing`."""
    try:
        if name == "trailing" and word == "none":
            return None
        if name in WHOLE:
            return int(word)
        top, _, bottom = word.partition("/")
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise BadHalving(f"{text!r} is not a halving rule: {name} is {word!r}; {EXPECTED}") from None


def _epochs(n: int) -> str:
    return f"{n} epoch{'' if n == 1 else 's'}"


HALVING = Halving()  # of a cell that is enqueued now
BEFORE_FREEZING = Halving(first_rung=2, growth=3, keep=1 / 2, trailing=2, startup=0, margin=0.0)
"""The rule of a specification without one, written by a version that did not freeze it. It must never change, so that a
study that was running then continues under its rule."""
