"""The page: empty, half and full, self-contained, deterministic, and deaf to hostile names."""

import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from fts.analysis import tables_page
from fts.analysis.page import DARK, LIGHT, told
from fts.analysis.report import CAPTIONS, write_report
from fts.analysis.study_data import BadPredictionsFile, StudyData, read_predictions
from fts.analysis.tables_machine import safe_for_spreadsheets
from fts.tui.render.theme import READABLE, contrast
from tests.analysis.pages import unwritten
from tests.analysis.tables import study, trial_table

HOSTILE = '<script>alert(1)</script>"><img src=http://evil/x onerror=go()>$\\frac{$&{{7*7}}'
FULL = [("2M", 1), ("2M", 3), ("20M", 1), ("200M", 1)]


class Elements(HTMLParser):
    """Tags and attributes a browser would see."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report(study(FULL, hostile=HOSTILE, n=22), folder)


def test_an_empty_study_gives_a_page_that_says_so(tmp_path):
    page = write_report(StudyData(trials=pd.DataFrame()), tmp_path)
    assert "Nothing has been run yet" in page.read_text()
    assert "no cell has been planned or run" in page.read_text()


def test_a_half_finished_matrix_gives_a_page_with_what_there_is(tmp_path):
    table = trial_table([("2M", 1)], n=8)
    planned = trial_table([("2M", 1), ("20M", 3)], n=1)
    cells = planned[["experiment", "budget", "horizon", "task", "tier"]].assign(trials_wanted=30, status="queued")
    text = write_report(StudyData(trials=table, cells=cells), tmp_path).read_text()
    assert "1 of 2 cells have results" in text
    assert "8 of 30 trials" in text
    assert "not planned" in text


def test_the_full_page_has_every_section_and_figure(full):
    text = full.read_text()
    for name in CAPTIONS:
        assert f'<section id="{name.replace("_", "-")}">' in text
        assert (full.parent / "figures" / f"{name}.png").stat().st_size > 5_000
        assert (full.parent / "figures" / f"{name}.svg").read_text().endswith("</svg>\n")
    assert text.index("What these data cannot show") < text.index("The matrix")


def test_the_page_loads_nothing_from_anywhere(full):
    page = Elements(full.read_text())
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    for _, name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "data", "action"):
            assert value.startswith(("#", "data:")), value
        assert not name.startswith("on")
    assert "url(http" not in full.read_text()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_and_marks_can_be_told_from_the_paper(theme):
    colours = dict(re.findall(r"--(\w+):(#[0-9a-f]+)", theme.replace("#fff;", "#ffffff;")))
    seen = {name: contrast(colour, colours["paper"]) for name, colour in colours.items()}
    assert min(seen[name] for name in ("ink", "soft", "good", "bad", "warn", "base")) >= READABLE
    assert min(seen[f"h{n}"] for n in range(3)) >= 3 and min(seen["h3"], seen["h4"]) >= 2  # markers tell them, too


def test_the_page_says_what_it_cost_and_does_not_guess_energy(full):
    text = full.read_text()
    assert "not measurable here" in text
    assert "22 of 30" in text and "remaining, h" in text


def test_figures_take_the_pages_colours_so_that_the_dark_page_can_be_read(full):
    text = full.read_text()
    assert "prefers-color-scheme:dark" in text
    drawn = text[text.index("<figure") :]
    assert "var(--ink)" in drawn and not re.search(r": #[0-9a-f]{6}", drawn)
    assert "var(--" not in (full.parent / "figures" / "results.svg").read_text()


def test_commands_are_shown_as_commands_and_a_lone_backtick_is_text():
    assert told("use `fts final CELL` <once>") == "use <code>fts final CELL</code> &lt;once&gt;"
    assert told("a ` b") == "a ` b"
    assert told("`<b>`") == "<code>&lt;b&gt;</code>"


def test_the_earlier_studys_value_stands_beside_ours(full, tmp_path):
    assert "Compared with the earlier study" in full.read_text()
    assert "<td>20M h1</td><td>0.715</td>" in full.read_text()
    other = StudyData(trials=trial_table([("2M", 1)], n=6, task="close_1pct"))
    with unwritten():
        assert "Compared with the earlier study" not in write_report(other, tmp_path).read_text()


def test_one_size_is_no_scaling_figure(tmp_path):
    with unwritten():
        text = write_report(StudyData(trials=trial_table([("2M", 1), ("2M", 3)], n=6)), tmp_path).read_text()
    assert 'id="scaling"' not in text
    assert "needs at least 3 sizes" in text


def test_a_hostile_name_is_text_and_nothing_else(full):
    text = full.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "{{7*7}}" in text  # a name is not a template either
    assert "img" not in Elements(text).tags


def test_ids_are_unique_so_figures_do_not_borrow_from_each_other(full):
    ids = [value for _, name, value in Elements(full.read_text()).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', full.read_text()))
    assert used <= set(ids)


def test_the_twins_hold_the_same_numbers(full):
    cells_csv = pd.read_csv(full.parent / "cells.csv")
    cells_json = json.loads((full.parent / "cells.json").read_text())
    assert list(cells_csv["auc"]) == pytest.approx([row["auc"] for row in cells_json])
    assert f"{cells_csv['auc'].iloc[0]:.3f}" in full.read_text()
    assert (cells_csv["auc_low"] < cells_csv["auc"]).all()
    summary = json.loads((full.parent / "summary.json").read_text())
    assert len(summary["answers"]) == 4


def test_every_best_value_names_its_trial_data_labels_and_commit(full):
    rows = pd.read_csv(full.parent / "provenance.csv")
    assert len(rows) == len(FULL)
    assert rows["trial"].str.contains(":t").all()
    assert rows[["data_md5", "label_md5", "code_commit"]].notna().to_numpy().all()


def test_equal_data_give_an_equal_page(tmp_path):
    data = study([("2M", 1)], n=6)
    one, two = write_report(data, tmp_path / "a"), write_report(data, tmp_path / "b")
    assert one.read_bytes() == two.read_bytes()


def test_a_spreadsheet_would_not_run_a_name():
    table = pd.DataFrame({"experiment": ["=HYPERLINK(0)", "plain", None], "auc": [-0.1, 0.6, 0.7]})
    safe = safe_for_spreadsheets(table)
    assert list(safe["experiment"])[:2] == ["'=HYPERLINK(0)", "plain"]
    assert list(safe["auc"]) == [-0.1, 0.6, 0.7]


def test_two_tasks_are_shown_side_by_side(tmp_path):
    both = pd.concat([trial_table([("2M", 1)], n=6), trial_table([("2M", 1)], n=6, task="close_1pct", job=99)])
    both.loc[both["task"] == "close_1pct", "experiment"] = "phase6a_2M_h1_close_1pct"
    with unwritten():
        text = write_report(StudyData(trials=both), tmp_path).read_text()
    assert "close_1pct on a25" in text
    assert '<section id="results-2">' in text


def test_predictions_come_back_in_order_and_broken_ones_are_refused(tmp_path):
    path = tmp_path / "predictions.parquet"
    days = pd.to_datetime(["2020-01-03", "2020-01-02"])
    pd.DataFrame({"date": days, "y": [1, 0], "p": [0.7, 0.2]}).to_parquet(path)
    assert list(read_predictions(path)["p"]) == [0.2, 0.7]
    pd.DataFrame({"date": days, "y": [1, 0], "p": [0.7, 1.2]}).to_parquet(path)
    with pytest.raises(BadPredictionsFile, match=r"outside 0..1"):
        read_predictions(path)
    pd.DataFrame({"date": days}).to_parquet(path)
    with pytest.raises(BadPredictionsFile, match="has no columns y, p"):
        read_predictions(path)
    pd.DataFrame({"date": days[:0], "y": [], "p": []}).to_parquet(path)
    with pytest.raises(BadPredictionsFile, match="has no days"):
        read_predictions(path)


def test_baselines_have_the_scores_and_intervals_of_cells(full):
    baselines, cells = pd.read_csv(full.parent / "baselines.csv"), pd.read_csv(full.parent / "cells.csv")
    for name in ("auc", "loss", "brier", "average_precision", "calibration_error"):
        assert {name, f"{name}_low", f"{name}_high"} <= set(cells.columns) & set(baselines.columns)
        rows = baselines[baselines["name"] != "class prior"]
        assert (rows[f"{name}_low"] <= rows[name]).all() and (rows[name] <= rows[f"{name}_high"]).all()
        assert (rows[f"{name}_low"] < rows[f"{name}_high"]).all()
    twin = pd.DataFrame(json.loads((full.parent / "baselines.json").read_text()))
    assert list(twin["brier_high"]) == pytest.approx(list(baselines["brier_high"]))
    row = baselines[baselines["name"] == "logistic regression"].iloc[0]
    page = full.read_text()
    for name in ("auc", "loss", "brier", "average_precision"):
        assert f"{row[f'{name}_low']:.3f} to {row[f'{name}_high']:.3f}" in page
    assert "by definition" in page, "the class prior ranks nothing, so its AUC has no interval"


def test_the_page_says_the_log_loss_beside_the_baselines(full):
    cells = pd.read_csv(full.parent / "cells.csv")
    gain = cells.iloc[0]
    ends = f"{gain['loss_gain_low']:+.3f} to {gain['loss_gain_high']:+.3f}".replace("-", "−")
    assert ends in full.read_text()


def test_what_all_winners_share_is_said_once_and_the_table_keeps_what_differs():
    frame = pd.DataFrame(
        [
            {
                "trial": f"a:t{n}",
                "objective": 0.5,
                **dict.fromkeys(tables_page.PROVENANCE, "x"),
                "seed": n,
                "pruner": None,
            }
            for n in range(3)
        ]
    )
    shared, own = tables_page.shared_and_own(frame)
    assert dict(shared)["code_commit"] == "x" and "pruner" not in dict(shared) and "seed" not in dict(shared)
    assert list(own.columns) == ["trial", "objective", "seed"]
    assert tables_page.shared_and_own(frame.head(1))[1].shape == (1, len(frame.columns))


def test_the_json_twin_keeps_every_digit_and_says_null_for_what_is_no_number(tmp_path):
    table = trial_table([("2M", 1)], n=3)
    table.loc[0, "learning_rate"], table.loc[1, "last_value"], table.loc[2, "last_value"] = 1e-4 / 3, None, float("inf")
    with unwritten():
        write_report(StudyData(trials=table), tmp_path)
    rows = {row["number"]: row for row in json.loads((tmp_path / "trials.json").read_text())}
    assert rows[0]["learning_rate"] == 1e-4 / 3
    assert rows[1]["last_value"] is None and rows[2]["last_value"] is None
    for twin in tmp_path.glob("*.json"):
        assert not re.search(r"\b(NaN|Infinity)\b", twin.read_text()), twin.name


def test_a_table_without_rows_can_still_be_read(tmp_path):
    write_report(StudyData(trials=pd.DataFrame()), tmp_path)
    for twin in tmp_path.glob("*.csv"):
        assert len(pd.read_csv(twin).columns) > 3, twin.name


def test_validation_too_small_for_an_interval_does_not_end_the_report(tmp_path):
    data = study([("2M", 1), ("20M", 1), ("200M", 1)], n=3)
    few = {name: frame.iloc[:8] for name, frame in data.predictions.items()}
    page = write_report(StudyData(trials=data.trials, predictions=few), tmp_path)
    assert "too few for an interval" in page.read_text()


def test_labels_that_are_neither_0_nor_1_are_refused(tmp_path):
    days = pd.bdate_range("2020-01-01", periods=2)
    pd.DataFrame({"date": days, "y": [0, 2], "p": [0.1, 0.2]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(BadPredictionsFile, match="other than 0 and 1"):
        read_predictions(tmp_path / "p.parquet")
