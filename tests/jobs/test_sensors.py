import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fts.jobs.api.study import Program
from fts.jobs.cgroups import cores_in_words, memory_groups, usable_cores
from fts.jobs.executors.node_trial import NodeTrial
from fts.jobs.maintenance.doctor import sensed
from fts.jobs.sensors import detect, macos
from fts.jobs.sensors.detect import Machine, Nvml, SystemPart, from_env, hottest, merge
from fts.jobs.sensors.gpus import list_gpus
from fts.jobs.settings import Places
from fts.jobs.watchdog.policy import HeatPolicy, Thresholds

Chip = namedtuple("Chip", "label current")


def file_sensors(path: Path, text: str) -> Any:
    path.write_text(text)
    return from_env(path.parent, {"FTS_SENSORS": f"file:{path}"})


def test_the_doctor_says_why_a_sensor_of_ones_own_gives_no_temperature(tmp_path: Path, monkeypatch) -> None:
    places = Places(tmp_path / "outputs" / "fts.db", tmp_path / "data")
    for text, told in (("-1", "holds no temperature"), ("nan", "holds no temperature"), (None, "is not a file")):
        path = tmp_path / f"heat {text}"
        if text is not None:
            path.write_text(text)
        monkeypatch.setenv("FTS_SENSORS", f"file:{path}")
        (found,) = (one for one in sensed(places) if one.name == "temperature")
        assert found.state == "unknown" and str(path) in found.text and told in found.text
    path.write_text("temperature=61.5")
    assert [one.state for one in sensed(places) if one.name == "temperature"] == ["ok"]
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    (old,) = (one for one in sensed(places) if one.name == "temperature")
    assert (old.state, old.text) == ("warn", "unknown: nobody has written the file of FTS_SENSORS for 2 h")


def test_a_file_that_nobody_writes_any_more_tells_no_heat_and_the_guard_says_so(tmp_path: Path) -> None:
    sensors, guard = file_sensors(path := tmp_path / "heat", "temperature=93\npower_w=40\n"), HeatPolicy(Thresholds())
    assert guard.step(sensors.read()).state == "frozen"
    os.utime(path, (time.time() - 590, time.time() - 590))
    assert sensors.read().temperature == 93.0
    os.utime(path, (time.time() - 610, time.time() - 610))
    old = sensors.read()
    assert (old.temperature, old.power_w, old.unknown_because) == (
        None, None, "nobody has written the file of FTS_SENSORS for 10 min",
    )  # fmt: skip
    assert old.total, "the machine's own values stay"
    assert guard.step(old).state == "frozen", "nobody knows that it has cooled"
    late = guard.step(replace(old, at=old.at + 1e6)).message
    assert "s (nobody has written the file of FTS_SENSORS for 10 min); repair the sensor" in late
    assert HeatPolicy(Thresholds()).step(old).message == (
        "temperature unknown: nobody has written the file of FTS_SENSORS for 10 min, so heat cannot be guarded"
    )
    (made := tmp_path / "made").symlink_to("/proc/sys/kernel/threads-max")  # its text is made when it is read
    assert from_env(tmp_path, {"FTS_SENSORS": f"file:{made}"}).read().unknown_because is None


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


def test_the_load_of_the_processors_is_the_same_for_every_thread(tmp_path: Path) -> None:
    """Heartbeat and watchdog read in threads of their own; the first reading of each was 0 percent."""
    part = SystemPart(tmp_path)
    found: list[float | None] = []
    for _ in range(3):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            pass  # one processor is busy
        thread = threading.Thread(target=lambda: found.append(part.read().get("cpu_percent")))
        thread.start()
        thread.join()
    at_least = 50 / (os.cpu_count() or 1)
    assert all(load is not None and at_least < load <= 100 for load in found), found


