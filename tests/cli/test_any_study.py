"""Every command speaks of a job of any study: its axes, its metric and which way is better, its facts; no other's."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fts.jobs import functions
from fts.jobs.api.function import FunctionStudy
from fts.jobs.python import python
from fts.jobs.records import exports, frames
from fts.jobs.records import results as records
from fts.jobs.records.columns import main_parameters
from fts.state import queries, transitions
from fts.state.db import Database
from fts.tui import pictures
from tests.cli.study import Said, cell, csv_of, places_of
from tests.cli.toy import claim, declare_fact, finished_toy, make_toy, run_trial

FLAGSHIP = re.compile(r"\bAUC\b|val_|\bh0\b|2M/h1|--matrix|n_val|prior|\btier\b|\btask\b|architecture")


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Database]:
    opened = make_toy(tmp_path)
    yield opened
    opened.close()


def table(said: Said) -> list[list[str]]:
    """The words of each line of a table, its columns told apart by two blanks."""
    return [re.split(r"\s{2,}", line.strip()) for line in said.out.splitlines()]


# ---------------------------------------------------------------- what is shown


def test_no_command_speaks_of_another_study(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    commands = (
        "queue", "trials 1", "trials 1 --csv", "trials 1 --json", "curve 1", "curve 1 --plot", "events", "status",
        "status --plain", "status --json", "why 1", "why 2", "results", "results --csv", "results --md",
        "results --json", "plan", "report", "trials nonsense", "queue foo:bar", "queue --json",
    )  # fmt: skip
    for words in commands:
        said = fts(*words.split())
        assert not said.err.startswith("fts: a fault"), said
        assert not (found := FLAGSHIP.search(said.out + said.err)), f"fts {words} says {found}"


def test_the_queue_has_a_column_for_each_axis_and_the_arrow_of_the_metric(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    head, *lines = table(fts("queue"))
    assert head == ["job", "place", "cell", "data", "size", "state", "trials", "best acc ↑", "attempt", "note"]
    assert ["1", "—", "mnist/S", "mnist", "S", "✓ done", "3/3", "0.8000", "1", "—"] in lines


def test_trials_show_metric_parameters_and_the_branch_that_drew_none(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    head, first, best, failed = table(fts("trials", "mnist/S"))
    assert head[:5] == ["trial", "state", "acc ↑", "best epoch", "epochs"] and head[-2:] == ["took", "note"]
    assert head[5:-2] == ["lr", "optimizer", "momentum", "loss"], "nothing else, and nothing that is empty"
    assert first[5:8] == ["0.01", "adam", "·"] and best[0] == "t1★" and best[5:8] == ["1e-4", "sgd", "0.5"]
    assert failed[-1] == "it broke" and failed[6:8] == ["·", "·"]


def test_a_running_trial_has_taken_the_time_since_its_process_began(fts: Callable[..., Said], toy: Database):
    transitions.start_trial(toy, claim(toy), 0, params={}, effective={}, seed=0)
    toy.execute_sql("UPDATE attempt SET began_at = began_at - 7200")
    head, trial = table(fts("trials", "1"))[:2]
    assert trial[head.index("took")] == "2 h"
    (row,) = json.loads(fts("trials", "1", "--json").out)["trials"]
    assert row["seconds"] >= 7200
    head, job = table(fts("results", "1", "--wide"))[:2]
    assert job[head.index("took")] == "2 h"
    toy.execute_sql("UPDATE job SET lease_until = lease_until - 3600")  # its worker is gone: nobody knows of more
    assert 3600 <= json.loads(fts("trials", "1", "--json").out)["trials"][0]["seconds"] < 7200


def test_a_name_with_blanks_or_dots_is_a_column_like_any_other(fts: Callable[..., Said], toy: Database, tmp_path: Path):
    claimed = claim(toy)
    run_trial(toy, claimed, 0, 0.6, {"mo mentum": 0.25, "a.b c": "x y"}, **{"n tokens": 7})
    head, first, *_ = table(fts("trials", "1"))
    row = dict(zip(head, first, strict=True))
    assert (row["mo mentum"], row["a.b c"]) == ("0.25", "x y")
    (told,) = csv.DictReader(io.StringIO(fts("trials", "1", "--csv").out))
    assert (told["params.mo mentum"], told["params.a.b c"]) == ("0.25", "x y")
    assert "mo mentum 0.25" in fts("curve", "1").err
    assert "mo mentum" in pictures.render(places_of(tmp_path).db, "trials", (160, 40), job_id=1).text


def test_the_most_important_parameters_have_the_columns(toy: Database):
    claimed = claim(toy)
    for number in range(3):
        run_trial(toy, claimed, number, 0.5, dict.fromkeys(("a", "b", "c", "d"), 0.1) | {"e": 0.1} | {"f": 0.2})
    found = queries.trials(toy, claimed.job_id)
    assert main_parameters(found) == ["a", "b", "c", "d"]


def test_the_curve_is_that_of_the_metric(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    assert "t2 of mnist/S has no epoch yet: it failed, it broke" in fts("curve", "mnist/S:t2").err
    assert table(fts("curve", "mnist/S")) == [
        ["epoch", "acc ↑", "loss"], ["0", "0.7000", "0.2000"], ["★1", "0.8000", "0.2000"],
    ]  # fmt: skip
    plot = fts("curve", "mnist/S:t1", "--plot").out
    assert "acc ↑" in plot and "★" in plot and "0.8000" in plot and "0.7000" in plot
    steps = json.loads(fts("curve", "1:t0", "--json").out)["epochs"]
    assert [(step["step"], step["value"], step["metrics"]) for step in steps] == [
        (0, 0.5, {"loss": 0.4}), (1, 0.6, {"loss": 0.4}),
    ]  # fmt: skip


def test_the_step_has_the_studys_word(fts: Callable[..., Said], toy: Database):
    transitions.declare_study(toy, "train", dict(queries.studies(toy)["train"].declaration) | {"step": "round"})
    finished_toy(toy)
    assert "round" in fts("curve", "1").out.splitlines()[0] and "rounds" in fts("trials", "1").out.splitlines()[0]


def test_the_best_is_the_largest_where_larger_is_better(fts: Callable[..., Said], toy: Database, tmp_path: Path):
    finished_toy(toy)
    row = json.loads(fts("results", "--json", "1").out)["results"][0]
    assert (row["value"], row["best_trial"], row["params.momentum"], row["metrics.acc"]) == (0.8, 1, 0.5, 0.8)
    head, line = table(fts("results", "1"))
    assert head[:8] == ["job", "cell", "data", "size", "state", "trials", "acc ↑", "best"]
    assert line[:8] == ["1", "mnist/S", "mnist", "S", "done", "2/0/1 of 3", "0.8000", "t1"]
    assert "best acc 0.8000" in fts("status", "--plain").out
    exports.export_all(toy, places_of(tmp_path))
    best = json.loads((places_of(tmp_path).exports / "train_mnist_S" / "best_params.json").read_text())
    assert (best["best_trial"], best["metric"], best["direction"]) == (1, "acc", "maximize")


def test_results_without_a_best_say_why(fts: Callable[..., Said], toy: Database):
    claimed = claim(toy)
    transitions.fail_job(toy, claimed, "code error", "broken")
    assert "no complete trial" in fts("results", "1").out


# ---------------------------------------------------------------- one declaration


def test_a_new_fact_is_in_every_table_and_file_with_no_other_change(fts, toy: Database, tmp_path: Path):
    declare_fact(toy)
    finished_toy(toy)
    places = places_of(tmp_path)
    head, first, *_ = table(fts("trials", "1"))
    assert first[head.index("tokens")] == "1,200"
    assert [row["facts.n_tokens"] for row in csv_of(fts("trials", "1", "--csv").out)] == ["1200", "2400", ""]
    told = json.loads(fts("trials", "1", "--json").out)["trials"]
    assert [trial["facts"].get("n_tokens") for trial in told] == [1200, 2400, None]
    assert json.loads(fts("results", "1", "--json").out)["results"][0]["facts.n_tokens"] == 2400
    assert csv_of(fts("results", "1", "--csv").out)[0]["facts.n_tokens"] == "2400"
    exports.export_all(toy, places)
    trial = json.loads((places.exports / "train_mnist_S" / "trials" / "trial_0000.json").read_text())
    assert trial["facts"]["n_tokens"] == 1200
    assert csv_of((places.exports / "train_results.csv").read_text())[0]["facts.n_tokens"] == "2400"
    assert [row.get("facts.n_tokens") for row in frames.tables(toy, "train")["trials"]] == [1200, 2400, None]
    screen = pictures.render(places.db, "results", (120, 40), job_id=1).text
    assert re.search(r"tokens +2,400", screen), screen
    page = Path(fts("report", "--out", str(tmp_path / "report")).out.split()[0])
    assert "tokens 2,400" in page.read_text()


def test_a_fact_that_is_not_to_be_shown_in_tables_is_not(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)  # n_tokens is undeclared
    assert "tokens" not in fts("trials", "1").out
    assert csv_of(fts("trials", "1", "--csv").out)[0]["facts.n_tokens"] == "1200"


# ---------------------------------------------------------------- files


def test_the_files_of_a_study_have_its_names_and_columns(toy: Database, tmp_path: Path):
    places = places_of(tmp_path)
    finished_toy(toy)
    written = exports.export_all(toy, places)
    assert places.exports / "train_results.csv" in written and not places.results_csv.exists()
    (row,) = csv_of((places.exports / "train_results.csv").read_text())
    assert (row["experiment"], row["data"], row["size"], row["metric"]) == ("train_mnist_S", "mnist", "S", "acc")
    assert (row["params.momentum"], row["trials_failed"], row["best_step"]) == ("0.5", "1", "1")
    folder = places.exports / "train_mnist_S"
    assert {path.name for path in folder.iterdir()} == {
        "best_params.json", "train_mnist_S_best.json", "train_mnist_S_all_trials.json", "trials",
    }  # fmt: skip
    trial = json.loads((folder / "trials" / "trial_0001.json").read_text())
    assert (trial["cell"], trial["size"], trial["params"]["momentum"]) == ("mnist/S", "S", 0.5)
    assert [step["value"] for step in trial["learning_curve"]] == [0.7000000000000001, 0.8]


def test_what_a_dead_worker_did_not_export_is_caught_up_once(toy: Database, tmp_path: Path):
    places = places_of(tmp_path)
    finished_toy(toy)
    exports.catch_up(toy, places)
    path = places.exports / "train_results.csv"
    assert len(csv_of(path.read_text())) == 1
    before = path.stat().st_ino
    exports.catch_up(toy, places)
    assert path.stat().st_ino == before


def test_optuna_gets_the_distributions_that_were_drawn(fts: Callable[..., Said], toy: Database, tmp_path: Path):
    import optuna

    finished_toy(toy)
    url = f"sqlite:///{tmp_path}/optuna.db"
    assert fts("export", "--optuna", url).code == 0
    study = optuna.load_study(study_name="train_mnist_S", storage=url)
    assert study.direction.name == "MAXIMIZE" and study.best_trial.number == 1
    assert study.best_params == {"lr": 1e-4, "optimizer": "sgd", "momentum": 0.5}
    assert study.trials[0].distributions.keys() == {"lr", "optimizer"} and study.trials[2].state.name == "FAIL"
    assert study.best_trial.user_attrs["metrics.loss"] == pytest.approx(0.2)
    assert study.best_trial.intermediate_values == pytest.approx({0: 0.7, 1: 0.8})


def test_each_column_of_parquet_has_one_type_whatever_its_rows_hold(tmp_path: Path):
    """So that tables of two studies go together, and DuckDB reads those of a study in which nothing has run."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    trial = {"job": 1, "cell": "S", "trial": 0, "value": 1, "best_step": None, "seed": 2**62, "torch_version": None}
    rows = [
        trial | {"params.mixed": 1, "params.whole": 1, "params.number": 1, "params.flag": True, "params.none": None},
        trial | {"params.mixed": "a", "params.number": 0.5, "best_step": 3, "params.large": 2**70, "facts.parts": [1]},
    ]
    frames.write({"trials": rows, "epochs": [], "draws": []}, tmp_path)
    schema = parquet.read_schema(tmp_path / "trials.parquet")
    kinds = {name: str(schema.field(name).type) for name in schema.names if name.partition(".")[1] or name in trial}
    assert kinds == {
        "job": "int64", "cell": "string", "trial": "int64", "value": "double", "best_step": "int64", "seed": "int64",
        "torch_version": "string", "params.mixed": "string", "params.whole": "int64", "params.number": "double",
        "params.flag": "bool", "params.none": "string", "params.large": "double", "facts.parts": "string",
    }  # fmt: skip
    for name, empty in {"epochs": "value", "draws": "distribution"}.items():
        assert empty in parquet.read_schema(tmp_path / f"{name}.parquet").names
    read = pd.read_parquet(tmp_path / "trials.parquet")
    assert not [name for name in read if read[name].dtype == object and name != "params.flag"]
    assert pa.concat_tables([parquet.read_table(tmp_path / "trials.parquet")] * 2).num_rows == 4
    if duckdb := sys.modules.get("duckdb"):
        assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/epochs.parquet'").fetchone() == (0,)


