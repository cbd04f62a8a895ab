"""What the report says of planted truths: what is there is found, what is not there is not, and too little says so."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from fts.jobs.records.trial_roles import replicates_of
from fts.jobs.report import predicted, statistics
from fts.jobs.report.cost import cost
from fts.jobs.report.data import CellReport, StudyReport, study_report
from fts.jobs.report.opening import answer
from fts.jobs.report.sentences import sentences
from fts.state.db import Database
from fts.state.values import TrialStatus
from tests.cli.study import places_of
from tests.report.planted import planted


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Path]]:
    folder = tmp_path_factory.mktemp("planted")
    opened = planted(folder, datasets=8, trials=18, seeds=4, baseline="train.py:mean", seed=1)
    yield opened, folder
    opened.close()


@pytest.fixture(scope="module")
def study(db: tuple[Database, Path]) -> StudyReport:
    return study_report(db[0], places_of(db[1]), "train")


def said(study: StudyReport) -> str:
    effects, depends = statistics.effects_of_axes(study), statistics.dependences(study)
    return "\n".join(one.text for one in sentences(study, effects, depends, statistics.importances(study)))


def test_the_planted_effects_are_found_and_no_others(study: StudyReport):
    effects = {one.axis: one for one in statistics.effects_of_axes(study)}
    assert effects["size"].differs and not effects["data"].differs
    assert effects["size"].levels == {"S": (1.0,), "M": (2.0,)} and effects["size"].blocks == 8
    assert effects["size"].p == pytest.approx(2 / 2**8)
    depends = {(one.axis, one.what): one for one in statistics.dependences(study)}
    assert {name for name, one in depends.items() if one.differs} == {("size", "lr")}


def test_the_winners_curse_is_what_was_planted_and_the_replicates_have_an_interval(study: StudyReport):
    curse = statistics.mean_curse(study)
    assert curse is not None and curse.n == 16 and curse.low < 0.05 < curse.high < 0.06
    (first, *_) = study.cells
    assert first.replicates is not None and first.replicates.interval.n == 3
    assert first.best is not None and first.best.number < 18 and first.baseline is not None


def test_what_is_said_is_no_larger_than_what_is_known(study: StudyReport):
    text = said(study)
    assert "The best value depends on size: S ranks first on average, M last (p = 0.0078" in text
    assert "It is not shown that the best value depends on data" in text
    assert "The best configuration depends on size: lr (p = " in text
    assert "The searches overstate their winners: by 0.05" in text
    assert "This compares single values, without an interval." in text
    assert "it is partly luck" not in text  # other seeds were run


def test_two_cells_cannot_tell_whether_an_axis_matters(tmp_path: Path):
    db = planted(tmp_path, datasets=1, trials=12)
    study = study_report(db, places_of(tmp_path), "train")
    db.close()
    text = said(study)
    few = "depends on size: with 1 group of cells that differ in nothing else, p is at least 1"
    assert f"whether the best value {few}" in text and f"whether the best configuration {few}" in text
    assert "Enqueue the same values at more values of another axis." in text  # more sizes could not
    assert "it is partly luck" in text and "depends on data" not in text


def test_a_matrix_without_effects_seldom_shows_one():
    """Of 200 matrices in which nothing differs, about one in twenty shows a difference."""
    chance, hits = random.Random(3), 0
    for _ in range(200):
        blocks: list[dict[Any, tuple[float, ...]]] = [{"a": (chance.gauss(0, 1),), "b": (0.0,)} for _ in range(7)]
        hits += statistics.permutation_test("axis", "", blocks).p <= 0.05
    assert 2 <= hits <= 18


def test_no_p_is_below_the_one_said_to_be_the_smallest_where_groups_have_other_levels():
    chance = random.Random(5)
    for _ in range(40):
        groups = [sorted(chance.sample("abcd", chance.randint(2, 3))) for _ in range(3)]
        best = [{level: (float("abcd".index(level)),) for level in group} for group in groups]  # as far apart as can be
        found = statistics.permutation_test("axis", "", best)
        assert found.p >= found.smallest * (1 - 1e-9)


def test_importance_in_one_of_many_cells_is_what_chance_gives(study: StudyReport):
    shares = statistics.importances(study)
    (lucky, *others) = [one for one in shares if one.real()]
    lone = [lucky, *(replace(one, chance=1.0) for one in [*others, *shares])][:16]
    assert "It is not shown that any parameter matters" in importance_told(study, lone)
    assert "lr goes with the largest share" in importance_told(study, shares)
    assert statistics.at_least(1, 16, 0.05) == pytest.approx(1 - 0.95**16)
    assert statistics.at_least(4, 16, 0.05) == pytest.approx(float(binom.sf(3, 16, 0.05)))


def importance_told(study: StudyReport, shares: list[statistics.CellImportance]) -> str:
    return " ".join(one.text for one in sentences(study, [], [], shares) if one.about == "importance")


def test_holm_is_the_textbook_s():
    tests = [statistics.AxisTest("a", "", p, 0.001, 4, {}) for p in (0.04, 0.01, 0.03)]
    assert [round(one.p_holm, 4) for one in statistics.holm(tests)] == [0.06, 0.03, 0.06]


def test_importance_finds_the_parameter_that_decides_and_chance_bars_the_others(study: StudyReport):
    shares = statistics.importances(study)
    assert len(shares) == 16  # of 16 trials each: few, so the bar is high
    real = [name for each in shares for name in {one.name for one in each.real()}]
    assert real.count("lr") >= 5 and all(real.count(name) <= 2 for name in ("nothing", "opt", "layers"))


def test_pruning_is_audited_by_the_trials_that_survived(study: StudyReport):
    found = statistics.audit(study.cells[0])
    assert found is not None and found.pruned == 2 and found.step == 1
    assert found.ended == 17 and 0.05 < found.saved < 0.1 and found.agreement == pytest.approx(1.0)


def test_what_pruning_saved_is_a_share_of_all_steps_and_trials_of_the_study(study: StudyReport):
    """Also of cells in which nothing was pruned, and of cells with longer trials."""

    def changed(n: int, cell: CellReport) -> CellReport:
        kept = [t for t in cell.trials if n < 2 or t.status is not TrialStatus.PRUNED]
        return replace(cell, trials=tuple(replace(t, epochs=t.epochs * (20 if n == 0 else 1)) for t in kept))

    mixed = replace(study, cells=tuple(changed(n, cell) for n, cell in enumerate(study.cells)))
    pruned = complete = ran = spared = 0
    for cell in mixed.cells:
        of = {status: [t.epochs for t in cell.trials if t.status is status] for status in TrialStatus}
        usual = sorted(of[TrialStatus.COMPLETE])[len(of[TrialStatus.COMPLETE]) // 2]
        pruned, complete = pruned + len(of[TrialStatus.PRUNED]), complete + len(of[TrialStatus.COMPLETE])
        ran += sum(t.epochs for t in cell.trials)
        spared += sum(max(usual - epochs, 0) for epochs in of[TrialStatus.PRUNED])
    share = spared / (ran + spared)
    told = f"{pruned} of {pruned + complete} trials were pruned, which saved about {share:.0%} of all {mixed.step}s."
    assert told in said(mixed)
    without = tuple(replace(t, status=TrialStatus.PRUNED) for t in study.cells[1].trials[:3])
    unknown = replace(study, cells=(study.cells[0], replace(study.cells[1], trials=without)))
    assert "; what 3 of them saved is not known." in said(unknown)


def test_equal_values_have_no_interval_and_no_single_best(study: StudyReport):
    """Runs that gave the same value to the last digit measured no spread; of equal trials none is the best alone."""
    first = study.cells[0]
    assert first.best is not None and first.replicates is not None
    for same in (first.best.value, 0.625):
        again = tuple(replace(t, value=same) for t in first.replicates.trials)
        found = replicates_of(first.best, again)
        assert found is not None and not found.interval.is_known and found.interval.value == same
        text = said(replace(study, cells=(replace(first, replicates=found),)))
        assert "3 runs with other seeds gave the same" in text and "Student's t" not in text
    ranked = [t for t in first.complete if t.number != first.best.number][:2]
    tied = tuple(replace(t, value=first.best.value) if t in ranked else t for t in first.trials)
    several = replace(study, cells=(replace(first, trials=tied),))
    assert f"of trial t{first.best.number} and of 2 others." in said(several)
    assert f"(trial t{first.best.number} and 2 others)" in answer(several)


def test_cells_that_only_repeat_one_difference_measure_no_curse(study: StudyReport):
    """Cells share the seeds of their trials, so that the same noise may come back in each of them."""
    cells = []
    for cell in study.cells:
        assert cell.replicates is not None and cell.best is not None and cell.best.value is not None
        mean = cell.best.value + 0.02
        found = replace(cell.replicates, interval=replace(cell.replicates.interval, value=mean))
        cells.append(replace(cell, replicates=replace(found, curse=mean - cell.best.value)))
    text = said(replace(study, cells=tuple(cells)))
    assert "overstate" not in text and "which count as independent here although they share the seeds" in said(study)


def test_a_baseline_that_the_winner_beats_by_luck_alone_is_named(study: StudyReport):
    first = study.cells[0]
    assert first.replicates is not None and first.baseline is not None and first.best is not None
    mean, best = first.replicates.interval.value, first.best.value
    assert best is not None and best < mean
    lucky = replace(first, baseline=replace(first.baseline, value=(best + mean) / 2))
    text = said(replace(study, cells=(lucky,)))
    assert "The best trial is better than the baseline." in text
    assert (
        "With other seeds its mean is not better than the baseline: the best trial was chosen for being good." in text
    )
    assert "its mean is not better" not in said(
        replace(study, cells=(replace(first, baseline=replace(first.baseline, value=mean + 1)),))
    )


def test_the_time_of_a_trial_is_that_of_the_search(study: StudyReport):
    """The hours include replicates and baselines, which are no trials of the search."""
    cell = study.cells[0]
    worked = {t.number: 60.0 for t in cell.trials} | dict.fromkeys(range(100, 110), 3600.0)
    section = cost(replace(study, cells=(replace(cell, worked=worked),)))
    assert section is not None and ">60 s<" in section.body


def test_an_edge_is_told_on_the_scale_on_which_it_was_drawn():
    space = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}, "n": {"low": 1, "high": 8}, "x": {"low": 0.0, "high": 1.0}}
    best = SimpleNamespace(params={"lr": 1.2e-5, "n": 8, "x": 0.5})
    cell: Any = SimpleNamespace(space=space, best=best)
    assert statistics.at_the_edge(cell) == {"lr": "low", "n": "high"}


# ---------------------------------------------------------------- predictions


def of(y: Any, p: Any, index: Any = None) -> predicted.ShownPredictions:
    return predicted.ShownPredictions(
        np.asarray(y), np.asarray(p), np.arange(len(y)) if index is None else np.asarray(index)
    )


def test_a_bootstrap_interval_covers_the_planted_mean():
    chance, hits = np.random.default_rng(1), 0
    for k in range(20):
        interval = predicted.bootstrap(chance.normal(2.0, 1.0, 80), lambda rows: rows.mean(axis=-1), k)
        hits += interval.low <= 2.0 <= interval.high
    assert 16 <= hits <= 20


def test_a_paired_comparison_uses_the_rows_that_both_have():
    y = np.arange(100) % 2
    good, flat = of(y, 0.5 + 0.3 * (y - 0.5)), of(y[20:], np.full(80, 0.5), np.arange(20, 100))
    found = predicted.difference(good, flat)
    assert found is not None and found.name == "log loss" and found.interval.n == 80 and found.interval.high < 0
    assert predicted.difference(good, of(1 - y, np.full(100, 0.5))) is None  # other truths under the same names


@pytest.mark.parametrize(
    ("y", "p", "name"),
    [
        ([0, 1] * 10, [0.25, 0.75] * 10, "log loss"),
        ([0, 2, 1, 1] * 5, [1, 2, 1, 0] * 5, "accuracy"),
        (["a", "b"] * 10, ["a", "a"] * 10, "accuracy"),
        ([0.5, 1.5] * 10, [0.5, 2.5] * 10, "squared error"),
        ([0, 1] * 10, [[0.5, 0.5], [0.1, 0.9]] * 10, "log loss"),
    ],
)
def test_the_score_follows_from_what_was_predicted(y: Any, p: Any, name: str):
    found = predicted.score(of(y, p))
    assert found is not None and found.name == name
    assert name != "accuracy" or found.interval.value in (0.75, 0.5)
    assert name != "squared error" or found.interval.value == 0.5


def test_calibrated_forecasts_lie_on_the_diagonal():
    chance = np.random.default_rng(2)
    p = chance.uniform(0, 1, 4000)
    bins = predicted.calibration(of((chance.uniform(0, 1, 4000) < p).astype(int), p))
    assert len(bins) == 10 and sum(one.share.low <= one.forecast <= one.share.high for one in bins) >= 8


def test_a_file_that_is_no_prediction_is_left_out(tmp_path: Path):
    assert predicted.read(tmp_path) is None
    (tmp_path / "predictions.npz").write_bytes(b"PK nonsense")
    assert predicted.read(tmp_path) is None
    np.savez(tmp_path / "predictions.npz", y_true=np.arange(20), y_pred=np.arange(19), index=np.arange(20))
    assert predicted.read(tmp_path) is None


def test_a_damaged_file_of_predictions_is_left_out_wherever_the_damage_is(tmp_path: Path):
    path, rows = tmp_path / "predictions.npz", np.arange(20)
    np.savez_compressed(path, y_true=rows, y_pred=rows, index=rows)
    whole, other = path.read_bytes(), 0
    for at in range(0, len(whole), 7):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            other += predicted.read(tmp_path) is None
    assert other > 100


@pytest.mark.parametrize(
    ("y", "p"),
    [
        (np.arange(60) % 2, np.where(np.arange(60) == 3, np.nan, 0.5)),
        (np.arange(60) * 1.0, np.full(60, np.inf)),
        (np.arange(60) % 2 + 0j, np.full(60, 0.5)),
        (np.array(["2020-01-01"] * 60, dtype="datetime64[D]"), np.full(60, 0.5)),
    ],
    ids=["nan", "inf", "complex", "dates"],
)
def test_what_cannot_be_scored_has_no_score_and_no_difference(y: Any, p: Any):
    odd, even = predicted.ShownPredictions(y, p, np.arange(60)), predicted.ShownPredictions(y, y, np.arange(60))
    assert predicted.score(odd) is None and predicted.difference(odd, even) is None
    assert predicted.calibration(odd) == []


def test_bytes_are_classes_as_texts_are():
    y = np.array([b"a", b"b"] * 10)
    score = predicted.score(predicted.ShownPredictions(y, np.array([b"a"] * 20), np.arange(20)))
    assert score is not None and (score.name, score.interval.value) == ("accuracy", 0.5)
