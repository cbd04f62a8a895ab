"""From bars to what a cell trains on: built once, checked at every load, test part sealed."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from fts.data import sources
from fts.data.bars import BadBars
from fts.data.labels import label
from fts.data.manifest import Manifest, ManifestError, UnknownDataset
from fts.data.sources import SourceFailed
from fts.data.splits import FractionSplit, SplitTooSmall
from fts.features import tiers
from fts.features.leak import LeakyFeature
from fts.study import dataset
from fts.study.cell_data import CellData, load
from fts.study.dataset import JoinFailed, check_join
from tests.data.made import build, make_bars, write_csv

TASK = "threshold_1pct"


def built(root: Path, rows: int = 1200, seed: int = 0, tier: str = "a25"):
    path = write_csv(make_bars(rows, seed), root.parent / f"{root.name}-ABC.csv")
    return build(root, "csv", "ABC", tier, path=path, horizon=5, context=20)


def arrays(data: CellData) -> dict[str, object]:
    return {
        f.name: getattr(data, f.name).tobytes()
        if isinstance(getattr(data, f.name), np.ndarray)
        else getattr(data, f.name)
        for f in fields(data)
    }


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The default data set; its tests read alone."""
    root = tmp_path_factory.mktemp("bundled")
    return root, dataset.build(root)


def test_the_default_data_set_is_the_bundled_sp500(bundled):
    root, entry = bundled
    assert (entry.dataset, entry.tier, entry.rows, entry.version) == ("SPX.dataset.a25", "a25", 4832, 1)
    assert (entry.start, entry.end) == ("1999-10-18", "2018-12-31")
    assert [e.dataset for e in dataset.listing(root)] == ["SPX.OHLCV.daily", "SPX.dataset.a25"]
    assert entry.sources == {"SPX.OHLCV.daily": dataset.listing(root)[0].md5}
    assert dataset.verify(root) == [] and dataset.pending(root) == []
    assert build(root) == entry  # again: the same bytes, no new version
    prints = set()
    for horizon in (1, 3, 5):
        data = load(root, "SPX.dataset.a25", TASK, horizon, 80)
        prints.add(data.label.md5)
        assert data.features_TF.shape == (4107, 25) and data.n_pos >= 30
        assert "by fraction" in data.split.text and "the data ends on 2018-12-31" in data.split.text
    assert len(prints) == 3


def test_tier_c_takes_the_bundled_vix_and_says_which_rows_it_left_out(tmp_path):
    entry = build(tmp_path, tier="c")
    assert entry.rows == 1198 and set(entry.sources) == {"SPX.OHLCV.daily", "VIX.Close.daily"}
    assert entry.note.startswith("3774 of 5031 rows lie outside the VIX closes 2014-01-03..2019-01-03")


def test_features_are_standardised_by_train_alone(tmp_path):
    entry = built(tmp_path / "data")
    data = load(tmp_path / "data", entry.dataset, TASK, 3, 20)
    raw = load(tmp_path / "data", entry.md5, TASK, 3, 20, norm="none")
    assert data.features_TF.dtype == np.float32 and data.features_TF.flags.c_contiguous
    train = data.features_TF[: data.split.train_stop].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(data.features_TF * data.sd + data.mean, raw.features_TF, rtol=1e-4, atol=1e-2)
    with pytest.raises(ValueError, match="norm is 'z'"):
        load(tmp_path / "data", entry.md5, TASK, 3, 20, norm="z")


def test_counts_prior_and_labels_agree_with_a_slow_look(tmp_path):
    entry = built(tmp_path / "data")
    data = load(tmp_path / "data", entry.dataset, TASK, 2, 20)
    table = pd.read_parquet(tmp_path / "data" / entry.path)
    y = label(table, TASK, 2)
    np.testing.assert_array_equal(data.y_T[: len(data.dates) - 2], y[: len(data.dates) - 2])
    y_val = y[data.val_ends]
    assert (data.n_train, data.n_val, data.n_pos) == (len(data.train_ends), len(y_val), int(y_val.sum()))
    assert data.prior == pytest.approx(y[data.train_ends].mean())
    assert data.prior_loss == pytest.approx(log_loss(y_val, np.full(len(y_val), data.prior)))
    assert str(data.dates[0]) == entry.start and data.feature_names == tuple(tiers.tier_features("a25"))
    assert data.label.definition == "threshold_1pct.high.v2.h2"


