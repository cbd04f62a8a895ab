"""`fts metrics`: a scraper's page and a health check on a real port, true to the database, cheap and hard to upset."""

from __future__ import annotations

import math
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fts.jobs.metrics.exposition import Family, text_of
from fts.jobs.metrics.server import Board
from fts.state import transitions
from tests.cli.study import Said, places_of
from tests.fts_process import Study, wait_until
from tests.mirrors.made import Made, end, make_study, report


@contextmanager
def served(folder: Path, *words: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`fts metrics` of the database there, once it answers; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Study(folder).start("metrics", "--port", str(port), *words)
    try:
        wait_until(lambda: answers(port) or server.poll() is not None)
        assert server.poll() is None, (folder / "said.txt").read_text()
        yield port, server
    finally:
        server.terminate()
        assert server.wait(10) == 0


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers["Content-Type"]


def gauges_text(folder: Path) -> str:
    """The page, read once without a server."""
    board = Board(places_of(folder))
    try:
        return board.look().metrics
    finally:
        board.close()


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """As Prometheus' own client reads it."""
    parser = pytest.importorskip("prometheus_client.parser", reason="`pip install prometheus_client` runs this test")
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.name.startswith("fts_") and family.documentation and family.type == "gauge", family
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
    return found


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    fitting = [v for (n, has), v in found.items() if n == name and set(labels.items()) <= has]
    return fitting[0] if len(fitting) == 1 else None


def test_the_page_says_what_the_database_and_status_say(made: Made, fts: Callable[..., Said], tmp_path: Path) -> None:
    db, claimed, live = made
    with served(tmp_path) as (port, _):
        status, text, kind = get(port, "/metrics")
        assert status == 200 and kind.startswith("text/plain; version=0.0.4")
        found = parsed(text)
        assert value(found, "fts_up") == 1 and value(found, "fts_jobs", state="running") == 1
        for state, n in (("complete", 2), ("pruned", 1), ("failed", 1)):
            assert value(found, "fts_cell_trials", cell="mnist/S", state=state) == n
        assert value(found, "fts_cell_best_value", cell="mnist/S", metric="acc", direction="maximize") == 0.8
        assert value(found, "fts_cell_best_value", cell="a b/S") is None
        assert value(found, "fts_trial_steps", trial="4") == 5
        assert value(found, "fts_trial_value", trial="4") == 0.1 + 0.7 * 4 / 9
        report(db, claimed, live, 5, 9)
        end(db, claimed, live)
        wait_until(lambda: value(parsed(get(port, "/metrics")[1]), "fts_cell_best_value", cell="mnist/S") == 0.9)
        assert value(parsed(get(port, "/metrics")[1]), "fts_trial_steps", trial="4") is None
        health, said = get(port, "/healthz")[:2], fts("status", "--plain")
        assert health[1].splitlines()[0].split(":")[0] == said.out.splitlines()[0].split(":")[0]


def test_health_is_503_while_compute_is_lost_and_when_nobody_knows(
    made: Made, fts: Callable[..., Said], tmp_path: Path
) -> None:
    db, _, _ = made
    db.execute_sql("UPDATE worker SET heartbeat_at = heartbeat_at - 600")
    with served(tmp_path) as (port, _):
        code, told, _ = get(port, "/healthz")
        assert code == 503 and told.startswith("ACT: worker 1"), told
        assert told.split(".")[0].split(" for ")[0] in fts("status", "--plain").out
        transitions.stop_worker(db, 1)
        wait_until(lambda: get(port, "/healthz")[0] == 200)
        db.close()
        (tmp_path / "away").mkdir()
        for path in places_of(tmp_path).outputs.glob("fts.db*"):
            path.rename(tmp_path / "away" / path.name)
        wait_until(lambda: get(port, "/healthz")[0] == 503)
        assert get(port, "/healthz")[1].startswith("BLIND: ") and value(parsed(get(port, "/metrics")[1]), "fts_up") == 0
        for path in (tmp_path / "away").iterdir():
            path.rename(places_of(tmp_path).outputs / path.name)
        wait_until(lambda: get(port, "/healthz")[0] == 200)


def test_what_no_worker_measures_now_and_when_nothing_works_is_absent(made: Made, tmp_path: Path) -> None:
    """A scraper takes each number for one of now: the last ones of a dead worker and an end that moves are left out."""
    db, _, _ = made
    transitions.add_sample(db, 1, cpu_percent=90.0, trial_rss=1 << 20)
    of_now = ("fts_worker_cpu_percent", "fts_worker_trial_memory_bytes", "fts_worker_guard")
    ends = ("fts_finish_timestamp_seconds", "fts_cell_seconds_left")

    def page() -> set[str]:
        db.execute_sql("UPDATE worker SET heartbeat_at = ?", (db.now() - silent_s,))
        return {name for name, _ in parsed(gauges_text(tmp_path))}

    silent_s = 0.0
    assert {*of_now, *ends} <= page()
    transitions.pause_queue(db, "lunch")
    assert not page() & {"fts_finish_timestamp_seconds"} and set(of_now) <= page()
    transitions.resume_queue(db)
    silent_s = 600.0
    assert not page() & {*of_now, *ends} and "fts_worker_up" in page()


def test_foreign_pages_odd_requests_and_a_crowd_do_no_harm(made: Made, tmp_path: Path) -> None:
    with served(tmp_path) as (port, server):
        assert get(port, "/metrics", Host=f"evil.example:{port}")[0] == 403
        assert get(port, "/metrics", Origin="http://evil.example")[0] == 403
        assert get(port, "/../../etc/passwd")[0] == get(port, "/nothing")[0] == 404
        assert get(port, "/")[0] == 200
        for line in (b"POST /metrics HTTP/1.1", b"DELETE /healthz HTTP/1.1", b"\0\xff\xfe", b"GET " + b"x" * 20_000):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
                wire.sendall(line + f"\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n".encode())
                assert wire.recv(100).split(b" ")[1][:1] == b"4", line[:20]
        open_ones = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]  # and say nothing
        with ThreadPoolExecutor(8) as crowd:
            assert set(crowd.map(lambda _: get(port, "/metrics")[0], range(100))) == {200}
        for one in open_ones:
            one.close()
        process = psutil.Process(server.pid)
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        assert before < 8 and len(process.open_files()) < 10
        assert made[0].execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, "it holds no transaction"
        assert time.monotonic() - began < 5


