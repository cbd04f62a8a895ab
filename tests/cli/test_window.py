"""The monitor's commands: a picture without a terminal, and a refusal where one is needed."""

from __future__ import annotations

from pathlib import Path

from fts.state import queries
from fts.state.db import Database
from tests.cli.study import finished_cell


def test_a_snapshot_is_text_of_the_asked_size(fts, db: Database):
    finished_cell(db)
    lines = fts("snapshot", "--size", "80x24").out.splitlines()
    assert len(lines) == 24 and max(map(len, lines)) <= 80
    assert any("2M/h1" in line and "done" in line for line in lines)


def test_a_snapshot_is_written_as_svg_and_changes_nothing(fts, db: Database, tmp_path: Path):
    before = len(queries.events(db))
    target = tmp_path / "frame.svg"
    assert fts("snapshot", "--screen", "results", "--to", str(target)).code == 0
    assert target.read_text().startswith("<svg")
    assert len(queries.events(db)) == before


def test_a_format_alone_names_the_file_and_txt_alone_prints(fts, db: Database, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fts("snapshot", "--screen", "queue", "--size", "120x40", "--to", "svg").code == 0
    assert (tmp_path / "fts-queue-120x40.svg").read_text().startswith("<svg")
    assert len(fts("snapshot", "--size", "80x24", "--to", "txt").out.splitlines()) == 24


def test_unknown_sizes_and_endings_are_refused(fts, db: Database, tmp_path: Path):
    for words in (["--size", "big"], ["--to", str(tmp_path / "frame.gif")], ["--screen", "cinema"]):
        assert fts("snapshot", *words).code == 2


def test_the_monitor_needs_a_terminal(fts, db: Database, monkeypatch):
    said = fts("tui")
    assert said.code == 2 and "needs a terminal" in said.err
