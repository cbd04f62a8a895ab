"""docs/reference/facts.md: what is known of a trial, found by looking where each field of it comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from fts.jobs.api.study import Fact
from fts.jobs.records import columns
from fts.jobs.status import summary
from fts.jobs.status.declared import Declared
from fts.jobs.supervisor.trial_end import RESULT_FACTS
from fts.jobs.supervisor.trial_record import STARTED_FACTS
from fts.state.values import Direction, Trial, TrialStatus
from fts.tui.data.view import View
from fts.tui.widgets.trial_facts import facts
from tests.tui.values import NOW, make_job, make_snapshot, make_trial

OF_THE_ROW: dict[str, tuple[str, str]] = {  # field of Trial -> its unit, and what it says
    "number": ("", "counts the trials of its cell from 0"),
    "status": ("", "[state](events.md#states-of-a-trial)"),
    "objective": ("", "the metric that decides"),
    "direction": ("", "minimize or maximize"),
    "value": ("of the metric", "of the best step, of the last one, or what the function returned"),
    "best_epoch": ("step", "where the best value was"),
    "last_value": ("of the metric", "at its last step"),
    "epochs": ("", "reports on record"),
    "cause": ("", "[why it ended](events.md#causes)"),
    "message": ("", "the same in a sentence"),
    "badges": ("", "what to know before the value is believed; see below"),
    "seed": ("", "of this trial: of the study's seed and its number"),
    "host": ("", "the machine or node it ran on last"),
    "device": ("", "cpu, cuda, cuda:1 or mps"),
    "threads": ("", "threads it may use"),
    "train_seconds": ("s", "`seconds` is the work of all attempts; of steps that report their time their sum"),
    "peak_bytes": ("bytes", "the largest memory of its process and all that it started"),
    "predicted_bytes": ("bytes", "the memory its study expected"),
    "code_commit": ("", "of git, in the folder where it was enqueued"),
    "code_dirty": ("", "whether files differed from that commit"),
    "torch_version": ("", "of torch, where it was imported"),
    "reused_from": ("trial", "the trial whose result stands for it, because its configuration is the same"),
    "log_path": ("", "what it printed"),
    "started_at": ("s since 1970", "its first attempt"),
    "ended_at": ("s since 1970", "its last one"),
    "architecture": ("", "its model in a word, where its study describes it"),
    "n_params": ("parameters", "counted"),
    "micro_batch": ("samples", "of one step on the device"),
    "accumulation": ("micro-batches", "of one step of the optimizer"),
    "recipe": ("", "how it fits into memory: batch, precision, recomputed layers"),
    "val_loss": ("", "log loss on the validation days, at the best epoch"),
    "val_auc": ("", "area under the ROC curve there"),
    "auc_low": ("", "95 % interval of it, block bootstrap"),
    "auc_high": ("", "its upper end"),
    "n_train": ("windows", "of training"),
    "n_val": ("windows", "of validation"),
    "n_pos": ("windows", "of validation with the event"),
    "base_rate": ("share", "of windows with the event"),
    "prior_loss": ("", "log loss of always predicting the base rate"),
    "label_md5": ("", "of the labels: what differs is not compared"),
    "data_md5": ("", "of the data set"),
}
INSIDE = {"id", "job_id", "params", "effective", "effective_md5", "pid", "pid_started", "facts", "unreadable"}

BESIDE: dict[str, tuple[str, str, str]] = {  # key of Trial.facts -> who tells it, where it stands, what it says
    "metrics": ("your code", "`metrics.NAME`", "numbers it returned, by name; of a command those of its last report"),
    "attrs": ("your code", "`facts.NAME`", "what `trial.set_user_attr(NAME, ...)` kept, 16,000 characters of JSON"),
    "constraints": ("your code", "`facts.violation.NAME`", "by how much it misses the constraint; at most 0: met"),
    "files": ("your code", "`facts.files`", "md5 and bytes of each file of `fts.predictions` and `fts.artifact`"),
    "role": ("the worker", "`facts.role`", "`replicate` or `baseline`: a trial beside the search"),
    "replicates": ("the worker", "`facts.replicates`", "the number of the trial that a replicate repeats"),
    "gpus": ("the worker", "`facts.gpus`", "the GPUs it got"),
    "code_changed": ("the trial, at its start", "`facts.code_changed`", "md5 of the code, where it had changed"),
    "fingerprint": ("the node", "`facts.fingerprint`", "of the hardware and libraries of the node it began on"),
    "other_hardware": ("the worker", "`facts.other_hardware`", "the first node that differs from it"),
    "kept_at": ("the worker", "`facts.kept_at`", "the folder of large checkpoints that did not come home"),
    "optuna_trial": ("`fts import`", "`facts.optuna_trial`", "its number in Optuna's storage"),
    "sampler": ("the sampler", "nowhere", "what the sampler wants to know again, such as a generation of NSGA-II"),
}
BADGES = {  # who gives it is in the meaning
    "code changed": "its code is not what was enqueued",
    "other hardware": "it went on on a node with other hardware or libraries",
    "warm": "its parameters were given, not drawn",
    "reused": "another trial of the same configuration gave the result",
    "infeasible": "it violates a constraint, and is never the best",
    "diverged": "its loss became nan or infinite after a best epoch; it is never the best",
    "replicate": "the winner with another seed; not part of the search",
    "baseline": "what the search is compared with; not part of it",
    "imported": "taken over from Optuna",
    "collapsed": "of the flagship: its best epoch tells no window from another",
    "in-sample": "of the flagship: trained on all days, so its scores are no evidence",
}
PLACES = {  # of `shown` of a Fact
    "table": "a column of `fts trials`",
    "screen": "a line of the monitor's pane about the chosen trial",
    "csv": "`facts.NAME` in `fts trials --csv` and exported tables",
    "json": "`facts` in `--json` and exported records",
    "report": "a line below the winners of `fts report`",
    "frame": "`facts.NAME` in `fts.load(...)` and `fts export --parquet`",
}
NO_STUDY = Declared("any")
JOB = make_job(study="any", task="", labels={}, spec={})
KNOWN = {"value": 0.5, "best_epoch": 2, "epochs": 3}
OTHER: dict[str, Any] = {
    "badges": ("one",),
    "status": TrialStatus.PRUNED,
    "direction": Direction.MINIMIZE,
    "code_dirty": True,
}


def facts_page(table: Any, code: Any) -> str:
    assert set(OF_THE_ROW) | INSIDE == {each.name for each in fields(Trial)}, "each field of a trial has its line"
    assert {each.name for each in fields(Fact)} == {"name", "label", "unit", "format", "shown"}
    general = [name for name in OF_THE_ROW if not _only_of_the_flagship(name)]
    own = [name for name in OF_THE_ROW if name not in general]
    titles = ["name", "meaning", "unit", "who tells it", "in files", "monitor"]
    rows = {
        name: [code(name), said, unit, _teller(name), ", ".join(map(code, _in_files(name))) or "—", _on_screen(name)]
        for name, (unit, said) in OF_THE_ROW.items()
    }
    for name in own:  # the pane of the flagship's trials has a text of its own
        del rows[name][titles.index("monitor")]
    return (
        "# Facts of a trial\n\nWhat is on record of a trial beside its parameters (`params.NAME`) and its reports. "
        "*In files*: the column of `fts trials --csv`, of `fts.load(...)` and `fts export --parquet`, and the key of "
        "`--json`. *Monitor*: the pane about the chosen trial on 2 Trials has it.\n\n"
        "## Of every trial\n\n" + table(titles, (rows[name] for name in general)) + "## That a study may tell\n\n"
        "The flagship tells them; any study may.\n\n"
        + table([title for title in titles if title != "monitor"], (rows[name] for name in own))
        + "## Told by name\n\n"
        + table(("name", "who tells it", "in files", "meaning"), ((code(name), *told) for name, told in BESIDE.items()))
        + "## Facts of your own\n\n`trial.set_user_attr` needs no declaration. A "
        "[study of your own](../STUDIES.md#a-study-of-your-own) declares "
        '`Fact("n_tokens", "tokens", unit="M", format=".1f", shown=("table", "csv"))`: name, heading, unit, '
        "Python's format, and where it is shown.\n\n"
        + table(("shown", "place"), ((code(name), said) for name, said in PLACES.items()))
        + f"Without `shown`: {', '.join(map(code, Fact.shown))}.\n\n"
        + "## Badges\n\n"
        + table(("badge", "meaning"), ((code(name), said) for name, said in BADGES.items()))
    )


def _only_of_the_flagship(name: str) -> bool:
    return name in columns.WITH_COLUMN or name == "recipe"


def _teller(name: str) -> str:
    if name in STARTED_FACTS and name not in ("host",):
        return "the trial, at its start"
    return "the trial, at its end" if name in RESULT_FACTS and name not in ("badges", "peak_bytes") else "the worker"


def _with(name: str) -> tuple[Trial, Trial]:
    """A trial of which everything is known, and one of which this field says something else."""
    told = make_trial(1, 1, 0, **KNOWN)
    return told, replace(told, **{name: OTHER.get(name, "other" if isinstance(getattr(told, name), str) else 77)})


def _in_files(name: str) -> Iterator[str]:
    if name == "train_seconds":  # of a trial that ran here it is what its attempts took
        yield "seconds"
        return
    without, with_it = (columns.record(JOB, one, NO_STUDY, None, columns.CSV) for one in _with(name))
    yield from (column for column, value in with_it.items() if without.get(column) != value)


def _on_screen(name: str) -> str:
    view = View(summary.look(make_snapshot(jobs=(JOB,)), NOW), job_id=1)
    without, with_it = (str(facts(view, one)) for one in _with(name))
    return "yes" if without != with_it else ""
