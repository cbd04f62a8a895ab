"""Builds data sets: bars -> snapshot -> features -> leak check -> manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fts.data import sources, splits
from fts.data.bars import COLUMNS, BadBars, check_bars, check_closes
from fts.data.files import md5_of, write_text
from fts.data.manifest import (
    DatasetVersion,
    Manifest,
    ManifestError,
    clean_ticker,
    processed_name,
    raw_name,
    ticker_of_file,
)
from fts.data.plausible import check_accepted, find_implausible, refuse_implausible
from fts.data.sources import AS_IT_STANDS, Taken
from fts.features import drift, leak, tiers
from fts.raising import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fts.data.layouts import ReadOptions

MATCH = 0.99  # a join that finds a smaller share of its days fails (lesson 26)
LONGEST_HORIZON = 5  # trading days, in the study's matrix
USUAL_CONTEXT = 80  # days


class JoinFailed(ValueError):
    """Two tables that should have the same days do not."""


def build(
    root: Path | str,
    source: str = "bundled",
    ticker: str | None = None,
    tier: str = "a25",
    *,
    path: Path | str | None = None,
    vix: Path | str | None = None,
    context: int = USUAL_CONTEXT,
    horizon: int = LONGEST_HORIZON,
    reading: ReadOptions = AS_IT_STANDS,
    accept: Iterable[str] = (),
    taken: Taken | None = None,
) -> DatasetVersion:
    """Builds the data set of a ticker and tier, makes it current, and returns its manifest entry.

    `source`: bundled (SPX, IXIC), yahoo, csv or parquet (with `path`), raw (the registered snapshot). `vix`: a
    file of VIX closes for tiers that need them; default: those of the source. `accept`: kinds of findings to keep
    (fts.data.plausible.KINDS). `taken`: what `take` returned for the same source. Raises BadBars, SourceFailed,
    LeakyFeature, JoinFailed, FeatureUnknown, ManifestError.
    """
    manifest = Manifest(Path(root))
    features, accepted = tiers.tier_features(tier), check_accepted(accept)
    taken = taken or take(root, source, ticker, path, reading=reading)
    check_bars(taken.bars, taken.origin, min_rows=tiers.WARM_UP + context + horizon + 1)
    if source in ("csv", "parquet") and path is not None:
        ticker = _file_ticker(path, ticker, reading, taken)
    bars, raw = _snapshot(manifest, source, ticker, path, taken, accepted)
    findings = list(raw.findings or [])
    made_of, note, closes = {raw.dataset: raw.md5}, "", None
    if tiers.needs_vix(tier):
        closes, vix_entry = _vix_closes(manifest, source, vix, accepted)
        findings += vix_entry.findings or []
        made_of[vix_entry.dataset] = vix_entry.md5
        note = _check_vix_join(bars, closes)
    leak.truncation_check(bars, features, closes, used_from=tiers.first_day(bars, tier, closes))
    x = tiers.build(bars, tier, closes)
    if len(x) < context + horizon + 1:
        raise BadBars(
            f"{raw.dataset}: {len(x)} rows are left for tier {tier}, {context + horizon + 1} are needed ({note})"
        )
    table = bars.loc[bars.index.intersection(x.index)]
    check_join(x.index, table.index, "features", "bars")
    table = table.join(x[[n for n in x.columns if n not in COLUMNS]], how="inner", validate="one_to_one")
    name = processed_name(raw.dataset.split(".")[0], tier)
    entry = manifest.store("processed", name, table, tier=tier, sources=made_of, note=note, findings=findings)
    _write_drift(manifest, entry, table[list(features)])
    return entry


def check_join(left: pd.Index, right: pd.Index, left_name: str, right_name: str) -> int:
    """Returns the number of days of `left` missing in `right`. Raises JoinFailed if over 1 % are missing."""
    missing = left[~left.isin(right)]
    if len(left) == 0 or len(missing) > (1 - MATCH) * len(left):
        example = f"; the first missing day is {missing[0]}" if len(missing) else ""
        raise JoinFailed(
            f"only {len(left) - len(missing)} of {len(left)} days of the {left_name} are in the {right_name}, expected "
            f"at least {MATCH:.0%}{example}; compare the two calendars and hours"
        )
    return len(missing)


def take(
    root: Path | str,
    source: str = "bundled",
    ticker: str | None = None,
    path: Path | str | None = None,
    *,
    reading: ReadOptions = AS_IT_STANDS,
) -> Taken:
    """Reads and checks the bars of a source; writes nothing. Raises BadBars, SourceFailed, ManifestError."""
    manifest = Manifest(Path(root))
    if source == "raw":
        entry = manifest.current(raw_name(_wanted(ticker, source)))
        bars = check_bars(pd.read_parquet(manifest.file(entry)), entry.dataset)
        return sources.take(bars, entry.dataset, f"as registered ({entry.origin})")
    if source in ("csv", "parquet"):
        if path is None:
            raise sources.SourceFailed(f"source {source} needs the path of a file")
        taken = _take_file(_here(manifest, path), _file_ticker(path, ticker, reading), reading)
        manifest.refuse_twin("raw", raw_name(_file_ticker(path, ticker, reading, taken)))
        return taken
    if source == "bundled":
        bars = sources.bundled(ticker or "SPX")
        return sources.take(bars, f"bundled {ticker or 'SPX'}", "not adjusted (an index is never split)")
    if source == "yahoo":
        manifest.refuse_twin("raw", raw_name(_wanted(ticker, source)))
        return sources.take(
            sources.yahoo(_wanted(ticker, source)), f"yahoo {ticker}", "adjusted by Yahoo for splits and dividends"
        )
    raise sources.SourceFailed(f"no source {quoted(source, 40)}, there are bundled, yahoo, csv, parquet and raw")


def register(
    root: Path | str,
    path: Path | str,
    ticker: str | None = None,
    *,
    reading: ReadOptions = AS_IT_STANDS,
    accept: Iterable[str] = (),
    taken: Taken | None = None,
) -> DatasetVersion:
    """Checks a file of bars (or VIX closes) and makes it the current raw snapshot of its ticker (default: its name).

    A parquet file in raw/ that has our columns is renamed, not rewritten; any other file is copied.
    Raises BadBars, ManifestError.
    """
    manifest = Manifest(Path(root))
    path, accepted = _here(manifest, path), check_accepted(accept)
    if path.parent.resolve() == (manifest.root / "processed").resolve():
        raise ManifestError(
            f"{path.name} is a processed file; run `fts data build`, which makes and registers it, or delete it"
        )
    taken = taken or take_to_register(root, path, ticker, reading=reading)
    name = clean_ticker(_file_ticker(path, ticker, reading, taken))
    findings = _record(taken, accepted)
    origin, note = f"file {path.name}, md5 {md5_of(path)}", "; ".join(taken.layout.notes)
    lies_in_raw = path.suffix == ".parquet" and path.parent.resolve() == (manifest.root / "raw").resolve()
    if lies_in_raw and _is_ours(path, taken.bars):
        file = path.resolve() if path.is_symlink() else path
        return manifest.adopt(raw_name(name), file, taken.bars.index, origin, note, findings)
    return manifest.store("raw", raw_name(name), taken.bars, origin=origin, note=note, findings=findings)


def take_to_register(
    root: Path | str, path: Path | str, ticker: str | None = None, *, reading: ReadOptions = AS_IT_STANDS
) -> Taken:
    """Reads and checks a file of bars, or of closes for the VIX; writes nothing."""
    here, name = _here(Manifest(Path(root)), path), clean_ticker(_file_ticker(path, ticker, reading))
    return sources.take_closes(here, reading) if name == "VIX" else sources.take_file(here, reading)


def _take_file(path: Path, ticker: str, reading: ReadOptions) -> Taken:
    if clean_ticker(ticker) == "VIX":
        raise BadBars(
            f"{path.name}: the VIX has closes only; give the file with --vix FILE --tier c when you build other bars"
        )
    return sources.take_file(path, reading)


def _file_ticker(path: Path | str, ticker: str | None, reading: ReadOptions, taken: Taken | None = None) -> str:
    """Returns the given ticker; else the stock chosen from the file, as the file spells it; else the file's name."""
    if ticker is not None:
        return ticker
    if reading.name is not None:
        return (taken and taken.layout.name) or reading.name
    return ticker_of_file(Path(path))


