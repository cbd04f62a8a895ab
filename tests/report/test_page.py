"""The report of any study is one page that opens offline, with the sections that its data allow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fts.jobs import commands
from fts.jobs.api.function import FunctionStudy
from fts.jobs.report.data import study_report
from fts.jobs.report.matrix import heat, matrix
from fts.jobs.report.outcome import command_of
from fts.jobs.report.page import page
from fts.jobs.report.report import write_report
from fts.jobs.report.script import SCRIPT, hash_of
from fts.jobs.report.sentences import _again
from fts.jobs.report.style import STYLE
from fts.jobs.report.svg import Chart, linear, logarithmic, pixels
from fts.jobs.report.trials import row
from fts.jobs.supervisor.extra_trials import next_extra_trial
from fts.state import queries
from fts.state.pareto_front import front
from fts.state.values import TrialStatus
from fts.tui import pictures
from tests.cli.study import Said, places_of, runner
from tests.cli.toy import finished_toy, make_toy
from tests.report.planted import planted
from tests.tui.values import NOW

VOID = {"meta", "br", "link", "input"}


class Balanced(HTMLParser):
    """Raises where an element is not closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []  # of sections
        self.named: list[str] = []  # every id
        self.links: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given and tag == "section" else []
        self.links += [given["href"] or ""] if "href" in given else []
        self.named += [given["id"] or ""] if "id" in given else []
        assert "src" not in given and not any(name.startswith("on") for name in given)
        assert "style" not in given  # the page's policy would drop it
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append(given.get("type") or "script")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    assert not found.open and len(set(found.named)) == len(found.named)
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert found.scripts in (["application/json", "script"], ["script"]) and not re.search(r"https?://", text)
    assert f"script-src {hash_of(SCRIPT)}; style-src {hash_of(STYLE)};" in text  # and no 'unsafe-inline'
    assert text.count(f"<script>{SCRIPT}</script>") == 1 == text.count(f"<style>{STYLE}</style>")
    return found


def test_a_matrix_with_seeds_and_baseline_has_every_section_of_its_data(tmp_path: Path):
    db = planted(tmp_path, datasets=2, trials=24, seeds=3, baseline="train.py:mean")
    report = study_report(db, places_of(tmp_path), "train")
    twins = [replace(cell, name=f"{cell.name}, {twin}") for cell in report.cells for twin in ("new", "old")]
    assert all(cell.name in heat(report, twins, "data", "size") for cell in twins), "two that differ in no axis"
    text = page(report)
    found = checked(text)
    assert found.ids == [
        "conclusions", "matrix", "trials", "winners", "seeds", "baseline", "history", "importance", "axes",
        "parameters", "curves", "pruning", "failures", "cost", "origin",
    ]  # fmt: skip
    assert "&lt;script&gt;alert(" in text and "--lr=" in text and "12 Wh" not in text
    assert '<p class="answer">The lowest loss is 0.' in text and "better than the baseline; with 2 other seeds" in text
    assert text == page(study_report(db, places_of(tmp_path), "train"))
    db.close()
    monitor = pictures.render(places_of(tmp_path).db, "trials", (120, 40), now=NOW, user="ada", title="here").text
    assert "replicate" in monitor and "baseline" in monitor


def test_several_goals_have_a_front(tmp_path: Path):
    goals = {"loss": "minimize", "latency": "minimize"}
    db = planted(tmp_path, datasets=1, trials=14, goals=goals)
    text = page(study_report(db, places_of(tmp_path), "train"))
    assert "front" in checked(text).ids and "latency" in text
    of_all = {
        f"best of {len(cell.complete)} of its cell" for cell in study_report(db, places_of(tmp_path), "train").cells
    }
    assert len(of_all) == 1 and of_all.pop() in text  # all its complete trials, not those of the front
    db.execute_sql("UPDATE trial SET value = 0.5, facts = json_set(facts, '$.metrics.loss', 0.5) WHERE value NOTNULL")
    for cell in study_report(db, places_of(tmp_path), "train").cells:  # equal in the first goal: the second one decides
        assert cell.best == front(cell.job, cell.trials)[0] != cell.complete[0]
        spec = FunctionStudy("train").cell(cell.job.spec | {"seeds": 2})
        again = next_extra_trial(cell.job, spec, 14, queries.trials(db, cell.job.id))
        assert again is not None and again.facts["replicates"] == cell.best.number
    db.close()