def test_a_port_that_is_taken_and_a_study_that_is_not_there(fts: Callable[..., Said], tmp_path: Path) -> None:
    said = fts("metrics")
    assert said.code == 6 and "there is no" in said.err and said.err.count("\n") == 1, said
    make_study(tmp_path)[0].close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = fts("metrics", "--port", str(taken.getsockname()[1]))
    assert said.code == 6 and "another program uses this port" in said.err, said


def test_any_text_and_any_number_come_back_as_they_were() -> None:
    family = Family("fts_odd", 'a "help"\nwith \\ and\nlines')
    told = ['plain "quotes"', "back\\slash", "two\nlines", "ünï", "\\n", "", '\\"']
    for n, text in enumerate(told):
        family.add(n + 0.1, text=text)
    for number in (math.inf, -math.inf, math.nan, 0.1 + 0.2, 1e300, -5, 2**60):
        family.add(number, text=f"number {number}")
    family.add(None, text="nothing")
    parser = pytest.importorskip("prometheus_client.parser", reason="`pip install prometheus_client` runs this test")
    (found,) = parser.text_string_to_metric_families(text_of([family, Family("fts_empty", "none")]))
    read = {sample.labels["text"]: sample.value for sample in found.samples}
    assert [read[text] for text in told] == [n + 0.1 for n in range(len(told))]
    numbers = [read[f"number {x}"] for x in (math.inf, -math.inf, 0.1 + 0.2, 1e300, -5, 2**60)]
    assert numbers == [math.inf, -math.inf, 0.1 + 0.2, 1e300, -5, 2**60] and math.isnan(read["number nan"])
    assert "nothing" not in read
