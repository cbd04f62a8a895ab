"""Says what may and what may not be concluded from a study; each rule comes from an earlier mistake.

Errors come first: they must be repaired before a number is read. Then every reason for doubt, by name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import pandas as pd

from fts.analysis.horizon import at_the_edge, listed, top_trials
from fts.analysis.interval_text import signed
from fts.analysis.scaling import FEWEST_SIZES
from fts.analysis.summarise import SEEDS_TO_CLAIM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import CellSummary, Group
    from fts.scores.intervals import Interval

Kind = Literal["error", "cannot", "caution", "can"]
FORECAST = "the best volatility forecast"

FEWEST_POSITIVES = 30  # lesson 1: 19 samples once decided 600 trials
FEW_SAMPLES = 100
COLLAPSED_SHARE = 0.25
PRUNED_SHARE = 0.25  # share of trials above which pruning affects conclusions
BUDGET_TOLERANCE = 0.25  # relative difference of counted parameters from the budget
NAMED_SIZE = {"2M": 2e6, "20M": 2e7, "200M": 2e8, "2B": 2e9}


MANY: dict[str, str] = {  # rule -> sentence for many cases at once
    "volatility": "cells are not shown to differ from the best volatility forecast, all trials considered",
    "below volatility": "cells are clearly below the best volatility forecast by AUC, all trials considered",
    "beyond volatility": "cells clearly beat the best volatility forecast by AUC, all trials considered",
    "baseline": "cells are not shown to differ from the best cheap baseline, all trials considered",
    "below baseline": "cells are clearly below the best cheap baseline by AUC, all trials considered",
    "beats baseline": "cells clearly beat the best cheap baseline by AUC, all trials considered",
    "beyond luck": "cells rank days better than the best of equally many trials without skill",
    "some trial better": "cells have a trial with a lower log loss than every baseline, all trials considered",
    "no trial better": "cells have no trial with a log loss shown to be below that of the best baseline",
    "within luck": "cells have an AUC that the best of equally many trials without skill can reach",
    "class prior": "cells are no better than always predicting the class prior",
    "gain over the prior": "cells are not shown to have a lower loss than the class prior",
    "one seed": "best trials were trained with one seed; `fts replicate CELL --seeds 5` measures the luck of the seed",
    "seeds before claims": "claims wait until the best trial was trained with other seeds (`fts replicate CELL`)",
    "other seeds": "best trials were trained again with other seeds",
    "collapsed": "cells have more than a quarter of trials that predict a constant",
    "validation too small": "cells have too few validation windows of one class to rank trials",
    "sizes": f"horizons have fewer than {FEWEST_SIZES} sizes, so no slope is given",
}


@dataclass(frozen=True)
class Conclusion:
    """One sentence, its subject, and its kind."""

    kind: Kind
    about: str  # experiments, or "study"
    rule: str  # short name of the rule, so that findings can be counted
    sentence: str


def findings(study: StudyData, groups: tuple[Group, ...]) -> tuple[Conclusion, ...]:
    """Returns every finding: errors first, then what cannot be said, cautions, and what can be said."""
    trials = study.trials[study.trials["kind"] == "cell"]
    found = [*_equal_labels(trials), *_mixed_data(trials), *_mixed_horizons(trials), *_unused_parameters(trials)]
    found += [*_wrong_sizes(trials), *_code(trials)]
    for group in groups:
        for cell in group.cells:
            found += _about_cell(cell)
        found += _about_group(group, f"{group.task}: " if len(groups) > 1 else "")
        mine = trials[trials["experiment"].isin([cell.experiment for cell in group.cells])]
        found += [*_about_ranges(mine), *_about_warm_starts(mine)]
        found += _about_pruning(group)
    found += _about_validation(groups, walked=bool(study.walks))
    if study.test_openings:
        opened = "; ".join(study.test_openings)
        found.append(Conclusion("caution", "study", "test set opened", f"The test set has been opened: {opened}."))
    order: list[Kind] = ["error", "cannot", "caution", "can"]
    return tuple(sorted(found, key=lambda finding: order.index(finding.kind)))


def missing(study: StudyData, groups: tuple[Group, ...]) -> tuple[str, ...]:
    """Returns what is missing, one sentence each."""
    sentences = list(study.newer)
    for group in groups:
        for cell in group.cells:
            done = cell.n_complete + cell.n_pruned + cell.n_failed
            if cell.best is None:
                sentences.append(f"{cell.experiment}: {study.without_best.get(cell.experiment) or _nothing_yet(cell)}")
                continue
            if cell.trials_wanted is not None and done < cell.trials_wanted:
                sentences.append(f"{cell.experiment}: {done} of {cell.trials_wanted} trials, job {cell.state}")
            if cell.predictions is None:
                sentences.append(
                    f"{cell.name}: no stored predictions, so no calibration, no luck limit and no paired comparison"
                )
            if cell.baseline is None:
                order = f"`{_order(group)}` enqueues them with the cells of the matrix"
                sentences.append(f"{cell.experiment}: no baselines on its data; {order}")
        absent = [f"{b} h{h}" for b in group.budgets for h in group.horizons if group.cell(b, h) is None]
        if absent:
            sentences.append(f"{group.task} on {group.tier}: cells not planned: {', '.join(absent)}")
    sentences += study.earlier
    return tuple(sentences) if groups else ("no cell has been planned or run; `fts enqueue --matrix` enqueues some",)


def _nothing_yet(cell: CellSummary) -> str:
    reason = f" (job {cell.state})" if cell.state else ""
    return f"no finished trial{'' if cell.state in ('done', 'failed') else ' yet'}{reason}"


def _order(group: Group) -> str:
    """Returns the command that enqueues a group's baselines; its task may be `threshold_1pct walk-forward:5 IXIC`."""
    name, *more = group.task.split(" ")
    tier = f" --tier {group.tier}" if group.tier else ""
    text = f"fts enqueue --matrix --task {name}{tier}"
    for word in more:
        text += f" --cv {word}" if word.startswith("walk-forward:") else f" --data {word}.dataset.{group.tier}"
    return text


