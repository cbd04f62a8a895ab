"""Makes data sets (bars -> snapshot -> features -> leak check -> manifest) and loads them as what a cell trains on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.data import labels, sources, splits
from fts.data.bars import COLUMNS, BadBars, check_bars, check_closes
from fts.data.files import md5_of, read_columns, read_dates, write_text
from fts.data.manifest import Entry, Manifest, ManifestError, clean_ticker, processed_name, raw_name, ticker_of_file
from fts.data.plausible import check_accepted, find_implausible, refuse_implausible
from fts.data.sources import AS_IT_STANDS, Taken
from fts.features import drift, leak, tiers

if TYPE_CHECKING:
    from fts.data.layouts import Reading

MATCH = 0.99  # a join that finds fewer of its days fails (lesson 26)
LONGEST_HORIZON = 5  # trading days; of the study's matrix
USUAL_CONTEXT = 80  # days

ProcessedEntry = Entry


class JoinFailed(ValueError):
    """Two tables that should share their days do not."""


@dataclass(frozen=True)
class CellData:
    """Everything a cell trains and is judged on. T rows, F features; while sealed no row of the test part is here."""

    name: str  # SPX.dataset.a25
    data_md5: str  # of the processed file
    feature_names: tuple[str, ...]
    dates: np.ndarray  # datetime64[D], T
    features_TF: np.ndarray  # noqa: N815  # shapes are upper-case suffixes; float32, C-contiguous
    y_T: np.ndarray  # noqa: N815  # float32, NaN where the future is unknown
    train_ends: np.ndarray  # int64 positions of the last row of each window
    val_ends: np.ndarray
    test_ends: np.ndarray  # empty while sealed
    context: int  # days
    horizon: int  # trading days
    task: str
    mean: np.ndarray  # float64, F: of the train rows; features_TF = (x - mean) / sd
    sd: np.ndarray
    label: labels.LabelFingerprint  # of all labels of train and validation
    prior: float  # base rate of the train windows
    prior_loss: float  # log loss of `prior` on the validation windows
    n_train: int
    n_val: int
    n_pos: int  # positives among the validation windows
    split: splits.Borders
    sealed: bool


def load(
    root: Path | str,
    dataset: str,
    task: str,
    horizon: int,
    context: int,
    split: Mapping[str, Any] | splits.Split | None = None,
    *,
    norm: str = "standard",
    sealed: bool = True,
    min_positives: int = splits.MIN_POSITIVES,
    tier: str | None = None,
) -> CellData:
    """The data set `dataset` (name, or md5 of the processed file) in the data folder `root`, cut for one cell.

    `tier`: of the cell; needed with an md5, which tiers of the same columns share.
    `split` as in `fts.data.splits.parse`; `norm` standard (train mean and sd, in float64) or none. While `sealed`, rows
    from the test part on are dropped before anything is computed, labels included. Raises UnknownDataset,
    ManifestError, BadSplit, SplitTooSmall, UnknownTask.
    """
    manifest = Manifest(Path(root))
    entry = manifest.find(dataset, tier)
    if entry.tier is None:
        raise ManifestError(f"{entry.dataset} is raw; a cell needs a processed data set such as SPX.dataset.a25")
    path = manifest.file(entry)
    chosen = splits.parse(split) if split is None or isinstance(split, Mapping) else split
    all_dates = read_dates(path)
    borders = splits.borders(all_dates, chosen)
    test_start = all_dates[borders.val_stop] if borders.val_stop < len(all_dates) else None
    dates, columns = read_columns(path, before=test_start if sealed else None)
    bars = pd.DataFrame({name: columns[name] for name in COLUMNS})
    names = feature_names(entry.tier)
    if lacking := [n for n in (*COLUMNS, *names) if n not in columns]:
        raise ManifestError(
            f"{entry.dataset} {entry.md5[:12]} has no {', '.join(lacking)}; build it again with this version"
        )
    features_TF, mean_F, sd_F = _scaled(np.column_stack([columns[n] for n in names]), borders.train_stop, norm)
    y_T = labels.label(bars, task, horizon)
    ends = {part: splits.window_ends(*borders.part(part), context, horizon) for part in ("train", "val")}
    splits.check_counts(y_T, ends["train"], ends["val"], min_positives, borders.text)
    test_ends = splits.window_ends(*borders.part("test"), context, horizon) if not sealed else np.empty(0, np.int64)
    y_val = y_T[ends["val"]]
    prior = float(y_T[ends["train"]].mean(dtype=np.float64))
    definition = f"{labels.task(task).definition}.h{horizon}"
    return CellData(
        name=entry.dataset,
        data_md5=entry.md5,
        feature_names=names,
        dates=dates,
        features_TF=features_TF,
        y_T=y_T,
        train_ends=ends["train"],
        val_ends=ends["val"],
        test_ends=test_ends,
        context=context,
        horizon=horizon,
        task=task,
        mean=mean_F,
        sd=sd_F,
        label=labels.fingerprint(_labels_before_test(bars, task, horizon, borders), definition),
        prior=prior,
        prior_loss=_log_loss(prior, y_val),
        n_train=len(ends["train"]),
        n_val=len(ends["val"]),
        n_pos=int(y_val.sum()),
        split=borders,
        sealed=sealed,
    )


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
    reading: Reading = AS_IT_STANDS,
    accept: Iterable[str] = (),
    taken: Taken | None = None,
) -> ProcessedEntry:
    """Make the data set of a ticker and tier current, and return its manifest entry.

    `source`: bundled (SPX, IXIC), yahoo, csv or parquet (with `path`), raw (the snapshot already here). `vix`: a
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
    leak.truncation_check(bars, features, closes)
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
    """How many days of `left` the `right` lacks; raises JoinFailed when it has fewer than 99 % of them."""
    lacking = left[~left.isin(right)]
    if len(left) == 0 or len(lacking) > (1 - MATCH) * len(left):
        example = f"; the first missing day is {lacking[0]}" if len(lacking) else ""
        raise JoinFailed(
            f"only {len(left) - len(lacking)} of {len(left)} days of the {left_name} are in the {right_name}, expected "
            f"at least {MATCH:.0%}{example}; compare the two calendars and hours"
        )
    return len(lacking)


