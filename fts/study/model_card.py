"""Writes the model card: what a final model is, its training data, its known scores, and its limits."""

from __future__ import annotations

from typing import Any

LIMITS = """## What not to do with it

* It says how likely a rise is, not how large, and nothing about a fall before it. It is not a trading rule.
* It was chosen among many trials by its validation score, so that score is too good; see the report for how much.
* Bars that look unlike those it was trained on get a warning from `fts predict`; trust the warning.
"""


def card(config: dict[str, Any], test: dict[str, Any] | None) -> str:
    """Returns the card as markdown. config: config.json of a model folder; test: test.json, None while sealed."""
    trained, origin, model = config["trained_on"], config["origin"], config["model"]
    return "\n".join(
        [
            f"# {origin.get('experiment', config['cell']['experiment'])}, trial {origin.get('trial', 0)}, final model",
            "",
            f"Probability that `{config['task']}` comes true within {config['horizon']} trading days "
            f"(label `{trained['label']}`), from the last {config['context']} days of tier {config['tier']}.",
            "",
            "## What it is",
            "",
            f"* PatchTST {model['architecture']}, {config['n_params']:,} parameters, patches of {model['patch']} days "
            f"every {model['stride']}, dropout {model['dropout']:.3f}",
            f"* norm {model['norm']}: {_normalised(model)}; before it, each feature minus its mean over the training "
            "days, divided by its standard deviation there (scaler.json)",
            "* " + ", ".join(f"{name} {value}" for name, value in sorted(config["params"].items())),
            f"* trained {config['epochs']} epochs ({config['steps']} steps), as many as the winner's best epoch, "
            f"seed {config['seed']}",
            f"* weights md5 `{config['weights_md5']}`, torch {config['torch_version']}, {config['threads']} thread(s)",
            "",
            "## What it was trained on",
            "",
            f"* {trained['dataset']}, md5 `{trained['data_md5']}`, {trained['windows']:,} windows, training and "
            f"validation together, {trained['first_day']} to {trained['last_day']}",
            f"* base rate {trained['base_rate']:.3f}; label md5 `{trained['label_md5']}`",
            f"* code {config['cell'].get('code_commit') or 'of unknown commit'}"
            + (" with uncommitted changes" if config["cell"].get("code_dirty") else ""),
            "",
            "## What is known about it",
            "",
            f"* The winner of the search, on validation windows outside its training: log loss "
            f"{_number(origin.get('val_loss'))}, AUC {_number(origin.get('val_auc'))} "
            f"[{_number(origin.get('auc_low'))}, {_number(origin.get('auc_high'))}].",
            *_tested(test),
            "",
            LIMITS,
        ]
    )


def _normalised(model: dict[str, Any]) -> str:
    """Says how a window is normalised before it enters the model."""
    norm, n = str(model["norm"]), model["n_features"]
    if norm == "none":
        return "windows are read as they are"
    which = (
        f"{len(model['levels'])} of {n} features, those in units of price or volume,"
        if "levels" in model
        else (f"each of {n} features")
    )
    kept = "; means and log standard deviations of the window are a token of their own" if "+stats" in norm else ""
    return f"in each window {which} minus its mean, divided by its standard deviation{kept}"


def _tested(test: dict[str, Any] | None) -> list[str]:
    if test is None:
        return ["* The test set is sealed: nothing is known about this model on days after its training."]
    return [
        f"* On the test set, opened by {test['opened_by']}, evaluated once: {test['n']} windows, {test['n_pos']} "
        f"positive, log loss {_number(test['loss'])} [{_number(test['loss_low'])}, {_number(test['loss_high'])}], "
        f"AUC {_number(test['auc'])} [{_number(test['auc_low'])}, {_number(test['auc_high'])}], "
        f"class prior's log loss {_number(test['prior_loss'])}{against(test)}."
    ]


def against(test: dict[str, Any]) -> str:
    """Returns `; against random forest (window), ...: AUC −0.031 [−0.080, +0.020], ...`; empty without a baseline."""
    if "rival" not in test:
        return ""
    gains = ", ".join(
        f"{word} {test[name]:+.3f} [{test[f'{name}_low']:+.3f}, {test[f'{name}_high']:+.3f}]"
        for word, name in (("AUC", "auc_gain"), ("log loss", "loss_gain"))
    )
    return f"; against {test['rival']}, the best baseline on validation: {gains.replace('-', '−')}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