def test_a_load_that_cannot_be_measured_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters that go back (a processor went offline) said 0 or 100 percent; a restricted /proc ended the reading."""
    part = SystemPart(tmp_path)
    monkeypatch.setattr(detect, "CPU_LEAST_S", 0.0)
    for counters, load in (
        ((10.0, 10.0), None), ((11.0, 13.0), 25.0), ((12.0, 12.99), 100.0), ((13.0, 5.0), None), ((4.0, 6.0), None),
        ((5.0, 7.0), 50.0), (None, None), ((6.0, 8.0), None), ((7.0, 9.0), 50.0), ((7.0, 9.0), None),
    ):  # fmt: skip
        monkeypatch.setattr(detect, "cpu_seconds", lambda counters=counters: counters)
        if counters == (10.0, 10.0):
            part._cpu_before = None
        assert part.read().get("cpu_percent") == load, counters
    monkeypatch.setattr(detect, "CPU_LEAST_S", 60.0)
    part._load = 0.5
    assert part.read()["cpu_percent"] == 50.0, "two readings within a moment share it"
    monkeypatch.undo()

    def refuse() -> None:
        raise PermissionError("/proc/stat")

    monkeypatch.setattr(psutil, "cpu_times", refuse)
    assert "cpu_percent" not in SystemPart(tmp_path).read()


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


def files(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


def memory(limit: str, used: int, droppable: int) -> dict[str, str]:
    return {
        "memory__max": limit,
        "memory__current": f"{used}\n",
        "memory__stat": f"anon 1\ninactive_file {droppable}\n",
    }


def old_memory(limit: int, used: int, droppable: int) -> dict[str, str]:
    stat = f"inactive_file 1\ntotal_inactive_file {droppable}\n"
    return {"memory__limit_in_bytes": f"{limit}\n", "memory__usage_in_bytes": str(used), "memory__stat": stat}


def within(root: Path, own: Path, total: int, available: int) -> tuple[int, int]:
    for group in memory_groups(root, own):
        total, available = group.within(total, available)
    return total, available


def test_the_limits_of_the_control_groups_around_us_bound_what_is_available(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    files(root / "user" / "job", **memory("max", 10, 0))
    files(root / "user", **memory("1000", 900, 300))
    own.write_text("4:memory:/old\n0::/user/job\n")
    assert within(root, own, 5000, 4000) == (1000, 400)
    assert within(root, own, 5000, 50) == (1000, 50)
    assert memory_groups(root, tmp_path / "none") == []


@pytest.mark.parametrize("path", ["/slurm/job_7/step_0", "/docker/a-folder-of-the-host"])
def test_so_do_those_of_version_1_in_which_no_limit_is_a_large_number(tmp_path: Path, path: str) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "self"
    around, limited = root / "memory", root / "memory" / path.lstrip("/") if "slurm" in path else root / "memory"
    files(around, **old_memory(9223372036854771712, 10, 0))
    files(limited, **old_memory(1000, 900, 300))
    own.write_text(f"9:name=systemd:/\n4:memory:{path}\n3:cpu,cpuacct:/\n0::/\n")
    assert within(root, own, 5000, 4000) == (1000, 400)


@pytest.mark.parametrize(
    ("texts", "cores"),
    [
        ({"cpu__max": "max 100000\n"}, 8),
        ({"cpu__max": "250000 100000\n"}, 2),
        ({"cpu__max": "50000 100000\n"}, 1),
        ({"cpu__max": "1600000 100000\n"}, 8),
        ({"cpu__max": ""}, 8),
        ({"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, 8),
        ({"cpu__cfs_quota_us": "300000\n", "cpu__cfs_period_us": "100000\n"}, 3),
        ({}, 8),
    ],
)
def test_a_quota_of_processors_bounds_the_cores_we_use(tmp_path, monkeypatch, texts, cores) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    own, version_1 = tmp_path / "self", "cpu__cfs_quota_us" in texts
    own.write_text("3:cpuacct,cpu:/user/job\n" if version_1 else "0::/user/job\n")
    top = tmp_path / "cgroup" / ("cpu" if version_1 else "")
    files(top / "user", **texts)
    assert usable_cores(tmp_path / "cgroup", own) == cores
    assert cores_in_words(cores) == f"{cores} of 64 cores"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_a_worker_bound_to_one_processor_has_one_slot_of_one_thread() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from fts.jobs.settings import BadSetting, worker_settings\n"
        "found = worker_settings(device='cpu'); print(found.slots, found.threads)\n"
        "try:\n    worker_settings(2, 1, device='cpu')\nexcept BadSetting as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("1 1\nslots x threads: 2 x 1 need 2 cores, but a worker has 1 ")


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


DRIVER = SimpleNamespace(  # NVML with two GPUs, the first of them hot; it lacks the other sensors
    NVMLError=AttributeError, NVML_TEMPERATURE_GPU=0, nvmlInit=lambda: None, nvmlShutdown=lambda: None,
    nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=range(2).__getitem__, nvmlDeviceGetUUID="GPU-{}".format,
    nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=1, total=24 << 30),
    nvmlDeviceGetTemperature=lambda gpu, _: (88, 40)[gpu],
)  # fmt: skip


@pytest.mark.parametrize(
    ("visible", "names", "degrees"),
    [
        (None, ["GPU-0", "GPU-1"], 88.0), ("", [], None), ("-1", [], None), ("none", [], None), ("1", ["1"], 40.0),
        ("1,-1,0", ["1"], 40.0), ("0, 1", ["0", "1"], 88.0), ("1,7,0", ["1"], 40.0),
         ("NoDevFiles", [], None), ("None", [], None), ("1,x,0", ["1"], 40.0), ("1,NoDevFiles,0", ["1"], 40.0),
    ],
)  # fmt: skip
def test_a_hidden_gpu_is_neither_given_nor_measured(monkeypatch, visible: str | None, names: list[str], degrees):
    """CUDA hides the first name that no GPU has and all after it; somebody else's heat must not pause our trials."""
    monkeypatch.setitem(sys.modules, "pynvml", DRIVER)
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [gpu.name for gpu in list_gpus(environ)] == names
    assert Nvml(environ).read().get("temperature") == degrees


