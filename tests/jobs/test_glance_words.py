"""One way to say each thing: durations, numbers, columns, bars, and their ASCII twins."""

import math
import time

import pytest

from fts.jobs.status import formatting, trial_facts
from tests.tui.values import make_job


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5s"), (54, "54s"), (56, "1m"), (41 * 60, "41m"), (6 * 3600 + 12 * 60, "6h12"), (17 * 3600, "17h"),
     (29 * 3600, "1d5h"), (52 * 3600, "2d4h"), (31 * 86400, "31d"), (None, "—"), (math.inf, "—"), (-3, "0s"),
     (0.2, "<1s")],
)  # fmt: skip
def test_time_to_go_takes_at_most_five_characters(seconds, said):
    assert formatting.left(seconds) == said
    assert len(said) <= 5


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.3, "under 1 s"),
        (12, "12 s"),
        (22 * 60, "22 min"),
        (3 * 3600, "3 h"),
        (3 * 3600 + 20 * 60, "3 h 20 min"),
        (4 * 86400, "4 days"),
    ],
)
def test_lengths_of_time_in_sentences(seconds, said):
    assert formatting.spell(seconds) == said
    assert formatting.about(seconds) == (said if said.startswith("under") else f"about {said}")


@pytest.mark.parametrize(
    ("status", "pruned", "failed", "complete", "said"),
    [
        ("done", 75, 0, 0, "75 trials, all ended early: no complete trial; --pruner none or a milder rule"),
        ("done", 70, 5, 0, "75 trials, 70 ended early, 5 failed: no complete trial; --pruner none or a milder rule"),
        ("failed", 0, 3, 0, "3 trials, all failed: no complete trial; `fts trials 1` says why"),
        ("done", 1, 0, 0, "1 trial, ended early: no complete trial; --pruner none or a milder rule"),
        ("done", 0, 0, 2, "2 trials, all diverged: every complete trial diverged; `fts trials 1` says why"),
        ("failed", 0, 0, 0, "no complete trial: none has ended (job failed)"),
        ("running", 4, 0, 0, "no complete trial yet"),
        ("running", 0, 0, 2, "every complete trial so far diverged"),
    ],
)
def test_a_job_without_a_best_trial_says_what_became_of_its_trials(status, pruned, failed, complete, said):
    counts = {"trials_pruned": pruned, "trials_failed": failed, "trials_complete": complete}
    assert formatting.without_best(make_job(1, status=status, **counts)) == said


def test_a_function_that_sets_its_own_constraint_has_no_trial_that_diverged() -> None:
    """trial.set_constraint is not in the specification, and "every complete trial diverged" was said of its trials."""
    for spec in ({"axes": {}}, {"imported_from": "sqlite:///optuna.db"}):
        job = make_job(1, status="failed", trials_complete=2, spec=spec)
        assert formatting.without_best(job).startswith("2 trials, all infeasible: every complete trial violates")
    job = make_job(1, status="failed", trials_complete=1, trials_failed=3, spec={"axes": {}, "baseline": "b.py:mean"})
    assert "3 failed, 1 complete: every complete trial is the baseline or violates" in formatting.without_best(job)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.6841, "0.6841"), (9.3e-7, "9.300e-7"), (-9.3e-7, "-9.300e-7"), (1.23456e-4, "1.235e-4"),
     (1e-3, "0.001000"), (0.0426999, "0.04270"), (0.0999999, "0.10000"), (12.34567, "12.3457"), (3.4e38, "3.400e38"),
     (0.0, "0.0000"), (None, "—"), (float("nan"), "—"),
     (float("inf"), "—")],
)  # fmt: skip
def test_a_score_that_is_no_number_is_a_dash_and_a_small_one_is_no_zero(value, said):
    assert formatting.score(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2.8e-4, "2.8e-4"),
        (1.23456e-8, "1.235e-8"),
        (1e-3, "1e-3"),
        (0.12, "0.12"),
        (256, "256"),
        (0, "0"),
        ("adamw", "adamw"),
        (True, "True"),
    ],
)
def test_parameter_values(value, said):
    assert formatting.number(value) == said


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [("abc", 5, "abc  "), ("abcdef", 4, "abc…"), ("日本語", 4, "日… "), ("日本", 4, "日本"), ("x", 0, "")],
)
def test_fitted_text_has_exactly_its_columns(text, columns, shown):
    assert formatting.fit(text, columns) == shown
    assert formatting.width(formatting.fit(text, columns)) == columns


@pytest.mark.parametrize("part", [0.0, 0.01, 0.44, 0.5, 0.999, 1.0, 1.7, -1.0, float("nan")])
def test_a_bar_has_exactly_its_columns(part):
    assert len(formatting.bar(part, 10)) == 10


def test_a_bar_counts_in_eighths():
    assert formatting.bar(0.44, 10) == "████▍·····"
    assert formatting.bar(1.0, 4) == "████"


def test_a_spark_line_spans_its_values():
    assert formatting.spark([1, 2, 3]) == "▁▅█"
    assert formatting.spark([2, 2]) == "▄▄"
    assert formatting.spark([]) == ""
    assert formatting.spark([1, float("nan"), 2]) == "▁ █"


def test_every_glyph_has_an_ascii_twin_of_one_column():
    for glyph in [
        *formatting.GLYPHS.values(),
        formatting.BEST,
        *formatting.EIGHTHS,
        *formatting.SPARKS,
        *"─│┤└┬…—±°↵→",
    ]:
        twin = formatting.to_ascii(glyph)
        assert len(twin) == 1
        assert twin.isascii()


def test_states_keep_different_signs_in_ascii():
    signs = [
        formatting.to_ascii(formatting.GLYPHS[name])
        for name in ("queued", "running", "paused", "done", "failed", "pruned")
    ]
    assert len(set(signs)) == len(signs)


def test_braille_becomes_the_height_of_its_dots():
    assert formatting.to_ascii("⠉⠤⣀⠀") == "'-_ "


def test_foreign_letters_become_question_marks_of_the_same_width():
    assert formatting.to_ascii("é日x") == "???x"


@pytest.mark.parametrize(("minute", "half_width_s", "said"), [
    (44, 59 * 60, "14:44"), (44, 2 * 3600, "14:40"), (46, 2 * 3600, "14:50"), (57, 9 * 3600, "15:00"),
    (44, 48 * 3600, "15:00"),
])  # fmt: skip
def test_a_forecast_has_no_more_digits_than_it_is_worth(minute, half_width_s, said):
    at = time.mktime((2026, 7, 23, 14, minute, 0, 0, 0, -1))
    assert formatting.clock(formatting.honest(at, half_width_s)) == said


def test_a_drawn_none_is_not_a_parameter_of_another_branch() -> None:
    """`fts results` showed a dot for both, `fts trials` did not."""
    assert [trial_facts.drawn({"k": None, "x": 0.5}, name) for name in ("k", "x", "y")] == ["None", "0.5", "·"]
