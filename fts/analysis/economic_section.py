"""The page's section on trading: one rule after costs, and ten groups of days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fts.analysis.economic import (
    COST,
    DAYS_A_YEAR,
    FIRST,
    TOP,
    NoPrices,
    Rule,
    Tenth,
    Traded,
    best_of_none,
    deflated_sharpe,
    sharpe,
    tenths,
    trade,
)
from fts.data.tasks import is_task, task
from fts.scores.dependence import TooFewSamples

if TYPE_CHECKING:
    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import CellSummary, Group

SURE = 0.95  # threshold of the deflated Sharpe ratio
HEAD = ["", "model", "trades", "return a year", "index a year", "beyond its share", "not luck"]
TENTHS_HEAD = ["", "days", "promised", "came", "mean return"]
NOTE = (
    "A measure of the signal, no advice: the days are those that the winner was chosen on, dividends, taxes and "
    "slippage are left out, and a past of a few years promises nothing. One rule, with nothing to choose: buy at the "
    f"close when the probability is in the upper {TOP:.0%} of all before it (from day {FIRST + 1} on), sell at the "
    "task's target or after the horizon; each purchase and each sale costs "
    f"{COST:.2%}. `beyond its share` is what was earned beyond holding the index for the same share of the time, with "
    "its Sharpe ratio. `not luck` is the deflated Sharpe ratio (Bailey and Lopez de Prado, 2014): the probability that "
    "this timing is better than that of the best of equally many trials without skill."
)


@dataclass(frozen=True)
class Economics:
    """Trading results of a cell's winner; None if unknown."""

    experiment: str
    horizon: int
    traded: Traded
    looked: int  # number of trials from which the winner was chosen
    not_luck: float | None  # deflated Sharpe ratio of the timing; None: fewer than two trials have predictions
    tenths: tuple[Tenth, ...]  # empty if the days do not allow an interval

    @property
    def verdict(self) -> str:
        if self.not_luck is None:
            return "cannot say: one trial"
        return "better than luck" if self.not_luck > SURE else "may be luck"


def economics(study: StudyData, cell: CellSummary) -> Economics | None:
    """Returns None without predictions, prices of their days, or a task with a target."""
    name = cell.task.split(" ")[0]
    prices = study.prices.get(str((cell.best or {}).get("data_md5")))
    if cell.predictions is None or prices is None or not is_task(name):
        return None
    rule = Rule(cell.horizon, task(name).percent, task(name).on == "high")
    begun = f"{cell.experiment}:"
    trials = [table for trial, table in study.predictions.items() if trial.startswith(begun)]
    try:
        traded = trade(prices, cell.predictions, rule)
        others = [sharpe(trade(prices, table, rule).timing) for table in trials]
    except NoPrices:
        return None
    looked = max(cell.looks, len(others))
    not_luck = deflated_sharpe(traded.timing, best_of_none(others, looked)) if len(others) > 1 else None
    try:
        groups_of_days = tuple(tenths(prices, cell.predictions, cell.horizon))
    except TooFewSamples:
        groups_of_days = ()
    return Economics(cell.experiment, cell.horizon, traded, looked, not_luck, groups_of_days)


def section(study: StudyData, groups: tuple[Group, ...]) -> dict[str, Any]:
    """Returns a section for fts.analysis.sections; without tables if no cell has prices."""
    tables: list[dict[str, Any]] = []
    for group in groups:
        rows: list[Any] = []
        days: list[tuple[str, Economics]] = []
        for cell in group.cells:
            found = economics(study, cell)
            if found is not None:
                rows.append(_row(cell, found))
                days.append((f"{cell.budget} at h{cell.horizon}", found))
        if rows:
            title = " on ".join(part for part in (group.task, group.tier) if part) if len(groups) > 1 else ""
            tables.append({"title": title, "rows": [HEAD, *rows], "names": 2})
        tables += [
            {
                "title": f"{name}: days by probability, lowest tenth first",
                "rows": [TENTHS_HEAD, *(_tenth(n, one) for n, one in enumerate(found.tenths, 1))],
                "names": 1,
                "folded": True,
            }
            for name, found in days
            if found.tenths
        ]
    return {"id": "worth", "nav": "worth", "title": "What would it have been worth?", "note": NOTE, "tables": tables}


def _row(cell: CellSummary, found: Economics) -> list[tuple[str, str, str]]:
    traded = found.traded
    yearly = sharpe(traded.timing) * math.sqrt(DAYS_A_YEAR)
    chance = "—" if found.not_luck is None else f"{found.not_luck:.2f}"
    return [
        (f"h{cell.horizon}", "", ""),
        (f"{cell.budget} transformer", f"best of {found.looked} trials", ""),
        (str(traded.trades), f"{traded.invested.mean():.0%} of {len(traded.returns)} days", ""),
        (_percent(traded.a_year(traded.returns)), "after costs", ""),
        (_percent(traded.a_year(traded.market)), "held all the time", ""),
        (_percent(traded.a_year(traded.timing)), f"Sharpe {yearly:+.2f}".replace("-", "−"), ""),
        (chance, found.verdict, ""),
    ]


def _tenth(number: int, one: Tenth) -> list[tuple[str, str, str]]:
    return [
        (str(number), "", ""),
        (str(one.n), "", ""),
        (f"{one.promised:.1%}", "", ""),
        (f"{one.came:.1%}", f"{one.low:.1%} to {one.high:.1%}", ""),
        ("—" if math.isnan(one.earned) else _percent(one.earned), "", ""),
    ]


def _percent(share: float) -> str:
    return f"{share:+.2%}".replace("-", "−")
