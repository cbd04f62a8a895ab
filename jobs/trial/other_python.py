"""Runs a module of fts in an interpreter that has no fts installed: makes our package fts importable, and no other.

other/python -P fts/jobs/trial/other_python.py /site-packages/fts fts.jobs.trial.function --facts-fd 5
"""

import importlib
import importlib.util
import sys
from pathlib import Path


def lend(home: Path) -> None:
    """Makes the folder importable as `fts`, without the other packages next to it."""
    if home.name != "fts" or not (home / "__init__.py").is_file():
        sys.exit(f"{home} is not the package fts")
    spec = importlib.util.spec_from_file_location("fts", home / "__init__.py", submodule_search_locations=[str(home)])
    assert spec is not None and spec.loader is not None, "the file is there"
    module = importlib.util.module_from_spec(spec)
    sys.modules["fts"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    lend(Path(sys.argv.pop(1)))
    sys.exit(importlib.import_module(sys.argv.pop(1)).main())  # here: it can be found only now
