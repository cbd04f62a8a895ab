"""Walk-forward folds: the past trains, the future validates, and nothing is in both."""

import numpy as np
import pytest

from fts.analysis.cv import walk_forward

CONTEXT, HORIZON = 20, 5


def folds(n=5, windows=600, **options):
    return walk_forward(np.arange(19, 19 + windows), n, CONTEXT, HORIZON, **options)


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