def take(
    root: Path | str,
    source: str = "bundled",
    ticker: str | None = None,
    path: Path | str | None = None,
    *,
    reading: Reading = AS_IT_STANDS,
) -> Taken:
    """Read and judge the bars of a source; writes nothing. Raises BadBars, SourceFailed, ManifestError."""
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
    raise sources.SourceFailed(f"no source {source!r:.40}, there are bundled, yahoo, csv, parquet and raw")


def register(
    root: Path | str,
    path: Path | str,
    ticker: str | None = None,
    *,
    reading: Reading = AS_IT_STANDS,
    accept: Iterable[str] = (),
    taken: Taken | None = None,
) -> Entry:
    """Check a file of bars (or VIX closes) and make it the current raw snapshot of its ticker (default: its name).

    A parquet file that lies in raw/ is renamed, not rewritten, where it has our columns; any other file is copied.
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
    root: Path | str, path: Path | str, ticker: str | None = None, *, reading: Reading = AS_IT_STANDS
) -> Taken:
    """Read and judge a file of bars, or of closes where it is the VIX; writes nothing."""
    here, name = _here(Manifest(Path(root)), path), clean_ticker(_file_ticker(path, ticker, reading))
    return sources.take_closes(here, reading) if name == "VIX" else sources.take_file(here, reading)


def _take_file(path: Path, ticker: str, reading: Reading) -> Taken:
    if clean_ticker(ticker) == "VIX":
        raise BadBars(
            f"{path.name}: the VIX has closes only; give the file with --vix FILE --tier c when you build other bars"
        )
    return sources.take_file(path, reading)


def _file_ticker(path: Path | str, ticker: str | None, reading: Reading, taken: Taken | None = None) -> str:
    """As asked; else the stock that was chosen from the file, as the file spells it; else the file's name."""
    if ticker is not None:
        return ticker
    if reading.name is not None:
        return (taken and taken.layout.name) or reading.name
    return ticker_of_file(Path(path))


def _is_ours(path: Path, bars: pd.DataFrame) -> bool:
    """Does the file hold these bars in a form that needs no recognising?"""
    try:
        frame = pd.read_parquet(path)
        there = check_bars(frame, path.name) if "Open" in bars else check_closes(frame, path.name).to_frame()
    except ValueError:
        return False
    return there.equals(bars)


def _record(taken: Taken, accepted: Iterable[str]) -> list[dict[str, Any]]:
    """The findings as the manifest keeps them. Raises ImplausibleBars when one spoils labels and is not accepted."""
    refuse_implausible(taken.findings, accepted, taken.origin)
    return [{"kind": f.kind, "text": f.text, "accepted": f.spoils} for f in taken.findings]


def feature_names(tier: str) -> tuple[str, ...]:
    """The features of a tier, in order. Raises FeatureUnknown with the tiers there are."""
    return tuple(tiers.tier_features(tier))


def listing(root: Path | str) -> tuple[Entry, ...]:
    """The current version of every data set, raw ones first."""
    return Manifest(Path(root)).listing()


def verify(root: Path | str) -> list[str]:
    """What is wrong, one sentence each; empty: all current entries are as recorded, and their bars plausible."""
    manifest = Manifest(Path(root))
    problems = manifest.verify()
    damaged = {problem.split(":")[0] for problem in problems}
    raw = [] if any("cannot be read" in problem for problem in problems) else manifest.listing()
    for entry in raw:
        if entry.tier is None and entry.dataset not in damaged:
            problems += _implausible(manifest, entry)
    return problems


