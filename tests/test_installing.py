"""What a person types to install a package reaches the environment of fts, whoever made it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fts_process import ROOT
from tests.sentences import sentences

ASK = "from fts.installing import installing; print(installing('fts-hpo[notify]'))"
PIP = "import sys; print('pip of', sys.prefix, *sys.argv[1:])"
UV = f"""#!/bin/sh
shift 3  # pip install --python
exec "$1" -c "{PIP}" install "$2"
"""


@pytest.mark.parametrize("made_by", ["venv", "venv, active", "uv"])
def test_the_line_reaches_the_interpreter_that_says_it(tmp_path: Path, made_by: str) -> None:
    """With a pip, and a uv, that only print who was called."""
    folder, tools = tmp_path / "an environment", tmp_path / "tools"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    tools.mkdir()
    (tools / "uv").write_text(UV)
    (tools / "pip").write_text("#!/bin/sh\necho pip of another environment\n")
    if made_by != "uv":
        (packages,) = (folder / "lib").glob("python*/site-packages")
        (packages / "pip.py").write_text(PIP)
        (folder / "bin" / "pip").write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m pip "$@"\n')
        (folder / "bin" / "pip").chmod(0o755)
    for tool in tools.iterdir():
        tool.chmod(0o755)
    path = [str(folder / "bin")] * (made_by == "venv, active") + [str(tools), os.environ["PATH"]]
    environ = os.environ | {"PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT)}
    ask = [str(folder / "bin" / "python"), "-c", ASK]
    line = subprocess.run(ask, env=environ, capture_output=True, text=True, check=True).stdout
    assert made_by != "venv, active" or line == "pip install 'fts-hpo[notify]'\n"
    typed = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True).stdout
    assert typed == f"pip of {folder} install fts-hpo[notify]\n", shlex.split(line)


def test_every_sentence_that_installs_something_says_where() -> None:
    """By `installing`; a help page, written before anybody knows where, says what alone."""
    wrong = [each for each in sentences() if "pip install" in each.text and each.file != "fts/installing.py"]
    assert {each.file for each in wrong} <= {"jobs/cli/notify.py"}, wrong
