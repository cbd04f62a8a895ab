import json
import stat
import time
from collections import namedtuple
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.sensors import macos
from fts.jobs.sensors.detect import Machine, Nvml, SystemPart, from_env, hottest, merge, own_cgroups, within_cgroup

Chip = namedtuple("Chip", "label current")


def file_sensors(path: Path, text: str) -> Any:
    path.write_text(text)
    return from_env(path.parent, {"FTS_SENSORS": f"file:{path}"})


def test_the_machine_tells_memory_disk_and_processors(tmp_path: Path) -> None:
    sensors = from_env(tmp_path, {"FTS_SENSORS": "none"})
    assert sensors.read().cpu_percent is None  # the load of a few milliseconds is no load
    time.sleep(0.5)
    reading = sensors.read()
    assert reading.total and reading.available and 0 < reading.available <= reading.total
    assert reading.disk_free and reading.disk_free > 0
    assert reading.cpu_percent is not None and 0 <= reading.cpu_percent <= 100
    assert abs(reading.at - time.time()) < 60
    assert (reading.temperature, reading.temperature_source, reading.thermal_pressure) == (None, None, None)


def test_disk_space_is_told_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert SystemPart(tmp_path / "not" / "yet").read()["disk_free"] > 0


@pytest.mark.parametrize(
    ("text", "temperature"),
    [
        ("60", 60.0),
        ("temperature=60.5", 60.5),
        (" temperature = 60.5 \n", 60.5),
        ('{"temperature": 88}', 88.0),
        ('{"temperature": "88"}', 88.0),
        ('{"temperature": -1}', None),
        ("temperature=-1", None),
        ("temperature=0", None),
        ("temperature=150.5", None),
        ("temperature=65535", None),
        ("temperature=nan", None),
        ("temperature=inf", None),
        ("temperature=warm", None),
        ('{"temperature": true}', None),
        ('{"temperature": null}', None),
        ('{"temperature": [60]}', None),
        ("", None),
        ("[60]", None),
        ("\x00\xff garbage", None),
        ("[" * 50000, None),
    ],
)
def test_a_file_gives_a_believable_temperature_or_none(tmp_path: Path, text: str, temperature: float | None) -> None:
    reading = file_sensors(tmp_path / "sensors", text).read()
    assert reading.temperature == temperature
    assert reading.temperature_source == (None if temperature is None else "file")
    assert reading.total  # the rest still comes from the machine


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "sensors"
    sensors = file_sensors(path, "60")
    seen = [sensors.read().temperature]
    path.write_text("88")
    seen.append(sensors.read().temperature)
    path.unlink()
    seen.append(sensors.read().temperature)
    assert seen == [60.0, 88.0, None]


def test_a_file_may_stand_in_for_every_sensor_and_what_it_gets_wrong_stays_the_machines(tmp_path: Path) -> None:
    fields = {
        "temperature": 71,
        "available": 5,
        "swap_used": 7,
        "disk_free": -3,
        "thermal_pressure": "Heavy",
        "at": 0,
        "evil": 1,
    }
    reading = file_sensors(tmp_path / "sensors", json.dumps(fields)).read()
    assert (reading.temperature, reading.available, reading.swap_used, reading.thermal_pressure) == (71, 5, 7, "heavy")
    assert reading.disk_free and reading.disk_free > 0
    assert reading.at > 0


def test_an_unknown_choice_of_sensors_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FTS_SENSORS is 'magic'; expected auto, none or file:PATH"):
        from_env(tmp_path, {"FTS_SENSORS": "magic"})


def test_without_a_driver_a_gpu_is_unknown_and_nothing_breaks() -> None:
    gpu = Nvml({})
    found = gpu.read()
    gpu.close()
    assert found == {} or found["gpu_memory_total"] > 0
    assert gpu.read() == {}


def test_the_hottest_processor_sensor_counts_and_disks_do_not() -> None:
    chips = {
        "nvme": [Chip("Composite", 99.0)],
        "coretemp": [Chip("Package id 0", 71.0), Chip("Core 1", 74.0), Chip("Core 2", -1.0), Chip("Core 3", 255.0)],
    }
    assert hottest(chips) == {"temperature": 74.0, "temperature_source": "coretemp Core 1"}
    assert hottest({"nvme": [Chip("Composite", 99.0)], "k10temp": [Chip("", 0.0)]}) == {}


