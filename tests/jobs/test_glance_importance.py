"""What the trials' spread goes with, against shares that are known because we planted them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fts.jobs.search.importance import ENOUGH, between, grouped, importance, ranks, standing
from fts.state.values import TrialStatus
from tests.tui.values import make_trial


def trials(n, value, **params):
    """`value` and each parameter are functions of (random, n)."""
    dice = random.Random(3)
    made = []
    for number in range(n):
        drawn = {name: draw(dice, number) for name, draw in params.items()}
        made.append(make_trial(number + 1, 1, number, params=drawn, value=value(dice, drawn)))
    return made


LR = {"lr": lambda dice, _: 10 ** dice.uniform(-5, -2), "drop": lambda dice, _: dice.uniform(0, 0.5)}


def test_the_parameter_that_decides_stands_first_and_the_idle_one_near_0():
    found = importance(trials(60, lambda dice, p: p["lr"] + dice.gauss(0, 1e-4), **LR))
    assert [each.name for each in found] == ["lr", "drop"]
    assert found[0].share > 0.7
    assert found[1].share < 0.15
    assert found[0].n == 60


def test_a_hump_is_seen_where_a_correlation_would_see_nothing():
    found = importance(trials(80, lambda _, p: -abs(p["drop"] - 0.25), **LR))
    assert found[0].name == "drop"
    assert found[0].share > 0.5


def test_noise_alone_has_no_importance_on_average():
    shares = [
        between(ranks([dice.random() for _ in range(20)]), grouped([dice.random() for _ in range(20)]))
        for dice in map(random.Random, range(200))
    ]
    assert sum(shares) / len(shares) < 0.08


def test_choices_are_groups_of_their_own():
    archs = {"architecture": lambda dice, _: dice.choice(["d64", "d128", "d256"]), "lr": LR["lr"]}
    found = importance(trials(60, lambda dice, p: len(p["architecture"]) + dice.gauss(0, 0.1), **archs))
    assert found[0].name == "architecture"


def test_too_few_trials_say_nothing():
    assert importance(trials(ENOUGH - 1, lambda _, p: p["lr"], **LR)) == ()
    assert importance(trials(ENOUGH, lambda _, p: p["lr"], **LR)) != ()


def test_a_parameter_that_is_the_same_everywhere_is_not_named():
    found = importance(trials(20, lambda _, p: p["lr"], lr=LR["lr"], wd=lambda *_: 0.01))
    assert [each.name for each in found] == ["lr"]


def test_failed_diverged_and_reused_trials_do_not_count():
    made = trials(20, lambda _, p: p["lr"], **LR)
    odd = [
        make_trial(91, 1, 91, "failed", value=None, params=made[0].params),
        make_trial(92, 1, 92, value=9.0, params=made[0].params, reused_from=1),
        make_trial(93, 1, 93, value=9.0, params=made[0].params, badges=("diverged",)),
    ]
    assert importance([*made, *odd]) == importance(made)


def test_ties_share_their_rank():
    assert ranks([1.0, 2.0, 2.0, 3.0]) == [1.0, 2.5, 2.5, 4.0]


def test_omega_squared_against_a_table_by_hand():
    """Three groups of ranks (1 2)(3 4)(5 6): total 17.5, inside 1.5, error 0.5: (16 - 2 * 0.5) / 18."""
    assert between([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2]) == pytest.approx(15 / 18)


def test_pruned_trials_stand_below_complete_ones_and_the_later_pruned_the_better():
    early, late = (make_trial(n, 1, n, "pruned", value=0.9, epochs=e) for n, e in ((1, 3), (2, 9)))
    complete = make_trial(3, 1, 3, value=0.6)
    assert standing(early) < standing(late) < standing(complete)
    loss = [make_trial(n, 1, n, value=v, objective="val_loss") for n, v in ((1, 0.4), (2, 0.5))]
    assert standing(loss[0]) > standing(loss[1])


def test_a_study_whose_trials_are_mostly_pruned_says_something():
    made = trials(40, lambda _, p: p["lr"], **LR)
    best = sorted(made, key=lambda t: t.value)[-4:]
    mixed = [t if t in best else replace(t, status=TrialStatus.PRUNED, epochs=3) for t in made]
    assert importance(mixed)[0].name == "lr"
    assert importance(mixed)[0].n == 40


def test_an_architecture_counts_by_its_width_and_its_layers():
    shape = {"architecture": lambda dice, n: f"d{dice.choice([64, 128])}-L{dice.choice([2, 4, 8])}-h{n}-ff256"}
    found = importance(trials(40, lambda _, p: 1.0 if "L8" in p["architecture"] else 0.5, **shape))
    assert [each.name for each in found] == ["layers", "d_model"]
