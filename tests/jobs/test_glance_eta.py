"""When is it done, how sure is that, and how often was it right before?"""

import math
from statistics import mean, median

import pytest

from benchmarks.equal_epochs import pools, read
from benchmarks.pruning import replay, shuffles
from fts.jobs.status.forecast import BEGINNING, COST, PRUNED, Z80, forecast, own_pace, pace_of, track_record
from tests.tui.values import HOUR, NOW, make_job, make_snapshot, make_worker, picture


def done(id, budget="2M", hours=1.0, ended_ago=10.0, trials=50, **changes):
    return make_job(
        id, budget, 1, "done", trials_wanted=trials, trials_complete=trials,
        started_at=NOW - (ended_ago + hours) * HOUR, ended_at=NOW - ended_ago * HOUR, **changes,
    )  # fmt: skip


def test_without_history_there_is_no_estimate_and_no_invented_one():
    found = forecast(make_snapshot(jobs=(make_job(),)), NOW)
    assert (found.finish_at, found.low, found.high, found.seconds_left) == (None, None, None, {})


def test_cells_like_those_that_ran_take_as_long():
    jobs = (make_job(9), done(1, hours=1.0), done(2, hours=1.0))
    found = forecast(make_snapshot(jobs=jobs, workers=(make_worker(),)), NOW)
    assert found.finish_at == pytest.approx(NOW + HOUR)
    assert found.low < found.finish_at < found.high


def test_two_slots_halve_the_time_of_two_cells():
    jobs = (make_job(8), make_job(9), done(1))
    one = forecast(make_snapshot(jobs=jobs, workers=(make_worker(),)), NOW)
    two = forecast(make_snapshot(jobs=jobs, workers=(make_worker(slots=2),)), NOW)
    dead = make_worker(2, slots=4, gone=True)
    assert forecast(make_snapshot(jobs=jobs, workers=(dead, make_worker(slots=2))), NOW) == two
    left = [make_worker(id, slots=slots, status="stopped", started_at=NOW - 9 + id) for id, slots in ((1, 4), (2, 2))]
    assert forecast(make_snapshot(jobs=jobs, workers=tuple(left)), NOW) == two, "the next worker is like the last one"
    assert (one.finish_at - NOW) == pytest.approx(2 * (two.finish_at - NOW))


def test_an_unseen_budget_is_scaled_and_its_interval_is_wide():
    seen = forecast(make_snapshot(jobs=(make_job(9), done(1))), NOW)
    scaled = forecast(make_snapshot(jobs=(make_job(9, "20M"), done(1))), NOW)
    assert (scaled.finish_at - NOW) / (seen.finish_at - NOW) == pytest.approx(COST["20M"] / COST["2M"])
    assert scaled.high / scaled.low > 1
    assert (scaled.high - NOW) / (scaled.low - NOW) > (seen.high - NOW) / (seen.low - NOW)


def test_paused_and_held_cells_do_not_count():
    jobs = (make_job(7, status="paused"), make_job(8, hold_reason="needs 91 GB"), make_job(9), done(1))
    assert set(forecast(make_snapshot(jobs=jobs), NOW).seconds_left) == {9}


def test_the_running_cell_counts_what_is_left_of_it():
    running = make_job(5, status="running", trials_complete=25, started_at=NOW - HOUR)
    left = forecast(make_snapshot(jobs=(running, done(1, hours=2.0))), NOW).seconds_left[5]
    assert 0.8 * HOUR < left < 1.3 * HOUR


def test_a_cell_that_has_all_its_trials_is_about_done():
    running = make_job(5, status="running", trials_complete=50, started_at=NOW - HOUR)
    assert forecast(make_snapshot(jobs=(running,)), NOW).seconds_left[5] == 0


def test_the_record_counts_only_cells_with_a_history_before_them():
    jobs = (done(1, ended_ago=20), done(2, ended_ago=15, hours=1.1), done(3, ended_ago=10, hours=9.0))
    held, judged = track_record(jobs)
    assert (held, judged) == (1, 2)  # the first has no history, the third took nine times as long


def test_the_pace_is_that_of_the_budget_itself_when_it_is_known():
    jobs = [done(1, "2M", hours=1.0), done(2, "20M", hours=7.0)]
    assert pace_of("20M", jobs, NOW).seconds == pytest.approx(7 * HOUR / 50)
    assert pace_of("unheard-of", jobs, NOW) is None


def test_the_picture_has_an_interval_around_its_estimate():
    found = forecast(picture(), NOW)
    assert found.low < found.finish_at < found.high
    assert all(math.isfinite(seconds) for seconds in found.seconds_left.values())
    assert "past forecast" in found.record


def test_a_night_on_hold_makes_no_trial_slower():
    waits = make_job(3, status="paused", trials_complete=10, attempt=1, started_at=NOW - 20 * HOUR)
    again = make_job(4, status="running", trials_complete=10, attempt=2, started_at=NOW - 30 * HOUR)
    for job, trials in ((waits, 10), (again, 10.5)):
        found = pace_of("2M", [job], NOW, {job.id: 2 * HOUR})
        assert found.seconds == pytest.approx(2 * HOUR / trials)
    assert pace_of("2M", [waits], NOW, {3: 0.0}) is None


