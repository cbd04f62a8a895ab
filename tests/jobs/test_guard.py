import itertools

import pytest

from fts.jobs.api.amounts import read_size
from fts.jobs.sensors.reading import Reading
from fts.jobs.status import formatting
from fts.jobs.watchdog.policy import (
    GuardState,
    HeatPolicy,
    MemoryLimits,
    Thresholds,
    WatchdogAction,
    judge_disk,
    judge_memory,
)
from fts.state.values import Cause

GiB = 1 << 30
NORMAL, WARM, FROZEN, COOLING, UNKNOWN = GuardState


def story(*degrees: float | None, limits: Thresholds | None = None, every_s: float = 1.0) -> list[tuple[str, str]]:
    """(state, action) after each reading of a guard that begins knowing nothing."""
    guard = HeatPolicy(limits or Thresholds())
    told = [guard.step(Reading(at=n * every_s, temperature=value)) for n, value in enumerate(degrees)]
    return [(str(decision.state), str(decision.action)) for decision in told]


def test_the_whole_story_of_a_hot_day() -> None:
    assert story(60, 88, 72, 97, 65) == [
        ("normal", "none"),
        ("frozen", "freeze"),
        ("warm", "thaw"),
        ("cooling", "stop"),
        ("normal", "resume"),
    ]


@pytest.mark.parametrize(
    ("degrees", "states"),
    [
        ((69.9, 70, 84.9), ["normal", "warm", "warm"]),
        ((85, 84, 75, 74.9), ["frozen", "frozen", "frozen", "warm"]),  # thaws below 75, not below 85
        ((85, 69), ["frozen", "normal"]),
        ((95, 95.1), ["frozen", "cooling"]),  # critical is above 95
        ((96, 90, 84, 70, 69.9), ["cooling", "cooling", "cooling", "cooling", "normal"]),
        ((96, 120), ["cooling", "cooling"]),
        ((None, None), ["unknown", "unknown"]),
        ((60, None, 60), ["normal", "unknown", "normal"]),
        ((80, None), ["warm", "unknown"]),
        ((88, None, 80, None, 74), ["frozen", "frozen", "frozen", "frozen", "warm"]),
        ((97, None, 80, None, 60), ["cooling", "cooling", "cooling", "cooling", "normal"]),
        ((None, 97), ["unknown", "cooling"]),
    ],
)
def test_states_follow_the_degrees_with_hysteresis(degrees: tuple[float | None, ...], states: list[str]) -> None:
    assert [state for state, _ in story(*degrees)] == states


def test_each_action_is_told_once() -> None:
    assert [action for _, action in story(88, 88, 88, 60, 60, 97, 97, 60, 60)] == [
        *("freeze", "none", "none", "thaw", "none", "stop", "none", "resume", "none")
    ]


def test_no_sequence_of_readings_makes_unknown_normal_or_thaws_what_was_not_frozen() -> None:
    for degrees in itertools.product((None, 60.0, 80.0, 90.0, 97.0), repeat=5):
        frozen = cooling = False
        for value, (state, action) in zip(degrees, story(*degrees), strict=True):
            assert not (value is None and state in ("normal", "warm"))
            assert action != "thaw" or frozen
            assert action != "resume" or cooling
            assert action != "freeze" or not (frozen or cooling)
            frozen, cooling = state == "frozen", state == "cooling"


def test_frozen_without_a_thermometer_stays_frozen_and_says_so_once() -> None:
    guard = HeatPolicy(Thresholds(unknown_patience_s=60))
    guard.step(Reading(at=0, temperature=90))
    told = [guard.step(Reading(at=at)) for at in range(10, 100, 10)]
    assert {decision.state for decision in told} == {FROZEN}
    assert {decision.action for decision in told} == {WatchdogAction.NONE}
    assert [decision.changed for decision in told] == [False] * 5 + [True] + [False] * 3
    assert "repair the sensor (FTS_SENSORS)" in told[5].message