def _about_cell(cell: CellSummary) -> Iterator[Conclusion]:
    if cell.best is None:
        return
    name, best = cell.experiment, cell.best
    n_val, n_pos = best["n_val"], best["n_pos"]
    if pd.notna(n_pos) and min(n_pos, n_val - n_pos) < FEWEST_POSITIVES:
        yield Conclusion(
            "cannot",
            name,
            "validation too small",
            f"{name}: {n_val:.0f} validation windows with {n_pos:.0f} positives are too few to rank trials; "
            f"at least {FEWEST_POSITIVES} windows of each class are needed.",
        )
    elif pd.notna(n_val) and n_val < FEW_SAMPLES:
        text = f"{name}: only {n_val:.0f} validation windows; scores from fewer than {FEW_SAMPLES} are uncertain."
        yield Conclusion("caution", name, "validation small", text)
    yield from _against_prior(cell)
    yield from _against_volatility(cell)
    yield from _against_baseline(cell)
    yield from _all_at_once(cell)
    yield from _against_luck(cell)
    ended = cell.n_complete + cell.n_pruned
    if ended and cell.n_collapsed / ended > COLLAPSED_SHARE:
        yield Conclusion(
            "caution",
            name,
            "collapsed",
            f"{name}: {cell.n_collapsed} of {ended} trials collapsed to a constant prediction.",
        )
    if "collapsed" in best["badges"]:
        yield Conclusion("cannot", name, "best collapsed", f"{cell.name}: the best trial predicts a constant.")
    if cell.seed_mean is None:
        yield Conclusion(
            "caution",
            name,
            "one seed",
            f"{name}: its best trial was trained with one seed, so the luck of the seed is unknown; "
            f"`fts replicate {name} --seeds 5` measures it.",
        )
    else:
        yield Conclusion("caution", name, "other seeds", _other_seeds(cell))


