"""Bars that cannot be believed are refused in one sentence with file, row and column."""

import importlib

import numpy as np
import pandas as pd
import pytest

from fts.data.bars import BadBars, check_bars, check_closes
from fts.data.sources import SourceFailed, _of_arch, bundled, bundled_sp500, bundled_vix, take_file
from tests.data.made import make_bars, write_csv


def test_good_bars_come_back_as_they_are():
    bars = make_bars(50)
    pd.testing.assert_frame_equal(check_bars(bars, "made"), bars, check_freq=False)


def test_dates_may_be_a_column_in_any_case_and_other_columns_go():
    bars = make_bars(50)
    loose = bars.rename(columns=str.lower).reset_index().rename(columns={"Date": "DATE"}).assign(dividends=0.0)
    pd.testing.assert_frame_equal(check_bars(loose, "made"), bars, check_freq=False)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_hours_and_time_zones_become_the_same_calendar_day(zone):
    bars = make_bars(400)  # across daylight saving
    hours = np.where(np.arange(len(bars)) % 2, 5, 6)
    shifted = bars.set_axis((bars.index + pd.to_timedelta(hours, unit="h")).tz_localize(zone).rename("Date"))
    assert check_bars(shifted, "made").index.equals(bars.index)


def test_a_csv_whose_dates_carry_two_offsets_keeps_its_days(tmp_path):
    path = tmp_path / "SPY.csv"
    path.write_text(
        "Date,Open,High,Low,Close,Volume\n2018-11-02 00:00:00-04:00,1,2,1,1,5\n2018-11-05 00:00:00-05:00,1,2,1,1,5\n"
    )
    assert [str(d.date()) for d in take_file(path).bars.index] == ["2018-11-02", "2018-11-05"]


def spoiled(row: int, column: str, value: object) -> pd.DataFrame:
    bars = make_bars(30).astype(object)
    bars.iloc[row, bars.columns.get_loc(column)] = value
    return bars


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (spoiled(3, "Close", np.nan), ["row 4", "column Close", "finite"]),
        (spoiled(3, "Volume", np.inf), ["row 4", "column Volume", "finite"]),
        (spoiled(3, "Open", "n/a"), ["row 4", "column Open", "'n/a'"]),
        (spoiled(7, "Low", 0.0), ["row 8", "column Low", "expected > 0"]),
        (spoiled(7, "Close", -3.0), ["row 8", "column Close", "-3"]),
        (spoiled(7, "Volume", -1), ["row 8", "column Volume", ">= 0"]),
        (spoiled(9, "High", 1.0), ["row 10", "column High", "below the low"]),
        (spoiled(9, "Close", 1e4), ["row 10", "column High", "below the close 10000"]),
        (spoiled(9, "Open", 1e4), ["row 10", "column High", "below the open 10000"]),
        (spoiled(9, "Open", 1e-4), ["row 10", "column Low", "above the open 0.0001"]),
        (make_bars(30).drop(columns="Volume"), ["column Volume is missing", "found Date, Open"]),
        (make_bars(30).reset_index(drop=True), ["column Date is missing"]),
        (make_bars(30).assign(close=1.0), ["two columns are called Close"]),
        (make_bars(30).iloc[[0, 1, 1, 2]], ["row 3", "column Date", "is there twice (row 2 too)"]),
        (make_bars(30).iloc[[0, 2, 1]], ["row 3", "column Date", "sort the rows"]),
        (make_bars(3).assign(Date=["2020-01-01", "soon", "2020-01-03"]), ["row 2", "column Date", "'soon'"]),
        (make_bars(3).assign(Date=["2020-01-01", None, "2020-01-03"]), ["row 2", "column Date", "no date"]),
        (make_bars(3).assign(Date=[1, 2, 3]), ["column Date", "is a number"]),
        (make_bars(30).iloc[:0], ["0 rows"]),
    ],
)
def test_a_bad_bar_is_named(frame, words):
    with pytest.raises(BadBars) as error:
        check_bars(frame, "SPY.csv")
    sentence = str(error.value)
    assert sentence.startswith("SPY.csv:") and "\n" not in sentence
    assert all(word in sentence for word in words), sentence


def test_too_few_rows_say_how_many_are_needed():
    with pytest.raises(BadBars, match="30 rows, at least 285 are needed"):
        check_bars(make_bars(30), "SPY.csv", min_rows=285)


def test_a_last_digit_of_rounding_is_not_a_bad_bar():
    bars = make_bars(30)
    bars.iloc[4, bars.columns.get_loc("Close")] = bars["High"].iloc[4] * (1 + 1e-9)
    check_bars(bars, "made")


def test_a_file_that_is_missing_or_no_table_gets_a_sentence(tmp_path):
    with pytest.raises(SourceFailed, match="is not there"):
        take_file(tmp_path / "none.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(BadBars, match=r"empty\.csv: cannot be read as csv"):
        take_file(empty)


def test_bars_survive_a_csv_to_the_bit(tmp_path):
    bars = make_bars(200)
    pd.testing.assert_frame_equal(
        take_file(write_csv(bars, tmp_path / "x.csv")).bars, bars, check_exact=True, check_freq=False
    )


def test_the_bundled_histories_are_the_known_ones():
    bars = bundled_sp500()
    assert (len(bars), str(bars.index[0].date()), str(bars.index[-1].date())) == (5031, "1999-01-04", "2018-12-31")
    assert len(bundled("IXIC")) == 5031
    vix = bundled_vix()
    assert (len(vix), str(vix.index[0].date()), str(vix.index[-1].date())) == (1259, "2014-01-03", "2019-01-03")
    with pytest.raises(SourceFailed, match="SPX, IXIC"):
        bundled("SPY")


def test_closes_leave_out_days_without_a_value():
    frame = pd.DataFrame({"Date": ["2020-01-01", "2020-01-02", "2020-01-03"], "Close": [12.0, None, 13.0]})
    assert check_closes(frame, "VIX.csv").tolist() == [12.0, 13.0]


@pytest.mark.parametrize("name", ["sp500", "nasdaq", "vix"])
def test_the_bundled_bars_are_those_that_arch_loads(name: str) -> None:
    loaded = importlib.import_module(f"arch.data.{name}").load()
    read = _of_arch(name)
    assert read.index.equals(loaded.index) and list(read) == list(loaded)
    assert read.to_numpy().tobytes() == loaded.to_numpy().tobytes()
