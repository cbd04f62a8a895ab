"""Runs on a real server of MLflow: what it answers is the study, however often and through whatever kills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.mirrors.follow import CannotMirror, Mirror
from fts.state import transitions
from fts.state.db import Database
from fts.state.values import Cause
from tests.cli.study import Said
from tests.fts_process import ROOT, Study, wait_until
from tests.mirrors.made import Made, begin, claim, end, everything, make_study, report

pytest.importorskip("mlflow", reason="mlflow is not installed: `pip install mlflow`", minversion="2.9")
pytestmark = pytest.mark.slow  # the library and its server take seconds to start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


SECRET = "a secret/12@34"
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
admin_password = {secret}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("flask_wtf", reason="`pip install mlflow[auth]` brings a server with passwords")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(AUTH.format(folder=folder, secret=SECRET))
    known = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "x", "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini")}
    with serving(folder, "--app-name", "basic-auth", **known) as address:
        yield address


@contextmanager
def serving(folder: Path, *more: str, **environ: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["server", "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/ml.db", "--workers", "1", *more]
    running = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--artifacts-destination", str(folder / "artifacts")],
        cwd=folder, stdout=(folder / "said.txt").open("w"), stderr=subprocess.STDOUT, start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"} | environ,
    )  # fmt: skip

    def answers() -> bool:
        assert running.poll() is None, (folder / "said.txt").read_text()
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200)
        return False

    try:
        wait_until(answers, timeout_s=180)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(10)


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Made]:
    found = make_study(tmp_path)
    study = request.node.name.replace("[", "-").replace("]", "")[:60]  # each test has an experiment of its own
    found[0].execute_sql("UPDATE job SET study = ?", [study])
    found[0].execute_sql("UPDATE study SET name = ?", [study])
    yield found
    found[0].close()


def mirror(uri: str) -> Mirror:
    from fts.jobs.mirrors.mlflow import MLflow

    return Mirror(MLflow(uri), everything)


def shown(uri: str, study: str) -> dict[str, dict[str, Any]]:
    """Every run by its name, as the server has it, without what is random."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return {}
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(names), "nothing is doubled"
    return {
        run.info.run_name: {
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "params": run.data.params,
            "tags": {
                name: value for name, value in run.data.tags.items()
                if name.startswith("fts.") and name != "fts.digest"
            },
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "metrics": {
                name: [(one.step, one.value, one.timestamp) for one in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
        }
        for run in runs
    }  # fmt: skip


def study_of(db: Database) -> str:
    return str(db.execute_sql("SELECT study FROM job").fetchone()[0])


def test_the_server_shows_cells_trials_steps_goals_and_states(made: Made, server: str) -> None:
    db, _, _ = made
    assert mirror(server).bring_up_to_date(db).written == 5
    found = shown(server, study_of(db))
    assert {name: run["status"] for name, run in found.items()} == {
        "mnist/S": "RUNNING", "a b/S": "RUNNING", "mnist/S t0": "FINISHED", "mnist/S t1": "FINISHED",
        "mnist/S t2": "FAILED", "mnist/S t3": "KILLED", "mnist/S t4": "RUNNING",
    }  # fmt: skip
    best, pruned = found["mnist/S t1"], found["mnist/S t3"]
    assert best["params"] == {"lr": "0.0001", "optimizer": "sgd", "momentum": "0.5", "data": "mnist", "size": "S"}
    assert best["parent"] == "mnist/S" and [value for _, value, _ in best["metrics"]["final/acc"]] == [0.8]
    assert [(step, value) for step, value, _ in pruned["metrics"]["acc"]] == [(n, 0.1 + 0.7 * n / 9) for n in range(4)]
    assert pruned["tags"]["fts.status"] == "pruned" and pruned["tags"]["fts.goal"] == "maximize acc"
    assert found["mnist/S t4"]["tags"]["fts.attempts"] == "1: ?, lost worker; 2: ?, not ended"
    assert found["mnist/S"]["tags"]["fts.best_value"] == "0.8"


def test_again_and_while_it_runs_nothing_is_doubled(made: Made, server: str) -> None:
    db, claimed, live = made
    following = mirror(server)
    following.bring_up_to_date(db)
    first = shown(server, study_of(db))
    assert mirror(server).bring_up_to_date(db).written == 0 and shown(server, study_of(db)) == first
    for step in range(5, 9):
        report(db, claimed, live, step, step + 1)
        following.bring_up_to_date(db)
    end(db, claimed, live)
    following.bring_up_to_date(db)
    now = shown(server, study_of(db))
    assert [step for step, _, _ in now["mnist/S t4"]["metrics"]["acc"]] == list(range(9))
    assert now["mnist/S t4"]["status"] == "FINISHED" and now["mnist/S t3"] == first["mnist/S t3"]


class Cut(BaseException):
    """As a kill comes: between any two requests."""


def test_after_a_kill_between_any_two_requests_the_next_one_completes_it(
    made: Made, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fts.jobs.mirrors import mlflow as ours

    db, claimed, live = made
    chance, calls = random.Random(3), 0
    ask = ours.MLflow.__init__

    def dying(self: Any, uri: str) -> None:
        """Each request may be the last one; it may have arrived, or not."""
        ask(self, uri)
        for name in ("create_run", "log_batch", "set_tag", "set_terminated", "update_run", "delete_run"):
            setattr(self.client, name, cut(getattr(self.client, name)))

    def cut(method: Any) -> Any:
        def asked(*args: Any, **words: Any) -> Any:
            nonlocal calls
            calls += 1
            if chance.random() < 0.15:
                raise Cut
            found = method(*args, **words)
            if chance.random() < 0.15:
                raise Cut
            return found

        return asked

    kills = 0
    with monkeypatch.context() as patched:
        patched.setattr(ours.MLflow, "__init__", dying)
        for step in range(5, 45):
            if step < 9:
                report(db, claimed, live, step, step + 1)
            if step == 9:
                end(db, claimed, live)
            try:
                mirror(server).bring_up_to_date(db)
            except Cut:
                kills += 1
    assert kills > 15 and calls > 50
    mirror(server).bring_up_to_date(db)
    found = shown(server, study_of(db))
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    mirror(fresh).bring_up_to_date(db)
    assert found == shown(fresh, study_of(db))


def test_a_trial_that_ran_again_differently_is_written_anew_and_one_that_is_gone_goes(made: Made, server: str) -> None:
    db, claimed, live = made
    end(db, claimed, live)
    ended = begin(db, claimed, 5, 3)
    transitions.finish_trial(db, claimed, ended, "failed", Cause.CODE_ERROR, message="a bug")
    transitions.finish_job(db, claimed)
    mirror(server).bring_up_to_date(db)
    transitions.retry(db, [1], who="me")
    again = claim(db)
    transitions.rerun_trial(db, again, ended)
    with db.atomic():
        for table in ("epoch", "draw", "attempt"):
            db.execute_sql(f"DELETE FROM {table} WHERE trial_id = ?", [live])
        db.execute_sql("DELETE FROM trial WHERE id = ?", [live])
    assert mirror(server).bring_up_to_date(db).removed == 1
    found = shown(server, study_of(db))
    assert "mnist/S t4" not in found and found["mnist/S t5"]["status"] == "RUNNING"
    assert found["mnist/S t5"]["metrics"] == {}, "it begins anew"


def test_names_numbers_and_lengths_that_mlflow_does_not_take(made: Made, server: str) -> None:
    db, _, _ = made
    params = '{"a:b!": 1, "a_b_": 2, "../x": 3, "long": "%s", "none": null}' % ("y" * 9000)
    db.execute_sql("UPDATE trial SET params = ? WHERE number = 0", [params])
    db.execute_sql("UPDATE epoch SET metrics = ? WHERE trial_id = 1", ['{"é (top-1)": 0.5, "%s": 1}' % ("n" * 190)])
    mirror(server).bring_up_to_date(db)
    found = shown(server, study_of(db))["mnist/S t0"]
    assert sorted(found["params"].values())[:4] == ["1", "2", "3", "S"] and found["params"]["none"] == "null"
    assert mirror(server).bring_up_to_date(db).written == 0 and len(found["metrics"]) == 5


def test_a_server_that_is_away_is_one_sentence(made: Made, fts: Callable[..., Said], monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = fts("mirror", "mlflow", "http://user:secret@127.0.0.1:9")
    assert said.code == 2 and "is the server running" in said.err and "secret" not in said.err + said.out, said
    assert said.err.count("\n") == 1
    with pytest.raises(CannotMirror, match="refused"):
        mirror("nonsense://x").bring_up_to_date(made[0])


def test_whatever_answers_or_lies_there_is_one_sentence_without_a_password(
    made: Made, fts: Callable[..., Said], monkeypatch: Any, tmp_path: Path
) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "text.db").write_text("no database\n" * 400)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for uri in (
        f"http://user:s3cret@127.0.0.1:{server.server_port}", "http://user:s3/cret@127.0.0.1:9", "http://[::1",
        f"sqlite:///{tmp_path}/text.db",
    ):  # fmt: skip
        said = fts("mirror", "mlflow", uri)
        assert said.code == 2 and said.err.startswith("fts: ") and said.err.count("\n") == 1, said
        assert "cret" not in said.err and "a fault in fts" not in said.err, said
    server.shutdown()
    server.server_close()


def test_a_server_with_passwords_takes_them_and_nothing_prints_them(
    made: Made, guarded: str, fts: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = fts("mirror", "mlflow", guarded)
    assert said.code == 2 and "MLFLOW_TRACKING_PASSWORD" in said.err and said.err.count("\n") == 1, said
    there = guarded.replace("//", f"//admin:{urllib.parse.quote(SECRET, safe='')}@")
    wrong = guarded.replace("//", "//admin:p@ss@")
    for address, code in ((wrong, 2), (there, 0)):
        said = fts("mirror", "mlflow", address)
        assert said.code == code and guarded in said.out + said.err, said
        assert "admin" not in said.out + said.err and "ss@" not in said.err, said
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    assert fts("mirror", "mlflow", guarded).out.endswith(" 0 written\n"), "it has them already"
    assert shown(guarded, study_of(made[0]))


def test_a_token_goes_with_every_request(made: Made, server: str, fts: Callable[..., Said], monkeypatch: Any) -> None:
    with asking_for("Bearer t0ken", server) as address:
        assert fts("mirror", "mlflow", address).code == 2
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        said = fts("mirror", "mlflow", address)
        assert said.code == 0 and "t0ken" not in said.out + said.err, said
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    assert fts("mirror", "mlflow", server).out.endswith(" 0 written\n"), "they stand behind the gate"


@contextmanager
def asking_for(authorization: str, server: str) -> Iterator[str]:
    """A gate before the server, as companies have one: who does not show this gets 401."""

    class Gate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != authorization:
                self.send_error(401)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            asked = urllib.request.Request(server + self.path, body, kind, method=self.command)
            try:
                answer = urllib.request.urlopen(asked, timeout=60)
            except urllib.error.HTTPError as error:
                answer = error  # type: ignore[assignment]  # it is an answer, too
            found = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_POST = do_GET  # noqa: N815  # its name for the library

        def log_message(self, *_: Any) -> None:
            pass

    gate = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    threading.Thread(target=gate.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{gate.server_port}"
    finally:
        gate.shutdown()
        gate.server_close()


def test_beside_a_worker_through_kills(tmp_path: Path, server: str) -> None:
    study = Study(tmp_path / "it")
    shutil.copy(ROOT / "examples" / "function" / "branches.py", study.folder)
    study.ok("enqueue", "branches.py:objective", "--trials", "12", "--name", "killed")
    worker = study.start("worker", "--until-empty", "--slots", "1", "--threads", "1")
    words = ("mirror", "mlflow", server, "--follow", "--every", "0.05", "--until-idle")
    chance = random.Random(1)
    for _ in range(3):
        follower = study.start(*words)
        with suppress(subprocess.TimeoutExpired):
            follower.wait(5 + 3 * chance.random())
        follower.kill()
        follower.wait()
    assert worker.wait(120) == 0
    study.ok(*words)
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    study.ok("mirror", "mlflow", fresh)
    assert shown(server, "killed") == shown(fresh, "killed") != {}
