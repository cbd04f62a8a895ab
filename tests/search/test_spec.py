"""Specs are frozen, survive JSON, and are refused field by field when something is off."""

import json
from dataclasses import replace

import pytest

from fts.data.manifest import UnknownDataset
from fts.data.splits import SplitTooSmall
from fts.jobs.api.spec import BadSpec, UnusedParameter, config_md5, seed_for
from fts.jobs.trial.cause import cause_of
from fts.study.cell import CellSpec, TrialSpec, effective_config, settled

PARAMS = {
    "architecture": "d16-L1-h2-ff32",
    "learning_rate": 3e-4,
    "weight_decay": 1e-3,
    "warmup_steps": 100,
    "dropout": 0.2,
}
CELL = CellSpec(
    experiment="phase6a_tiny_h1_threshold_1pct",
    budget="tiny",
    horizon=1,
    task="threshold_1pct",
    tier="a25",
    dataset="SPX.dataset.a25",
    data_md5="0" * 32,
    trials=3,
    epochs=2,
    space={},
)
TRIAL = TrialSpec(
    cell=CELL,
    number=4,
    params=PARAMS,
    seed=1,
    threads=1,
    device="cpu",
    data_root="data",
    folder="outputs/trials/x",
    log_path="outputs/logs/x.log",
)


def through_json(value):
    return json.loads(json.dumps(value.to_json()))


def test_specs_survive_json():
    assert CellSpec.from_json(through_json(CELL)) == CELL
    assert TrialSpec.from_json(through_json(TRIAL)) == TRIAL


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experiment", "../../etc/passwd"),
        ("experiment", "a\x1b[31m"),
        ("task", "[/foo]"),
        ("data_md5", "short"),
        ("horizon", 0),
        ("horizon", "1"),
        ("horizon", True),
        ("trials", 10**9),
        ("min_delta", float("nan")),
        ("loss", "hinge"),
        ("sampler", "psychic"),
        ("space", []),
        ("surprise", 1),
    ],
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(BadSpec, match=field):
        CellSpec.from_json(through_json(CELL) | {field: value})


def test_a_missing_field_is_named():
    data = through_json(CELL)
    del data["budget"]
    with pytest.raises(BadSpec, match="budget"):
        CellSpec.from_json(data)


def test_a_suggestion_nothing_consumes_is_an_error():
    with pytest.raises(UnusedParameter, match="momentum"):
        effective_config(CELL, PARAMS | {"momentum": 0.9})


def test_a_suggestion_that_lacks_a_parameter_is_an_error():
    with pytest.raises(BadSpec, match="dropout"):
        effective_config(CELL, {k: v for k, v in PARAMS.items() if k != "dropout"})


def test_equal_effective_configurations_have_equal_md5_and_horizons_differ():
    mine = config_md5(effective_config(CELL, PARAMS))
    assert mine == config_md5(effective_config(replace(CELL, seed=9, code_commit="abc"), dict(PARAMS)))
    assert mine != config_md5(effective_config(replace(CELL, horizon=3), PARAMS))


def test_the_code_commit_does_not_make_another_cell():
    assert CELL.identity == replace(CELL, code_commit="abc", code_dirty=True).identity
    assert CELL.identity != replace(CELL, seed=1).identity


def test_seeds_depend_on_every_part():
    assert len({seed_for(s, n, p) for s in (0, 1) for n in (0, 1) for p in ("suggest", "train")}) == 8


def test_a_data_set_that_is_gone_is_an_error_of_the_data_not_of_the_code():
    assert cause_of(UnknownDataset("no data set has the md5")) == cause_of(SplitTooSmall("19 windows")) == "data error"
    assert cause_of(KeyError("x")) == "code error"


def test_what_diverged_trials_teach_is_frozen_and_is_no_other_question():
    old = {name: value for name, value in CELL.to_json().items() if name != "diverged"}
    assert CellSpec.from_json(old).diverged == "ignored", "an older specification means the rule of its time"
    newer = replace(CELL, diverged="worst")
    assert CellSpec.from_json(json.loads(json.dumps(newer.to_json()))) == newer
    assert newer.identity == CELL.identity
    with pytest.raises(BadSpec, match="diverged is 'best'"):
        CellSpec.from_json(CELL.to_json() | {"diverged": "best"})


def test_a_specification_without_the_days_of_other_windows_keeps_its_md5():
    assert "longest" not in CELL.to_json()
    assert (CELL.identity, CELL.question) == ("c19a110d7e511f82253f767af402f589", "61fa88e627f57ee70d42f0b6057bc7a6")
    assert config_md5(effective_config(CELL, PARAMS)) == "a579517b9f56df031cdb4bc8046609ae"
    short = replace(CELL, context=20, longest=80)
    assert CellSpec.from_json(through_json(short)) == short and short.span == CELL.span == 80
    with pytest.raises(BadSpec, match="longest is 60 days, expected at least the 80 days of a window"):
        CellSpec.from_json(CELL.to_json() | {"longest": 60})


def test_a_drawn_window_is_the_experiment_that_a_declared_one_is():
    declared = replace(CELL, context=20, longest=80, norm="partial")
    drawn = effective_config(CELL, PARAMS | {"context": 20, "norm": "partial"})
    assert drawn == effective_config(declared, PARAMS)
    assert effective_config(CELL, PARAMS | {"context": 80, "norm": "revin"}) == effective_config(CELL, PARAMS)
    assert drawn != effective_config(replace(declared, longest=None), PARAMS), "it is judged on other days"
    assert settled(CELL, PARAMS | {"context": 20, "norm": "partial"}) == declared
    assert settled(CELL, PARAMS) is CELL