def test_parquet_holds_trials_epochs_and_draws(fts: Callable[..., Said], toy: Database, tmp_path: Path):
    import pandas as pd

    finished_toy(toy)
    assert fts("export", "--parquet", str(tmp_path / "tables")).code == 0
    trials, epochs, draws = (
        pd.read_parquet(tmp_path / "tables" / f"{n}.parquet") for n in ("trials", "epochs", "draws")
    )
    assert list(trials["params.momentum"].dropna()) == [0.5] and list(trials["size"].unique()) == ["S"]
    assert len(epochs) == 4 and list(epochs["metrics.loss"].round(3).unique()) == [0.4, 0.2]
    assert list(draws["name"]) == ["lr", "optimizer", "lr", "optimizer", "momentum", "lr"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("word", "jobs"),
    [
        ("mnist/S", [1]), ("train_cifar_M", [4]), ("size:S", [1, 3]), ("data:cifar", [3, 4]), ("cifar", [3, 4]),
        ("train", [1, 2, 3, 4]), ("study:train", [1, 2, 3, 4]), ("MNIST/s", [1]), ("!size:S", [2, 4]), ("2", [2]),
        ("train/mnist/S", [1]),
    ],
)  # fmt: skip
def test_jobs_are_named_by_cell_axis_experiment_and_study(fts, toy: Database, word: str, jobs: list[int]):
    assert sorted(job["id"] for job in json.loads(fts("queue", word, "--json").out)["jobs"]) == jobs


