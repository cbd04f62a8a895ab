"""An import that fails half-way leaves nothing that a later one would stumble over."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fts.jobs.python import python
from fts.jobs.search import whole_imports

FILES = {
    "__init__": "from halfway import pruners, storages",
    "pruners/__init__": "from halfway.trials import use\nVALUE = 1\nimport halfway.broken",
    "trials": "from halfway import pruners\ndef use(): return pruners.VALUE",  # done, and refers to the one that fails
    "storages": "",
    "broken": "from pathlib import Path\ntrouble = Path(__file__).with_name('trouble')\n"
    "if trouble.exists():\n    trouble.unlink()\n    raise MemoryError",
}
DRAW = """
import sys
class Trouble:
    left = 150  # modules: in the middle of Optuna
    def find_spec(self, name, path, target=None):
        Trouble.left -= 1
        if Trouble.left == 0:
            raise OSError(24, "Too many open files")
from fts.jobs.api.function import FunctionCell
from fts.jobs.search.proposal import drawn_for
space = {"x": {"kind": "float", "low": 0.0, "high": 1.0}}
cell = FunctionCell("s", "s_a", "a.py:f", "/x", "0" * 32, trials=2, sampler="random", space=space)
sys.meta_path.insert(0, Trouble())
try:
    drawn_for(cell, [], 0)
except OSError as error:
    print(error)
print(sorted(drawn_for(cell, [], 0).params))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, code in FILES.items():
        path = tmp_path / "halfway" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "halfway" / "trouble").touch()
    monkeypatch.setattr(whole_imports, "_lost", set())
    yield "halfway"
    for name in [name for name in sys.modules if name.partition(".")[0] == "halfway"]:
        del sys.modules[name]


def test_a_package_whose_import_failed_is_imported_anew(package: str) -> None:
    with pytest.raises(MemoryError), whole_imports.whole_imports():
        importlib.import_module(package)
    assert not [name for name in sys.modules if name.startswith(package)]
    with whole_imports.whole_imports():
        assert importlib.import_module(f"{package}.trials").use() == 1
    assert whole_imports.half_imported() is None


def test_a_package_that_cannot_be_imported_anew_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_imports, "is_extension", lambda name: name == f"{package}.trials")
    with pytest.raises(MemoryError), whole_imports.whole_imports():
        importlib.import_module(package)
    assert whole_imports.half_imported() == f"{package} could not be imported completely"


def test_a_draw_after_a_failed_import_of_optuna_is_like_any_other() -> None:
    done = subprocess.run(python("-c", DRAW), capture_output=True, text=True, check=False)
    assert done.stdout == "[Errno 24] Too many open files\n['x']\n", done.stderr