def test_heat_and_power_are_those_of_the_gpus_that_trials_have(monkeypatch, tmp_path: Path) -> None:
    """Not of GPU 0, which may idle, or belong to another user: power becomes watt hours of the trials."""
    driver = {
        "nvmlDeviceGetPowerUsage": lambda gpu: (60_000, 500_000)[gpu],
        "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=(0, 90)[gpu]),
        "nvmlDeviceGetHandleByUUID": lambda name: {"GPU-0": 0, "GPU-1": 1}[name],
        "NVMLError": (AttributeError, KeyError),
    }
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**vars(DRIVER) | driver))
    monkeypatch.setattr(detect, "FRESH_S", -1.0)
    sensors = detect.Machine([Nvml({})])
    given: tuple[str, ...] = ()
    sensors.watch_gpus(lambda: given)
    for given, heat, watts, percent in (
        ((), 88.0, 60.0, 0.0), (("GPU-1",), 40.0, 500.0, 90.0), (("GPU-0", "GPU-1"), 88.0, 560.0, 45.0),
        (("GPU-7",), None, None, None),
    ):  # fmt: skip
        reading = sensors.read()
        assert (reading.temperature, reading.power_w, reading.gpu_percent) == (heat, watts, percent), given
        assert reading.gpu_memory_total == 24 << 30
    on_node: Any = NodeTrial(tmp_path, None, sensors, None, None)  # type: ignore[arg-type]  # it only measures
    assert sensors.read().power_w == 60.0
    on_node.child, on_node.program = object(), Program((), env={"CUDA_VISIBLE_DEVICES": "GPU-1"})
    assert sensors.read().power_w == 500.0
