"""Implements `fts init`: writes a study file and an example that runs in ten seconds; prints what to type next."""

from __future__ import annotations

from importlib.util import find_spec

import click

from fts.installing import installing
from fts.jobs.api.load import installed, study
from fts.jobs.api.nearest import hint
from fts.jobs.cli.output import say
from fts.jobs.starters.kinds import KINDS, STUDY_FILE
from fts.state.files import atomic_write, expanded, make_folder, shell_path

NEXT = (f"fts check {STUDY_FILE}", f"fts enqueue {STUDY_FILE}", "fts worker --until-empty")
KIND_HELP = "; ".join(f"{kind.name}: {kind.what}" for kind in KINDS.values())


@click.command(
    help=f"""Write {STUDY_FILE} and train.py, a study that runs in ten seconds, to begin with.

KIND is what the study runs  [default: function]. {KIND_HELP}. With the name of an installed study, such as patchtst, it
prints how to begin with that study.

An existing file is never overwritten."""
)
@click.argument("kind", default="function", metavar="[KIND]")
@click.option("--to", "folder", metavar="FOLDER", help="folder to write to; created if missing  [default: here]")
def init(kind: str, folder: str | None) -> None:
    """Writes all files of the kind, or none."""
    chosen = KINDS.get(kind)
    if chosen is None:
        return begin_with(kind)
    where = expanded(folder or ".")
    root = where.absolute()
    taken = [name for name in chosen.files if (root / name).exists() or (root / name).is_symlink()]
    if taken:
        there = "here" if folder is None else f"in {folder}"
        raise click.UsageError(
            f"{' and '.join(taken)} {'is' if len(taken) == 1 else 'are'} {there} already, and nothing is overwritten; "
            "give another folder with --to"
        )
    make_folder(root)
    for name, text in chosen.files.items():
        atomic_write(root / name, text, mode=0o644)
    say(f"Wrote {' and '.join(str(where / name) for name in chosen.files)}: {chosen.what}.")
    if chosen.missing:
        say(f"Install first: {installing(*chosen.missing)}")
    say("Next:")
    if folder is not None:
        say(f"  cd {shell_path(where)}")
    for words in NEXT:
        say(f"  {words}")
    return None


def begin_with(name: str) -> None:
    """Prints how to begin with an installed study. Raises UsageError for an unknown kind."""
    if name in installed() and (steps := study(name).first_steps):
        say(f"{name} needs no {STUDY_FILE}.")
        if name == "patchtst" and find_spec("torch") is None:
            say(f"Install first: {installing('fts-hpo[patchtst]')}")
        say("Next:")
        for words in steps:
            say(f"  {words}")
        return
    if name in installed():
        raise click.UsageError(f"the study {name} does not say how to begin: `fts` lists its commands")
    known = [*KINDS, *(each for each in installed() if each not in KINDS)]
    near = hint(name, known)
    if name == "patchtst":
        near = f"install it with {installing('fts-hpo[patchtst]')}; "
    raise click.UsageError(f"there is no kind {name!r}; {near}there are {', '.join(known)}")
