"""The facts of a trial, one per line: scores, data, model, memory, code, seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.status import declared, formatting, trial_facts
from fts.tui.data.trial_time import seconds_of
from fts.tui.render.text import Line, labelled, named
from fts.tui.widgets import trial_table

if TYPE_CHECKING:
    from fts.state.values import Trial
    from fts.tui.data.view import View


LABELS = 45  # columns of a pane of facts


def facts(view: View, trial: Trial, width: int = LABELS) -> list[Line]:
    """Paints the facts of a trial, one per line."""
    if view.job is None or not view.job.task:
        return _facts_of_any(view, trial, width)
    interval = ""
    if trial.auc_low is not None and trial.auc_high is not None:
        interval = f"  95 % {formatting.short_score(trial.auc_low, 3)} … {formatting.short_score(trial.auc_high, 3)}"
    gain = ""
    if trial.prior_loss is not None and trial.val_loss is not None:
        gain = f"  prior {formatting.short_score(trial.prior_loss)} (gain {trial.prior_loss - trial.val_loss:+.4f})"
    windows = formatting.count(trial.n_val, "window") if trial.n_val else "— windows"
    rate = f" ({trial.n_pos / trial.n_val:.1%})" if trial.n_val and trial.n_pos is not None else ""
    study = declared.declared(view.snapshot, view.job.study if view.job else "")
    known = [
        ("trial", f"t{trial.number} {trial_table.state_of(view, view.job, trial)}, {_best_epoch(trial)}"),
        ("AUC", f"{formatting.score(trial.val_auc)}{interval}"),
        ("loss", f"{formatting.score(trial.val_loss)}{gain}"),
        ("validation", f"{windows}, {trial.n_pos or '—'}{rate} positive"),
        ("model", f"{trial.architecture}  {_parameters(trial.n_params)}"),
        ("batch", f"{formatting.batch(trial.micro_batch, trial.accumulation) or '—'}, threads {trial.threads or '—'}"),
        ("memory", f"predicted {formatting.size(trial.predicted_bytes)}, peak {formatting.size(trial.peak_bytes)}"),
        ("data", f"{(trial.data_md5 or '—')[:8]}  labels {(trial.label_md5 or '—')[:8]}"),
        ("code", f"{(trial.code_commit or '—')[:10]}{' (changed)' if trial.code_dirty else ''}"),
        ("seed", str(trial.seed)),
        *((formatting.cut(name, 10), text) for name, text in trial_facts.declared_facts(study, trial, "screen")),
    ]
    rows = [row for label, text in known for row in fact(label, text, width)]
    return [*rows, *(fact("badges", ", ".join(trial.badges), width, "retrying") if trial.badges else [])]


def fact(label: str, text: str, width: int, role: str = "") -> list[Line]:
    """Paints one fact in one line if it fits, else in several."""
    whole = labelled(label, text, role)
    return (
        [whole] if sum(formatting.width(part) for part, _ in whole) <= width else named(label, [text], width, role, 11)
    )


def _facts_of_any(view: View, trial: Trial, width: int) -> list[Line]:
    """Paints the known facts of a trial of any study, with its metrics at the best step."""
    study, curve = declared.declared(view.snapshot, view.job.study if view.job else ""), view.epochs(trial.id)
    best = next((epoch for epoch in curve if epoch.epoch == trial.best_epoch), None)
    others = {**(best.metrics if best is not None else {}), **trial_facts.metrics_of(trial)}
    reached = ""
    if trial.best_epoch is not None and trial.epochs:
        reached = f", best at {study.step} {trial.best_epoch}"
    shown = [
        *named("trial", [f"t{trial.number} {trial_table.state_of(view, view.job, trial)}{reached}"], width, columns=11),
        *named(
            "best", [f"{study.word(trial.metric, trial.direction)} {declared.shown(trial.value)}"], width, columns=11
        ),
        *(
            row
            for name, value in sorted(others.items())
            if name != trial.metric and isinstance(value, int | float)
            for row in named(name, [declared.shown(value)], width, columns=11)
        ),
    ]
    seconds = seconds_of(view, view.job, trial)
    known = (
        *trial_facts.declared_facts(study, trial, "screen"),
        (f"{study.step}s", str(trial.epochs) if trial.epochs else ""),
        ("time", formatting.spell(seconds) if seconds else ""),
        ("model", f"{trial.architecture}  {_parameters(trial.n_params)}".strip()),
        ("memory", f"peak {formatting.size(trial.peak_bytes)}" if trial.peak_bytes else ""),
        ("ran on", " ".join(part for part in (trial.host, trial.device) if part)),
        ("code", f"{trial.code_commit[:10]}{' (changed)' if trial.code_dirty else ''}" if trial.code_commit else ""),
        ("seed", str(trial.seed)),
        ("badges", ", ".join(trial.badges)),
    )
    facts = ((name, text, "retrying" if name == "badges" else "") for name, text in known if text)
    return [*shown, *(row for name, text, role in facts for row in named(name, [text], width, role, 11))]


def _best_epoch(trial: Trial) -> str:
    if trial.best_epoch is None:
        return f"at epoch {trial.epochs}"
    return f"best epoch {trial.best_epoch} of {trial.epochs}"


def _parameters(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.2f}B params" if count >= 1e9 else f"{count / 1e6:.2f}M params"