def kept(root: Path | str) -> list[str]:
    """What looked wrong in current raw data sets and was accepted, or is only a warning; one sentence each."""
    raw = [entry for entry in listing(root) if entry.tier is None]
    return [
        f"{entry.dataset}: {found['kind']}{' (accepted)' if found.get('accepted') else ''}: {found['text']}"
        for entry in raw
        for found in entry.findings or []
    ]


def data_note(root: Path | str, data_md5: str, tier: str) -> str | None:
    """What a dry run should say of the bars below a data set, by the manifest's record. Raises UnknownDataset."""
    entry = Manifest(Path(root)).find(data_md5, tier)
    kinds = dict.fromkeys(found["kind"] for found in entry.findings or [] if found.get("accepted"))
    return f"note: {entry.dataset} was built with --accept {','.join(kinds)}" if kinds else None


def _implausible(manifest: Manifest, entry: Entry) -> list[str]:
    """What spoils labels in a raw file and was never accepted."""
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


def _accepted(entry: Entry) -> frozenset[str]:
    return frozenset(found["kind"] for found in entry.findings or [] if found.get("accepted"))


def pending(root: Path | str) -> list[Path]:
    """Files in the data folder that no manifest knows, relative to it."""
    return Manifest(Path(root)).pending()


def drift_table(root: Path | str, dataset: str) -> pd.DataFrame:
    """The table stored beside a processed data set: train against validation and test, per feature."""
    manifest = Manifest(Path(root))
    return pd.read_csv((manifest.root / manifest.find(dataset).path).with_suffix(".drift.csv"))


def _snapshot(
    manifest: Manifest, source: str, ticker: str | None, path: Path | str | None, taken: Taken, accepted: frozenset[str]
) -> tuple[pd.DataFrame, Entry]:
    """The bars of the registered snapshot, and its entry. Raises ImplausibleBars."""
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
    """A path as given, or as `pending` prints it: relative to the data folder."""
    below = manifest.root / path
    return below if below.exists() and not Path(path).exists() else Path(path)


def _wanted(ticker: str | None, source: str) -> str:
    if not ticker:
        raise sources.SourceFailed(f"source {source} needs a ticker, such as SPY")
    return ticker


def _vix_closes(
    manifest: Manifest, source: str, path: Path | str | None, accepted: frozenset[str]
) -> tuple[pd.Series, Entry]:
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
    """Raises JoinFailed; the note for the manifest says which rows go and which are filled."""
    shared = bars.loc[closes.index[0] : closes.index[-1]]
    filled = check_join(shared.index, closes.index, "bars", "VIX closes")
    note = f"{len(bars) - len(shared)} of {len(bars)} rows lie outside the VIX closes {closes.index[0]:%Y-%m-%d}.."
    return note + f"{closes.index[-1]:%Y-%m-%d}; {filled} days took the VIX close of the day before"


def _write_drift(manifest: Manifest, entry: Entry, x: pd.DataFrame) -> None:
    borders = splits.borders(x.index.to_numpy().astype("datetime64[D]"))
    table = drift.drift_table(x, borders.train_stop, borders.val_stop)
    write_text((manifest.root / entry.path).with_suffix(".drift.csv"), table.to_csv(index=False))


def _scaled(x_TF: np.ndarray, train_stop: int, norm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float32 features and the float64 scaler that made them; only train rows decide the scaler."""
    if norm not in ("standard", "none"):
        raise ValueError(f"norm is {norm!r:.40}, expected standard or none")
    x_TF = x_TF.astype(np.float64)
    mean_F, sd_F = np.zeros(x_TF.shape[1]), np.ones(x_TF.shape[1])
    if norm == "standard":
        mean_F, sd_F = x_TF[:train_stop].mean(axis=0), x_TF[:train_stop].std(axis=0)
        sd_F[sd_F <= 1e-12 * np.abs(mean_F)] = 1.0  # a feature that never moves in train stays at 0, up to rounding
    return np.ascontiguousarray(((x_TF - mean_F) / sd_F).astype(np.float32)), mean_F, sd_F


def rescaled(data: CellData, train_stop: int) -> CellData:
    """The same data with the mean and sd of its first `train_stop` rows alone; what was never scaled stays so."""
    if not data.mean.any() and (data.sd == 1).all():
        return data
    x_TF = data.features_TF.astype(np.float64) * data.sd + data.mean
    features_TF, mean_F, sd_F = _scaled(x_TF, train_stop, "standard")
    return replace(data, features_TF=features_TF, mean=mean_F, sd=sd_F)


def _labels_before_test(bars: pd.DataFrame, task: str, horizon: int, borders: splits.Borders) -> np.ndarray:
    """Labels of train and validation, none of which looks into the test part."""
    return labels.label(bars.iloc[: borders.val_stop], task, horizon)


def _log_loss(probability: float, y: np.ndarray) -> float:
    """Natural logarithm, mean over samples, of one constant prediction."""
    share = float(y.mean(dtype=np.float64))
    return float(-(share * np.log(probability) + (1 - share) * np.log(1 - probability)))
