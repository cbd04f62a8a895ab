"""Suggests our commands and options for the names that Optuna, pueue, Ray Tune or Slurm use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DELETED = "`fts cancel` takes a job out of the queue and keeps its trials; to delete everything, delete outputs/"
COMMANDS = {
    "enqueue": ("add", "submit", "sbatch", "create-study", "ask", "tune"),
    "worker": ("start", "optimize", "work", "daemon", "pueued", "up"),
    "queue": ("list", "ls", "ps", "jobs", "squeue"),
    "results": ("show", "studies", "table"),
    "trials": ("trial",),
    "best": ("best-trial", "best-trials", "best-params"),
    "cancel": ("kill", "scancel", "abort"),
    "gc": ("clean", "clear", "prune"),
    "tui": ("dashboard", "ui", "monitor", "top"),
    "retry": ("restart", "rerun"),
    "move": ("switch", "reorder"),
    "watch": ("follow", "wait", "tail"),
    "notify": ("mail", "alert"),
}
OPTIONS = {
    "--trials": ("--n-trials", "--num-samples", "--max-trials", "--count", "--samples"),
    "--direction": ("--maximize", "--maximise", "--minimize", "--minimise", "--max", "--min", "--mode"),
    "--parallel": ("--n-jobs", "--jobs", "--max-concurrent-trials"),
    "--steps": ("--epochs", "--max-epochs", "--iterations"),
    "--name": ("--study-name", "--study", "--label", "--job-name"),
    "--metric": ("--objective", "--monitor", "--loss"),
    "--db": ("--storage", "--database"),
    "--gpu": ("--gpus", "--n-gpus", "--gres"),
    "--threads": ("--cpus", "--cpu", "--n-cpus", "--cpus-per-task"),
    "--memory": ("--mem", "--ram"),
    "--slots": ("--parallel", "--n-jobs", "--jobs", "--workers"),
    "--until-empty": ("--once", "--exit-when-done", "--quit-when-empty"),
}
VALUES = {  # names of Optuna and others for values of --sampler and --pruner
    "tpe": ("bayes", "bayesian", "bo", "bohb", "tpesampler", "hyperopt", "default", "auto"),
    "random": ("randomsampler", "randomsearch", "uniform"),
    "grid": ("gridsampler", "gridsearch"),
    "gp": ("gpsampler", "gaussian", "gaussianprocess", "botorch", "botorchsampler"),
    "nsgaii": ("nsgaiisampler", "nsga", "nsga2", "genetic"),
    "cmaes": ("cmaessampler", "cma"),
    "none": ("noppruner", "nop", "off", "no", "false"),
    "median": ("medianpruner", "medianstopping"),
    "percentile": ("percentilepruner",),
    "halving": ("successivehalvingpruner", "successivehalving", "asha", "sha", "hyperband", "hyperbandpruner"),
    "maximize": ("max", "maximise"),
    "minimize": ("min", "minimise"),
}


def command_hint(word: str, known: Iterable[str]) -> str | None:
    """Returns `did you mean 'queue'?` for `list`; None for an unknown word."""
    name = word.lower().replace("_", "-")
    if name in ("delete", "rm", "remove", "del", "delete-study", "reset", "drop"):
        return DELETED
    found = next((ours for ours, theirs in COMMANDS.items() if name in theirs and ours in known), None)
    return None if found is None else f"did you mean {found!r}?"


def value_hint(word: str, known: Iterable[str]) -> str | None:
    """Returns `tpe` for `TPESampler` or `optuna.samplers.TPESampler`; None for an unknown word."""
    name = re.sub(r"[-_ ]|\(.*", "", word.lower()).rpartition(".")[2]
    known = list(known)
    return next((ours for ours, theirs in VALUES.items() if name in (ours, *theirs) and ours in known), None)


def option_hint(word: str, known: Iterable[str]) -> str | None:
    """Returns `did you mean --trials?` for `--n-trials`; None if the word or the option is unknown."""
    name = word.lower().replace("_", "-")
    found = next((ours for ours, theirs in OPTIONS.items() if name in theirs and ours in known), None)
    if found == "--direction" and name != "--mode":
        found += " maximize" if name.startswith("--max") else " minimize"
    return None if found is None else f"did you mean {found}?"
