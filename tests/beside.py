"""Lets this environment see the packages of another: `build/ray/bin/python -m tests.beside .venv/bin/python`."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    other = subprocess.run([sys.argv[1], "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    here = Path(sysconfig.get_path("purelib")) / "zz_beside.pth"
    here.write_text(f"import site; site.addsitedir({other!r})\n")  # with its own .pth files, of an editable fts


main()