def test_a_cell_with_trials_of_its_own_is_judged_by_them():
    slow = make_job(5, status="running", trials_complete=10, trials_wanted=20, started_at=NOW - 10.5 * HOUR)
    others = (done(1, hours=1.0), done(2, hours=1.0))
    found = forecast(make_snapshot(jobs=(slow, *others), workers=(make_worker(),)), NOW)
    assert found.seconds_left[5] == pytest.approx(9.5 * HOUR)
    assert found.low < NOW + 9.5 * HOUR < found.high
    few = make_job(5, status="running", trials_complete=1, trials_wanted=20, started_at=NOW - 1.5 * HOUR)
    assert forecast(make_snapshot(jobs=(few, *others)), NOW).seconds_left[5] < 3 * HOUR


def test_a_cell_with_more_epochs_takes_longer_than_its_neighbours():
    short = done(1, hours=1.0, spec={"epochs": 2})
    found = pace_of("2M", [short], NOW, epochs=60)
    assert found.seconds == pytest.approx(30 * HOUR / 50)
    assert found.sd_log > pace_of("2M", [short], NOW, epochs=2).sd_log
    assert pace_of("2M", [short], NOW).seconds == pytest.approx(HOUR / 50)  # a limit that nobody knows changes nothing
    long = make_job(9, spec={"epochs": 60})
    left = forecast(make_snapshot(jobs=(long, short), workers=(make_worker(),)), NOW).seconds_left[9]
    assert left == pytest.approx(30 * HOUR)


def test_what_is_left_of_a_pruned_search_costs_less_than_what_ran_and_is_less_sure():
    begun = {"status": "running", "trials_complete": 3, "trials_pruned": 7, "started_at": NOW - 10.5 * HOUR}
    plain, pruned = (own_pace(make_job(5, **begun, spec={"pruner": name}), NOW) for name in ("none", "halving"))
    assert plain.seconds == pytest.approx(HOUR) and pruned.seconds == pytest.approx(10 / (10 + BEGINNING) * HOUR)
    assert pruned.sd_log > plain.sd_log


def test_a_cell_with_a_pruner_is_not_expected_to_cost_what_one_without_did():
    plain = done(1, hours=3.0, spec={"pruner": "none"})
    same, other = (pace_of("2M", [plain], NOW, pruned=pruned) for pruned in (False, True))
    assert same.seconds == pytest.approx(3 * HOUR / 50)
    share = PRUNED * (1 + BEGINNING / 50)
    assert other.seconds == pytest.approx(share * 3 * HOUR / 50) and other.sd_log > same.sd_log
    queued = make_job(9, spec={"pruner": "halving"})
    left = forecast(make_snapshot(jobs=(queued, plain), workers=(make_worker(),)), NOW).seconds_left[9]
    assert left == pytest.approx(share * 3 * HOUR)


@pytest.mark.parametrize("cell", ["2M/h1", "2M/h3", "2M/h5"])
def test_the_forecast_of_a_pruned_search_is_right_on_real_curves(cell):
    """Replayed in forty orders: the median is right within a quarter, and the 80 % intervals hold."""
    (pool,) = [pool for pool in pools(read(), patience=10) if pool.name == cell]
    wanted, cuts = 75, (5, 10, 20, 40)
    ratios, held = {ended: [] for ended in cuts}, []
    for order in shuffles(len(pool.curves), 40):
        took = replay(pool, order[:wanted], "halving").lengths
        for ended in cuts:
            spent = 60.0 * sum(took[:ended])
            begun = {
                "status": "running",
                "trials_pruned": ended,
                "trials_wanted": wanted,
                "spec": {"pruner": "halving"},
            }
            pace = own_pace(make_job(5, **begun, started_at=NOW - spent * (1 + 0.5 / ended)), NOW)
            error = math.log(60.0 * sum(took[ended:]) / (wanted - ended) / pace.seconds)
            ratios[ended].append(error)
            held.append(abs(error) <= Z80 * pace.sd_log)
    assert all(abs(median(errors)) < math.log(1.25) for errors in ratios.values()), ratios
    assert mean(held) >= 0.8


def test_a_neighbour_that_is_at_its_dear_beginning_does_not_make_the_next_cell_dear():
    begun = make_job(
        5, status="running", trials_pruned=10, trials_wanted=50, started_at=NOW - HOUR, spec={"pruner": "halving"}
    )
    found = pace_of("2M", [begun], NOW, pruned=True)
    assert found.seconds == pytest.approx((10 + 10 / (10 + BEGINNING) * 40) / 50 * HOUR / 10.5)


class Counted(tuple):
    """Jobs that know how often they were gone through."""

    times = 0

    def __iter__(self):
        type(self).times += 1
        return super().__iter__()


def test_a_line_of_thousands_is_not_gone_through_once_for_each_job_in_it():
    """It was, and the monitor of 2,000 queued cells took no keys."""
    times = []
    for waiting in (3, 300):
        jobs = Counted((*(make_job(10 + k, budget) for k in range(waiting) for budget in ("2M", "20M")), done(1)))
        Counted.times = 0
        forecast(make_snapshot(jobs=jobs, workers=(make_worker(),)), NOW)
        times.append(Counted.times)
    assert 0 < times[0] == times[1]


def test_a_cell_with_trials_side_by_side_takes_their_slots_and_goes_at_their_pace():
    spec = {**make_job(5).spec, "parallel": 4}
    job = make_job(5, status="running", trials_complete=10, trials_wanted=20, started_at=NOW - 6 * HOUR, spec=spec)
    waits = make_job(6, trials_wanted=10)
    left = forecast(make_snapshot(jobs=(job, waits), workers=(make_worker(slots=4),)), NOW).seconds_left
    assert left[5] == pytest.approx((10 - 2) * HOUR / 2)  # 12 trials' worth in 6 hours; four are half done
    assert left[6] > left[5]  # no slot is free before
