"""A search with halving that may try more trials is put beside the unpruned one it has a share of the epochs of."""

import pytest

from benchmarks.equal_epochs import fitted, from_databases, pools, read, write
from benchmarks.pruning import Pool
from fts.jobs.api.halving import HALVING, Halving
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


@pytest.mark.slow  # three seconds each; `python -m benchmarks equal_epochs` has them, too
@pytest.mark.parametrize("cell", ["2M/h1", "2M/h3", "2M/h5"])
def test_a_third_of_the_epochs_reaches_the_loss_of_fifty_unpruned_trials_on_real_curves(cell):
    """300 recorded trials of the S&P 500 cells; .001 is what counts as an improvement (min_delta)."""
    (pool,) = [pool for pool in pools(read(), patience=10) if pool.name == cell]
    assert len(pool.curves) == 100
    halved = fitted(pool, HALVING, share=1 / 3, orders=100)
    blind = fitted(pool, Halving(keep=1.0, trailing=None), share=1 / 3, orders=100)
    assert halved.share <= 1 / 3 and halved.above <= 0.001, "on average; the misses are in the log"
    assert blind.above > halved.above + 0.001, "a third of the trials would not have done"


def test_unpruned_searches_of_a_cell_are_one_pool_whoever_proposed_them(tmp_path):
    db = new_db(tmp_path)
    trials = [("complete", (0.7, round(0.6 + n / 100, 2))) for n in range(11)]
    ran(db, cell(seed=11), *trials)
    ran(db, cell(seed=12, sampler="tpe"), *trials)
    ran(db, cell(seed=21, sampler="tpe", pruner="halving"), *trials)
    ran(db, cell(seed=31, epochs=50), *trials)  # another question
    db.close()
    trials = from_databases([tmp_path / "outputs" / "fts.db"])
    (pool,) = pools(trials)
    assert pool.name == "2M/h1" and len(pool.curves) == 22 and pool.best == 0.6
    write(trials, tmp_path / "curves.csv")
    assert read(tmp_path / "curves.csv") == trials
    with pytest.raises(SystemExit, match="no cell here has 20 complete trials"):
        pools(from_databases([new_and_empty(tmp_path / "other")]))


def new_and_empty(folder):
    folder.mkdir()
    new_db(folder).close()
    return folder / "outputs" / "fts.db"
