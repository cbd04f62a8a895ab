"""What a study declares, what its jobs show beyond that, and numbers of any size in the room there is."""

import math
from dataclasses import replace

import pytest

from fts.jobs.search.importance import importance
from fts.jobs.search.prune_line import line_ahead
from fts.jobs.status import declared, forecast
from fts.jobs.status import summary as glances
from fts.jobs.status.headline import finish_text
from fts.state.values import Direction, Epoch, StudyRecord
from tests.tui.values import HOUR, NOW, make_event, make_job, make_snapshot, make_trial, make_worker

GENERIC = {"study": "train", "metric": "value", "direction": Direction.MINIMIZE}


def cells(*labels, **changes):
    return tuple(
        make_job(n, labels=each, cell="/".join(map(str, each.values())) or "train", **(GENERIC | changes))
        for n, each in enumerate(labels, 1)
    )


def record(name="train", **declaration):
    return {name: StudyRecord(name, declaration, NOW)}


def test_axes_nobody_declared_are_those_of_the_labels_in_the_order_of_the_jobs():
    jobs = cells({"size": "S", "width": 16}, {"size": "M", "width": 4}, {"size": "L", "width": 8})
    found = declared.declared(make_snapshot(jobs=jobs[::-1]), "train")
    assert [(axis.name, axis.values) for axis in found.axes] == [("size", ("S", "M", "L")), ("width", (4, 8, 16))]
    assert sorted(jobs, key=found.place) == list(jobs)


def test_a_declared_order_comes_first_and_what_it_does_not_know_after_it():
    jobs = cells({"size": "XL"}, {"size": "L"}, {"size": "S"})
    axes = [{"name": "size", "label": "model size", "values": ["S", "M", "L"]}]
    (axis,) = declared.declared(make_snapshot(jobs=jobs, studies=record(axes=axes)), "train").axes
    assert (axis.label, axis.values) == ("model size", ("S", "M", "L", "XL"))


def test_a_metric_has_the_word_of_its_study_or_its_name_with_the_arrow_of_its_goal():
    jobs = cells({}, direction=Direction.MAXIMIZE)
    assert declared.metric_word(make_snapshot(jobs=jobs), jobs[0]) == "value ↑"
    metrics = [{"name": "value", "label": "score", "goal": "maximize"}]
    assert declared.metric_word(make_snapshot(jobs=jobs, studies=record(metrics=metrics)), jobs[0]) == "score"
    flagship = make_job(1)
    assert declared.metric_word(make_snapshot(jobs=(flagship,)), flagship) == "AUC"


@pytest.mark.parametrize("odd", [{"axes": 7}, {"axes": [None, {"name": ""}]}, {"metrics": [3]}, {"step": ["x"]}])
def test_an_odd_declaration_is_none(odd):
    found = declared.declared(make_snapshot(jobs=cells({"size": "S"}), studies=record(**odd)), "train")
    assert [axis.name for axis in found.axes] == ["size"]
    assert (found.metrics, found.step) == ((), "epoch")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.68412, "0.6841"), (12.34567, "12.346"), (1234.5678, "1234.6"), (12345678.0, "1.2e7"), (3.21e-5, "3.210e-5"),
        (0.0426999, "0.04270"),
        (-0.5, "-0.500"), (0.0, "0.0000"), (None, "—"), (math.nan, "—"), (-123456.0, "-1.2e5"), (99999.9, "100000"),
    ],
)  # fmt: skip
def test_a_value_of_any_size_fits_into_its_column(value, text):
    assert declared.shown(value) == text
    assert len(text) <= (declared.SMALL if value and abs(value) < 0.1 else 6)


@pytest.mark.parametrize("value", [1.23456e-5, -1.23456e-5, 1.23456e-12, 0.0123456, -0.00123456])
def test_a_small_value_keeps_as_many_digits_as_its_column_holds(value: float) -> None:
    for columns in range(7, 12):
        text = declared.shown(value, small=columns)
        assert len(text) <= columns
        assert float(text) == pytest.approx(value, rel=5e-4 if columns >= len(f"{value:.3e}") - 1 else 0.1)