def _is_ours(path: Path, bars: pd.DataFrame) -> bool:
    """Whether the file holds these bars in our own columns."""
    try:
        frame = pd.read_parquet(path)
        there = check_bars(frame, path.name) if "Open" in bars else check_closes(frame, path.name).to_frame()
    except ValueError:
        return False
    return there.equals(bars)


def _record(taken: Taken, accepted: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the findings for the manifest. Raises ImplausibleBars if one corrupts labels and is not accepted."""
    refuse_implausible(taken.findings, accepted, taken.origin)
    return [{"kind": f.kind, "text": f.text, "accepted": f.spoils} for f in taken.findings]


def listing(root: Path | str) -> tuple[DatasetVersion, ...]:
    """Returns the current version of every data set, raw ones first."""
    return Manifest(Path(root)).listing()


def verify(root: Path | str) -> list[str]:
    """Returns problems, one sentence each; empty if all current entries are unchanged and their bars plausible."""
    manifest = Manifest(Path(root))
    problems = manifest.verify()
    damaged = {problem.split(":")[0] for problem in problems}
    raw = [] if any("cannot be read" in problem for problem in problems) else manifest.listing()
    for entry in raw:
        if entry.tier is None and entry.dataset not in damaged:
            problems += _implausible(manifest, entry)
    return problems


def kept(root: Path | str) -> list[str]:
    """Returns the accepted findings and warnings of the current raw data sets, one sentence each."""
    raw = [entry for entry in listing(root) if entry.tier is None]
    return [
        f"{entry.dataset}: {found['kind']}{' (accepted)' if found.get('accepted') else ''}: {found['text']}"
        for entry in raw
        for found in entry.findings or []
    ]


def data_note(root: Path | str, data_md5: str, tier: str) -> str | None:
    """Returns a note if a data set was built with accepted findings. Raises UnknownDataset."""
    entry = Manifest(Path(root)).find(data_md5, tier)
    kinds = dict.fromkeys(found["kind"] for found in entry.findings or [] if found.get("accepted"))
    return f"note: {entry.dataset} was built with --accept {','.join(kinds)}" if kinds else None


def _implausible(manifest: Manifest, entry: DatasetVersion) -> list[str]:
    """Returns the findings in a raw file that corrupt labels and were never accepted."""
    try:
        frame = pd.read_parquet(manifest.root / entry.path)
        closes = entry.dataset.endswith(".Close.daily")
        bars = check_closes(frame, entry.dataset).to_frame() if closes else check_bars(frame, entry.dataset)
    except (ValueError, OSError) as error:
        return [str(error) if isinstance(error, BadBars) else f"{entry.dataset}: {entry.path} cannot be read ({error})"]
    wrong = [f for f in find_implausible(bars) if f.spoils and f.kind not in _accepted(entry)]
    ticker = entry.dataset.split(".")[0]
    again = f"register {entry.path} --ticker {ticker}" if closes else f"build --source raw --ticker {ticker}"
    return [
        f"{entry.dataset}: {f.sentence}; correct the bars and build them again, or keep them with "
        f"`fts data {again} --accept {f.kind}`"
        for f in wrong
    ]


def _accepted(entry: DatasetVersion) -> frozenset[str]:
    return frozenset(found["kind"] for found in entry.findings or [] if found.get("accepted"))


def pending(root: Path | str) -> list[Path]:
    """Returns the files of the data folder that are not in a manifest, relative to the folder."""
    return Manifest(Path(root)).pending()


def _snapshot(
    manifest: Manifest, source: str, ticker: str | None, path: Path | str | None, taken: Taken, accepted: frozenset[str]
) -> tuple[pd.DataFrame, DatasetVersion]:
    """Returns the bars of the registered snapshot, and its entry. Raises ImplausibleBars."""
    if source == "raw":
        entry = manifest.current(raw_name(_wanted(ticker, source)))
        entry = manifest.record(entry, _record(taken, accepted | _accepted(entry)))
    elif source in ("csv", "parquet"):
        assert path is not None, "take refuses a source of files without a path"
        entry = register(manifest.root, path, ticker, accept=accepted, taken=taken)
    else:
        name = raw_name(_wanted(ticker or ("SPX" if source == "bundled" else None), source))
        findings = _record(taken, accepted)
        entry = manifest.store("raw", name, taken.bars, origin=taken.origin, findings=findings)
        return taken.bars, entry
    return check_bars(pd.read_parquet(manifest.file(entry)), entry.dataset), entry


def _here(manifest: Manifest, path: Path | str) -> Path:
    """Resolves a path that is given as usual, or relative to the data folder, as `pending` prints it."""
    below = manifest.root / path
    return below if below.exists() and not Path(path).exists() else Path(path)


def _wanted(ticker: str | None, source: str) -> str:
    if not ticker:
        raise sources.SourceFailed(f"source {source} needs a ticker, such as SPY")
    return ticker


def _vix_closes(
    manifest: Manifest, source: str, path: Path | str | None, accepted: frozenset[str]
) -> tuple[pd.Series, DatasetVersion]:
    if path is not None:
        entry = register(manifest.root, path, "VIX", accept=accepted)
    elif source in ("bundled", "yahoo"):
        closes, origin = (
            (sources.bundled_vix(), "bundled VIX") if source == "bundled" else (sources.yahoo_vix(), "yahoo ^VIX")
        )
        taken = sources.take(closes.to_frame(), origin, "an index of options, never split")
        findings = _record(taken, accepted)
        entry = manifest.store("raw", raw_name("VIX"), taken.bars, origin=origin, findings=findings)
    else:
        entry = manifest.current(raw_name("VIX"))
    return check_closes(pd.read_parquet(manifest.file(entry)), entry.dataset), entry


def _check_vix_join(bars: pd.DataFrame, closes: pd.Series) -> str:
    """Returns the note for the manifest: how many rows are dropped and filled. Raises JoinFailed."""
    shared = bars.loc[closes.index[0] : closes.index[-1]]
    filled = check_join(shared.index, closes.index, "bars", "VIX closes")
    note = f"{len(bars) - len(shared)} of {len(bars)} rows lie outside the VIX closes {closes.index[0]:%Y-%m-%d}.."
    return note + f"{closes.index[-1]:%Y-%m-%d}; {filled} days took the VIX close of the day before"


def _write_drift(manifest: Manifest, entry: DatasetVersion, x: pd.DataFrame) -> None:
    borders = splits.borders(x.index.to_numpy().astype("datetime64[D]"))
    table = drift.drift_table(x, borders.train_stop, borders.val_stop)
    write_text((manifest.root / entry.path).with_suffix(".drift.csv"), table.to_csv(index=False))