def test_a_slip_of_the_hand_is_answered_with_the_nearest_name(fts: Callable[..., Said], toy: Database):
    assert "did you mean mnist/S?" in fts("trials", "mnst/S").err
    assert "did you mean train?" in fts("queue", "trian").err
    assert (
        "expected one of state, status, kind, cause, experiment, study, metric, data, size" in fts("queue", "x:y").err
    )
    assert "'size:S' means several jobs" in fts("trials", "size:S").err


def test_a_cell_that_is_called_like_a_size_is_found(fts: Callable[..., Said], tmp_path: Path):
    db = make_toy(tmp_path, axes={"data": ["9M"], "part": ["h1", "h2"]})
    assert "job 1 (9M/h1)" in fts("trials", "9M/h1").err
    db.close()


def test_a_cell_of_one_number_is_not_taken_for_a_job(fts: Callable[..., Said], tmp_path: Path):
    db = make_toy(tmp_path, axes={"size": [2, 1]})
    assert [job.cell for job in sorted(queries.jobs(db), key=lambda job: job.id)] == ["size=2", "size=1"]
    assert "job 1 (size=2)" in fts("trials", "size=2").err and "job 2" in fts("trials", "size:1").err
    db.close()


# ---------------------------------------------------------------- several studies in one database


@pytest.fixture
def mixed(toy: Database) -> Database:
    """The toy's four jobs, its first one done, and job 5, a cell of the flagship."""
    from fts.study.matrix import write

    finished_toy(toy)
    write(toy, [cell("2M", 1)], who="test")
    return toy