def test_the_label_fingerprint_depends_on_the_task_but_not_on_the_window(tmp_path):
    entry = built(tmp_path / "data", rows=2000)
    a = load(tmp_path / "data", entry.md5, TASK, 1, 20).label
    assert load(tmp_path / "data", entry.md5, TASK, 1, 40).label == a
    assert load(tmp_path / "data", entry.md5, TASK, 3, 20).label.md5 != a.md5
    assert load(tmp_path / "data", entry.md5, "threshold_1pct_close", 1, 20).label.md5 != a.md5


def test_loading_twice_gives_the_same_bytes(tmp_path):
    entry = built(tmp_path / "data")
    assert arrays(load(tmp_path / "data", entry.md5, TASK, 3, 20)) == arrays(
        load(tmp_path / "data", entry.md5, TASK, 3, 20)
    )


def test_sealed_data_does_not_change_with_the_test_part(tmp_path):
    """Poison every value of the test rows: what a sealed load hands out stays equal to the bit."""
    entry = built(tmp_path / "data")
    sealed = load(tmp_path / "data", entry.md5, TASK, 3, 20)
    table = pd.read_parquet(tmp_path / "data" / entry.path).set_index("Date")
    poisoned = table.copy()
    poisoned.iloc[sealed.split.val_stop :] = np.nan
    other = Manifest(tmp_path / "data").store("processed", entry.dataset, poisoned, tier="a25", sources=entry.sources)
    found = load(tmp_path / "data", other.md5, TASK, 3, 20)
    assert arrays(found) | {"data_md5": ""} == arrays(sealed) | {"data_md5": ""}
    assert len(sealed.dates) == len(sealed.y_T) == len(sealed.features_TF) == sealed.split.val_stop
    assert len(sealed.test_ends) == 0 and np.isnan(sealed.y_T[-3:]).all()


def test_unsealed_data_has_the_same_train_and_validation_and_the_test_windows_too(tmp_path):
    entry = built(tmp_path / "data")
    sealed = load(tmp_path / "data", entry.md5, TASK, 3, 20)
    whole = load(tmp_path / "data", entry.md5, TASK, 3, 20, sealed=False)
    assert len(whole.dates) == entry.rows and len(whole.test_ends) > 0
    assert np.isfinite(whole.y_T[whole.test_ends]).all()
    n = len(sealed.dates)
    np.testing.assert_array_equal(whole.features_TF[:n], sealed.features_TF)
    np.testing.assert_array_equal(whole.y_T[sealed.val_ends], sealed.y_T[sealed.val_ends])
    assert (whole.label, whole.prior, whole.prior_loss) == (sealed.label, sealed.prior, sealed.prior_loss)


def test_few_validation_positives_are_refused_with_the_numbers(tmp_path):
    entry = built(tmp_path / "data", rows=330)
    with pytest.raises(SplitTooSmall, match=r"validation has \d+ positives in \d+ windows, at least 30"):
        load(tmp_path / "data", entry.md5, TASK, 1, 8)
    split = FractionSplit(0.6, 0.3)
    assert load(tmp_path / "data", entry.md5, TASK, 1, 8, split, min_positives=1).n_pos < 30


def test_a_split_may_be_given_as_json(tmp_path):
    entry = built(tmp_path / "data")
    data = load(tmp_path / "data", entry.md5, TASK, 1, 20, {"train": 0.5, "val": 0.25})
    assert data.split.text.startswith("by fraction 50% / 25% / 25% (as asked)")