def _other_seeds(cell: CellSummary) -> str:
    assert cell.best is not None
    many = f"{cell.n_seeds} other seed{'s' if cell.n_seeds > 1 else ''}"
    sd = "" if cell.seed_sd is None else f" (sd {cell.seed_sd:.4f})"
    return (
        f"{cell.experiment}: its best trial has {cell.best['objective']} {cell.best['value']:.4f}. The same "
        f"configuration with {many} has {cell.seed_mean:.4f} on average{sd}{_curse(cell)}. Trust the average: the best "
        "trial was chosen because its value is good. "
        f"{cell.n_ahead} of the search's {cell.n_complete} complete trials have a better value than the average."
    )


def _curse(cell: CellSummary) -> str:
    """Says how much better the search's value is than its winner's with other seeds (Student's t)."""
    if cell.best is None or cell.seed_mean is None or cell.seed_sd is None:
        return ""
    from scipy.stats import t  # here, not above: 0.5 s

    better = cell.best["value"] - cell.seed_mean
    if cell.best["objective"] != "val_auc":
        better = -better
    half = float(t.ppf(0.975, cell.n_seeds - 1)) * cell.seed_sd * (1 / cell.n_seeds) ** 0.5
    text = f"{better:+.4f} [{better - half:+.4f}, {better + half:+.4f}]".replace("-", "−")
    return f"; the winner's curse, the lead of the search's value over that average, is {text}"


def _against_prior(cell: CellSummary) -> Iterator[Conclusion]:
    assert cell.best is not None
    loss, prior = cell.best["val_loss"], cell.best["prior_loss"]
    if pd.notna(loss) and pd.notna(prior) and loss >= prior:
        yield Conclusion(
            "cannot",
            cell.experiment,
            "class prior",
            f"{cell.experiment}: its best loss {loss:.4f} is not below the class prior's {prior:.4f}.",
        )
    elif cell.prior_gain is not None and not cell.prior_gain.clear:
        gain = cell.prior_gain.interval
        text = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]".replace("-", "−")
        yield Conclusion(
            "cannot",
            cell.experiment,
            "gain over the prior",
            f"{cell.experiment} has no clearly lower loss than the class prior: the difference is {text}.",
        )


def _against_volatility(cell: CellSummary) -> Iterator[Conclusion]:
    beyond = cell.beyond
    if beyond is None:
        return
    text = f"AUC {signed(beyond.auc_at_once)} compared with {beyond.forecast.result.name}; "
    text += f"log loss {signed(beyond.loss_at_once)} compared with {beyond.lowest.result.name}"
    if beyond.looks > 1:
        text += f", by intervals for all {beyond.looks} trials at once"
    if beyond.superior_p is not None:
        p = "p < 0.001" if beyond.superior_p < 0.001 else f"p {beyond.superior_p:.3f}"
        text += f"; superior predictive ability of any trial by log loss: {p}"
    verdict = cell.against_volatility
    if verdict == "open" and beyond.auc_at_once.low > 0:
        yield Conclusion("cannot", cell.experiment, "seeds before claims", _not_yet(cell, beyond.auc_at_once, FORECAST))
        return
    if verdict == "above":
        text += f"; {_again(beyond.auc_at_once, cell)}"
    kind, rule, said = {
        "open": ("cannot", "volatility", "does not clearly differ from the best volatility forecast"),
        "below": ("can", "below volatility", "is below the best volatility forecast"),
        "above": ("can", "beyond volatility", "beats the best volatility forecast"),
    }[verdict]
    yield Conclusion(cast("Kind", kind), cell.experiment, rule, f"{cell.experiment} {said}: {text}.")


def _against_baseline(cell: CellSummary) -> Iterator[Conclusion]:
    if cell.auc_gain is None or cell.baseline is None:
        return
    rival = f"{cell.baseline.result.name} ({cell.baseline.result.inputs})"
    gain = cell.auc_gain_at_once
    assert gain is not None
    text = f"AUC {signed(gain)} compared with {rival}"
    if cell.looks > 1:
        text += f", by an interval for all {cell.looks} trials at once"
    if cell.against_baseline == "open" and gain.low > 0:
        yield Conclusion("cannot", cell.experiment, "seeds before claims", _not_yet(cell, gain, "the baseline"))
    elif cell.against_baseline == "open":
        yield Conclusion("cannot", cell.experiment, "baseline", f"{cell.experiment} does not clearly differ: {text}.")
    elif cell.against_baseline == "below":
        yield Conclusion("can", cell.experiment, "below baseline", f"{cell.experiment} is below the baseline: {text}.")
    else:
        text += f"; {_again(gain, cell)}"
        yield Conclusion("can", cell.experiment, "beats baseline", f"{cell.experiment} beats the baseline: {text}.")