def test_each_study_has_its_own_table(fts: Callable[..., Said], mixed: Database, tmp_path: Path):
    shown = fts("results").out
    assert "acc ↑" in shown and "vs base" in shown and shown.index("acc ↑") < shown.index("vs base")
    assert {row.get("study", "patchtst") for row in json.loads(fts("results", "--json").out)["results"]} == {
        "train", "patchtst",
    }  # fmt: skip
    assert "acc" not in fts("results", "5").out and "vs base" not in fts("results", "1").out
    exports.export_all(mixed, places_of(tmp_path))
    assert places_of(tmp_path).results_csv.read_text().startswith("timestamp,experiment,task,horizon")
    assert "train_mnist_S" not in places_of(tmp_path).results_csv.read_text()
    transitions.cancel(mixed, [5])  # a study without any other cell has no table, and no empty one
    for form in ((), ("--csv",), ("--md",)):
        assert fts("results", *form).out == fts("results", "train", *form).out


def test_commands_of_one_study_refuse_the_jobs_of_another(fts: Callable[..., Said], mixed: Database):
    for words in (("train", "1"), ("replicate", "1"), ("final", "1"), ("unseal", "1", "-y")):
        said = fts(*words)
        assert said.code == 1 and "is of the study train" in said.err and "`fts results 1`" in said.err, said
    assert fts("plan").code == 0 and fts("report").code == 0


