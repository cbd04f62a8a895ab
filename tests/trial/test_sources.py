"""Metrics of a command are read from the files that libraries write: told as they grow, whole after any kill."""

from __future__ import annotations

import base64
import errno
import glob
import json
import os
import re
import signal
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fts.jobs.api.spec import BadSpec
from fts.jobs.cli.log import log
from fts.jobs.trial.sources import CsvSource, GrowingText, SourceCopy
from fts.jobs.trial.tensorboard import EventFile
from fts.jobs.trial.wildcards import matching
from tests.trial.harness import Fact, Record
from tests.trial.test_command import cell_of, ran

# Like Lightning's CSVLogger: training and validation in rows of their own, the file written anew after a resume
CSV = """
import csv, json, os, sys, time
from pathlib import Path
folder, kept = Path(os.environ["FTS_FOLDER"]), Path(os.environ["FTS_CHECKPOINT_DIR"]) / "state.json"
state = json.loads(kept.read_text()) if kept.exists() else {"epoch": 0, "loss": 1.0}
version = folder / "logs" / f"version_{len(list(folder.glob('logs/version_*'))) if sys.argv[2] == 'new' else 0}"
version.mkdir(parents=True, exist_ok=True)
with (version / "metrics.csv").open("w", newline="") as file:
    table = csv.DictWriter(file, ["epoch", "step", "train_loss", "val_loss"])
    table.writeheader()
    while state["epoch"] < 8:
        state["loss"] *= 0.75
        table.writerow({"epoch": state["epoch"], "step": 10 * state["epoch"], "train_loss": state["loss"] / 2})
        table.writerow({"epoch": state["epoch"], "step": 10 * state["epoch"] + 9, "val_loss": state["loss"]})
        file.flush()
        state["epoch"] += 1
        kept.with_suffix(".part").write_text(json.dumps(state))
        kept.with_suffix(".part").replace(kept)
        time.sleep(float(sys.argv[1]))
"""
# One file as tensorboard 2.21 writes it, packed: acc as a tensor (TensorFlow 2), val/loss as a plain value (torch)
EVENTS = (
    "eNrzYICAf5M85nK+bLy/uvHQLUcp3qSixMw8Pdey1LwSK6MgPS6dktS84vyipPzEohS94tLc3MSiSr3yosyS1CK9VJCq+LTMnNR4"
    "iEjKHO1+bai5bdKHvTlBjNSzZx21FLjkuJgTk5OduDgYhRiUWEASXtxcnFzsxcmJOYlFxbqx9ptkoFpPHJwqi9AqyMXPxVGWmKOf"
    "k19cLMrA0GDf6uexTBeq1sax6zdQbQNYrQAjNovsUSzin134QQ6q+eYdISNkzehWMdiruGzsRLOKgRGsmgmLVQ6oVvnWvMxFswqu"
    "GcNXdsmlFk0AocRl5Q=="
)


def training(folder: Path, wait_s: float = 0.0, how: str = "same", **fields: Any) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(CSV)
    words = (sys.executable, "train.py", str(wait_s), how)
    return cell_of(folder, *words, **{"csv": "{folder}/**/metrics.csv"} | fields)


def test_the_rows_of_a_csv_become_epochs_with_what_was_measured_before(tmp_path: Path):
    record = ran(training(tmp_path))
    assert record.curve == {epoch: 0.75 ** (epoch + 1) for epoch in range(8)}
    assert record.epochs[7]["metrics"] == {"train_loss": 0.75**8 / 2, "val_loss": 0.75**8}
    assert record.end["fact"] == "result" and record.end["value"] == 0.75**8 and record.end["epochs"] == 8


@pytest.mark.parametrize("how", ["same", "new"])
def test_a_csv_that_is_written_anew_after_a_kill_loses_no_epoch(tmp_path: Path, how: str):
    calm = ran(training(tmp_path / "calm", best=True))
    cell, record = training(tmp_path / "killed", 0.05, how, best=True), Record(0)

    def kill(child: Any, fact: Fact) -> bool:
        if fact["fact"] == "epoch" and fact["epoch"] >= 3:
            os.kill(child.pid, signal.SIGKILL)
            return True
        return False

    ran(cell, record, act=kill)
    assert not record.end
    ran(cell, record)
    assert record.end["fact"] == "result", record.end
    assert record.outcome == calm.outcome and record.end["epochs"] == 8
    report = next((tmp_path / "killed").rglob("report.jsonl")).read_text().splitlines()
    assert len(report) == len(set(report))  # each row stands there once


