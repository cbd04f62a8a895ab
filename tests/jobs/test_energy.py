"""Energy is measured or unknown: from the kernel's counters to a trial's watt hours, and never a part for the whole."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.records.energy import Stretch, energies, share_out, stretches
from fts.jobs.sensors.detect import merge
from fts.jobs.sensors.rapl import Rapl
from fts.state import queries, transitions
from fts.state.values import Sample
from fts.study.results import COLUMNS, as_csv, results, table
from tests.state.helpers import claimed, enqueued, epoch, new_db, started, worker


def package(folder: Path, counter: int, number: int = 0, name: str = "package-0") -> Path:
    path = folder / f"intel-rapl:{number}"
    path.mkdir(exist_ok=True)
    for file, content in (("name", name), ("energy_uj", counter), ("max_energy_range_uj", 262_143_000_000)):
        (path / file).write_text(f"{content}\n")
    return path


def looks(rapl: Rapl, clock: list[float], *moments: float) -> list[dict[str, Any]]:
    found = []
    for clock[0] in moments:
        found.append(rapl.read())
    return found


def test_watts_are_the_counters_rise_over_the_time_between_two_looks(tmp_path: Path) -> None:
    clock = [0.0]
    package(tmp_path, 1_000_000)
    rapl = Rapl(tmp_path, lambda: clock[0])
    assert looks(rapl, clock, 10.0) == [{}], "one look has nothing to compare with"
    package(tmp_path, 61_000_000)
    assert looks(rapl, clock, 14.0) == [{"power_w": 15.0}]


def test_a_counter_that_starts_again_at_zero_is_understood(tmp_path: Path) -> None:
    clock = [0.0]
    package(tmp_path, 262_142_000_000)
    rapl = Rapl(tmp_path, lambda: clock[0])
    looks(rapl, clock, 1.0)
    package(tmp_path, 9_000_000)
    assert looks(rapl, clock, 2.0)[0]["power_w"] == pytest.approx(10.0)


def test_a_counter_with_an_unknown_range_that_starts_again_at_zero_is_no_negative_power(tmp_path: Path) -> None:
    clock = [0.0]
    package(tmp_path, 200_000_000_000)
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").unlink()
    rapl = Rapl(tmp_path, lambda: clock[0])
    looks(rapl, clock, 1.0)
    package(tmp_path, 9_000_000)
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").unlink()
    assert looks(rapl, clock, 2.0) == [{}]


def test_packages_add_up_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    clock = [0.0]
    for counter in (0, 20_000_000):
        package(tmp_path, counter)
        package(tmp_path, counter, 1, "package-1")
        package(tmp_path, counter, 2, "psys")
        part = tmp_path / "intel-rapl:0:0"
        part.mkdir(exist_ok=True)
        (part / "name").write_text("package-of-a-part")
        if counter == 0:
            rapl = Rapl(tmp_path, lambda: clock[0])
            looks(rapl, clock, 1.0)
    assert looks(rapl, clock, 2.0) == [{"power_w": 40.0}]


def test_a_counter_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    assert Rapl(tmp_path).read() == {}
    (package(tmp_path, 0) / "energy_uj").write_text("")
    rapl = Rapl(tmp_path)
    assert (rapl.read(), rapl.read()) == ({}, {})


def test_processor_and_gpu_power_add_up() -> None:
    assert merge([{"power_w": 60.0}, {"power_w": 300.0, "temperature": 50.0}]).power_w == 360.0
    assert merge([{}, {"power_w": 300.0}]).power_w == 300.0
    assert merge([{}, {}]).power_w is None


def test_trials_that_train_at_once_share_the_power_of_their_machine() -> None:
    power = [Stretch(float(at), at + 10.0, 100.0) for at in range(0, 100, 10)]
    alone = share_out(power, {1: [(0.0, 36.0)]})
    assert alone[1] == pytest.approx(1.0), "100 W for 36 s"
    both = share_out(power, {1: [(0.0, 36.0)], 2: [(0.0, 36.0)]})
    assert both[1] == pytest.approx(both[2])
    assert both[1] + both[2] == pytest.approx(1.0, rel=0.15)


def test_a_trial_that_was_measured_for_a_part_of_its_time_is_unknown() -> None:
    power = [Stretch(0.0, 10.0, 100.0)]
    assert share_out(power, {1: [(0.0, 10.0)], 2: [(0.0, 20.0)]}).keys() == {1}


def test_a_sample_says_nothing_about_the_hours_after_it() -> None:
    found = stretches([sample(0.0, 50.0), sample(9_000.0, 50.0)])
    assert all(stretch.stop - stretch.start < 600 for stretch in found)


def sample(at: float, watts: float | None) -> Sample:
    return Sample(at, 1, *[None] * 8, watts, None, None)


def test_the_record_of_a_study_gives_watt_hours_where_a_sensor_knew(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db)
    worker_id = worker(db)
    claim = claimed(db, worker_id)
    trial = started(db, claim)
    transitions.record_progress(db, claim, trial, {"host": "lab"})
    transitions.add_sample(db, worker_id, cpu_percent=50.0)
    transitions.record_epoch(db, claim, trial, epoch(1, seconds=20.0))
    assert energies(db) == {}, "no sensor knew the power"
    now = db.now()
    for seconds_ago in (30, 20, 10, 0):
        transitions.add_sample(db, worker_id, power_w=180.0)
        newest = queries.samples(db, 0.0)[-1].at
        db.execute_sql("UPDATE sample SET at = ? WHERE at = ?", (now - seconds_ago, newest))
    assert energies(db)[trial] == pytest.approx(1.0, rel=0.05), "180 W for 20 s"
    (row,) = results(db)
    assert row.energy_wh == pytest.approx(1.0, rel=0.05)
    db.close()


def test_the_results_table_shows_watt_hours_or_a_dash(tmp_path: Path) -> None:
    db = new_db(tmp_path)
    enqueued(db)
    (row,) = results(db)
    db.close()
    assert row.energy_wh is None, "nothing has trained"
    for energy, shown in ((None, "—"), (0.421, "0.42"), (18.26, "18.3"), (240.4, "240")):
        measured = replace(row, energy_wh=energy)
        assert dict(zip(COLUMNS, table([measured])[0], strict=True))["Wh"] == shown
        (line,) = csv.DictReader(as_csv([measured]).splitlines())
        assert line["energy_wh"] == ("" if energy is None else str(energy))