def test_a_newcomer_is_told_both_ways_to_begin(fts: Callable[..., Said], tmp_path: Path):
    said = fts("status")
    assert said.code == 6 and "`fts enqueue` begins one (`fts` alone says how)" in said.err
    for words in (("--help",), ("enqueue", "--help")):
        assert "fts enqueue train.py:objective" in " ".join(fts(*words).out.split())


def test_changed_fields_names_the_fields_that_decide(tmp_path: Path):
    (tmp_path / "train.py").write_text("def objective(trial):\n    return 1.0\n")
    (one,) = functions.cells("train.py:objective", tmp_path, 5)
    (two,) = functions.cells("train.py:objective", tmp_path, 9, seed=3)
    assert functions.changed_fields(two, json.loads(json.dumps(one.to_json()))) == ["seed"]


def test_a_declaration_that_no_fts_writes_breaks_no_command(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    facts = [{"name": "n_tokens", "label": [1], "format": "999999999d", "shown": ["table"]}, 7, {"name": {}}, None]
    axes = [{"name": "data", "values": "all"}, {"name": 3}, "size"]
    for odd in ({"facts": facts, "axes": axes, "metrics": {"acc": 1}, "step": 9}, {"metrics": [{"name": "acc"}]}, {}):
        transitions.declare_study(toy, "train", odd)
        for words in (
            "queue",
            "trials 1",
            "trials 1 --csv",
            "trials 1 --json",
            "curve 1",
            "results",
            "export",
            "status",
        ):
            said = fts(*words.split())
            assert said.code == 0 and said.out, (odd, words, said)


def test_a_heading_that_could_steer_the_terminal_does_not(fts: Callable[..., Said], toy: Database):
    finished_toy(toy)
    told = dict(queries.studies(toy)["train"].declaration)
    told["axes"] = [axis | {"label": f"{axis['name']}\u202e\x1b[2J"} for axis in told["axes"]]
    transitions.declare_study(toy, "train", told | {"step": "a\u202e"})
    for words in ("queue", "results", "results --md", "trials 1", "curve 1"):
        said = fts(*words.split())
        assert "\ufffd" in said.out and not {"\u202e", "\x1b"} & set(said.out + said.err), words


def test_json_csv_and_python_hold_the_text_that_was_drawn(fts: Callable[..., Said], toy: Database):
    """Also text that a terminal is not given: JSON and Python escape it, and a file or pipe of CSV may hold it."""
    odd = ("l\nine", "tab\t.", "\U0001f469\u200d\U0001f4bb", "\x1b[31m", "a" * 3_000, "a\r\nb", "  \x85")
    claimed = claim(toy)
    for number, text in enumerate(odd):
        run_trial(toy, claimed, number, number / 10, {"optimizer": text}, attrs={text: text, "l ine": ""})
    listed = json.loads(fts("trials", "1", "--json").out)["trials"]
    assert [trial["params"]["optimizer"] for trial in listed] == list(odd)
    assert [trial["facts"] for trial in listed] == [{text: text, "l ine": ""} for text in odd]
    assert [row["params.optimizer"] for row in csv_of(fts("trials", "1", "--csv").out)] == list(odd)
    transitions.finish_job(toy, claimed)
    assert json.loads(fts("best", "1", "--json").out)["best"]["params"] == {"optimizer": odd[-1]}
    assert fts("best", "1", "--python").out == f"dict(optimizer={odd[-1]!r})\n"
    said = fts("best", "1")
    assert "\x85" not in said.out and "--json has them" in said.err


def test_on_a_terminal_a_long_name_leaves_room_for_the_state(tmp_path: Path):
    make_toy(tmp_path, axes={"data": ["x" * 150 + "y", "x" * 150 + "z"]}).close()
    for words in ("status", "queue"):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 80))
        code = "import sys; from fts.jobs.cli import main; sys.exit(main(sys.argv[1:]))"
        asked = [*python("-c", code), "--db", str(places_of(tmp_path).db), words]
        subprocess.run(asked, stdout=theirs, stderr=theirs, check=True, timeout=60)
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        lines = [line for line in shown.splitlines() if "xxx" in line]
        assert ["y" in line for line in lines] == [True, False] and all("queued" in line for line in lines), shown