@pytest.mark.parametrize(
    ("script", "curve", "value"),
    [
        ("print(json.dumps({'val_loss': 0.5, 'more': {'acc': 1}}), file=open(sys.argv[1], 'w'))", {0: 0.5}, 0.5),
        (
            "print(json.dumps([{'step': s, 'val_loss': s / 4} for s in (1, 2)]), file=open(sys.argv[1], 'w'))",
            {1: 0.25, 2: 0.5},
            0.5,
        ),
    ],
)
def test_a_json_of_results_is_read_at_the_end(tmp_path: Path, script, curve, value):
    (tmp_path / "t.py").write_text(f"import json, sys\n{script}\n")
    record = ran(cell_of(tmp_path, sys.executable, "t.py", "{folder}/r.json", results="{folder}/r.json"))
    assert record.curve == curve and record.end["value"] == value
    if value == 0.5 and curve == {0: 0.5}:
        assert record.end["metrics"] == {"val_loss": 0.5, "more.acc": 1}


def test_event_files_of_tensorboard_are_read_as_they_are(tmp_path: Path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(zlib.decompress(base64.b64decode(EVENTS)))
    found = list(EventFile(path).new())
    assert [(step, tag) for step, tag, _ in found] == [(s, tag) for s in range(3) for tag in ("acc", "val/loss")]
    assert [round(value, 6) for _, tag, value in found if tag == "val/loss"] == [1.0, 0.5, 0.25]


def test_an_event_file_that_grows_is_read_record_by_record_and_a_broken_one_to_where_it_breaks(tmp_path: Path):
    whole = zlib.decompress(base64.b64decode(EVENTS))
    path = tmp_path / "events"
    events, found = EventFile(path), []
    for end in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        found += list(events.new())
    path.write_bytes(whole)
    found += list(events.new())
    assert found == list(EventFile(path).new()) and len(found) == 6
    path.write_bytes(whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:])
    with pytest.raises(ValueError, match=r"the record at byte [0-9,]+ has a wrong checksum"):
        list(EventFile(path).new())


def test_a_command_that_writes_events_is_a_trial(tmp_path: Path):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(zlib.decompress(base64.b64decode(EVENTS)))
    words = "mkdir -p {folder}/logs/run && cp events.out.tfevents.1.host {folder}/logs/run/"
    record = ran(cell_of(tmp_path, words, shell=True, tensorboard="{folder}/logs"))
    assert record.curve == {0: 1.0, 1: 0.5, 2: 0.25}
    assert record.end["metrics"].keys() == {"acc", "val_loss"}


@pytest.mark.parametrize(
    ("words", "fields", "told"),
    [
        ("true", {"csv": "{folder}/m.csv"}, r"there is no file .*m\.csv; expected val_loss in a column of"),
        ("echo 'epoch,loss\n0,1' > {folder}/m.csv", {"csv": "{folder}/m.csv"}, "it reported loss; expected val_loss"),
        (
            "echo 'epoch;val_loss' > {folder}/m.csv",
            {"csv": "{folder}/m.csv"},
            "has the columns epoch;val_loss; expected",
        ),
        ("echo '{{' > {folder}/r.json", {"results": "{folder}/r.json"}, "has no metrics; expected val_loss in "),
        ("echo '[1]' > {folder}/r.json", {"results": "{folder}/r.json"}, "has no metrics"),
        ("echo hello there this is text > {folder}/tfevents", {"tensorboard": "{folder}"}, "has no metrics; expected"),
    ],
)
def test_a_file_without_the_metric_is_named_with_what_is_in_it(tmp_path: Path, words, fields, told):
    record = ran(cell_of(tmp_path, words, shell=True, **fields))
    assert record.end["fact"] == "failed" and record.end["cause"] == "code error"
    assert re.search(told, record.end["message"]), record.end["message"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"csv": "logs/metrics.csv"}, "which all trials would share; expected a path in the trial's folder"),
        ({"csv": "{foldr}/m.csv"}, r"--csv: \{foldr\} is neither a parameter nor an axis; did you mean \{folder\}"),
        ({"csv": "{folder}/m.csv", "stdout": True}, "--stdout and --csv each name a source of the metrics"),
        ({"results": "{args}/{folder}"}, "--results: "),
    ],
)
def test_a_source_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, fields, told):
    with pytest.raises(BadSpec, match=told):
        cell_of(tmp_path, "true", **fields)
    assert json.dumps(list(tmp_path.iterdir())) == "[]"