def test_of_two_thermometers_the_hotter_one_is_told() -> None:
    cpu = {"temperature": 60.0, "temperature_source": "cpu"}
    gpu = {"temperature": 80.0, "temperature_source": "gpu", "gpu_percent": 50.0}
    for parts in ([cpu, gpu], [gpu, cpu], [gpu, {}], [{}, gpu]):
        reading = merge(parts)
        assert (reading.temperature, reading.temperature_source) == (80.0, "gpu")


class CountingPart:
    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> dict[str, Any]:
        self.reads += 1
        return {"temperature": 50.0}

    def close(self) -> None:
        pass


def test_slots_that_ask_at_the_same_moment_share_one_reading() -> None:
    part = CountingPart()
    machine = Machine([part])
    assert machine.read() is machine.read()
    assert part.reads == 1


def cgroup(folder: Path, limit: str, current: int, droppable: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text(str(current))
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {droppable}\n")


def test_the_limits_of_the_control_groups_around_us_bound_what_is_available(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    cgroup(root / "user" / "job", "max", 10, 0)
    cgroup(root / "user", "1000", 900, 300)
    own.write_text("4:memory:/old\n0::/user/job\n")
    assert own_cgroups(root, own) == [root / "user"]
    assert within_cgroup(root / "user", total=5000, available=4000) == (1000, 400)
    assert within_cgroup(root / "user", total=5000, available=50) == (1000, 50)
    assert own_cgroups(root, tmp_path / "none") == []


# -- macOS, as its tools print it

MACMON = (
    '{"temp":{"cpu_temp_avg":61.5,"gpu_temp_avg":58.0},"memory":{"ram_total":1},"gpu_usage":[461,0.25],'
    '"cpu_power":3.5,"gpu_power":1.0,"all_power":4.5,"sys_power":12.0}\n'
)
POWERMETRICS = """
CPU die temperature: 63.51 C
GPU die temperature: 58.00 C
Combined Power (CPU + GPU + ANE): 4321 mW
GPU HW active residency:  12.50% (338 MHz: 12%)
Current pressure level: Heavy
"""


def test_macos_tools_are_understood() -> None:
    assert macos.parse_pressure("com.apple.system.thermalpressurelevel 2\n") == {"thermal_pressure": "heavy"}
    assert macos.parse_therm("\tCPU_Speed_Limit \t= 100\n") == {"thermal_pressure": "nominal"}
    assert macos.parse_therm("\tCPU_Speed_Limit \t= 54\n") == {"thermal_pressure": "heavy"}
    assert macos.parse_macmon(MACMON) == {
        "temperature": 61.5,
        "temperature_source": "macmon",
        "gpu_percent": 25.0,
        "power_w": 4.5,
    }
    assert macos.parse_powermetrics(POWERMETRICS) == {
        "thermal_pressure": "heavy",
        "temperature": 63.51,
        "temperature_source": "powermetrics",
        "power_w": 4.321,
        "gpu_percent": 12.5,
    }


@pytest.mark.parametrize("text", [None, "", "nonsense", "{}", "[]", '{"temp": 5}', "Note: No thermal warning level"])
def test_what_a_macos_tool_does_not_say_stays_unknown(text: str | None) -> None:
    parsers = (
        macos.parse_pressure,
        macos.parse_therm,
        macos.parse_macmon,
        macos.parse_powermetrics,
    )
    assert [parse(text) for parse in parsers] == [{}] * 4


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_macos_part_asks_its_tools_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "notifyutil", 'echo "$2 1"')
    tool(tmp_path, "macmon", f"echo '{MACMON.strip()}'")
    tool(tmp_path, "pmset", "sleep 60")  # never asked, because notifyutil has answered
    monkeypatch.setenv("PATH", str(tmp_path))
    part = macos.MacPart(every_s=0.01)
    deadline = time.monotonic() + 20
    while not part.read() and time.monotonic() < deadline:
        time.sleep(0.01)
    part.close()
    reading = merge([part.read()])
    assert (reading.temperature, reading.thermal_pressure, reading.power_w) == (61.5, "moderate", 4.5)
    part._found_at -= macos.STALE_S  # a Mac that slept
    assert part.read() == {}


def test_a_tool_that_hangs_fails_or_is_missing_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "TOOL_LIMIT_S", 0.2)
    tool(tmp_path, "hangs", "exec sleep 60")
    tool(tmp_path, "fails", "echo 50; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert [macos.output_of(name) for name in ("hangs", "fails", "missing")] == [None, None, None]


def test_a_reading_that_nobody_fills_knows_nothing() -> None:
    reading = asdict(merge([]))
    assert {name for name, value in reading.items() if value is not None} == {"at"}
