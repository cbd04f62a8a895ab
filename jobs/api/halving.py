"""The numbers of the successive-halving rule: chosen at enqueue, frozen in a cell's specification, read by people.

The defaults of `Halving` are those of cells put in line from now on. A cell keeps the numbers it was put in line with,
so a study that was begun under one rule ends under it, whatever a later version prefers.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from fts.frozen import dataclass

PERCENTILE = 25.0  # of the percentile pruner: so many of 100 trials go on


class BadHalving(ValueError):
    """A number of the rule is missing its name, of the wrong type or out of range."""


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving (Li et al. 2020, section 3), and shorter patience for trials that do not lead.

    `python -m benchmarks.pruning DB` replays any of these on recorded curves; the numbers are in docs/LOG.md.
    Raises BadHalving for a number that makes no rule.
    """

    first_rung: int = 1  # epochs; before it nothing is judged
    growth: int = 9  # each rung lies so many times later
    keep: float = 0.3  # of the trials that came to a rung
    trailing: int | None = 4  # epochs without improvement after which a trial that does not lead ends
    startup: int = 0  # trials before this number are never ended
    margin: float = 0.0  # of the objective: who is so close behind the line goes on

    def __post_init__(self) -> None:
        for number in fields(self):
            _check(number.name, getattr(self, number.name))

    @property
    def told(self) -> str:
        """The rule as a sentence: what a preview and a report say."""
        rungs = ", ".join(str(self.first_rung * self.growth**k) for k in range(3))
        said = [f"rungs at epochs {rungs} ... keep the best {self.keep:.3g} of the trials that reach them"]
        if self.margin:
            said.append(f"and those within {self.margin:g} of the line")
        if self.trailing is not None:
            said.append(f"a trial that does not lead ends after {_epochs(self.trailing)} without improvement")
        if self.startup:
            said.append(f"the first {self.startup} trials are never ended")
        return "; ".join(said)

    @property
    def numbers(self) -> str:
        """`2,3,0.5,2`: what `fts enqueue --halving` takes, and makes the same rule again."""
        values = list(asdict(self).values())
        kept = values if values[FEW:] != [0, 0.0] else values[:FEW]
        return ",".join("none" if value is None else repr(value) for value in kept)

    @classmethod
    def from_json(cls, data: Any) -> Halving:
        """The rule of a specification. Raises BadHalving with the field's name; every field must be there."""
        known = {number.name for number in fields(cls)}
        if not isinstance(data, dict) or set(data) != known:
            got = ", ".join(map(str, data))[:200] if isinstance(data, dict) else repr(data)[:80]
            raise BadHalving(f"halving has {got or 'no numbers'}, expected {', '.join(sorted(known))}")
        return cls(**data)

    @classmethod
    def parse(cls, text: str) -> Halving:
        """`2,3,0.5,2`, or by name and in part: `keep=1/3,trailing=none`; what is not said is as usual.

        Raises BadHalving with what was found and what was expected.
        """
        names = [number.name for number in fields(cls)]
        given: dict[str, int | float | None] = {}
        for position, part in enumerate(text.split(",")):
            name, equals, value = part.strip().rpartition("=")
            name = name.strip() if equals else (names[position] if position < len(names) else part)
            if name not in names or name in given:
                raise BadHalving(f"{text!r} is no halving rule: {EXPECTED}")
            given[name] = _number(name, value.strip(), text)
        return cls(**given)  # type: ignore[arg-type]  # _check in __post_init__ sees to the types


FEW = 4  # numbers that people choose; startup and margin are said only where they are not zero
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
        raise BadHalving(f"{name} of the halving rule is {value!r:.80}, expected {whole}{low:g} to {high:g}")


def _number(name: str, word: str, text: str) -> int | float | None:
    """`2`, `0.5`, `1/3`, and `none` for no patience of its own."""
    try:
        if name == "trailing" and word == "none":
            return None
        if name in WHOLE:
            return int(word)
        top, _, bottom = word.partition("/")
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise BadHalving(f"{text!r} is no halving rule: {name} is {word!r}; {EXPECTED}") from None


def _epochs(n: int) -> str:
    return f"{n} epoch{'' if n == 1 else 's'}"


HALVING = Halving()  # of a cell that is put in line now
BEFORE_FREEZING = Halving(first_rung=2, growth=3, keep=1 / 2, trailing=2, startup=0, margin=0.0)
"""Of a specification without a rule: what the last version that froze none did. It never changes, so that a study
half done when the rule moved into the specification goes on under the rule it was running under."""