def _not_yet(cell: CellSummary, gain: Interval, rival: str) -> str:
    """Says why the winner's lead in AUC over a rival is not a claim yet."""
    if cell.is_trained_again:
        return (
            f"{cell.experiment} is ahead of {rival}, but its other seeds do not clearly differ: AUC {signed(gain)}; "
            f"{_again(gain, cell)}."
        )
    return (
        f"{cell.experiment}: no claim yet. Its best trial is ahead of {rival} (AUC {signed(gain)}), but it was chosen, "
        f"and {_few(cell)}."
    )


def _again(gain: Interval, cell: CellSummary) -> str:
    again = cell.again(gain)
    return "" if again is None else f"its {cell.n_seeds} other seeds have AUC {signed(again)} on average"


def _few(cell: CellSummary) -> str:
    """Says what is missing, with the command."""
    had = {0: "was trained with one seed", 1: "has one other seed"}[cell.n_seeds]
    return f"{had}; `fts replicate {cell.experiment} --seeds {SEEDS_TO_CLAIM}` trains it with others"


def _all_at_once(cell: CellSummary) -> Iterator[Conclusion]:
    check = cell.reality
    if check is None:
        return
    p = "p < 0.001" if check.p_value < 0.001 else f"p {check.p_value:.3f}"
    text = f"{p}, superior predictive ability over {check.n_trials} trials"
    if check.n_in_set is not None:
        kept = [f"{check.n_in_set} of {check.n_trials} trials", *check.baselines_in_set]
        text += f"; in the 95 % model confidence set: {listed(kept)}"
    if check.some_trial_is_better and not cell.is_trained_again:
        sentence = f"{cell.experiment}: no claim yet. A trial has a lower log loss than {check.rival} ({text}), but it "
        yield Conclusion("cannot", cell.experiment, "seeds before claims", f"{sentence}{_few(cell)}.")
    elif check.some_trial_is_better:
        sentence = f"{cell.experiment} has a trial with a lower log loss than {check.rival} ({text})."
        yield Conclusion("can", cell.experiment, "some trial better", sentence)
    else:
        sentence = f"{cell.experiment}: no trial is shown to have a lower log loss than {check.rival} ({text})."
        yield Conclusion("cannot", cell.experiment, "no trial better", sentence)


def _against_luck(cell: CellSummary) -> Iterator[Conclusion]:
    luck = cell.luck
    if luck is None:
        return
    text = (
        f"the best of {luck.n_trials} trials without skill reaches {luck.expected_best:.3f} on average and stays "
        f"below {luck.luck_limit:.3f} in 95 % of searches"
    )
    if luck.beyond_luck and not cell.is_trained_again:
        sentence = f"{cell.experiment}: no claim yet. Its AUC {luck.observed:.3f} is beyond luck ({text}), but it "
        yield Conclusion("cannot", cell.experiment, "seeds before claims", f"{sentence}{_few(cell)}.")
    elif luck.beyond_luck:
        sentence = f"{cell.experiment} ranks days better than luck: AUC {luck.observed:.3f}; {text}."
        yield Conclusion("can", cell.experiment, "beyond luck", sentence)
    else:
        sentence = f"{cell.experiment}: AUC {luck.observed:.3f} can be luck; {text}."
        yield Conclusion("cannot", cell.experiment, "within luck", sentence)


