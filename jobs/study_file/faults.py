"""The error of a study file, with its key, and its message for unknown keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

ELSEWHERE = {  # words of other tools, such as Optuna -> our keys
    "direction": "goal",
    "mode": "goal",
    "parameters": "space",
    "params": "space",
    "search_space": "space",
    "axes": "matrix",
    "n_trials": "trials",
    "function": "objective",
    "min": "low",
    "max": "high",
    "values": "choices",
    "type": "kind",
    "distribution": "kind",
}
At = tuple[str, ...]  # ("space", "lr", "low"); of the second [[cell]]: ("cell", "2", "budget")


class BadStudy(BadSpec):
    """A study file has an error; `at` is its key."""

    def __init__(self, at: At, sentence: str) -> None:
        between = "" if not at or sentence.startswith(":") else " "
        super().__init__(f"{dotted(at)}{between}{sentence}")
        self.at = at


def dotted(at: At) -> str:
    """Returns a key in words: `space.lr.low`, or `[[cell]] 2 budget.trials`."""
    if not at:
        return ""
    return f"[[cell]] {at[1]} {'.'.join(at[2:])}".strip() if at[0] == "cell" and len(at) > 1 else ".".join(at)


def unknown(at: At, names: Iterable[Any], known: Iterable[str], what: str) -> None:
    """Raises BadStudy for the first unknown name, with the most similar known one."""
    there = list(known)
    for name in names:
        if name not in there:
            elsewhere = ELSEWHERE.get(name)
            near = f"did you mean {elsewhere}? " if elsewhere in there else hint(str(name), there)
            raise BadStudy((*at, str(name)), f"is an unknown {what}; {near}known are {', '.join(there)}")
