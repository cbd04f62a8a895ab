"""Each mistake of the earlier study, planted: it is found and called by its name."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from fts.analysis.answers import answers
from fts.analysis.findings import findings, missing
from fts.analysis.study_data import StudyData, baseline_row
from fts.analysis.summarise import summarise
from fts.analysis.trials_table import best_trials
from tests.analysis.tables import study, trial_rows, trial_table, with_other_seeds

THREE = (("2M", 1), ("2M", 3), ("2M", 5))


def found(data):
    return {(f.kind, f.rule): f.sentence for f in findings(data, summarise(data))}


def asked(data):
    """Every answer but the first, which is about volatility (test_beyond_volatility.py)."""
    groups = summarise(data)
    return answers(groups, findings(data, groups))[1:]


def bare(table, **parts):
    return StudyData(trials=table, **parts)


def test_equal_labels_under_different_horizons_are_an_error():
    table = trial_table(THREE, n=3, label_md5="a" * 32)
    sentence = found(bare(table))["error", "equal labels"]
    assert "threshold_1pct h1 and threshold_1pct h3 and threshold_1pct h5" in sentence


def test_a_19_sample_validation_set_carries_no_ranking():
    sentence = found(bare(trial_table(THREE[:1], n=3, n_val=19, n_pos=7)))["cannot", "validation too small"]
    assert "19 validation windows with 7 positives" in sentence


def test_a_parameter_that_was_searched_and_never_used_is_named():
    rows = trial_rows(n=4, effective_md5="same")
    for k, row in enumerate(rows):
        row["params"] = json.dumps({"learning_rate": 1e-3, "weight_decay": 10.0 ** -(k + 2)})
    sentence = found(bare(pd.DataFrame(rows)))["error", "unused parameter"]
    assert "weight_decay was searched but not used" in sentence
    assert "learning_rate" not in sentence


def test_a_reused_result_is_not_an_unused_parameter():
    rows = trial_rows(n=4, effective_md5="same", badges='["reused"]')
    assert ("error", "unused parameter") not in found(bare(pd.DataFrame(rows)))


def test_collapsed_trials_and_a_collapsed_winner_are_flagged():
    said = found(bare(trial_table(THREE[:1], n=6, badges='["collapsed"]')))
    assert "6 of 6 trials collapsed" in said["caution", "collapsed"]
    assert ("cannot", "best collapsed") in said


def test_many_trials_ended_early_are_a_reason_for_doubt():
    rows = trial_rows(n=6)
    for row in rows[:2]:
        row["status"] = "pruned"
    sentence = found(bare(pd.DataFrame(rows)))["caution", "early pruning"]
    assert "2 of 6 trials were pruned after their first epochs" in sentence and "--pruner none" in sentence
    assert ("caution", "early pruning") not in found(bare(pd.DataFrame(rows[1:])))
    assert ("caution", "early pruning") not in found(bare(trial_table(THREE[:1], n=6)))


def test_winners_of_other_horizons_that_were_tried_first_are_a_reason_for_doubt():
    table = trial_table(THREE[:2], n=12)
    order = table[table["horizon"] == 3].sort_values("value").index
    for warm in (order[:2], order[-2:]):
        told = found(bare(table.assign(badges=[("warm",) * (row in warm) for row in table.index])))
        assert (("caution", "warm start") in told) == (warm[0] == order[0])
    assert (
        "2 of 10 top trials"
        in found(bare(table.assign(badges=[("warm",) * (row in order[:2]) for row in table.index])))[
            "caution", "warm start"
        ]
    )


def test_a_loss_above_the_class_prior_shows_nothing():
    assert ("cannot", "class prior") in found(bare(trial_table(THREE[:1], n=3, prior_loss=0.5)))


def test_a_gain_over_the_prior_that_may_be_none_is_told():
    data = study(THREE[:1], n=3)
    (name, table), rng = next(iter(data.predictions.items())), np.random.default_rng(0)
    hardly = table.assign(p=(0.3 + 0.01 * rng.standard_normal(len(table))))
    said = found(dataclasses.replace(data, predictions={name: hardly}))["cannot", "gain over the prior"]
    assert "has no clearly lower loss than the class prior" in said and "[" in said
    sure = table.assign(p=np.where(table["y"] == 1, 0.7, 0.2))
    assert ("cannot", "gain over the prior") not in found(dataclasses.replace(data, predictions={name: sure}))


def test_a_name_that_does_not_fit_the_counted_parameters_is_an_error():
    sentence = found(bare(trial_table([("200M", 1)], n=3, n_params=6_400_000)))["error", "size"]
    assert "3 trials of budget 200M have 6,400,000" in sentence


def test_cells_of_one_row_on_different_data_cannot_be_compared():
    both = pd.concat([trial_table([("2M", 1)], n=3), trial_table([("20M", 1)], n=3, data_md5="e" * 32)])
    assert "2 different data sets" in found(bare(both))["error", "mixed data"]


def test_horizons_on_different_data_cannot_be_compared():
    both = pd.concat([trial_table([("2M", 1)], n=3), trial_table([("2M", 3)], n=3, data_md5="e" * 32)])
    assert "h3 on eeeeeeee); they cannot be compared" in found(bare(both))["error", "mixed data"]
    assert ("error", "mixed data") not in found(bare(trial_table([("2M", 1), ("2M", 3)], n=3)))


def test_fewer_than_three_sizes_give_no_slope():
    data = bare(trial_table(THREE, n=12))
    assert "1 size so far" in found(data)["cannot", "sizes"]
    growth = asked(data)[1]
    assert growth.answer == "cannot say"
    assert "there is 1 so far" in growth.sentence


def test_one_seed_dirty_code_and_an_opened_test_set_call_for_caution():
    data = bare(trial_table(THREE[:1], n=3, code_dirty=1), test_openings=("2M h1 by ada@box on 2026-11-22",))
    said = found(data)
    assert ("caution", "one seed") in said
    assert "3 of 3 trials" in said["caution", "uncommitted code"]
    assert "ada@box" in said["caution", "test set opened"]


def test_replicates_count_as_seeds_and_show_their_spread():
    search = trial_table(THREE[:1], n=10)
    winner = best_trials(search)["effective_md5"].iloc[0]
    again = trial_table(THREE[:1], n=4, kind="replicate", effective_md5=winner)
    again["experiment"] = "replicate_2M_h1_threshold_1pct"
    other = trial_table(THREE[:1], n=3, kind="replicate", effective_md5="of an older winner")
    data = bare(pd.concat([search, again, other], ignore_index=True))
    cell = summarise(data)[0].cells[0]
    assert cell.n_seeds == 4, "the winner's own seed is out: it was chosen for its value"
    assert cell.seed_sd > 0
    assert cell.seed_mean == pytest.approx(again["value"].mean())
    said = found(data)
    assert ("caution", "one seed") not in said
    assert f"{cell.seed_mean:.4f} on average" in said["caution", "other seeds"]
    ahead = int((search["value"] < cell.seed_mean).sum())
    assert f"{ahead} of the search's 10 complete trials have a better value" in said["caution", "other seeds"]


def test_a_seed_that_two_replicate_jobs_trained_counts_once_and_an_older_jobs_seeds_stay():
    search = trial_table(THREE[:1], n=10)
    winner = best_trials(search)["effective_md5"].iloc[0]
    jobs = [
        trial_table(THREE[:1], n=n, kind="replicate", effective_md5=winner, experiment="replicate_2M_h1", job=job)
        for n, job in ((5, 20), (3, 21))
    ]
    cell = summarise(bare(pd.concat([search, *jobs], ignore_index=True)))[0].cells[0]
    assert cell.n_seeds == 5
    assert cell.seed_mean == pytest.approx(jobs[0]["value"].mean())


def test_skill_that_only_copies_the_baseline_is_not_called_better():
    data = study(THREE[:1], n=6)
    said = found(with_other_seeds(data))
    assert ("can", "beats baseline") not in said
    assert ("can", "beyond luck") in said
    assert asked(data)[0].answer != "yes"


def ahead_of_the_baseline():
    data = study(THREE[:1], n=6)
    (name, frame), *_ = data.predictions.items()
    sure = np.clip(0.3 + 0.25 * frame["y"] + 0.2 * np.random.default_rng(0).random(len(frame)), 0, 1)
    return dataclasses.replace(data, predictions={name: frame.assign(p=sure)})


def test_nothing_good_is_said_of_a_winner_with_one_seed():
    data = ahead_of_the_baseline()
    for few in (data, with_other_seeds(data, n=1)):
        said = found(few)
        assert not {("can", rule) for rule in ("beats baseline", "beyond luck", "some trial better")} & set(said)
        assert "`fts replicate phase6a_2M_h1_threshold_1pct --seeds 2`" in said["cannot", "seeds before claims"]
        assert asked(few)[0].answer == "not yet" and asked(few)[0].tone == "open"


def test_a_winner_whose_other_seeds_fall_behind_is_no_yes():
    """The curse: the search chose a lucky seed, and three others of the same configuration are as good as nothing."""
    data = ahead_of_the_baseline()
    lucky = with_other_seeds(data, auc=best_trials(data.trials)["val_auc"].iloc[0] - 0.5)
    (cell,) = summarise(lucky)[0].cells
    assert cell.auc_gain_at_once.low > 0 > cell.again(cell.auc_gain_at_once).high
    assert cell.against_baseline == "open" and asked(lucky)[0].answer != "yes"
    assert "its other seeds do not clearly differ" in found(lucky)["cannot", "seeds before claims"]


def test_the_lead_of_the_search_over_other_seeds_is_told_with_its_interval():
    said = found(with_other_seeds(study(THREE[:1], n=6)))["caution", "other seeds"]
    assert "the winner's curse" in said


def test_predictions_better_than_the_baseline_are_a_yes():
    data = with_other_seeds(ahead_of_the_baseline())
    assert asked(data)[0].answer == "yes"
    assert ("can", "beats baseline") in found(data)


def test_a_lead_that_the_choice_among_trials_could_bring_is_no_yes():
    """As many trials, each as good as the baseline: the best of them looks clearly better in a quarter of searches."""
    data = study(THREE[:1], n=6)
    (name, frame), *_ = data.predictions.items()
    rival = next(row.result.predictions for row in data.baselines if row.result.name == "logistic regression")
    rng = np.random.default_rng(0)
    told = np.log(rival / (1 - rival)) + 0.18 * (frame["y"] - 0.5) + 0.5 * rng.standard_normal(640)
    data = dataclasses.replace(data, predictions={name: frame.assign(p=1 / (1 + np.exp(-told)))})
    gain = summarise(data)[0].cells[0].auc_gain
    assert gain.clear and gain.interval.value > 0
    first = asked(data)[0]
    assert first.answer == "perhaps" and first.tone == "open"
    assert "for all 6 trials at once" in first.sentence
    assert "Taken alone, 1 cell is better" in first.sentence
    assert ("cannot", "baseline") in {(f.kind, f.rule) for f in findings(data, summarise(data))}  # the same rule


def test_baselines_on_other_data_are_not_compared():
    data = study(THREE[:1], n=6)
    others = tuple(dataclasses.replace(row, data_md5="f" * 32) for row in data.baselines)
    data = dataclasses.replace(data, baselines=others)
    assert summarise(data)[0].cells[0].auc_gain is None
    assert any("no baselines on its data" in sentence for sentence in missing(data, summarise(data)))


def test_baselines_on_other_days_are_not_compared():
    data = study(THREE[:1], n=6)
    shifted = tuple(dataclasses.replace(row, dates=row.dates + np.timedelta64(30, "D")) for row in data.baselines)
    assert summarise(dataclasses.replace(data, baselines=shifted))[0].cells[0].auc_gain is None


def test_a_stronger_baseline_of_another_context_does_not_hide_the_one_on_the_same_days():
    data = study(THREE[:1], n=6)
    other = dataclasses.replace(
        data.baselines[1],
        dates=data.baselines[1].dates + np.timedelta64(30, "D"),
        result=dataclasses.replace(data.baselines[1].result, auc=0.99),
    )
    cell = summarise(dataclasses.replace(data, baselines=(*data.baselines, other)))[0].cells[0]
    assert cell.baseline is data.baselines[1]
    assert cell.auc_gain is not None


def test_by_loss_a_cell_is_put_beside_the_baseline_of_the_lowest_loss():
    """Which need not be the one that ranks best: what it promises is another thing than how it orders the days."""
    data = study(THREE[:1], n=6)
    best, *others = sorted(data.baselines, key=lambda row: -row.result.auc)
    frame = next(iter(data.predictions.values()))
    right = np.where(frame["y"] == 1, 0.9, 0.1)
    honest = dataclasses.replace(
        others[0], result=dataclasses.replace(others[0].result, auc=0.5, loss=0.1, predictions=right)
    )
    cell = summarise(dataclasses.replace(data, baselines=(best, honest)))[0].cells[0]
    assert (cell.baseline, cell.lowest) == (best, honest)
    assert cell.lowest_gain.clear and cell.lowest_gain.interval.value > cell.loss_gain.interval.value
    first = asked(dataclasses.replace(data, baselines=(best, honest)))[0]
    assert "Log loss: 0 clearly better, 1 clearly worse" in first.sentence


def test_a_study_judged_on_folds_is_not_told_to_judge_on_folds():
    data = study(THREE[:1], n=6)
    task = "threshold_1pct walk-forward:5"
    folded = dataclasses.replace(data, trials=data.trials.assign(task=task), cells=data.cells.assign(task=task))
    said = found(folded)
    assert ("caution", "one period") not in said
    assert "--cv" not in said["caution", "several periods"]


def test_only_the_newest_job_of_an_experiment_counts():
    old = trial_table(THREE[:1], n=5, job=1, value=0.1)
    new = trial_table(THREE[:1], n=5, job=9)
    data = bare(pd.concat([old, new], ignore_index=True))
    assert len(data.trials) == 5
    assert summarise(data)[0].cells[0].best["value"] > 0.5
    told = [sentence for sentence in missing(data, summarise(data)) if "earlier search" in sentence]
    assert len(told) == 1
    assert told[0].startswith(f"{old['experiment'][0]}: job 1 (5 trials) is an earlier search")


def test_a_search_of_which_no_trial_has_ended_does_not_hide_the_one_before():
    old = trial_table(THREE[:1], n=5, job=1)
    new = trial_table(THREE[:1], n=1, job=9, status="running", value=None)
    data = bare(pd.concat([old, new], ignore_index=True), newer=("job 9 runs",))
    assert set(data.trials["job"]) == {1} and data.earlier == ()
    assert missing(data, summarise(data))[0] == "job 9 runs", "said before what lacks in what is shown"
    alone = bare(new)
    assert set(alone.trials["job"]) == {9}


def test_baselines_alone_are_no_search_and_the_page_is_asked_for_nothing():
    data = bare(trial_table(THREE[:1], n=2, kind="baseline"))
    assert data.earlier == () and summarise(data) == ()
    assert "no cell has been planned or run" in missing(data, ())[0]


def test_a_cell_that_ended_without_a_best_trial_says_why_and_not_yet():
    table = trial_table(THREE[:2], n=4, status="pruned")
    cells = table.drop_duplicates("experiment")[["experiment", "budget", "horizon", "task", "tier"]]
    name, other = cells["experiment"]
    data = bare(table, cells=cells.assign(trials_wanted=4, status="done"), without_best={name: "4 trials, all pruned"})
    said = missing(data, summarise(data))
    assert f"{name}: 4 trials, all pruned" in said
    assert f"{other}: no finished trial (job done)" in said


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("threshold_1pct", "--task threshold_1pct --tier a25`"),
        ("threshold_1pct IXIC", "--task threshold_1pct --tier a25 --data IXIC.dataset.a25`"),
        ("close_2pct walk-forward:5 IXIC", "--task close_2pct --tier a25 --cv walk-forward:5 --data IXIC.dataset.a25`"),
    ],
)
def test_baselines_that_lack_are_ordered_for_the_prices_and_the_folds_they_lack_on(task, said):
    data = bare(trial_table(THREE[:1], n=4, task=task))
    (told,) = [sentence for sentence in missing(data, summarise(data)) if "no baselines" in sentence]
    assert f"`fts enqueue --matrix {said} enqueues them" in told


def test_a_half_finished_matrix_says_what_is_missing():
    planned = trial_table([("2M", 1), ("2M", 3), ("20M", 1)], n=1)
    cells = planned[["experiment", "budget", "horizon", "task", "tier"]].assign(trials_wanted=30, status="queued")
    data = bare(trial_table([("2M", 1)], n=12), cells=cells)
    said = missing(data, summarise(data))
    assert "phase6a_2M_h1_threshold_1pct: 12 of 30 trials, job queued" in said
    assert "phase6a_20M_h1_threshold_1pct: no finished trial yet (job queued)" in said
    assert "threshold_1pct on a25: cells not planned: 20M h3" in said


def test_a_table_that_lacks_its_columns_is_refused():
    with pytest.raises(ValueError, match="the cells table has no"):
        bare(trial_table([]), cells=pd.DataFrame({"experiment": ["x"]}))


def test_a_baseline_row_from_stored_predictions_scores_as_when_it_was_fitted():
    data = study(THREE[:1], n=3)
    row = data.baselines[1]
    (frame,) = data.predictions.values()
    stored = frame.assign(p=row.result.predictions)
    again = baseline_row(row.task, row.horizon, row.tier, row.data_md5, "logistic regression", "last row", stored)
    assert again.result.auc == pytest.approx(row.result.auc)
    assert again.result.loss == pytest.approx(row.result.loss, abs=1e-6)
    assert (again.dates == row.dates).all()


def test_nothing_is_answered_while_an_error_stands():
    data = study(THREE[:1], n=6)
    wrong = data.trials.assign(n_params=6_400_000)
    told = asked(dataclasses.replace(data, trials=wrong))
    assert {answer.answer for answer in told} == {"cannot say"}
    assert all("Repair the errors first (size)" in answer.sentence for answer in told)


def test_half_a_matrix_below_the_baseline_is_not_a_no():
    data = study(THREE[:1], n=6)
    more = data.cells.assign(experiment="phase6a_20M_h1_threshold_1pct", budget="20M", status="queued")
    done = dataclasses.replace(data, cells=data.cells.assign(trials_wanted=6))
    assert asked(done)[0].answer == "not at 2M" and "20M, 200M and 2B have not been tried" in asked(done)[0].sentence
    half = dataclasses.replace(data, cells=pd.concat([data.cells, more], ignore_index=True))
    assert asked(half)[0].answer == "not so far"


def test_the_page_says_from_which_days_its_scores_come_and_that_winners_were_chosen_on_them():
    said = found(study(THREE[:1], n=6))
    assert "between 2015-01-02 and" in said["caution", "one period"]
    assert "both scores are too good" in said["caution", "chosen on these days"]


def test_no_is_not_said_while_trials_are_still_to_come():
    data = study(THREE[:1], n=6)
    losing = {name: table.assign(p=1 - table["p"]) for name, table in data.predictions.items()}
    first = asked(dataclasses.replace(data, predictions=losing))[0]
    assert first.answer == "not so far" and "24 trials have not run yet" in first.sentence
    done = dataclasses.replace(data, predictions=losing, cells=data.cells.assign(trials_wanted=6))
    assert asked(done)[0].answer == "not at 2M"


def test_no_is_said_only_of_all_sizes_and_with_what_the_log_loss_says():
    data = study([(budget, 1) for budget in ("2M", "20M", "200M", "2B")], n=6)
    losing = {name: table.assign(p=1 - table["p"]) for name, table in data.predictions.items()}
    done = dataclasses.replace(data, predictions=losing, cells=data.cells.assign(trials_wanted=6))
    first = asked(done)[0]
    assert first.answer == first.tone == "no" and "not been tried" not in first.sentence
    assert "AUC: 0 of 4 cells clearly better than the best baseline, 4 clearly worse, by intervals" in first.sentence
    assert "Log loss: 0 clearly better, 2 clearly worse." in first.sentence
