"""Architectures, named by their shape (`d512-L6-h8-ff2048`), and the configuration that decides a model's weights."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from fts.frozen import dataclass
from fts.raising import quoted

# revin: normalises each feature of a window by its own mean and standard deviation; partial: only those in units of
# price or volume; +stats: also gives means and standard deviations of the window to the model, as one token.
REVIN, NONE, PARTIAL, STATISTICS = "revin", "none", "partial", "+stats"
NORMS = (REVIN, NONE, PARTIAL, REVIN + STATISTICS, PARTIAL + STATISTICS)


@dataclass(frozen=True, order=True)
class Architecture:
    """The shape of the encoder, which a search may vary within a budget."""

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"{self.n_heads} heads do not divide d_model {self.d_model}; choose a divisor of {self.d_model}"
            )

    @property
    def name(self) -> str:
        return f"d{self.d_model}-L{self.n_layers}-h{self.n_heads}-ff{self.d_ff}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def parse(cls, name: str) -> Architecture:
        """Returns the architecture named `name`. Raises ValueError for a malformed name."""
        found = re.fullmatch(r"d(\d{1,6})-L(\d{1,6})-h(\d{1,6})-ff(\d{1,6})", name)
        if not found:
            raise ValueError(f"{name!r} is no architecture; expected the form d512-L6-h8-ff2048")
        return cls(*map(int, found.groups()))


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the number and meaning of a model's weights."""

    architecture: Architecture
    n_features: int
    context: int = 80  # trading days in a window
    patch: int = 10  # days in a token; 10/5 gives the published grid counts, 16/8 misses one 2M size
    stride: int = 5  # days between the starts of two tokens
    dropout: float = 0.1
    norm: str = "revin"
    channel_independent: bool = False  # True: the encoder reads each feature alone; the head combines them
    n_outputs: int = 1
    levels: tuple[int, ...] = ()  # indices of the features that a partial norm normalises; () with other norms

    def __post_init__(self) -> None:
        for field in ("n_features", "context", "patch", "stride", "n_outputs"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{field} must be a positive whole number, got {value!r}")
        if self.patch > self.context:
            raise ValueError(f"a patch of {self.patch} days does not fit into a window of {self.context}")
        if (self.context - self.patch) % self.stride:
            raise ValueError(
                f"patches of {self.patch} days every {self.stride} days leave "
                f"{(self.context - self.patch) % self.stride} days of the {self.context}-day window unread; "
                "choose context = patch + a multiple of stride"
            )
        if self.stride > self.patch:
            raise ValueError(f"stride {self.stride} skips days between patches of {self.patch}; stride <= patch")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}")
        if self.has_statistics and self.channel_independent:
            raise ValueError(
                f"norm {self.norm} has a token of all features, and channel_independent reads each alone; "
                f"choose norm {self.norm.removesuffix(STATISTICS)}, or do not read channels alone"
            )
        self._check_levels()

    def _check_levels(self) -> None:
        if self.is_partial != bool(self.levels):
            raise ValueError(
                f"norm {self.norm} needs features in units of price or volume, and there are none; choose norm none"
                if self.is_partial
                else f"levels {quoted(self.levels, 40)} belong to a partial norm, got norm {self.norm}"
            )
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in self.levels)
        if not whole or sorted(set(self.levels) & set(range(self.n_features))) != list(self.levels):
            raise ValueError(
                f"levels must be rising positions among {self.n_features} features, got {quoted(self.levels, 60)}"
            )

    @property
    def is_partial(self) -> bool:
        return self.norm.startswith(PARTIAL)

    @property
    def has_statistics(self) -> bool:
        """Whether means and standard deviations of a window are one more token."""
        return self.norm.endswith(STATISTICS)

    @property
    def n_patches(self) -> int:
        """Number of patches in a window."""
        return (self.context - self.patch) // self.stride + 1

    @property
    def n_tokens(self) -> int:
        """Number of tokens in a window: its patches, plus one for statistics."""
        return self.n_patches + self.has_statistics

    def to_json(self) -> dict[str, Any]:
        return {**self.fields(), "architecture": self.architecture.name}

    def fields(self) -> dict[str, Any]:
        """Returns the fields for JSON; `levels` only if not empty, so that older models keep their description."""
        every = asdict(self)
        levels = every.pop("levels")
        return {**every, "levels": list(levels)} if levels else every

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of to_json; raises ValueError or TypeError for unknown fields and values out of range."""
        given = {**values, "architecture": Architecture.parse(values["architecture"])}
        return cls(**given | ({"levels": tuple(values["levels"])} if "levels" in values else {}))
