"""A proxy for a module that is imported when one of its attributes is first used."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Imports lazily: `Later("fts.state.transitions").move` is the function `move` of that module."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)
