"""A trial's predictions are read without pandas, as they were written."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.search.predictions import BadPredictions, read_predictions

DAYS = np.array(["2020-01-03", "2020-01-02"], dtype="datetime64[D]")


def written(folder: Path, **columns: object) -> Path:
    path = folder / "predictions.parquet"
    pd.DataFrame({"date": DAYS, "y": np.array([1, 0], dtype="int8"), "p": np.float32([0.7, 0.2])} | columns).to_parquet(
        path, index=False
    )
    return path


def test_they_come_back_in_time_order_to_the_last_bit(tmp_path: Path):
    found = read_predictions(written(tmp_path))
    assert (found.dates == DAYS[::-1]).all()
    assert (found.y == [0, 1]).all()
    assert (found.p == np.float32([0.2, 0.7]).astype(float)).all()


@pytest.mark.parametrize(
    "broken", [{"p": [0.1, 1.2]}, {"p": [0.1, float("nan")]}, {"y": [1, None]}, {"date": [DAYS[0], DAYS[0]]}]
)
def test_doubled_days_gaps_and_impossible_numbers_are_refused(tmp_path: Path, broken: dict):
    with pytest.raises(BadPredictions, match="must be run again"):
        read_predictions(written(tmp_path, **broken))


def test_reading_and_comparing_them_loads_neither_pandas_nor_arch(tmp_path: Path):
    program = f"""
import sys
import jobs.margins, jobs.supervisor
from fts.search.predictions import read_predictions
from fts.scores.intervals import compare
read_predictions({str(written(tmp_path))!r})
print(sorted({{"pandas", "arch", "matplotlib", "sklearn", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"
