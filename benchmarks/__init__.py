"""Measurements on this machine; every speed claim in the documents has a row here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison: two halves of one run, measured in turns, so that a busy machine slows both."""

    name: str
    ours: float
    unit: str
    reference: float | None = None  # the other half; None: nothing to compare with
    reference_name: str = ""
    lower_is_better: bool = False
    share_of_peak: float | None = None  # of the matrix product measured in the same turns
    repeats: int = 1
    spread: float | None = None  # half the interquartile range of the repeats, relative to the median
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our value relative to the reference; above 1: ours is better."""
        if not self.reference or not self.ours:
            return None
        return self.reference / self.ours if self.lower_is_better else self.ours / self.reference

    def line(self) -> str:
        parts = [f"{self.name:<34} {self.ours:>10.4g} {self.unit}"]
        if self.reference is not None:
            times = "" if self.ratio is None else f": {self.ratio:.2f}x"
            parts.append(f"against {self.reference:.4g} ({self.reference_name}){times}")
        if self.share_of_peak is not None:
            parts.append(f"{self.share_of_peak:.0%} of peak")
        if self.spread is not None:
            parts.append(f"n={self.repeats} ±{self.spread:.0%}")
        if self.note:
            parts.append(self.note)
        return "  ".join(parts)


def median_and_spread(values: list[float]) -> tuple[float, float]:
    """Returns the median, and half the interquartile range relative to it."""
    ordered = sorted(values)
    n = len(ordered)
    middle = ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
    return middle, (ordered[(3 * n) // 4 if n > 1 else 0] - ordered[n // 4]) / 2 / middle
