"""The names of axes mean nothing to the runner: an axis may be called like a field, a column or a label of PatchTST."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fts as fts_library
from fts.jobs.axis_words import Value
from fts.state import queries, transitions
from fts.tui import pictures
from fts.tui.data.view import SCREENS
from tests.cli.study import Said, csv_of, places_of, runner
from tests.cli.toy import finished_toy, make_toy

OTHER_NAMES = {"budget": "bodget", "horizon": "harizon", "task": "tusk", "tier": "teer"}


def test_the_names_of_axes_mean_nothing_to_the_runner(fts: Callable[..., Said], tmp_path: Path):
    """A study may have a task, a horizon or a budget of its own: it is shown like one with other names of axes."""
    axes: dict[str, list[Value]] = {
        "budget": ["20M", "2M"],
        "horizon": [1, 3],
        "task": ["up"],
        "tier": ["a"],
    }
    db = make_toy(tmp_path, axes=axes, pruner="median", steps=2)
    for _ in range(3):
        finished_toy(db)
    for worker in queries.workers(db):  # a live one would turn silent meanwhile
        transitions.stop_worker(db, worker.id)
    commands = (
        "queue", "queue budget:2M", "queue horizon:3", "queue 2M", "queue h1", "trials 1", "curve 1", "why 4", "status",
        "status --plain", "results", "results --json", "best 1", "plan", "unseal 1 -y", "trials 2M/3/up/a", "queue x:y",
    )  # fmt: skip
    now = time.time() + 60.0

    def shown() -> list[str]:
        said = [str(fts(*words.split())) for words in commands]
        frames = [
            pictures.render(places_of(tmp_path).db, screen, size, job_id=job, now=now).text
            for screen in SCREENS for size in ((80, 24), (160, 45)) for job in (1, 4)
        ]  # fmt: skip
        return [
            re.sub(r"\d+:\d\d(:\d\d)?|\d{9,}\.\d+|\d+\.\d{5,}|\d+ (s|min)\b|▕.*?▏", "TIME", text)
            for text in said + frames
        ]

    before = shown()
    for table, column in (("job", "labels"), ("job", "spec"), ("study", "declaration")):
        for name, other in OTHER_NAMES.items():
            db.execute_sql(f"UPDATE {table} SET {column} = replace({column}, '\"{name}\"', '\"{other}\"')")
    db.close()
    commands = tuple(words.replace("budget:", "bodget:").replace("horizon:", "harizon:") for words in commands)
    after = shown()
    for name, other in OTHER_NAMES.items():
        after = [text.replace(other, name) for text in after]
    for told, expected in zip(before, after, strict=True):
        assert told == expected


def test_an_axis_named_as_a_field_or_a_column_replaces_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """In exported JSON and CSV, in tables of Python, and in words that name jobs."""
    for name in ("study", "kind", "seed", "best_value", "note", "state", "params.lr", "metrics.loss", "loss"):
        folder = tmp_path / name
        folder.mkdir()
        db = make_toy(folder, axes={name: ["mnist", "cifar"], "size": ["S", "M"]})
        finished_toy(db)
        db.close()
        fts = runner(folder, capsys)
        assert fts("export").code == 0
        best = json.loads((folder / "outputs" / "hpo" / "train_mnist_S" / "best_params.json").read_text())
        assert (best["study"], best["kind"], best["best_value"]) == ("train", "cell", 0.8), name
        assert "mnist" in (best.get(name), best.get(f"axis.{name}")), name
        (row, *_) = csv.DictReader(io.StringIO(fts("results", "--csv").out))
        assert (row["value"], row["params.lr"], row["metrics.loss"][:3]) == ("0.8", "0.0001", "0.1"), name
        assert "mnist" in (row.get(name), row.get(f"axis.{name}")), name
        loaded = fts_library.load(places_of(folder).db)
        assert [row["params.lr"] for row in loaded.best.records()] == [1e-4], name
        assert loaded.pivot.records(name, "size", "loss")[0]["S"] == pytest.approx(0.2), name
        said = fts("queue", f"{name}:mnist", "--json")
        assert [job["labels"][name] for job in json.loads(said.out)["jobs"]] == ["mnist", "mnist"], said
    (tmp_path / "both").mkdir()
    db = make_toy(tmp_path / "both", axes={"state": ["done", "!a"], "size": ["S", "M"]})
    finished_toy(db)
    db.close()
    said = runner(tmp_path / "both", capsys)("queue", "state:done")
    assert runner(tmp_path / "both", capsys)("queue", "!a/S", "--json").out.count('"id"') == 1, "its name, no negation"
    assert said.code == 2 and "means jobs by their state and by the axis state: write done for the axis" in said.err


def test_an_axis_with_the_name_of_a_column_does_not_hide_it(fts: Callable[..., Said], tmp_path: Path):
    db = make_toy(tmp_path, axes={"status": ["on"], "value": [7]})
    finished_toy(db)
    row = csv_of(fts("trials", "1", "--csv").out)[0]
    assert (row["status"], row["value"], row["axis.status"], row["axis.value"]) == ("complete", "0.6", "on", "7")
    row = csv_of(fts("results", "--csv").out)[0]
    assert (row["status"], row["value"], row["axis.status"], row["axis.value"]) == ("done", "0.8", "on", "7")
    db.close()
