"""Checks whether a finding on one asset holds on another: gains over the baselines of each asset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fts.analysis.interval_text import signed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fts.analysis.summarise import CellSummary, Group
    from fts.analysis.walked import Walked
    from fts.scores.intervals import Interval

NOTE = (
    "The same cells on several assets: AUC of the winner minus that of the strongest baseline of the same asset and "
    "days, with its 95 % interval, by walk-forward if each of them has it. Searches and baselines of an asset do not "
    "use the other. Assets of one market share their days, so two of them are less evidence than two independent ones."
)


def held(found: Sequence[tuple[str, float, float]], alone: Collection[str] = ()) -> str:
    """Compares intervals (asset, low, high) of one difference; assets in `alone` have one seed and allow no verdict."""
    signs = [0 if asset in alone else 1 if low > 0 else -1 if high < 0 else 0 for asset, low, high in found]
    every = "both" if len(found) == 2 else f"all {len(found)}"
    shown = [asset for (asset, _, _), sign in zip(found, signs, strict=True) if sign]
    if {1, -1} <= set(signs):
        return "does not hold: better on one, worse on another"
    word = "better" if 1 in signs else "worse"
    if len(shown) == len(found):
        return f"holds: {word} on {every}"
    return f"not shown to hold: {word} on {', '.join(shown)} alone" if shown else f"no difference is shown on {every}"


def ticker_of(cell: CellSummary) -> str:
    """Returns SPX for a cell on SPX.dataset.r20; empty if its trials have no data set."""
    return str((cell.best or {}).get("dataset") or "").partition(".dataset.")[0]


def section(groups: tuple[Group, ...], walks: tuple[Walked, ...]) -> dict[str, Any]:
    """Returns a section for fts.analysis.sections; without a table if no cell has two assets."""
    walked = {walk.row.experiment: walk for walk in walks}
    questions: dict[tuple[str, str, int, str], dict[str, CellSummary]] = {}
    for group in groups:
        for cell in group.cells:
            if ticker := ticker_of(cell):
                task = " ".join(word for word in group.task.split(" ") if word != ticker)
                questions.setdefault((task, group.tier, cell.horizon, cell.budget), {})[ticker] = cell
    tables: dict[tuple[str, ...], list[Any]] = {}
    for (task, tier, horizon, budget), cells in sorted(questions.items()):
        gains = dict(_gains(cells, walked))
        alone = {asset for asset, gain in gains.items() if gain[3] == 1}
        if len(gains) < 2:
            continue
        assets = tuple(sorted(gains))
        rows = tables.setdefault((task, tier, *assets), [["", "size", *assets, "does it hold?"]])
        told = held([(asset, gain.low, gain.high) for asset in assets for gain in gains[asset][:1]], alone)
        rows.append(
            [(f"h{horizon}", "", ""), (budget, "", ""), *(_told(*gains[asset]) for asset in assets), (told, "", "")]
        )
    shown = [{"title": " on ".join(key[:2]), "rows": rows, "names": 2} for key, rows in tables.items()]
    return {"id": "assets", "nav": "assets", "title": "Does it hold on the other asset?", "note": NOTE, "tables": shown}


def _gains(
    cells: dict[str, CellSummary], walked: dict[str, Walked]
) -> Iterator[tuple[str, tuple[Interval, str, str, int]]]:
    """Yields asset -> gain, baseline, days, seeds of a walk; all by walk-forward or none."""
    walks = {ticker: walked.get(cell.experiment) for ticker, cell in cells.items()}
    if all(walk is not None and walk.baseline is not None for walk in walks.values()):
        for ticker, walk in walks.items():
            assert walk is not None and walk.baseline is not None, "checked above"
            days = f"{walk.n} days in {walk.row.folds} folds"
            yield ticker, (walk.baseline.auc, walk.baseline.rival.result.name, days, walk.seeds)
        return
    for ticker, cell in cells.items():
        if cell.auc_gain is not None and cell.baseline is not None:
            yield ticker, (cell.auc_gain.interval, cell.baseline.result.name, f"{cell.auc_gain.n} days", 0)


def _told(gain: Interval, baseline: str, days: str, seeds: int) -> tuple[str, str, str]:
    return signed(gain), f"to {baseline}", f"{days}, 1 seed" if seeds == 1 else days