def test_a_short_history_is_refused_before_anything_is_registered(tmp_path):
    path = write_csv(make_bars(250), tmp_path / "ABC.csv")
    with pytest.raises(BadBars, match=r"ABC\.csv: 250 rows, at least 285 are needed"):
        dataset.build(tmp_path / "data", "csv", path=path)
    assert dataset.listing(tmp_path / "data") == ()


def test_changed_prices_make_a_new_version_and_the_old_one_still_loads(tmp_path):
    old = built(tmp_path / "data", seed=0)
    new = built(tmp_path / "data", seed=1)
    assert (old.version, new.version) == (1, 2) and old.md5 != new.md5
    assert load(tmp_path / "data", "ABC.dataset.a25", TASK, 1, 20).data_md5 == new.md5
    assert load(tmp_path / "data", old.md5, TASK, 1, 20).data_md5 == old.md5


def test_tiers_of_the_same_bytes_are_told_apart_whichever_was_built_last(tmp_path):
    """A file of a25 holds the columns of a20 and the other way round: their md5 is one, their features are not."""
    first, last = built(tmp_path / "data", tier="a25"), built(tmp_path / "data", tier="a20")
    assert first.md5 == last.md5
    for entry, width in ((first, 25), (last, 20)):
        data = load(tmp_path / "data", entry.md5, TASK, 1, 20, tier=entry.tier)
        assert (data.name, len(data.feature_names), data.features_TF.shape[1]) == (entry.dataset, width, width)
    with pytest.raises(UnknownDataset, match=r"ABC\.dataset\.a20 is of tier a20, the cell needs tier c"):
        load(tmp_path / "data", last.md5, TASK, 1, 20, tier="c")


def test_csv_and_parquet_of_the_same_bars_are_the_same_data_set(tmp_path):
    bars = make_bars(600)
    bars.to_parquet(tmp_path / "ABC.parquet")
    write_csv(bars, tmp_path / "ABC.csv")
    a = build(tmp_path / "data", "csv", path=tmp_path / "ABC.csv")
    b = build(tmp_path / "data", "parquet", path=tmp_path / "ABC.parquet")
    c = build(tmp_path / "data", "raw", "ABC")
    assert a == b == c
    capitals = (tmp_path / "ABC.parquet").rename(tmp_path / "ABC.PARQUET")
    assert sources.take_file(capitals).bars.equals(sources.take_file(tmp_path / "ABC.csv").bars)


def test_a_leaky_feature_never_becomes_a_data_set(tmp_path, monkeypatch):
    leaky = {**tiers.TIERS["a25"], "sma_12": lambda i: i.bars["Close"].shift(-1).to_numpy()}
    monkeypatch.setattr(tiers, "TIERS", {"a25": leaky})
    with pytest.raises(LeakyFeature, match="sma_12 sees the future"):
        dataset.build(tmp_path / "data", "csv", "ABC", path=write_csv(make_bars(1200), tmp_path / "ABC.csv"))
    assert [e.dataset for e in dataset.listing(tmp_path / "data")] == ["ABC.OHLCV.daily"]


def test_vix_closes_of_other_days_fail_the_join(tmp_path):
    bars = make_bars(600)
    path = write_csv(bars, tmp_path / "ABC.csv")
    vix = pd.DataFrame({"Close": 15.0 + np.arange(600) % 7}, index=bars.index)
    thin = vix.drop(vix.index[300:310])
    thin.to_csv(tmp_path / "thin.csv")
    with pytest.raises(JoinFailed, match="only 590 of 600 days of the bars are in the VIX closes"):
        dataset.build(tmp_path / "data", "csv", "ABC", "c", path=path, vix=tmp_path / "thin.csv")
    vix.drop(vix.index[300:303]).to_csv(tmp_path / "good.csv")
    entry = build(tmp_path / "data", "csv", "ABC", "c", path=path, vix=tmp_path / "good.csv")
    assert "3 days took the VIX close of the day before" in entry.note
    vix.set_axis(vix.index - pd.Timedelta(days=9000)).to_csv(tmp_path / "old.csv")
    with pytest.raises(JoinFailed, match="only 0 of 0"):
        dataset.build(tmp_path / "data", "csv", "ABC", "c", path=path, vix=tmp_path / "old.csv")