def test_two_studies_with_a_cell_of_one_name_are_told_apart(fts: Callable[..., Said], toy: Database, tmp_path: Path):
    (tmp_path / "other.py").write_text((tmp_path / "train.py").read_text())
    (same,) = functions.cells("other.py:objective", tmp_path, 3, axes={"data": ["mnist"], "size": ["S"]})
    transitions.enqueue(toy, [FunctionStudy("other").row(same)])
    assert "means several jobs: 1 (train/mnist/S), 5 (other/mnist/S)" in fts("trials", "mnist/S").err
    assert "job 5 (mnist/S)" in fts("trials", "other/mnist/S").err and "job 5" in fts("trials", "study:other").err
    assert table(fts("queue"))[0][:4] == ["job", "place", "study", "cell"]
    assert "other/mnist/S" in fts("status").out


def test_two_searches_of_a_cell_keep_their_numbers_on_a_narrow_terminal(fts, toy: Database, tmp_path: Path):
    finished_toy(toy)
    assert "job" in records.tables(toy, queries.jobs(toy))[0][1].least
    (again,) = functions.cells("train.py:objective", tmp_path, 3, axes={"data": ["mnist"], "size": ["S"]}, seed=9)
    transitions.enqueue(toy, [FunctionStudy("train").row(again)])
    assert "job" not in records.tables(toy, queries.jobs(toy))[0][1].least


def test_a_search_that_was_cancelled_before_it_began_hides_no_finished_one(fts, toy: Database, tmp_path: Path):
    finished_toy(toy)
    (again,) = functions.cells("train.py:objective", tmp_path, 3, axes={"data": ["mnist"], "size": ["S"]}, seed=9)
    transitions.enqueue(toy, [FunctionStudy("train").row(again)])
    assert "job 5 (mnist/S) has no trial yet" in fts("trials", "mnist/S").err
    assert fts("cancel", "5", "-y").code == 0 and "t1★" in fts("trials", "mnist/S").out


def test_parquet_without_pyarrow_is_refused_in_one_sentence(fts, toy: Database, tmp_path: Path, monkeypatch):
    finished_toy(toy)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = fts("export", "--parquet", str(tmp_path / "tables"))
    assert said.code == 2 and "--parquet needs pyarrow, which is not installed" in said.err
    assert not (tmp_path / "tables").exists()


def test_attributes_of_a_trial_are_kept_as_far_as_a_row_has_room():
    from fts.jobs.supervisor.trial_end import MAX_ATTRIBUTES, kept_attributes

    assert kept_attributes({"n": 3, "note": "x"}) == {"n": 3, "note": "x"}
    assert list(kept_attributes({"n": 3, "long": "x" * MAX_ATTRIBUTES, "m": 4})) == ["n"]
    assert kept_attributes(None) == {}
