"""Opens optuna-dashboard on an exported study in headless Chromium; `python -m tests.dashboard` writes its picture.

The study is examples/function/branches.py, run by a real worker; its trials are the same at every run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fts.jobs.python import python
from tests.browser import page_of
from tests.fts_process import ROOT, Study, wait_until

PICTURE = ROOT / "docs" / "pictures" / "optuna-dashboard.png"
TRIALS = 24
PATIENCE_S = 60.0
DRAWN = "document.querySelectorAll('.js-plotly-plot .main-svg').length"


def exported(folder: Path, trials: int = TRIALS) -> str:
    """A study that ran, as a storage of Optuna; its address."""
    study = Study(folder)
    shutil.copy(ROOT / "examples" / "function" / "branches.py", folder)
    study.ok("enqueue", "branches.py:objective", "--trials", str(trials), "--seed", "1")
    study.ok("worker", "--until-empty", "--slots", "1", "--threads", "1")
    study.ok("export", "--optuna", f"sqlite:///{folder}/optuna.db")
    return f"sqlite:///{folder}/optuna.db"


async def picture(storage: str, folder: Path) -> tuple[bytes, str]:
    """The page of its first study once its plots are drawn, and what the page says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        python("-c", "from optuna_dashboard._cli import main; main()", storage, "--port", str(port)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(port) or server.poll() is not None)
        assert server.poll() is None, "optuna-dashboard does not start"
        async with page_of(f"http://127.0.0.1:{port}/dashboard/studies/1", folder / "profile") as page:
            end = time.monotonic() + PATIENCE_S
            while not await page.value_of(DRAWN):
                assert time.monotonic() < end, await page.value_of("document.body.innerText")
                await asyncio.sleep(0.5)
            await asyncio.sleep(2)  # the last plots come one after the other
            return await page.shot(), str(await page.value_of("document.body.innerText"))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        png, _ = asyncio.run(picture(exported(folder / "study"), folder))
    PICTURE.write_bytes(png)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
