"""A message that a command gets is text, also where the command is the script of a shell."""

import errno
import shlex
import subprocess
from pathlib import Path

import pytest

from fts.jobs.notify.send import command_words, deliver
from fts.jobs.notify.targets import Target

TITLE = 'cell "mnist/S" failed (code error); $(touch broken) `touch broken` & > broken'
BODY = "it's {title}\nValueError: '; touch broken; #\\ "


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'printf %s:%s {title} {body} > out'",
        '/bin/sh -c \'printf "%s:%s" "{title}" "{body}" > out\'',
        "env A=1 bash -ec \"printf %s:%s '{title}' '{body}' > out\"",
        'sh -c \'printf %s:%s "$1" "$2" > out\' name {title} {body}',
        "python3 -c \"import sys; open('out', 'w').write(':'.join(sys.argv[1:]))\" {title} {body}",
    ],
)
def test_a_shell_gets_title_and_body_as_they_are_and_runs_nothing_of_them(tmp_path: Path, command: str) -> None:
    done = subprocess.run(command_words(shlex.split(command), TITLE, BODY), cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == f"{TITLE}:{BODY}"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_sender_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is short when the kernel has killed a worker; that message must not end the process that repeats it."""

    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("fts.jobs.notify.send.subprocess.Popen", refuses)
    outcome = deliver(Target("x", "ntfy://x"), TITLE, BODY)
    assert (outcome.ok, outcome.maybe) == (False, False) and "Cannot allocate memory" in outcome.why
