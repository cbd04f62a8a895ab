"""Builds the command that starts an agent on a node from the user's template, which is checked first."""

from __future__ import annotations

import shlex
import shutil
import string
from pathlib import Path
from typing import TYPE_CHECKING

from fts.frozen import dataclass
from fts.jobs.devices import BadSetting
from fts.jobs.python import python
from fts.raising import quoted
from fts.state.files import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fts.jobs.executors.base import Want

SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
PLACES = ("threads", "gpus", "memory_mb", "name", "agent")
SSH = "ssh -T -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 {name} {agent}"
MODULE = "fts.jobs.executors.agent"
LEAST_MB = 512  # requested if the need of a trial is unknown


@dataclass(frozen=True)
class Launch:
    """A launch `template` with {threads} {gpus} {memory_mb} {name} {agent}; without {agent} it is appended."""

    template: str
    python: str | None = None  # the interpreter on the node; None: the same path as here
    quotes: bool = False  # quote for a shell on the node
    device: str = ""  # that each node must have; empty: each uses its best one

    @property
    def called(self) -> str:
        """The name of the command, such as `srun`; empty without a template."""
        words = shlex.split(self.template)
        return Path(words[0]).name if words else ""

    def check(self, memory_limit: int | None) -> None:
        """Raises BadSetting for a template that cannot be filled."""
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None]
            words = shlex.split(self.template)
        except ValueError as error:
            raise BadSetting(f"--launch {quoted(self.template, 200)} cannot be read: {error}") from None
        if not words:
            raise BadSetting("--launch is empty, expected a command such as 'srun -n1 -c{threads}'")
        if "{" not in words[0] and shutil.which(words[0]) is None:
            raise BadSetting(f"--launch {quoted(self.template, 200)}: {words[0]} is no command on this machine")
        if unknown := sorted({name for name in fields if name not in PLACES}):
            places = " ".join(f"{{{name}}}" for name in PLACES)
            raise BadSetting(f"--launch has {{{unknown[0]}}}, expected only {places}; write {{{{ for a brace")
        if "memory_mb" in fields and memory_limit is None:
            raise BadSetting("--launch has {memory_mb}, but no memory is given: add --memory-limit, such as 8GB")

    def argv(self, want: Want, name: str, memory_limit: int | None) -> list[str]:
        """Returns the command of one launch as words."""
        interpreter = None if self.python is None or self.quotes else str(expanded(self.python))
        needs = ["--device", self.device] if self.device else []
        agent = python("-m", MODULE, "--name", name, *needs, interpreter=interpreter or self.python)
        if self.quotes:
            agent = [of_shell(word) for word in agent]
        memory = max(want.memory or 0, memory_limit or 0) >> 20
        values = {"threads": want.threads, "gpus": want.gpus, "memory_mb": max(memory, LEAST_MB), "name": name}
        words: list[str] = []
        template = shlex.split(self.template)
        for word in template if any("{agent}" in word for word in template) else [*template, "{agent}"]:
            if word == "{agent}" and not takes_one_word(words):
                words += agent
                continue
            is_here = (
                len(words) == 2 and takes_one_word(words) and word != "{agent}"
            )  # a script of a shell that runs ssh
            remote = self.quotes and not is_here
            filled = word.format(**values, agent=" ".join(agent) if remote else shlex.join(agent))
            words.append(shlex.quote(filled) if remote and takes_one_word(words) else filled)
        return words


def of_shell(word: str) -> str:
    """Quotes a word for the node's shell; `~/` is left for that shell, since home may be another folder there."""
    return f"~/{shlex.quote(word.removeprefix('~/'))}" if word.startswith("~/") else shlex.quote(word)


def takes_one_word(words: Sequence[str]) -> bool:
    """Do the words end with `sh -c`? It takes one word as the script and the rest as its arguments."""
    return len(words) > 1 and Path(words[-2]).name in SHELLS and words[-1].startswith("-") and words[-1].endswith("c")


def read_nodes(text: str) -> dict[str, int]:
    """Parses `gpu1:4,gpu2:4` into slots by name. Raises BadSetting."""
    found: dict[str, int] = {}
    for word in text.split(","):
        name, colon, slots = word.strip().rpartition(":")
        if not colon:
            name, slots = word.strip(), "1"
        good = name and not name.startswith("-") and all(one.isalnum() or one in "._@-" for one in name)
        if not good or not slots.isdecimal() or not 1 <= int(slots) <= 1000 or name in found:
            raise BadSetting(f"--nodes has {quoted(word.strip())}, expected NAME:SLOTS such as gpu1:4,gpu2:4")
        found[name] = int(slots)
    return found