def test_the_short_form_drops_the_zero_before_the_point():
    assert [declared.short(0.6841), declared.short(99.726, 5), declared.brief(0.6841), declared.brief(1.0451)] == [
        ".6841", "99.73", ".684", "1.045",
    ]  # fmt: skip


# ---------------------------------------------------------------- forecast


def test_the_pace_of_a_function_is_that_of_its_own_study_and_no_pruner_is_expected_to_shorten_it():
    spec = {"pruner": "median"}
    done = replace(cells({"size": "S"})[0], id=1, status="done", trials_wanted=10, trials_complete=10, spec=spec,
                   started_at=NOW - 3 * HOUR, ended_at=NOW - 2 * HOUR)  # fmt: skip
    waiting = replace(cells({"size": "M"})[0], id=2, trials_wanted=10, spec=spec)
    other = replace(waiting, id=3, study="peak")
    seconds = forecast.forecast(make_snapshot(jobs=(done, waiting)), NOW).seconds_left[2]
    assert seconds == pytest.approx(HOUR)
    assert 3 not in forecast.forecast(make_snapshot(jobs=(done, other)), NOW).seconds_left
    glance = glances.look(make_snapshot(jobs=(done, waiting), workers=(make_worker(),)), NOW)
    assert finish_text(glance).startswith("done ")


def test_the_gain_of_an_absence_has_the_metric_of_the_job_that_improved():
    jobs = (make_job(1, best_value=0.6), *(replace(job, id=2) for job in cells({}, metric="score")))
    events = (make_event(5, NOW - 60, "new_best", 2, data={"value": 0.25, "before": 0.5}),)
    away = glances.look(make_snapshot(jobs=jobs, events=events), NOW, since=NOW - HOUR).away
    assert away is not None
    assert (away.metric, away.best_before, away.best_after) == ("score ↓", 0.5, 0.25)


# ---------------------------------------------------------------- search


def searched(number, params, value, **changes):
    return make_trial(
        number + 1, 1, number, params=params, value=value, objective="value", direction=Direction.MINIMIZE,
        architecture="", **changes,
    )  # fmt: skip


def test_a_parameter_of_a_branch_is_judged_among_the_trials_that_drew_it():
    trials = []
    for n in range(60):
        params = {"optimizer": ("adam", "sgd")[n % 2], "noise": n * 7 % 13 / 13}
        if n % 2:
            params["momentum"] = n / 60
        trials.append(searched(n, params, 1.0 + (n / 60 if n % 2 else 0.01 * (n % 5))))
    shares = {each.name: each.share for each in importance(trials)}
    assert shares["momentum"] > 0.4, "it decides in the half that has it"
    assert shares["optimizer"] > shares["noise"]
    assert importance([replace(t, direction=Direction.MAXIMIZE) for t in trials])[0].n == 60


def steps(trial_id, values):
    nan = math.nan
    return tuple(
        Epoch(trial_id, n, n, nan, nan, None, None, None, nan, nan, nan, nan, nan, nan, NOW, value=value,
              metrics={"value": value})
        for n, value in enumerate(values)
    )  # fmt: skip


@pytest.mark.parametrize(("direction", "line"), [(Direction.MINIMIZE, 0.3), (Direction.MAXIMIZE, 0.3)])
def test_the_prune_line_of_a_function_needs_no_declared_number_of_steps(direction, line):
    job = make_job(1, **(GENERIC | {"direction": direction, "spec": {"pruner": "median", "steps": None}}))
    trials = [replace(searched(n, {}, 0.1 * n, epochs=6), direction=direction) for n in range(1, 6)]
    live = replace(searched(6, {}, None, status="running", epochs=2), direction=direction)
    curves = {trial.id: steps(trial.id, [0.1 * trial.number] * 6) for trial in trials}
    curves[live.id] = steps(live.id, [0.5, 0.5])
    assert line_ahead(job, live, [*trials, live], curves) == (3, pytest.approx(line))
    late = curves | {live.id: steps(live.id, [0.5] * 6)}
    assert line_ahead(job, replace(live, epochs=6), [*trials, live], late) is None, "no earlier one came further"
