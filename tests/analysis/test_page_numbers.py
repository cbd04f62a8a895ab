"""Every number of the page's tables is one of the twins', rounded: nobody reads one thing and computes with another."""

import html
import json
import re

import pytest

from fts.analysis.report import write_report
from tests.analysis.pages import unwritten
from tests.analysis.tables import study

CELLS = [("2M", 1), ("2M", 3), ("20M", 1), ("200M", 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with unwritten():
        return write_report(study(CELLS, n=22), tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="module")
def tables(folder):
    """Head -> rows of plain text, of every table of the page."""
    found = {}
    for table in re.findall(r"<table.*?</table>", (folder / "index.html").read_text(), re.S):
        head, *rows = [
            [plain(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr.*?</tr>", table, re.S)
        ]
        found[tuple(head)] = rows
    return found


def plain(markup):
    text = html.unescape(re.sub(r"<[^>]+>", " ", markup)).replace("\N{MINUS SIGN}", "-")
    return re.sub(r"\s+", " ", text).strip()


def twin(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def table_with(tables, *columns):
    (found,) = [(head, rows) for head, rows in tables.items() if set(columns) <= set(head)]
    return found


def spread(row, name, digits=3, joined="{} to {}"):
    return joined.format(f"{row[f'{name}_low']:.{digits}f}", f"{row[f'{name}_high']:.{digits}f}")


def test_the_matrix(folder, tables):
    head, rows = table_with(tables, "h1", "h3")
    seen = {(row[0], int(column[1:])): text for row in rows for column, text in zip(head[1:], row[1:], strict=True)}
    cells = twin(folder, "cells")
    assert len(cells) == len(CELLS)
    for cell in cells:
        text = seen[cell["budget"], cell["horizon"]]
        assert text.startswith(f"{cell['auc']:.3f} {spread(cell, 'auc')} ")
        assert f"loss {cell['loss']:.4f} [{spread(cell, 'loss', joined='{}, {}')}]" in text
        assert f"n {cell['n_val']} ({cell['n_pos']} positive), n effective {cell['n_effective']:.0f}" in text
        assert f"{cell['n_complete']} complete, {cell['n_pruned']} pruned, {cell['n_failed']} failed" in text
        if cell["auc_gain"] is not None:
            low, high = f"{cell['auc_gain_low']:+.3f}", f"{cell['auc_gain_high']:+.3f}"
            assert f"{cell['auc_gain']:+.3f} [{low}, {high}] vs {cell['baseline']}" in text


def test_the_scores(folder, tables):
    head, rows = table_with(tables, "luck limit", "deflated AUC")
    by_cell = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    for cell in twin(folder, "cells"):
        row = by_cell[f"{cell['budget']} h{cell['horizon']}"]
        assert row["loss"] == f"{cell['loss']:.4f} {spread(cell, 'loss')}"
        assert row["Brier"] == f"{cell['brier']:.4f} {spread(cell, 'brier')}"
        assert row["avg. prec."] == f"{cell['average_precision']:.3f} {spread(cell, 'average_precision')}"
        assert row["precision = recall"].startswith(f"{cell['precision']:.3f} {spread(cell, 'precision')}")
        assert row["calibr. error"] == (
            f"{cell['calibration_error']:.3f} {spread(cell, 'calibration_error')} "
            f"chance up to {cell['calibration_limit']:.3f}"
        )
        assert row["luck limit"] == f"{cell['luck_luck_limit']:.3f} best of {cell['luck_n_trials']:.0f}"
        assert row["deflated AUC"].startswith(f"{cell['luck_deflated']:.3f} p ")


def test_the_baselines(folder, tables):
    head, rows = table_with(tables, "baseline", "AUC", "Brier")
    shown = [dict(zip(head, row, strict=True)) for row in rows]
    baselines = twin(folder, "baselines")
    assert len(shown) == len(baselines) > 0
    assert f"Baselines ({len(baselines)})" in (folder / "index.html").read_text()
    for one in baselines:
        ranked = "0.500 by definition" if one["name"] == "class prior" else f"{one['auc']:.3f} {spread(one, 'auc')}"
        assert any(
            row["baseline"].startswith(f"{one['name']} input: {one['inputs']}")
            and row["AUC"] == ranked
            and row["loss"] == f"{one['loss']:.4f} {spread(one, 'loss')}"
            and row["Brier"] == f"{one['brier']:.4f} {spread(one, 'brier')}"
            for row in shown
        ), one["name"]


def test_the_horizon_variance(folder, tables):
    head, rows = table_with(tables, "parameter", "eta²")
    by_label = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    effects = twin(folder, "horizon_variance")
    assert len(by_label) == len(effects) > 0
    for effect in effects:
        row = by_label[effect["label"]]
        assert (row["eta²"], row["by chance"]) == (f"{effect['eta_squared']:.2f}", f"{effect['by_chance']:.2f}")
        assert row["p, corrected"] == f"{effect['p_holm']:.3f}"
        assert row["median h1"] == f"{effect['median_h1']:.3g}"


def test_the_cost_and_the_provenance(folder, tables):
    head, rows = table_with(tables, "training, h", "energy, Wh")
    by_cell = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    for cell in twin(folder, "cells"):
        row = by_cell[f"{cell['budget']} h{cell['horizon']}"]
        ended = cell["n_complete"] + cell["n_pruned"] + cell["n_failed"]
        assert row["trials"].startswith(f"{ended} ") and row["pruned"] == str(cell["n_pruned"])
        assert float(row["training, h"]) == pytest.approx(cell["minutes"] / 60, abs=0.006)
    head, rows = table_with(tables, "trial", "objective", "architecture")
    shown = {row[0]: dict(zip(head, row, strict=True)) for row in rows}
    for one in twin(folder, "provenance"):
        assert shown[one["trial"]]["objective"] == f"{one['objective']:.4f}"
        assert shown[one["trial"]]["architecture"] == one["architecture"]
