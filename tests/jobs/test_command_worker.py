"""Commands through queue and worker: their jobs end like those of functions, and hold up no other."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fts_process import Study, wait_until
from tests.fts_process import fts as run

TRAIN = """
import json, os, sys
lr, loss = float(sys.argv[1]), 1.0
for epoch in range(int(sys.argv[2])):
    loss = loss * (1 - lr) + 0.01 * epoch
    with open(os.environ["FTS_REPORT"], "a") as report:
        print(json.dumps({"epoch": epoch, "val_loss": loss, "acc": 1 - loss}), file=report)
"""


def test_enqueue_and_worker_show_a_command_like_a_function(tmp_path: Path):
    (tmp_path / "train.py").write_text(TRAIN)

    def fts(*words: str) -> str:
        said = run(words, tmp_path, os.environ)
        assert said.code == 0, said
        return said.out

    fts("enqueue", "--metric", "val_loss", "--trials", "3", "-m", "size=S", "--", "python3", "train.py",
        "{lr:0.1..0.5}", "4")  # fmt: skip
    fts("worker", "--until-empty", "--slots", "1", "--threads", "1")
    (job,) = json.loads(fts("queue", "--json"))["jobs"]
    trials = json.loads(fts("trials", "train", "--json"))["trials"]
    assert (job["status"], job["cell"], job["study"]) == ("done", "S", "train")
    assert len(trials) == 3 and {tuple(trial["params"]) for trial in trials} == {("lr",)}
    assert {trial["status"] for trial in trials} <= {"complete", "pruned"}
    assert "acc" in fts("curve", "train")
    best = json.loads((tmp_path / "outputs" / "hpo" / "train_S" / "best_params.json").read_text())
    assert best["command"] == ["python3", "train.py", "{lr}", "4"] and "objective" not in best


def test_what_a_command_puts_in_the_place_of_its_report_fails_its_trials_and_holds_up_no_other_job(tmp_path: Path):
    def enqueue(name: str, script: str) -> None:
        words = ("enqueue", "--name", name, "--metric", "loss", "--trials", "1", "--shell", "--", script)
        assert run(words, tmp_path, os.environ).code == 0

    enqueue("pipe", "rm $FTS_REPORT; mkfifo $FTS_REPORT; sleep {x:0.1..0.2}")
    enqueue("long", "head -c 2000000 /dev/zero | tr '\\0' x > $FTS_REPORT; sleep {x:0.1..0.2}")
    enqueue("well", "sleep {x:0.1..0.2}; fts log loss=0.5")
    quick = os.environ | {"FTS_OUTAGE_PAUSE_S": "0.001"}
    assert run(("worker", "--until-empty", "--slots", "1", "--threads", "1"), tmp_path, quick).code == 0
    jobs = {job["study"]: job for job in json.loads(run(("queue", "--json"), tmp_path, os.environ).out)["jobs"]}
    assert jobs.pop("well")["status"] == "done"
    told = {"pipe": "is not a file any more", "long": "each line has over 1,048,576 bytes"}
    for name, words in told.items():
        assert jobs[name]["status"] == "failed" and words in jobs[name]["message"], jobs[name]


def test_a_link_in_the_place_of_a_report_is_tried_again_and_holds_up_no_other_job(tmp_path: Path):
    """It may be a person's, who moves the files to another disk."""
    study = Study(tmp_path)
    for name, script in (("loop", "ln -sf report.jsonl $FTS_REPORT"), ("well", "fts log loss=0.5")):
        words = ("--name", name, "--metric", "loss", "--trials", "1", "--shell", "--")
        study.ok("enqueue", *words, f"sleep {{x:0.1..0.2}}; {script}")
    worker = study.start("worker", "--slots", "1", "--threads", "1")
    wait_until(lambda: study.one("SELECT status FROM job WHERE study = 'well'") == "done")
    assert study.one("SELECT status FROM job WHERE study = 'loop'") in ("queued", "running")
    assert "it is a link" in study.ok("events")
    worker.terminate()
    assert worker.wait(60) == 0
