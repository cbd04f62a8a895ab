"""A search with halving that may try more trials is put beside the unpruned one it has a share of the epochs of."""

import pytest

from benchmarks.equal_epochs import fitted, pools
from benchmarks.pruning import Pool
from fts.search.halving import Halving
from tests.search.test_searches import cell, ran
from tests.state.helpers import new_db

FIRST_EPOCH = Halving(first_rung=1, growth=100, keep=0.5, trailing=None)
TOLD, HIDDEN = (0.5, 0.45, 0.4), (0.9, 0.5, 0.1)  # good from the first epoch; good at the end alone
POOR = tuple((0.7 + n / 100, 0.6, 0.6) for n in range(19))  # no two alike: who is as good as the line goes on


def test_what_is_saved_on_hopeless_trials_buys_more_of_them():
    told = fitted(Pool("made", (TOLD, *POOR)), FIRST_EPOCH, share=0.9, trials=10, orders=60)
    assert told.trials > 10 and told.share <= 0.9
    assert told.above < 0, "the best one is among its trials more often than among the ten"


def test_a_share_of_everything_without_a_rule_is_the_same_search():
    keep_all = Halving(first_rung=1, growth=2, keep=1.0, trailing=None)
    told = fitted(Pool("made", (TOLD, *POOR)), keep_all, share=1.0, trials=10, orders=20)
    assert (told.trials, told.share, told.above, told.near) == (10, 1.0, 0.0, 1.0)


def test_what_is_good_only_at_its_end_is_missed_and_said():
    told = fitted(Pool("made", (HIDDEN, *[TOLD] * 9, *POOR[:10])), FIRST_EPOCH, share=1.0, trials=20, orders=60)
    assert told.near < 1 and told.above_max == pytest.approx(0.3)


def test_unpruned_searches_of_a_cell_are_one_pool_whoever_proposed_them(tmp_path):
    db = new_db(tmp_path)
    trials = [("complete", (0.7, 0.6 + n / 100)) for n in range(11)]
    ran(db, cell(seed=11), *trials)
    ran(db, cell(seed=12, sampler="tpe"), *trials)
    ran(db, cell(seed=21, sampler="tpe", pruner="halving"), *trials)
    ran(db, cell(seed=31, epochs=50), *trials)  # another question
    db.close()
    (pool,) = pools([tmp_path / "outputs" / "fts.db"])
    assert pool.name == "2M/h1" and len(pool.curves) == 22 and pool.best == 0.6
    with pytest.raises(SystemExit, match="no cell here has 20 complete trials"):
        pools([new_and_empty(tmp_path / "other")])


def new_and_empty(folder):
    folder.mkdir()
    new_db(folder).close()
    return folder / "outputs" / "fts.db"
