"""Makes the changes that waited for a locked database when the user left the monitor: a process of its own.

    python -m fts.tui.late_changes < CHANGES     (JSON; the monitor starts it, so that the shell does not wait)

It says on the terminal only what could not be made.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.python import python

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_S = 30.0  # for the lock, each change


@dataclass(frozen=True)
class LateChange:
    """A change that was asked for and not made yet."""

    action: str  # id
    jobs: tuple[int, ...]
    args: dict[str, Any]
    label: str  # for the sentence about its failure: `p: 2M/h1`


def begin(path: Path, user: str, changes: Sequence[LateChange]) -> None:
    """Starts the process. Raises OSError if it cannot be started."""
    child = subprocess.Popen(
        python("-m", "fts.tui.late_changes"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        start_new_session=True, text=True,
    )  # fmt: skip
    content = {"path": str(path.absolute()), "user": user, "changes": [asdict(each) for each in changes]}
    assert child.stdin is not None, "it is a pipe"
    child.stdin.write(json.dumps(content))
    child.stdin.close()


def make(path: Path, user: str, changes: Sequence[LateChange]) -> list[str]:
    """Makes the changes in order. Returns why those that failed have failed."""
    from fts.jobs.actions import by_id  # here and below, not above: `begin` must not load them
    from fts.jobs.actions.handlers import OWN
    from fts.jobs.actions.run import run_action
    from fts.tui.data.messages import in_words

    failed: list[str] = []
    for each in changes:
        if failed and each.args.get("only") == OWN:  # `u`: it would undo an earlier change than the one that failed
            failed.append(f"{each.label}: nothing was undone, because the change before it failed")
            continue
        try:
            run_action(by_id(each.action), path, each.jobs, user, False, WAIT_S, **each.args)
        except Exception as error:  # noqa: BLE001  # whatever it was, the changes after it are made
            failed.append(f"{each.label}: {in_words(error)}")
    return failed


def main() -> int:
    given = json.load(sys.stdin)
    changes = [LateChange(**{**each, "jobs": tuple(each["jobs"])}) for each in given["changes"]]
    failed = make(Path(given["path"]), given["user"], changes)
    with contextlib.suppress(OSError):  # the terminal may be gone
        for sentence in failed:
            print(f"fts: {sentence}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