def _about_group(group: Group, name: str) -> Iterator[Conclusion]:
    for curve in group.scaling:
        if curve.refusal:
            yield Conclusion("cannot", f"h{curve.horizon}", "sizes", f"{name}{curve.refusal}.")
    if group.variance.verdict == "cannot say":
        yield Conclusion("cannot", "study", "horizon variance", f"{name}{group.variance.sentence}")


def _about_ranges(trials: pd.DataFrame) -> Iterator[Conclusion]:
    for budget, label, side, there, of in at_the_edge(trials):
        sentence = (
            f"{budget}: {there} of {of} top trials lie at the {side} end of the searched range of {label}. "
            "A wider range may hold better values (`fts enqueue --space`)."
        )
        yield Conclusion("caution", budget, "edge of the range", sentence)


def _about_warm_starts(trials: pd.DataFrame) -> Iterator[Conclusion]:
    """A trial that began as another horizon's winner has its parameters, whatever this horizon needs."""
    badges = top_trials(trials)["badges"]
    warm = sum("warm" in each for each in badges)
    if warm:
        sentence = (
            f"{warm} of {len(badges)} top trials of the comparison of horizons are winners of other cells that were "
            "tried first (`fts enqueue --warm-start`): they make horizons look more alike than separate searches would."
        )
        yield Conclusion("caution", "study", "warm start", sentence)


def _about_pruning(group: Group) -> Iterator[Conclusion]:
    """In the real 2M/h1 search the best of 18 unpruned trials was among the slowest until epoch 12 (docs/LOG.md)."""
    pruned = sum(cell.n_pruned for cell in group.cells)
    ended = pruned + sum(cell.n_complete for cell in group.cells)
    if ended and pruned / ended >= PRUNED_SHARE:
        yield Conclusion(
            "caution",
            "study",
            "early pruning",
            f"{pruned} of {ended} trials were pruned after their first epochs. Pruning favours configurations that "
            "learn fast: small learning rates and strong dropout may be better than they look, also in the comparison "
            "of horizons. `fts enqueue CELL --pruner none` trains every trial to its end.",
        )


def _about_validation(groups: tuple[Group, ...], walked: bool) -> Iterator[Conclusion]:
    """Says what holds for every score of the page: its days, and that the best trials were chosen on them."""
    shown = [cell for group in groups for cell in group.cells if cell.predictions is not None]
    folded = sum(" walk-forward:" in cell.task for cell in shown)
    spans = {(c.predictions["date"].min(), c.predictions["date"].max()) for c in shown if c.predictions is not None}
    if not spans:
        return
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    text = (
        f"All scores come from validation days between {first:%Y-%m-%d} and {last:%Y-%m-%d}. The intervals "
        "cover the luck of these days; they do not cover other years"
    )
    if walked:
        text = text.replace("All scores come", "All scores but those of walk-forward come")
    elif folded < len(shown):
        text += ". `fts replicate CELL --folds 4of6` evaluates a winner on several periods"
    yield Conclusion("caution", "study", "several periods" if folded == len(shown) else "one period", f"{text}.")
    if max(cell.n_complete + cell.n_pruned for cell in shown) > 1:
        yield Conclusion(
            "caution",
            "study",
            "chosen on these days",
            "The best trial and the strongest baseline were chosen on the same days that they are scored on. "
            "So both scores are too good, and more so after a longer search. "
            "The sealed test set gives an unbiased score, once (`fts final CELL`).",
        )


def _equal_labels(trials: pd.DataFrame) -> Iterator[Conclusion]:
    """Lesson 2: three horizons once trained on the labels of one. A task evaluated in two ways may share labels."""
    known = trials.dropna(subset=["label_md5", "horizon"])
    known = known.assign(task=known["task"].astype("string").str.split(" ").str[0])
    for md5, rows in known.groupby("label_md5"):
        questions = sorted(
            {f"{task} h{horizon:.0f}" for task, horizon in zip(rows["task"], rows["horizon"], strict=True)}
        )
        if len(questions) > 1:
            names = ", ".join(sorted(set(rows["experiment"])))
            yield Conclusion(
                "error",
                names,
                "equal labels",
                f"{' and '.join(questions)} were trained on the same labels ({str(md5)[:8]}): {names}. "
                "Do not compare them.",
            )