def test_a_study_of_few_trials_has_a_page_and_says_what_is_missing(tmp_path: Path):
    db = make_toy(tmp_path)
    places = places_of(tmp_path)
    (empty,) = [one.read_text() for one in write_report(db, places, "train")]
    assert checked(empty).ids == ["conclusions", "matrix"] and "0 of 4 cells have a result" in empty
    finished_toy(db)
    db.execute_sql("UPDATE trial SET started_at = started_at - 36000")  # interrupted, it waited in line for ten hours
    db.execute_sql("UPDATE attempt SET began_at = began_at - 300")
    db.execute_sql("UPDATE trial SET train_seconds = 300.0 WHERE ended_at IS NOT NULL")
    (path,) = write_report(db, places, "train", now=0.0)
    text = path.read_text()
    checked(text)
    assert ">5 min<" in text and ">10 h<" not in text  # the time of each trial is that of its work
    assert path == places.outputs / "report" / "train.html" and "1 of 4 cells has a result" in text
    assert "3 trials of 3 still to run (job 2 is queued)" in text and "The highest acc is 0.8" in text
    assert path.stat().st_mode & 0o077 == 0 and [one.name for one in path.parent.iterdir()] == ["train.html"]
    db.close()


def test_the_command_writes_a_page_for_each_study_or_the_one_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    fts: Callable[..., Said] = runner(tmp_path, capsys)
    db = make_toy(tmp_path)
    db.close()
    assert fts("report").out.split() == [str(places_of(tmp_path).outputs / "report" / "train.html")]
    assert fts("report", "train", "--out", str(tmp_path / "here")).code == 0
    assert (tmp_path / "here" / "train.html").is_file()
    said = fts("report", "trian")
    assert said.code == 6 and "there is no study 'trian'; did you mean train? expected one of train" in said.err


def test_long_and_hostile_names_stay_within_their_charts_and_as_they_are(tmp_path: Path):
    db = planted(tmp_path, datasets=2, trials=14)
    study = study_report(db, places_of(tmp_path), "train")
    db.close()
    ends = ["`a`", "<img src=x>"]
    named = [replace(cell, name="x" * 70 + "データ" + ends[k % 2]) for k, cell in enumerate(study.cells)]
    text = page(replace(study, cells=tuple(named)))
    checked(text)
    drawn = re.findall(r'class="(?:title|label)">([^<]*)<', text)
    assert drawn and all(pixels(unescape(one)) <= 560 for one in drawn)
    assert any("x…" in one and one.endswith("`a`") for one in drawn)  # both ends
    assert f"<td>{named[0].name}</td>" in text and "<img" not in text


def test_the_command_of_a_winner_has_the_program_that_the_search_has_chosen(tmp_path: Path):
    (made,) = commands.cells(["{program:echo,true}", "--x", "{x:1..4}"], tmp_path, 3, metric="loss")
    job = SimpleNamespace(spec=json.loads(json.dumps(made.to_json())))
    best = SimpleNamespace(params={"program": "echo", "x": 2}, seed=1, number=0)
    cell: Any = SimpleNamespace(job=job)
    assert command_of(cell, cast("Any", best)) == "echo --x 2"