def test_dates_at_different_hours_do_not_join_unless_normalised():
    days = make_bars(100).index
    with pytest.raises(JoinFailed, match="only 0 of 100 days"):
        check_join(days + pd.Timedelta(hours=5), days, "features", "bars")
    assert check_join(days, days, "features", "bars") == 0


def test_a_users_parquet_in_raw_is_registered_byte_for_byte(tmp_path):
    root = tmp_path / "data"
    (root / "raw").mkdir(parents=True)
    shifted = make_bars(600)
    shifted.set_axis(shifted.index + pd.Timedelta(hours=5)).rename_axis("Date").to_parquet(root / "raw/ABC.parquet")
    before = (root / "raw/ABC.parquet").read_bytes()
    assert dataset.pending(root) == [Path("raw/ABC.parquet")]
    entry = dataset.register(root, "raw/ABC.parquet")
    assert (root / entry.path).read_bytes() == before and (root / "raw/ABC.parquet").readlink().name == Path(
        entry.path
    ).name
    assert dataset.pending(root) == [] and dataset.verify(root) == []
    assert dataset.build(root, "raw", "ABC").rows == 401
    assert dataset.register(root, "raw/ABC.parquet") == entry  # through the link: the same file, no new version


def test_a_processed_file_without_an_entry_is_pending_and_only_a_build_registers_it(tmp_path):
    root = tmp_path / "data"
    entry = built(root)
    (root / "processed/manifest.json").unlink()
    assert Path(entry.path) in dataset.pending(root)
    with pytest.raises(ManifestError, match="`fts data build`, which makes and registers it"):
        dataset.register(root, entry.path)
    assert built(root).md5 == entry.md5 and dataset.pending(root) == []


def test_a_damaged_processed_file_is_not_loaded(tmp_path):
    entry = built(tmp_path / "data")
    file = tmp_path / "data" / entry.path
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ManifestError, match="was changed or damaged"):
        load(tmp_path / "data", entry.dataset, TASK, 1, 20)


def test_a_raw_data_set_is_nothing_to_train_on(tmp_path):
    built(tmp_path / "data")
    with pytest.raises(ManifestError, match="is raw"):
        load(tmp_path / "data", "ABC.OHLCV.daily", TASK, 1, 20)


def test_the_drift_table_compares_train_with_later(bundled):
    root, entry = bundled
    table = pd.read_csv((root / entry.path).with_suffix(".drift.csv")).set_index("feature")
    assert list(table.index) == list(tiers.TIERS["a25"])
    assert 2.0 < table.loc["Close", "test_mean_ratio"] < 2.1  # the index doubled after the train part
    frame = pd.read_parquet(root / entry.path)
    assert table.loc["rsi_daily", "train_mean"] == pytest.approx(frame["rsi_daily"].iloc[:3382].mean())


def test_sources_that_lack_something_say_what(tmp_path):
    for arguments, words in (
        (("yahoo",), "needs a ticker"),
        (("csv",), "needs the path"),
        (("quandl",), "there are bundled, yahoo, csv, parquet and raw"),
        (("bundled", "SPY"), "no bundled bars for SPY"),
    ):
        with pytest.raises(SourceFailed, match=words):
            dataset.build(tmp_path, *arguments)


def test_a_download_without_a_network_is_one_sentence():
    """In its own process, with every look-up of a name failing as it does without a network."""
    code = (
        "import socket, os\n"
        "os.environ.update(HTTPS_PROXY='http://127.0.0.1:9', HTTP_PROXY='http://127.0.0.1:9')\n"
        "from fts.data import sources\n"
        "try: sources.yahoo('SPY')\n"
        "except sources.SourceFailed as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("could not download SPY from Yahoo (") and done.stdout.count("\n") == 1, done
    assert "Traceback" not in done.stderr


def test_loading_imports_no_torch_and_no_source():
    code = "import sys, fts.study.dataset; print({'torch', 'arch', 'yfinance', 'optuna'} & set(sys.modules) or [])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
