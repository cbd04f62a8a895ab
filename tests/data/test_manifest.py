"""Snapshots are never overwritten, and a changed byte is found."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from fts.data.files import md5_of, parquet_bytes
from fts.data.manifest import Manifest, ManifestError, UnknownDataset, clean_ticker
from tests.data.made import make_bars


def store(root: Path, seed: int = 0):
    return Manifest(root).store("raw", "SPX.OHLCV.daily", make_bars(60, seed), origin="made")


def test_equal_content_gives_equal_bytes():
    bars = make_bars(300)
    before = parquet_bytes(bars)
    assert parquet_bytes(bars.copy()) == before
    bars.iloc[5, 0] += 1e-9
    assert parquet_bytes(bars) != before


def test_a_snapshot_is_named_by_its_content_and_linked(tmp_path):
    entry = store(tmp_path)
    assert entry.path == f"raw/SPX.{entry.md5[:12]}.parquet"
    assert (entry.version, entry.rows, entry.start) == (1, 60, "2015-01-05")
    assert (tmp_path / "raw/SPX.parquet").readlink().name == Path(entry.path).name
    assert list(pd.read_parquet(tmp_path / "raw/SPX.parquet").columns) == [
        "Date",
        "Open",
        "High",
        "Low",
        "Close",
        "Volume",
    ]
    assert Manifest(tmp_path).verify() == [] and Manifest(tmp_path).pending() == []


def test_the_same_content_again_makes_no_new_version(tmp_path):
    assert store(tmp_path) == store(tmp_path)
    assert len(Manifest(tmp_path).entries("raw")) == 1


def test_changed_prices_make_a_new_snapshot_beside_the_old_one(tmp_path):
    old = store(tmp_path, seed=0)
    before = (tmp_path / old.path).read_bytes()
    new = store(tmp_path, seed=1)
    assert new.version == 2 and new.path != old.path
    assert (tmp_path / old.path).read_bytes() == before
    manifest = Manifest(tmp_path)
    assert manifest.current("SPX.OHLCV.daily") == new
    assert manifest.find(old.md5) == old
    assert (tmp_path / "raw/SPX.parquet").readlink().name == Path(new.path).name


def test_going_back_to_an_earlier_content_makes_it_current_again(tmp_path):
    old, _ = store(tmp_path, 0), store(tmp_path, 1)
    again = store(tmp_path, 0)
    assert (again.version, again.path) == (3, old.path)
    assert (tmp_path / "raw/SPX.parquet").readlink().name == Path(old.path).name


def test_a_changed_byte_is_found_and_not_loaded(tmp_path):
    entry = store(tmp_path)
    data = bytearray((tmp_path / entry.path).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / entry.path).write_bytes(data)
    manifest = Manifest(tmp_path)
    assert ["was changed or damaged" in p and entry.path in p for p in manifest.verify()] == [True]
    with pytest.raises(ManifestError, match="was changed or damaged"):
        manifest.file(entry)
    with pytest.raises(ManifestError, match="is damaged"):
        store(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    entry = store(tmp_path)
    (tmp_path / entry.path).unlink()
    assert Manifest(tmp_path).verify() == [f"SPX.OHLCV.daily: {entry.path} is missing; build or copy it again"]


def test_a_processed_set_whose_raw_snapshot_nobody_knows_is_named(tmp_path):
    Manifest(tmp_path).store(
        "processed", "SPX.dataset.a25", make_bars(60), tier="a25", sources={"SPX.OHLCV.daily": "0" * 32}
    )
    assert ["which no manifest knows" in p for p in Manifest(tmp_path).verify()] == [True]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"entries": [1]}', '{"entries": [{"dataset": "x"}]}', '{"entries": 3}']
)
def test_a_broken_manifest_is_a_sentence(tmp_path, text):
    store(tmp_path)
    (tmp_path / "raw/manifest.json").write_text(text)
    problems = Manifest(tmp_path).verify()
    assert len(problems) == 1 and problems[0].startswith("raw/manifest.json cannot be read")


@pytest.mark.parametrize("path", ["../outside.parquet", "raw/../../x.parquet", "/etc/passwd", "raw/a/b.parquet"])
def test_a_path_that_leaves_the_data_folder_is_refused(tmp_path, path):
    store(tmp_path)
    file = tmp_path / "raw/manifest.json"
    content = json.loads(file.read_text())
    content["entries"][0]["path"] = path
    file.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="odd name, path or md5"):
        Manifest(tmp_path).entries("raw")


def test_files_without_an_entry_are_pending(tmp_path):
    store(tmp_path)
    (tmp_path / "raw/SPY.csv").write_text("Date\n")
    (tmp_path / "raw/QQQ.parquet").write_bytes(b"x")
    assert Manifest(tmp_path).pending() == [Path("raw/QQQ.parquet"), Path("raw/SPY.csv")]


def test_a_users_own_file_under_the_plain_name_is_kept(tmp_path):
    (tmp_path / "raw").mkdir()
    own = tmp_path / "raw/SPX.parquet"
    own.write_bytes(b"the user's own bytes")
    kept = tmp_path / f"raw/SPX.{md5_of(own)[:12]}.parquet"
    store(tmp_path)
    assert kept.read_bytes() == b"the user's own bytes"
    assert Manifest(tmp_path).pending() == [kept.relative_to(tmp_path)]


def test_where_links_fail_the_plain_name_is_a_copy(tmp_path, monkeypatch):
    def no_links(self: Path, target: str) -> None:
        raise OSError("this file system has no links")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    for seed in (0, 1):
        entry = store(tmp_path, seed)
        assert not (tmp_path / "raw/SPX.parquet").is_symlink()
        assert md5_of(tmp_path / "raw/SPX.parquet") == entry.md5
    assert Manifest(tmp_path).pending() == []


def test_two_processes_that_register_at_once_both_get_their_entry(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.data.made import make_bars; "
        "from fts.data.manifest import Manifest; m = Manifest(Path(sys.argv[1]))\n"
        "for i in range(8): m.store('raw', f'{sys.argv[2]}{i}.OHLCV.daily', make_bars(40, i))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("A", "B")]
    assert [p.wait() for p in both] == [0, 0]
    manifest = Manifest(tmp_path)
    assert len(manifest.listing()) == 16 and manifest.verify() == [] and manifest.pending() == []


@pytest.mark.parametrize("milliseconds", [1, 7, 19, 43])
def test_a_build_killed_at_any_moment_leaves_whole_manifests(tmp_path, milliseconds):
    """What the killed process had written is either registered and intact, or pending, never half."""
    code = (
        "import sys; from pathlib import Path; from tests.data.made import make_bars; "
        "from fts.data.manifest import Manifest; m = Manifest(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "for i in range(10_000): m.store('raw', 'SPX.OHLCV.daily', make_bars(40, i))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    time.sleep(milliseconds / 1000)
    process.kill()
    process.wait()
    manifest = Manifest(tmp_path)
    assert manifest.verify() == []
    for path in manifest.pending():
        assert md5_of(tmp_path / path)[:12] in path.name or path.name == "SPX.parquet"
    assert store(tmp_path, seed=99_999) == manifest.current("SPX.OHLCV.daily")


def test_what_a_killed_build_left_is_swept_after_a_day(tmp_path):
    store(tmp_path)
    old, fresh = tmp_path / "raw/.SPX.OHLCV.daily.1.tmp", tmp_path / "raw/.SPX.OHLCV.daily.2.tmp"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (0, 0))
    store(tmp_path, seed=1)
    assert not old.exists() and fresh.exists()


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(UnknownDataset, match="none yet"):
        Manifest(tmp_path).find("SPX.dataset.a25")
    store(tmp_path)
    with pytest.raises(UnknownDataset, match=r"there are: SPX\.OHLCV\.daily"):
        Manifest(tmp_path).find("SPX.dataset.a25")
    with pytest.raises(UnknownDataset, match="no data set has the md5 0000"):
        Manifest(tmp_path).find("0" * 32)


def test_tickers_become_safe_names():
    assert (
        clean_ticker("^GSPC") == "GSPC" and clean_ticker("BRK.B") == "BRK-B" and clean_ticker("EURUSD=X") == "EURUSD-X"
    )
    for odd in ("", "../../x", "a" * 40, "/"):
        with pytest.raises(ManifestError):
            clean_ticker(odd)
