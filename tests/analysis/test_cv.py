"""Walk-forward folds: the past trains, the future validates, and nothing is in both."""

from dataclasses import replace

import numpy as np
import pytest

from fts.analysis.walk_forward import Fold, walk_forward
from fts.study.build import tensors
from fts.study.cell_data import CellData, few, load
from fts.study.evidence import cell_data
from fts.study.final_model import build_final
from fts.study.walk_forward_objective import folds_of, on_fold
from tests.data.made import build, make_bars, write_csv
from tests.search.test_spec import CELL, TRIAL

CONTEXT, HORIZON = 20, 5


def folds(n=5, windows=600, **options):
    return walk_forward(np.arange(19, 19 + windows), n, CONTEXT, HORIZON, **options)


def loaded(root, norm="standard"):
    bars = write_csv(make_bars(1200), root / "ABC.csv")
    entry = build(root / "data", "csv", "ABC", "a25", path=bars, horizon=1, context=CONTEXT)
    return load(root / "data", entry.md5, "threshold_1pct", 1, CONTEXT, norm=norm)


def test_no_training_label_and_no_training_day_reaches_a_validation_window():
    for fold in folds():
        first_val_day = fold.val_ends[0] - CONTEXT + 1
        last_day_training_knows = fold.train_ends[-1] + HORIZON
        assert last_day_training_knows < first_val_day


def test_validation_stretches_are_disjoint_in_order_and_reach_the_end():
    made = folds()
    joined = np.concatenate([fold.val_ends for fold in made])
    assert (np.diff(joined) == 1).all()
    assert joined[-1] == 618
    assert [fold.number for fold in made] == [1, 2, 3, 4, 5]


def test_training_grows_unless_it_is_capped():
    assert np.diff([len(fold.train_ends) for fold in folds()]).min() > 0
    assert {len(fold.train_ends) for fold in folds(max_train=50)} == {50}


def test_too_few_windows_are_refused_with_the_number_needed():
    with pytest.raises(ValueError, match="at least 2 folds and 150 windows"):
        folds(windows=100)
    with pytest.raises(ValueError, match="at least 2 folds"):
        folds(n=1)


def test_a_gap_in_the_days_is_refused():
    with pytest.raises(ValueError, match="rise by one day"):
        walk_forward(np.r_[0:300, 310:600], 3, CONTEXT, HORIZON)


def test_a_fold_is_scaled_by_its_own_training_days(tmp_path):
    data = loaded(tmp_path)
    early, late = (on_fold(data, fold) for fold in walk_forward(data.train_ends, 3, CONTEXT, 1)[::2])
    for part in (early, late):
        stop = part.train_ends[-1] + 1
        assert np.allclose(part.features_TF[:stop].mean(axis=0), 0.0, atol=1e-4)
        assert np.allclose(part.features_TF[:stop].std(axis=0)[part.sd != 1.0], 1.0, atol=1e-3)
        back = (part.features_TF * part.sd + part.mean - data.mean) / data.sd
        assert np.allclose(back, data.features_TF, atol=1e-4)
    assert not np.allclose(early.mean, late.mean)


def test_windows_of_every_length_are_judged_on_the_same_days_and_the_purge_is_that_of_the_longest(tmp_path):
    bars = write_csv(make_bars(1200), tmp_path / "ABC.csv")
    md5 = build(tmp_path / "data", "csv", "ABC", "r20", path=bars, horizon=1, context=CONTEXT).md5
    cells = [replace(CELL, context=context, longest=40, tier="r20", data_md5=md5, cv="walk-forward:3")
             for context in (10, 20, 40)]  # fmt: skip
    datas = [cell_data(str(tmp_path / "data"), cell) for cell in cells]
    usual = cell_data(str(tmp_path / "data"), replace(cells[2], longest=None))
    for cell, data in zip(cells, datas, strict=True):
        assert tensors(data).windows.shape[-1] == cell.context
        for part in ("train_ends", "val_ends"):
            assert np.array_equal(getattr(data, part), getattr(usual, part))
        for mine, theirs in zip(folds_of(data, cell), folds_of(usual, cell), strict=True):
            assert np.array_equal(mine.train_ends, theirs.train_ends)
            assert np.array_equal(mine.val_ends, theirs.val_ends)
            assert mine.val_ends[0] - mine.train_ends[-1] >= data.horizon + 40 - 1
    alone = cell_data(str(tmp_path / "data"), replace(cells[0], longest=None))
    assert len(alone.val_ends) == len(usual.val_ends) + 30


def test_days_after_a_fold_change_nothing_of_it(tmp_path):
    data = loaded(tmp_path)
    fold = walk_forward(data.train_ends, 3, CONTEXT, 1)[0]
    known = fold.val_ends[-1] + 1
    other = data.features_TF.copy()
    other[known:] *= 7.0
    first, second = (on_fold(part, fold) for part in (data, replace(data, features_TF=other)))
    assert (first.features_TF[:known] == second.features_TF[:known]).all()


def test_features_that_were_never_scaled_stay_as_they_are(tmp_path):
    data = loaded(tmp_path, norm="none")
    fold = walk_forward(data.train_ends, 3, CONTEXT, 1)[0]
    assert on_fold(data, fold).features_TF is data.features_TF


def test_the_windows_of_a_dry_run_hold_both_classes():
    """A validation part may begin with months without a rise: 64 days of the S&P 500 in 2017, one day ahead."""
    ends, y_T = np.arange(19, 300), np.zeros(320, np.float32)
    y_T[200:] = 1
    for rows in (1, 64):
        chosen = few(ends, y_T, rows)
        assert len(chosen) == rows and (np.diff(chosen) > 0).all() and y_T[chosen[-1]] == 1
    assert np.array_equal(few(ends, y_T, 200), ends[:200]), "both are there"
    assert np.array_equal(few(ends[:100], y_T, 64), ends[:64]), "there is only one"
    assert np.array_equal(few(ends, y_T, None), ends)


def test_every_dry_run_takes_them(monkeypatch):
    ends, y_T = np.arange(19, 300), np.zeros(320, np.float32)
    y_T[200:] = 1
    data = replace(BLANK, y_T=y_T, train_ends=ends, val_ends=ends)
    monkeypatch.setattr("fts.study.evidence._load", lambda *_: data)
    monkeypatch.setattr("fts.study.walk_forward_objective.rescaled", lambda data, stop: data)
    parts = [cell_data("", CELL, 64), on_fold(data, Fold(1, ends, ends), 64)]
    monkeypatch.setattr("fts.study.final_model.assemble", lambda spec, part, *_: parts.append(part))
    monkeypatch.setattr("fts.study.final_model.cell_data", lambda *_: data)
    monkeypatch.setattr("fts.study.final_model.all_windows", lambda data: data)
    build_final(replace(TRIAL, dry_run_rows=64))
    assert [y_T[each].sum() for part in parts for each in (part.train_ends, part.val_ends)] == [1] * 6


BLANK = CellData(**dict.fromkeys(CellData.__dataclass_fields__))  # type: ignore[arg-type]
