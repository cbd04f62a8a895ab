"""Prints what a process can know of itself, and ends with exit code 3; with `waits` it waits for the end of stdin."""

import json
import os
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    if sys.argv[1:] == ["waits"]:
        sys.stdin.read()
    umask = os.umask(0)
    facts = {
        "words": sys.argv[1:], "orig": sys.orig_argv, "cwd": str(Path.cwd()), "umask": umask, "zone": time.tzname,
        "variables": {name: value for name, value in os.environ.items() if name != "ASKED_BY"},
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "name": __name__, "is_fork": "forks.py" in Path("/proc/self/cmdline").read_text(),
    }  # fmt: skip
    print(json.dumps(facts))
    print("to stderr", file=sys.stderr)
    sys.exit(3)


if __name__ == "__main__":
    main()
