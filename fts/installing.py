"""The command that installs packages next to fts: the shell's `pip` may belong to another environment."""

from __future__ import annotations

import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path


def installing(*packages: str, python: str = sys.executable, has_pip: bool | None = None) -> str:
    """Returns the command for this interpreter or another. An environment of uv or pipx may have no pip."""
    pip, wanted = shutil.which("pip"), shlex.join(packages)
    if not (find_spec("pip") if has_pip is None else has_pip):
        return f"uv pip install --python {shlex.quote(python)} {wanted}"
    if pip is not None and Path(pip).parent == Path(python).parent:
        return f"pip install {wanted}"
    return f"{shlex.quote(python)} -m pip install {wanted}"
