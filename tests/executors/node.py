"""Stands for a node: starts the agent as ssh or srun would, and fails in the way that a file in a folder asks for.

    python tests/executors/node.py FOLDER NAME WORDS...

FOLDER/fail-NAME: no launch works. FOLDER/cut-NAME: the connection is cut after so many bytes, once. FOLDER/other-
NAME: what comes up runs another fts. FOLDER/gpus-NAME: the GPUs it has, as FTS_GPUS names them. FOLDER/slow-NAME: it
takes so many seconds to come up. FOLDER/lacks-NAME: the package that is not installed there. FOLDER/sensors-NAME: what
its sensors say. FOLDER/scratch-NAME: where its scratch folders lie. FOLDER/clock-NAME: the seconds by which its clock
is ahead. FOLDER/cuda-NAME: how many CUDA devices torch sees there. The pid of each agent is in FOLDER/pids.
"""

import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    folder, name, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if (folder / f"fail-{name}").exists():
        sys.exit(f"{name}: no route to host")
    if (folder / f"slow-{name}").exists():
        print("queued and waiting for resources", file=sys.stderr, flush=True)
        while (folder / f"slow-{name}").exists():
            time.sleep(0.05)
    if (folder / f"other-{name}").exists():
        from fts.jobs.executors.frames import FrameKind, Writer

        writer = Writer(1, lambda: False)
        writer.begin()
        writer.send(FrameKind.HELLO, {"host": name, "code": "0" * 32, "fingerprint": "f" * 32})
        sys.stdin.read()
        return
    if (folder / f"gpus-{name}").exists():
        os.environ["FTS_GPUS"] = (folder / f"gpus-{name}").read_text()
    if (folder / f"sensors-{name}").exists():
        os.environ["FTS_SENSORS"] = f"file:{folder / f'sensors-{name}'}"
    if (folder / f"scratch-{name}").exists():
        os.environ["FTS_SCRATCH"] = (folder / f"scratch-{name}").read_text()
    if (folder / f"clock-{name}").exists():
        clock = folder / f"clock-of-{name}"
        clock.mkdir(exist_ok=True)
        ahead_s = (folder / f"clock-{name}").read_text()
        (clock / "sitecustomize.py").write_text(
            f"import time\nreal = time.time\ntime.time = lambda: real() + {ahead_s}\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([str(clock), os.environ.get("PYTHONPATH", "")])
    if (folder / f"lacks-{name}").exists():
        package = folder / f"without-{name}" / f"{(folder / f'lacks-{name}').read_text()}.py"
        package.parent.mkdir(exist_ok=True)
        package.write_text(f"raise ModuleNotFoundError(\"No module named '{package.stem}'\")")
        os.environ["PYTHONPATH"] = str(package.parent)
    if (folder / f"cuda-{name}").exists():
        torch = folder / f"torch-of-{name}" / "torch.py"
        torch.parent.mkdir(exist_ok=True)
        torch.write_text(
            "from types import SimpleNamespace as Names\n"
            f"cuda = Names(is_available=lambda: True, device_count=lambda: {(folder / f'cuda-{name}').read_text()})\n"
            "backends = Names(mps=Names(is_available=lambda: False), cuda=Names(is_built=lambda: True))\n"
        )
        os.environ["PYTHONPATH"] = os.pathsep.join([str(torch.parent), os.environ.get("PYTHONPATH", "")])
    print("Welcome to this node", flush=True)  # as a login shell does
    with (folder / "pids").open("a") as pids:
        pids.write(f"{name} {os.getpid()}\n")
    cut = folder / f"cut-{name}"
    if not cut.exists():
        os.execvp(words[0], words)
    left = int(cut.read_text())
    cut.rename(folder / f"was-cut-{name}")
    agent = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert agent.stdout is not None
    while left and (data := os.read(agent.stdout.fileno(), min(left, 4096))):
        os.write(1, data)
        left -= len(data)
    os._exit(0)


main()
