"""Bars of one's own become a data set with a summary, a record of what was accepted, and a safe name."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fts.data.bars import BadBars
from fts.data.faults import ImplausibleBars
from fts.data.files import parquet_bytes
from fts.data.layouts import ReadOptions
from fts.data.manifest import Manifest, ManifestError, UnknownDataset, clean_ticker, ticker_of_file
from fts.data.sources import bundled, bundled_vix
from fts.data.splits import SplitTooSmall, check_counts
from fts.jobs.cli import main
from fts.jobs.trial.error_text import sentence_of
from fts.study import dataset
from fts.study.cell_data import load
from tests.data.made import build, make_bars, write_csv
from tests.fts_process import Said
from tests.fts_process import fts as run


def split_bars(rows: int = 700) -> pd.DataFrame:
    """With a 2:1 split that nobody adjusted for."""
    bars = bundled("SPX").iloc[:rows].copy()
    bars.iloc[400:, :4] /= 2
    return bars


def fts(folder: Path, *words: str) -> Said:
    """The real command in a process of its own, in an empty folder."""
    folder.mkdir(exist_ok=True)
    return run(words, folder, {k: v for k, v in os.environ.items() if not k.startswith("FTS_")})


def test_implausible_bars_are_refused_before_anything_is_written_and_recorded_when_accepted(tmp_path):
    path, root = write_csv(split_bars(), tmp_path / "ABC.csv"), tmp_path / "data"
    with pytest.raises(ImplausibleBars, match=r"ABC\.csv: splits: .*2:1.*--accept splits"):
        build(root, "csv", path=path)
    with pytest.raises(ImplausibleBars, match="splits"):
        build(root, "csv", path=path, accept=["moves", "gaps"])
    assert not list(root.glob("raw/*")) and dataset.listing(root) == ()
    entry = build(root, "csv", path=path, accept=["splits"])
    for one in dataset.listing(root):
        assert [(f["kind"], f["accepted"]) for f in one.findings or []] == [("splits", True)]
    assert dataset.verify(root) == [] and "splits (accepted)" in dataset.kept(root)[0]
    assert dataset.data_note(root, entry.md5, "a25") == "note: ABC.dataset.a25 was built with --accept splits"
    assert build(root, "raw", "ABC") == entry  # what was accepted stays so
    assert build(root, "csv", path=path, accept=["splits"]) == entry


def test_verify_names_what_an_earlier_version_registered_in_silence(tmp_path):
    old = Manifest(tmp_path).store("raw", "ABC.OHLCV.daily", split_bars(), origin="file ABC.csv")
    manifest = tmp_path / "raw" / "manifest.json"
    content = json.loads(manifest.read_text())
    for entry in content["entries"]:
        del entry["findings"]  # as it was written before there were any
    manifest.write_text(json.dumps(content))
    assert Manifest(tmp_path).current("ABC.OHLCV.daily") == old
    (problem,) = dataset.verify(tmp_path)
    assert problem.startswith("ABC.OHLCV.daily: splits: ") and "--source raw --ticker ABC --accept splits" in problem
    with pytest.raises(ImplausibleBars):
        build(tmp_path, "raw", "ABC")
    build(tmp_path, "raw", "ABC", accept=["splits"])
    assert dataset.verify(tmp_path) == []
    assert [e.md5 for e in Manifest(tmp_path).entries("raw")] == [old.md5, old.md5]  # the bytes are untouched


def test_wrong_closes_of_the_vix_are_named_with_a_command_that_keeps_them(tmp_path):
    closes = bundled_vix().to_frame()
    closes.iloc[700] /= 10
    Manifest(tmp_path).store("raw", "VIX.Close.daily", closes)
    (problem,) = dataset.verify(tmp_path)
    words = problem.split("`fts data register ")[1].rstrip("`").split()
    dataset.register(tmp_path, words[0], words[2], accept=[words[4]])
    assert dataset.verify(tmp_path) == [] and "moves (accepted)" in dataset.kept(tmp_path)[0]


def test_odd_findings_in_a_manifest_are_a_sentence(tmp_path):
    Manifest(tmp_path).store("raw", "ABC.OHLCV.daily", make_bars(60))
    manifest = tmp_path / "raw" / "manifest.json"
    for odd in (5, [5], [{}], "x", [{"kind": 1, "text": "x"}]):
        content = json.loads(manifest.read_text())
        content["entries"][0]["findings"] = odd
        manifest.write_text(json.dumps(content))
        assert ["cannot be read" in problem for problem in dataset.verify(tmp_path)] == [True]


def test_appended_rows_and_other_dates_make_new_versions_and_keep_the_old_files(tmp_path):
    bars, root = bundled("SPX"), tmp_path / "data"
    built = [
        build(root, "csv", "ABC", path=write_csv(part, tmp_path / "ABC.csv"))
        for part in (bars.iloc[:600], bars.iloc[:650], bars.iloc[100:700])
    ]
    assert [entry.version for entry in built] == [1, 2, 3] and len({entry.md5 for entry in built}) == 3
    assert all((root / entry.path).is_file() for entry in built) and len(list(root.glob("raw/ABC.*.parquet"))) == 3


def test_parquet_of_another_shape_in_raw_is_copied_and_its_own_is_adopted(tmp_path):
    (tmp_path / "raw").mkdir()
    bars = bundled("SPX").iloc[-600:]
    (tmp_path / "raw" / "OURS.parquet").write_bytes(parquet_bytes(bars))
    bars.iloc[::-1].reset_index().to_parquet(tmp_path / "raw" / "THEIRS.parquet")
    for name in ("OURS", "THEIRS"):
        dataset.register(tmp_path, f"raw/{name}.parquet")
        assert len(build(tmp_path, "raw", name).path) > 0
    assert dataset.verify(tmp_path) == []


@pytest.mark.parametrize(("first", "second"), [("SPX", "spx"), ("Abc", "aBC"), ("vix", "VIX")])
def test_names_that_differ_by_case_alone_are_refused(tmp_path, first, second):
    root, bars = tmp_path / "data", write_csv(make_bars(600), tmp_path / "bars.csv")
    dataset.register(root, bars, first)
    for attempt in (dataset.register, lambda r, p, t: build(r, "csv", t, path=p)):
        before = sorted(path.name for path in root.rglob("*"))
        with pytest.raises((ManifestError, BadBars), match=r"only in upper and lower case|give the file with --vix"):
            attempt(root, bars, second)
        assert sorted(path.name for path in root.rglob("*")) == before
    names = [path.name for path in root.rglob("*") if not path.name.startswith(".")]
    assert len({name.casefold() for name in names}) == len(names)


def test_a_processed_data_set_cannot_have_a_twin_either(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.store("processed", "SPX.dataset.a25", make_bars(60), tier="a25")
    with pytest.raises(ManifestError, match="only in upper and lower case"):
        manifest.store("processed", "spx.dataset.a25", make_bars(60, 1), tier="a25")
    manifest.store("processed", "SPX.dataset.a20", make_bars(60), tier="a20")


@pytest.mark.parametrize("odd", ["", " ", "../x", "/etc/passwd", "a" * 300, ".hidden", "-rf", "x\ny", "x\0", "Ä", "株"])
def test_an_odd_ticker_is_refused_with_the_option(tmp_path, odd):
    path = write_csv(make_bars(300), tmp_path / "bars.csv")
    with pytest.raises(ManifestError, match=r"cannot name a file; .*--ticker"):
        dataset.register(tmp_path / "data", path, odd)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "ticker"),
    [
        ("^GSPC.csv", "GSPC"),
        ("BRK.B.csv", "BRK-B"),
        ("BRK.B.CSV.gz", "BRK-B"),
        ("CON.txt", "CON"),
        ("SPX.1f0e8c23aa01.parquet", "SPX"),
        ("EURUSD=X.csv", "EURUSD-X"),
    ],
)
def test_a_file_names_its_ticker(name, ticker):
    assert clean_ticker(ticker_of_file(Path(name))) == ticker


def test_few_negatives_are_refused_like_few_positives(tmp_path):
    y = np.ones(300, dtype=np.float32)
    y[::10] = 0
    train, val = np.arange(200), np.arange(200, 290)
    with pytest.raises(SplitTooSmall, match="validation has 9 negatives in 90 windows, at least 30 are needed"):
        check_counts(y, train, val, 30, "by fraction")
    with pytest.raises(SplitTooSmall, match="validation has 9 positives in 90 windows, at least 30 are needed"):
        check_counts(1 - y, train, val, 30, "by fraction")
    check_counts(y, train, val, 9, "by fraction")
    bars = write_csv(make_bars(900, 3), tmp_path / "bars.csv")
    entry = build(tmp_path, "csv", "ABC", "a20", path=bars, horizon=5, context=20)
    with pytest.raises(SplitTooSmall, match=r"validation has \d+ negatives in"):
        load(tmp_path, entry.md5, "threshold_0.1pct", 5, 20, {"train": 0.93, "val": 0.05}, tier="a20")


def test_a_folder_without_data_is_told_apart_from_a_lost_data_set(tmp_path):
    with pytest.raises(UnknownDataset, match=r"no data in .*: run the command in the study's folder, or set FTS_DATA"):
        Manifest(tmp_path / "none").find("0" * 32)
    Manifest(tmp_path).store("raw", "ABC.OHLCV.daily", make_bars(60))
    with pytest.raises(UnknownDataset, match="no data set has the md5"):
        Manifest(tmp_path).find("0" * 32)


def test_our_own_errors_speak_for_themselves_and_foreign_ones_name_their_place():
    assert sentence_of(SplitTooSmall("validation has 0 positives\nmore")) == "validation has 0 positives"
    try:
        int("x")
    except ValueError as error:
        line = sentence_of(error)
    assert line.startswith("invalid literal for int() with base 10: 'x' (ValueError, test_own_bars.py line ")
    assert sentence_of(KeyError()) == "no message (KeyError)"


def test_the_command_sums_up_what_it_took_before_it_registers_it(tmp_path):
    bars = bundled("SPX").iloc[-600:]
    text = ["Price,Close,High,Low,Open,Volume", "Ticker,SPX,SPX,SPX,SPX,SPX", "Date,,,,,"]
    text += [f"{d:%Y-%m-%d},{r.Close},{r.High},{r.Low},{r.Open},{r.Volume}" for d, r in bars.iterrows()]
    (tmp_path / "yahoo.csv").write_text("\n".join(text))
    done = fts(tmp_path / "study", "data", "build", "--ticker", "MINE", "../yahoo.csv", "--json")
    assert done.code == 0, done.err
    said = done.err.splitlines()
    assert said[0] == f"yahoo.csv: 600 rows, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
    for words in ("yfinance, 3 header lines", "oldest first", "decimal point", "largest move", "gaps: at most"):
        assert words in done.err
    content = json.loads(done.out)["dataset"]
    assert content["dataset"] == "MINE.dataset.r20" and content["findings"] == []
    assert content["taken"]["rows"] == 600 and content["taken"]["layout"]["source"] == "yfinance, 3 header lines"


def test_the_command_refuses_in_one_sentence_and_takes_what_is_accepted_by_name(tmp_path):
    write_csv(split_bars(), tmp_path / "ABC.csv")
    study = tmp_path / "study"
    done = fts(study, "data", "build", "../ABC.csv")
    assert done.code == 1 and "wrong: splits: " in done.err
    assert done.err.splitlines()[-1].endswith("with --accept splits") and not (study / "data" / "raw").exists()
    done = fts(study, "data", "build", "../ABC.csv", "--accept", "splits,gaps")
    assert done.code == 0 and "accepted: splits: " in done.err and "--accept gaps: nothing of this kind" in done.err
    assert fts(study, "data", "verify").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--accept", "everything"),
        ("--columns", "open"),
        ("--columns", "foo=x"),
        ("--columns", "open="),
        ("--date-format", "soon"),
        ("--decimal", "x"),
        ("--source", "bundled"),
    ],
)
def test_options_without_a_meaning_are_refused_as_usage(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setenv("FTS_DATA", str(tmp_path / "data"))
    path = write_csv(make_bars(60), tmp_path / "ABC.csv")
    assert main(["data", "build", str(path), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fts: ") and said.count("\n") == 1 and not (tmp_path / "data").exists()


def test_the_example_of_the_runbook_runs_as_it_stands(tmp_path):
    """The block of docs/runbook.md that begins with `cat > mine.csv`."""
    runbook = Path("docs/runbook.md").read_text()
    block = runbook.split("```bash\n# your own bars\n")[1].split("```")[0]
    bars = bundled("SPX").iloc[-400:]
    rows = [
        f"{d:%d/%m/%Y};{r.Open:.2f};{r.High:.2f};{r.Low:.2f};{r.Close:.2f};{r.Volume:.0f}" for d, r in bars.iterrows()
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["Day;First;Highest;Lowest;Last;Traded", *rows]).replace(".", ","))
    for line in block.strip().splitlines():
        command = line.split("#")[0].split()
        assert command[0] == "fts"
        done = fts(tmp_path, *command[1:])
        assert done.code == 0, (line, done.err)
    assert "MINE.dataset.r20" in fts(tmp_path, "data", "list").out


def test_reading_one_stock_of_many_names_the_data_set_after_it(tmp_path):
    table = pd.concat([bundled("SPX").iloc[-600:].assign(Name=name) for name in ("AAPL", "MSFT")]).reset_index()
    table.to_csv(tmp_path / "all_stocks_5yr.csv", index=False)
    entry = build(tmp_path / "data", "csv", path=tmp_path / "all_stocks_5yr.csv", reading=ReadOptions(name="msft"))
    assert entry.dataset == "MSFT.dataset.a25"