@pytest.mark.parametrize("at", ["rows", "report"])
def test_a_file_that_cannot_be_read_now_is_an_error_that_names_it_and_not_an_end(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its last epochs would be missing from the result, or be there twice."""
    (tmp_path / "metrics.csv").write_text("epoch,val_loss\n1,0.5\n")
    (tmp_path / "report.jsonl").write_text('{"epoch": 1}\n')

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    cell, said = training(tmp_path), []
    source = CsvSource(str(tmp_path / "metrics.csv"), cell, said.append)
    monkeypatch.setattr(GrowingText, "new", fails) if at == "rows" else monkeypatch.setattr(Path, "read_text", fails)
    with pytest.raises(OSError, match=r"Input/output error: .*(metrics.csv|report.jsonl)"):
        SourceCopy(source, tmp_path / "report.jsonl").update(ended=True)
    assert said == []


def test_rows_are_written_whole_where_the_disk_takes_them_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,val_loss\n1,0.5\n2,0.25\n")
    source = CsvSource(str(tmp_path / "metrics.csv"), training(tmp_path), print)
    mirror, write = SourceCopy(source, tmp_path / "report.jsonl"), os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[:7]))
    mirror.update(ended=True)
    assert len([json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]) == 2


def test_a_file_that_is_written_anew_between_two_looks_is_read_from_its_beginning(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n")
    text = GrowingText(path)
    assert text.new(ended=False) == (["epoch,loss"], True)
    path.write_text("epoch,loss\n0,1\n1,2\n")
    assert text.new(ended=False) == (["0,1", "1,2"], False)
    path.write_text("epoch,loss\n5,1\n6,2\n7,3")  # longer, and with the same beginning
    assert text.new(ended=False) == (["epoch,loss", "5,1", "6,2"], True)
    assert text.new(ended=True) == (["7,3"], False)


def test_a_report_is_whole_although_the_disk_takes_it_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full takes the first part and tells nothing: half a line stayed, and the rest was lost."""
    report, write = tmp_path / "report.jsonl", os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:5]))
    monkeypatch.setenv("FTS_REPORT", str(report))
    assert log(["epoch=1", "val_loss=0.5"]) == 0
    source: Any = SimpleNamespace(new=lambda ended: iter([{"epoch": 2, "val_loss": 0.25}]))
    SourceCopy(source, report).update()
    assert [json.loads(line)["epoch"] for line in report.read_text().splitlines()] == [1, 2]


def refusing(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int) -> None:
    """Makes looks into a folder fail, as its permissions or its disk would."""
    for name in ("scandir", "lstat"):
        real = getattr(os, name)

        def looks(path: Any = ".", *more: Any, real: Any = real, **named: Any) -> Any:
            if str(path) == str(folder) or (real.__name__ == "lstat" and Path(path).parent == folder):
                raise OSError(code, os.strerror(code), str(path))
            return real(path, *more, **named)

        monkeypatch.setattr(os, name, looks)


@pytest.mark.parametrize(
    "pattern", ["locked/*.csv", "locked/m.csv", "**/m.csv", "*/m.csv", "l*ed/**/m.csv", "locked/a/*.csv"]
)
def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    locked = tmp_path / "locked"
    (locked / "a").mkdir(parents=True)
    (locked / "m.csv").write_text("epoch,loss\n0,1.0\n")
    (locked / "a" / "m.csv").write_text("epoch,loss\n0,1.0\n")
    cell, said = cell_of(tmp_path, "true", csv=f"{{folder}}/{pattern}"), list[str]()
    source = CsvSource(f"{tmp_path}/{pattern}", cell, said.append)
    hidden = locked / "a" if "/a/" in pattern else locked
    with monkeypatch.context() as trouble:
        refusing(trouble, hidden, errno.EACCES)
        assert list(source.new(False)) == list(source.new(True)) == []
        assert len(said) == 1 and str(hidden) in said[0] and "Permission denied" in said[0], said
        assert source.found == said[0]
    with monkeypatch.context() as trouble:
        refusing(trouble, hidden, errno.EIO)
        with pytest.raises(OSError, match="Input/output error") as failed:
            list(source.new(False))
        assert str(failed.value.filename).startswith(str(hidden))
    assert list(source.new(True)) and len(said) == 1


def test_wildcards_match_what_glob_matches(tmp_path: Path) -> None:
    for name in (
        "m.csv",
        ".h/m.csv",
        "a/m.csv",
        "a/b/m.csv",
        "a/b/n.csv",
        "a/.c.csv",
        "v10/m.csv",
        "v9/m.csv",
        "[x]/m",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nothing")
    patterns = "m.csv *.csv **/m.csv a/**/*.csv */m.csv v*/m.csv .h/* .*/m.csv a/.*.csv [[]x]/m a/** no/*.csv m.csv/*"
    for pattern in patterns.split():
        expected = {Path(one) for one in glob.glob(f"{tmp_path}/{pattern}", recursive=True)} - {tmp_path / "a"}  # noqa: PTH207
        found = matching(f"{tmp_path}/{pattern}", lambda _: None)
        assert set(found) == expected and len(found) == len(expected), pattern
    assert [path.parent.name for path in matching(f"{tmp_path}/v*/m.csv", lambda _: None)] == ["v9", "v10"]
