"""Importance: what was planted leads, chance is ranked along, and few trials are refused."""

import pytest

from fts.analysis.importance import CHANCE, TooFewTrials, importances
from tests.analysis.tables import trial_table


def test_the_planted_parameter_leads_and_beats_chance():
    rows = importances(trial_table([("2M", 1)], n=60, best_dropout=0.1))
    assert rows[0].name == "dropout"
    assert rows[0].beats_chance
    assert CHANCE in [row.name for row in rows]
    assert sum(row.fanova for row in rows) == pytest.approx(1.0, abs=0.01)


def test_when_nothing_matters_hardly_anything_beats_chance():
    table = trial_table([("2M", 1)], n=40)
    table["value"] = table["weight_decay"].rank(method="first").sample(frac=1, random_state=1).to_numpy()
    assert not any(row.beats_chance for row in importances(table))


def test_few_trials_and_mixed_cells_are_refused():
    with pytest.raises(TooFewTrials, match="12 comparable trials"):
        importances(trial_table([("2M", 1)], n=12))
    with pytest.raises(ValueError, match="one experiment"):
        importances(trial_table())


def test_a_search_with_pruned_trials_is_explained_by_place():
    table = trial_table([("2M", 1)], n=60, best_dropout=0.1)
    hopeless = table["value"] > table["value"].quantile(0.2)
    table.loc[hopeless, "status"] = "pruned"
    table.loc[hopeless, "epochs"] = 2
    assert importances(table)[0].name == "dropout"