@pytest.mark.parametrize(("degrees", "action"), [(90, WatchdogAction.THAW), (97, WatchdogAction.RESUME)])
def test_going_on_without_a_thermometer_is_a_choice_and_the_state_is_unknown(
    degrees: float, action: WatchdogAction
) -> None:
    guard = HeatPolicy(Thresholds(unknown_patience_s=60, go_on_unknown=True))
    guard.step(Reading(at=0, temperature=degrees))
    assert guard.step(Reading(at=59)).action is WatchdogAction.NONE
    decision = guard.step(Reading(at=60))
    assert (decision.action, decision.state) == (action, UNKNOWN)


@pytest.mark.parametrize(
    ("pressures", "states"),
    [
        (("nominal", "moderate"), [NORMAL, WARM]),
        (("heavy", "moderate", "nominal"), [FROZEN, FROZEN, NORMAL]),
        (("trapping", "heavy", "nominal"), [COOLING, COOLING, NORMAL]),
        (("sleeping", None, "nominal"), [COOLING, COOLING, NORMAL]),
    ],
)
def test_thermal_pressure_stands_in_for_degrees(pressures: tuple[str | None, ...], states: list[GuardState]) -> None:
    guard = HeatPolicy(Thresholds())
    told = [guard.step(Reading(at=n, thermal_pressure=word)).state for n, word in enumerate(pressures)]
    assert told == states


def test_the_worse_of_degrees_and_pressure_counts() -> None:
    reading = Reading(at=0, temperature=50, thermal_pressure="heavy")
    decision = HeatPolicy(Thresholds()).step(reading)
    assert decision.state is FROZEN
    assert decision.message == "50 °C, thermal pressure heavy: frozen until below 75 °C"


def test_a_stop_names_its_cause_and_when_it_goes_on() -> None:
    reading = Reading(at=0, temperature=97, temperature_source="coretemp")
    decision = HeatPolicy(Thresholds()).step(reading)
    assert decision.cause is Cause.OVERHEATED
    assert decision.message == "97 °C (coretemp): stopped with a checkpoint, cooling down until below 70 °C"


def test_limits_come_from_the_environment() -> None:
    limits = Thresholds.from_env({"FTS_HEAT_WARNING": "80", "FTS_HEAT_THAW": "71", "FTS_HEAT_GO_ON_UNKNOWN": "1"})
    assert (limits.warning, limits.thaw, limits.critical, limits.go_on_unknown) == (80, 71, 95, True)
    assert story(81, limits=limits) == [("frozen", "freeze")]


@pytest.mark.parametrize(
    "environ",
    [
        {"FTS_HEAT_WARNING": "hot"},
        {"FTS_HEAT_WARNING": "-5"},
        {"FTS_HEAT_WARNING": "99"},
        {"FTS_HEAT_THAW": "85"},
        {"FTS_HEAT_COOL": "95"},
        {"FTS_HEAT_WARM": "0"},
        {"FTS_HEAT_GO_ON_UNKNOWN": "maybe"},
    ],
)
def test_limits_that_make_no_sense_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"FTS_HEAT|heat limits must satisfy"):
        Thresholds.from_env(environ)


# -- memory and disk

LIMITS = MemoryLimits(soft=8 * GiB, hard=10 * GiB, available_low=1 * GiB, swap_growth=GiB, disk_reserve=GiB)


def machine(available: float = 12, swap: float = 0, disk: float = 50) -> Reading:
    return Reading(
        at=0, available=int(available * GiB), total=24 * GiB, swap_used=int(swap * GiB), disk_free=int(disk * GiB)
    )


