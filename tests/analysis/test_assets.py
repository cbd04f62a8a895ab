"""What held on one asset is looked for on the other, on the page and below the results."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from fts.analysis.assets import held, section
from fts.analysis.study_data import StudyData
from fts.analysis.summarise import summarise
from tests.analysis.tables import study


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("SPX", 0.01, 0.05), ("IXIC", 0.02, 0.06)], "holds: better on both"),
        ([("SPX", -0.05, -0.01), ("IXIC", -0.06, -0.02)], "holds: worse on both"),
        ([("SPX", 0.01, 0.05), ("IXIC", -0.06, -0.02)], "does not hold: better on one, worse on another"),
        ([("SPX", 0.01, 0.05), ("IXIC", -0.02, 0.02)], "not shown to hold: better on SPX alone"),
        ([("SPX", -0.01, 0.05), ("IXIC", -0.02, 0.02)], "no difference is shown on both"),
        ([("A", 0.01, 0.05), ("B", 0.01, 0.02), ("C", 0.01, 0.02)], "holds: better on all 3"),
    ],
)
def test_what_several_assets_say_together(found: list[tuple[str, float, float]], told: str) -> None:
    assert held(found) == told


def two_assets() -> StudyData:
    """The same cell on two tickers, as the report's data tell them apart."""
    one = study([("2M", 1)], n=4)
    other = " IXIC"
    trials = pd.concat(
        [
            one.trials.assign(dataset="SPX.dataset.a25"),
            one.trials.assign(
                dataset="IXIC.dataset.a25", task="threshold_1pct" + other, data_md5="e" * 32,
                experiment=one.trials["experiment"] + "_IXIC", label_md5="9" * 32,
            ),
        ],
        ignore_index=True,
    )  # fmt: skip
    cells = pd.concat(
        [one.cells, one.cells.assign(experiment=one.cells["experiment"] + "_IXIC", task="threshold_1pct" + other)]
    )
    named = {name.replace("threshold_1pct", "threshold_1pct_IXIC"): table for name, table in one.predictions.items()}
    rivals = tuple(replace(row, task=row.task + other, data_md5="e" * 32) for row in one.baselines)
    return replace(one, trials=trials, cells=cells, predictions={**one.predictions, **named},
                   baselines=(*one.baselines, *rivals))  # fmt: skip


def test_the_page_asks_whether_it_holds_on_the_other_asset() -> None:
    (table,) = section(summarise(two_assets()), ())["tables"]
    head, row = table["rows"]
    assert head == ["", "size", "IXIC", "SPX", "does it hold?"] and table["title"] == "threshold_1pct on a25"
    assert row[2][0] == row[3][0] and "logistic regression" in row[2][1] and "both" in row[4][0]
    assert section(summarise(study([("2M", 1)], n=4)), ())["tables"] == []