def test_a_cell_without_a_value_on_an_axis_is_in_the_matrix(tmp_path: Path):
    labels = [{"size": "S", "depth": 1}, {"size": "M", "depth": 2}, {"size": "L"}, {"depth": 1}]
    cells = [
        SimpleNamespace(job=SimpleNamespace(labels=one), name=f"c{n}", trials=(), best=None, replicates=None, ended=n)
        for n, one in enumerate(labels)
    ]
    study: Any = SimpleNamespace(cells=cells, axes={"size": ("S", "M", "L"), "depth": (1, 2)}, label=str)
    section = matrix(study)
    assert section is not None and all(f"{n} of 0 complete" in section.body for n in range(4))


@pytest.mark.parametrize(("n", "runs"), [(1, "one run with another seed"), (2, "2 runs with other seeds")])
def test_equal_values_of_other_seeds_are_counted_in_words(n: int, runs: str):
    again = SimpleNamespace(trials=[SimpleNamespace(value=0.5)] * n, curse=0.0)
    cell = SimpleNamespace(replicates=again, best=SimpleNamespace(value=0.5), metric="acc", direction="maximize")
    study: Any = SimpleNamespace(cells=[cell], with_result=[cell])
    (told,) = _again(study)
    assert told.text == f"{runs} gave the same acc to the last digit: perhaps it uses no seed."


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 5e-324), (0.0, 4e-322), (5e-324, 1.0), (5e-324, 1e-322), (1e-310, 1e-300)]
)
def test_the_smallest_numbers_have_an_axis(low: float, high: float):
    for scale in (linear(low, high), *([logarithmic(low, high)] if low > 0 else [])):
        assert all(-0.05 <= place <= 1.05 for place, _ in scale.ticks)
        assert scale(low) < scale(high)


def test_wide_numbers_push_the_axis_to_the_right():
    narrow, wide = (Chart(y=linear(low, 0), y_label="loss", x=linear(0, 1)) for low in (-0.1, -2.2e-11))
    assert narrow.edge == narrow.left < wide.edge
    assert wide.across(0) > max(pixels(label) for _, label in wide.y.ticks) if wide.y else False


def test_equal_values_have_no_winner_and_no_importance(tmp_path: Path):
    db = planted(tmp_path, datasets=1, trials=24)
    study = study_report(db, places_of(tmp_path), "train")
    db.close()
    same = [
        replace(
            cell,
            best=cell.complete[0],
            trials=tuple(replace(t, value=0.5) for t in cell.trials if t in cell.complete),
        )
        for cell in study.cells
    ]
    text = page(replace(study, cells=tuple(same)))
    assert "importance" not in checked(text).ids
    assert "complete trials have the same loss, 0.5000: none is better" in text
    assert "no parameter can be judged" in text and "best of" not in text


def test_a_drawn_none_is_not_a_parameter_that_was_not_drawn() -> None:
    trial: Any = SimpleNamespace(
        number=0,
        value=0.5,
        facts={},
        params={"kind": None},
        status=TrialStatus.COMPLETE,
        ended_at=1.0,
        cause=None,
        badges=("infeasible",),
    )
    cell: Any = SimpleNamespace(name="S", worked={0: 1.0})
    assert row(cell, trial, ["kind", "branch"], [], several=False)[2:5] == ["None", "—", "infeasible"]


def test_no_name_turns_the_page_around_or_ends_its_data(tmp_path: Path):
    db = planted(tmp_path, datasets=1, trials=12)
    study = study_report(db, places_of(tmp_path), "train")
    db.close()
    name = "</script><script>alert(1)</script>\"'&" + "x" * 300 + "\u202e\u05d0\u05d1 \U0001f469\u200d\U0001f680 \ud800"
    cells = [
        replace(
            cell,
            name=name,
            trials=tuple(replace(t, params={name: t.params["lr"], "lr": t.number}) for t in cell.trials),
        )
        for cell in study.cells
    ]
    text = page(replace(study, name=name, cells=tuple(cells)))
    checked(text)
    text.encode()  # half a character would end it
    assert "\u202e" not in text and "\U0001f469\u200d\U0001f680" in text and "\u003c/script>" in text