def _mixed_data(trials: pd.DataFrame) -> Iterator[Conclusion]:
    for (task, tier, horizon), rows in trials.groupby(["task", "tier", "horizon"]):
        for column, word in (("data_md5", "data sets"), ("label_md5", "sets of labels"), ("n_val", "validation sizes")):
            if rows[column].nunique() > 1:
                yield Conclusion(
                    "error",
                    f"{task} {tier} h{horizon:.0f}",
                    "mixed data",
                    f"{task} on {tier}, h{horizon:.0f}: the cells of this horizon use {rows[column].nunique()} "
                    f"different {word}; they cannot be compared.",
                )
                break


def _mixed_horizons(trials: pd.DataFrame) -> Iterator[Conclusion]:
    """Finds bars that were rebuilt between two horizons: borders and days differ, so horizons cannot be compared."""
    for (task, tier), rows in trials.groupby(["task", "tier"]):
        known = rows.dropna(subset=["data_md5"]).groupby("horizon")["data_md5"].unique()
        if any(len(md5s) > 1 for md5s in known) or len({md5 for md5s in known for md5 in md5s}) < 2:
            continue  # one row of the matrix was already reported
        text = ", ".join(f"h{horizon:.0f} on {str(md5s[0])[:8]}" for horizon, md5s in known.items())
        yield Conclusion(
            "error",
            f"{task} {tier}",
            "mixed data",
            f"{task} on {tier}: the horizons use different data sets ({text}); they cannot be compared.",
        )


def _unused_parameters(trials: pd.DataFrame) -> Iterator[Conclusion]:
    """Lesson 3: finds trials with different suggested values but the same effective configuration."""
    if "params" not in trials:
        return
    known = trials[trials["effective_md5"].notna() & trials["params"].notna()]
    reused = known["badges"].map(lambda badges: "reused" in badges).astype(bool)
    for experiment, rows in known[~reused].groupby("experiment"):
        idle: set[str] = set()
        for _, twins in rows.groupby("effective_md5"):
            idle |= _differing([_as_dict(value) for value in twins["params"]])
        if idle:
            yield Conclusion(
                "error",
                str(experiment),
                "unused parameter",
                f"{experiment}: {', '.join(sorted(idle))} was searched but not used: trials with different "
                "values of it trained the same configuration.",
            )


def _wrong_sizes(trials: pd.DataFrame) -> Iterator[Conclusion]:
    """Lesson 33: a "200M" cell once had 6.4M parameters."""
    for budget, named in NAMED_SIZE.items():
        rows = trials[(trials["budget"] == budget) & trials["n_params"].notna()]
        off = rows[(rows["n_params"] / named - 1).abs() > BUDGET_TOLERANCE]
        if len(off):
            yield Conclusion(
                "error",
                ", ".join(sorted(set(off["experiment"]))),
                "size",
                f"{len(off)} trials of budget {budget} have {off['n_params'].min():,.0f} to "
                f"{off['n_params'].max():,.0f} parameters, which differs by more than 25 % from the budget.",
            )


def _code(trials: pd.DataFrame) -> Iterator[Conclusion]:
    commits = sorted(trials["code_commit"].dropna().astype(str).str[:7].unique())
    if len(commits) > 1:
        sentence = f"The trials ran on {len(commits)} versions of the code: {', '.join(commits)}."
        yield Conclusion("caution", "study", "code versions", sentence)
    dirty = int((trials["code_dirty"].fillna(0).astype(bool)).sum())
    if dirty:
        sentence = f"{dirty} of {len(trials)} trials ran on code with uncommitted changes."
        yield Conclusion("caution", "study", "uncommitted code", sentence)


def _as_dict(value: object) -> dict[str, object]:
    loaded = json.loads(value) if isinstance(value, str) else value
    return loaded if isinstance(loaded, dict) else {}


def _differing(params: list[dict[str, object]]) -> set[str]:
    names = {name for one in params for name in one}
    return {name for name in names if len({json.dumps(one.get(name), sort_keys=True) for one in params}) > 1}