@pytest.mark.parametrize(
    ("tree", "reading", "action"),
    [
        (4, machine(), None),
        (7.99, machine(), None),
        (8, machine(), WatchdogAction.SHRINK),
        (10, machine(), WatchdogAction.KILL),
        (6, machine(available=0.9), WatchdogAction.SHRINK),
        (6, machine(available=0.4), WatchdogAction.KILL),
        (1, machine(available=0.4), WatchdogAction.NONE),  # somebody else fills the machine
        (6, machine(available=4, swap=2), WatchdogAction.SHRINK),
        (6, machine(available=12, swap=2), None),  # idle programs swapped out while memory is free
        (1, machine(available=4, swap=2), WatchdogAction.NONE),
        (6, Reading(at=0), None),  # nobody knows
    ],
)
def test_memory_asks_for(tree: float, reading: Reading, action: WatchdogAction | None) -> None:
    decision = judge_memory(LIMITS, int(tree * GiB), reading, swap_at_start=0)
    assert (decision and decision.action) == action
    if action in (WatchdogAction.SHRINK, WatchdogAction.KILL):
        assert decision is not None and decision.cause is Cause.OUT_OF_MEMORY


def test_swap_that_was_in_use_before_the_trial_is_not_its_growth() -> None:
    reading = machine(available=4, swap=2)
    assert judge_memory(LIMITS, 6 * GiB, reading, swap_at_start=2 * GiB) is None
    assert judge_memory(LIMITS, 6 * GiB, reading, swap_at_start=None) is None


def test_a_nearly_full_disk_stops_with_its_cause() -> None:
    assert judge_disk(LIMITS, machine()) is None
    assert judge_disk(LIMITS, Reading(at=0)) is None
    decision = judge_disk(LIMITS, machine(disk=0.5))
    assert decision is not None
    assert (decision.action, decision.cause) == (WatchdogAction.DISK, Cause.DISK)
    assert decision.message == "512 MB of disk free, 1.0 GB reserved; free space"


def test_limits_of_a_trial_stand_around_what_the_plan_allows() -> None:
    limits = MemoryLimits.for_trial(10 * GiB, 24 * GiB, {})
    assert (limits.soft, limits.hard) == (10 * GiB, int(11.5 * GiB))
    assert MemoryLimits.for_trial(24 * GiB, 24 * GiB, {}).hard == 24 * GiB
    only_hard = MemoryLimits.for_trial(10 * GiB, 24 * GiB, {"FTS_MEMORY_HARD": "2G"})
    assert (only_hard.soft, only_hard.hard) == (2 * GiB, 2 * GiB)
    only_soft = MemoryLimits.for_trial(10 * GiB, 24 * GiB, {"FTS_MEMORY_SOFT": "20GiB"})
    assert (only_soft.soft, only_soft.hard) == (20 * GiB, 20 * GiB)
    with pytest.raises(ValueError, match="soft <= hard"):
        MemoryLimits.for_trial(10 * GiB, 24 * GiB, {"FTS_MEMORY_SOFT": "2G", "FTS_MEMORY_HARD": "1G"})


@pytest.mark.parametrize(
    ("text", "count"), [("1024", 1024), ("12G", 12 * GiB), ("12GiB", 12 * GiB), ("1.5m", 3 << 19), ("500MB", 500 << 20)]
)
def test_bytes_are_read_as_people_write_them(text: str, count: int) -> None:
    assert read_size(text, "X") == count


@pytest.mark.parametrize("text", ["G", "12Q", "-1G", "nan", "1e999"])
def test_bytes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="FTS_MEMORY_SOFT is"):
        read_size(text, "FTS_MEMORY_SOFT")


def test_what_a_person_typed_is_what_is_said() -> None:
    typed = ("20GB", "9.6G", "128GiB", "500MB")
    read = [read_size(text, "FTS_MEMORY_SOFT") for text in typed]
    assert [formatting.size(count) for count in read] == ["20 GB", "9.6 GB", "128 GB", "500 MB"]
    assert [formatting.in_gb(count) for count in read] == ["20.0 GB", "9.6 GB", "128.0 GB", "500 MB"]
