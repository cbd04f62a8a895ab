"""Selects cells of a study file by --cell: `mnist/S`, `size:S`, `data=mnist`, or a value such as `S`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.api.nearest import hint
from fts.jobs.api.spec import BadSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fts.jobs.study_file.matrix import Labels

SHOWN = 8


def chosen(every: Sequence[Labels], words: Sequence[str]) -> Callable[[str, Labels], bool] | None:
    """Returns a function that selects cells; None: all. Raises BadSpec for a word that matches no cell."""
    if not words:
        return None
    exact = [_name(labels) for labels in every]
    names = [name.lower() for name in exact]
    meant: list[Labels] = []
    for word in words:
        lower = word.strip().lower()
        found = [labels for labels, name in zip(every, exact, strict=True) if name == word]
        found = found or [labels for labels, name in zip(every, names, strict=True) if name == lower]
        found = found or [labels for labels in every if _fits(labels, lower)]
        if not found:
            shown = ["/".join(str(value) for value in labels.values()) for labels in every]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            there = f"there are {', '.join(shown[:SHOWN])}{more}" if any(names) else "it is one cell without axes"
            raise BadSpec(f"--cell {word} is not a cell of the study; {hint(lower, shown)}{there}")
        meant += found
    found_all = {tuple(labels.items()) for labels in meant}
    return lambda _, labels: tuple(labels.items()) in found_all


def _name(labels: Labels) -> str:
    return "/".join(str(value) for value in labels.values())


def _fits(labels: Labels, word: str) -> bool:
    """Is each part of a word such as `mnist,size:S` a value of the cell, or an axis with its value?"""
    values = {str(value).lower() for value in labels.values()}
    pairs = {f"{name}{sign}{value}".lower() for name, value in labels.items() for sign in ":="}
    parts = [part.strip() for part in word.replace(",", "/").split("/")]
    return bool(parts) and all(part in values or part in pairs for part in parts)
