"""Records which data files exist, their sources and md5s; nothing is ever overwritten.

`root` is the data folder. It holds raw/ and processed/, each with a manifest.json and content-addressed parquet files
(`SPX.1f0e8c23aa01.parquet`); `SPX.parquet` is a link to the current one. Paths in a manifest are relative to root.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.data.files import SHARED, md5_of, parquet_bytes, write_text
from fts.raising import quoted
from fts.state.files import atomic_write, draft_name, replacing, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

KINDS = ("raw", "processed")
MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_PATH = re.compile(r"(raw|processed)/[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.parquet")
_MD5 = re.compile(r"[0-9a-f]{32}")


class ManifestError(ValueError):
    """A manifest, or a file it names, is invalid."""


class UnknownDataset(ManifestError):
    """No entry has this name or md5."""


@dataclass(frozen=True)
class DatasetVersion:
    """One version of one data set."""

    dataset: str  # SPX.OHLCV.daily, SPX.dataset.a25
    version: int  # from 1; the highest one is current
    tier: str | None  # None: raw
    path: str  # relative to the data folder
    md5: str  # of the file
    rows: int
    start: str  # first day, 1999-01-04
    end: str  # last day
    generated_at: str  # UTC, 2026-11-20T08:30:00Z
    sources: dict[str, str] = field(default_factory=dict)  # raw data sets it was made from -> md5
    origin: str = ""  # source of raw data: yahoo SPY, file bars.csv
    note: str = ""  # for people: dropped rows, filled rows
    # findings when rows were compared: kind, text, accepted; None: made before this check existed
    findings: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not (_NAME.fullmatch(self.dataset) and _PATH.fullmatch(self.path) and _MD5.fullmatch(self.md5)):
            raise ManifestError(
                f"an entry has an odd name, path or md5: {quoted(self.dataset, 90)}, {quoted(self.path, 150)}"
            )
        if not (self.findings is None or _are_findings(self.findings)):
            raise ManifestError(f"the entry of {self.dataset} has odd findings: {quoted(self.findings, 90)}")


class Manifest:
    """The manifests of one data folder. Reads are never cached; writes are locked, atomic and durable."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def entries(self, kind: str) -> tuple[DatasetVersion, ...]:
        """Returns all versions, oldest first. Raises ManifestError."""
        path = self.root / kind / MANIFEST
        if not path.exists():
            return ()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return tuple(_entry(e) for e in content["entries"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{kind}/{MANIFEST} cannot be read ({error}); move it away and register the files again"
            ) from None

    def listing(self) -> tuple[DatasetVersion, ...]:
        """Returns the current version of every data set, raw ones first."""
        current = {e.dataset: e for kind in KINDS for e in sorted(self.entries(kind), key=lambda e: e.version)}
        return tuple(current.values())

    def current(self, dataset: str) -> DatasetVersion:
        """Returns the current version of a data set. Raises UnknownDataset."""
        for entry in self.listing():
            if entry.dataset == dataset:
                return entry
        known = ", ".join(e.dataset for e in self.listing()) or "none yet"
        raise UnknownDataset(f"no data set {quoted(dataset, 90)} (there are: {known}); make it with `fts data build`")

    def find(self, dataset_or_md5: str, tier: str | None = None) -> DatasetVersion:
        """Returns the current version of a name, or the version with this md5. Raises UnknownDataset.

        `tier`: required tier. The md5 alone is not enough: files of a20 and a25 have the same bytes.
        """
        if not _MD5.fullmatch(dataset_or_md5):
            found = [self.current(dataset_or_md5)]
        else:
            found = [e for kind in reversed(KINDS) for e in reversed(self.entries(kind)) if e.md5 == dataset_or_md5]
        if same := [entry for entry in found if tier in (None, entry.tier)]:
            return same[0]
        if found:
            raise UnknownDataset(
                f"{found[0].dataset} is of tier {found[0].tier}, the cell needs tier {tier}; build that tier from the "
                "same raw file"
            )
        if not self.listing():
            raise UnknownDataset(
                f"there is no data in {self.root}: run the command in the study's folder, or set FTS_DATA to the "
                f"folder of its data (wanted: the data set with the md5 {dataset_or_md5[:12]})"
            )
        raise UnknownDataset(
            f"no data set has the md5 {dataset_or_md5}; it was built elsewhere or its manifest entry is gone: "
            "copy the data folder here, or build it from the same raw file"
        )

    def file(self, entry: DatasetVersion) -> Path:
        """Returns the entry's file after checking its md5. Raises ManifestError."""
        if problem := self._problem(entry):
            raise ManifestError(problem)
        return self.root / entry.path

    def store(
        self,
        kind: str,
        dataset: str,
        frame: pd.DataFrame,
        *,
        tier: str | None = None,
        sources: dict[str, str] | None = None,
        origin: str = "",
        note: str = "",
        findings: list[dict[str, Any]] | None = None,
    ) -> DatasetVersion:
        """Writes the frame under its content's name and makes it current; equal content adds no file and no entry."""
        self.refuse_twin(kind, dataset)
        folder = self._folder(kind)
        _sweep(folder)
        content = parquet_bytes(frame)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        final = folder / f"{_stem(dataset)}.{md5[:12]}.parquet"
        if not final.exists():
            atomic_write(final, content, mode=SHARED)
        elif md5_of(final) != md5:
            raise ManifestError(f"{kind}/{final.name} is damaged: its md5 is not the one in its name; move it away")
        return self._add(
            _new(
                dataset,
                final,
                md5,
                frame.index,
                tier=tier,
                sources=sources or {},
                origin=origin,
                note=note,
                findings=findings,
            )
        )

    def adopt(
        self,
        dataset: str,
        path: Path,
        dates: pd.Index,
        origin: str = "",
        note: str = "",
        findings: list[dict[str, Any]] | None = None,
    ) -> DatasetVersion:
        """Registers a parquet file in raw/ byte for byte, renamed to its content's name."""
        self.refuse_twin("raw", dataset)
        md5 = md5_of(path)
        final = path.parent / f"{_stem(dataset)}.{md5[:12]}.parquet"
        if path != final:
            path.replace(final)
        return self._add(
            _new(dataset, final, md5, dates, tier=None, sources={}, origin=origin, note=note, findings=findings)
        )

    def record(self, entry: DatasetVersion, findings: list[dict[str, Any]]) -> DatasetVersion:
        """Adds the entry as a new version with findings and what was accepted."""
        return entry if entry.findings == findings else self._add(replace(entry, findings=findings))

    def refuse_twin(self, kind: str, dataset: str) -> None:
        """Raises ManifestError for a name that differs from a known one only in case: a Mac has one file for both."""
        stem, stems = _stem(dataset), {_stem(entry.dataset) for entry in self.entries(kind)}
        for known in sorted(stems) if stem not in stems else ():  # a folder that already has both keeps both
            if known.casefold() == stem.casefold():
                raise ManifestError(
                    f"{stem} differs from the existing {known} only in upper and lower case, and a Mac keeps both in "
                    f"one file; choose {known.split('.')[0]} or a different name with --ticker"
                )

    def verify(self) -> list[str]:
        """Returns one sentence for each problem of a current entry; empty if there is none."""
        try:
            listing = self.listing()
        except ManifestError as error:
            return [str(error)]
        known = {e.md5 for kind in KINDS for e in self.entries(kind)}
        problems = [p for entry in listing if (p := self._problem(entry))]
        for entry in listing:
            for source, md5 in entry.sources.items():
                if md5 not in known:
                    problems.append(f"{entry.dataset}: made of {source} {md5[:12]}, which no manifest knows")
        return problems

    def pending(self) -> list[Path]:
        """Returns files on disk that are not in a manifest, relative to the data folder."""
        found: list[Path] = []
        for kind in KINDS:
            entries = self.entries(kind)
            known = {Path(e.path).name for e in entries}
            beside = {Path(e.path).with_suffix(".drift.csv").name for e in entries}
            for path in sorted((self.root / kind).glob("*")):
                if path.name == MANIFEST or path.name.startswith(".") or path.is_dir():
                    continue
                if path.name not in known | beside and not _is_link(path, entries):
                    found.append(path.relative_to(self.root))
        return found

    def _problem(self, entry: DatasetVersion) -> str | None:
        path = self.root / entry.path
        if not path.is_file():
            return f"{entry.dataset}: {entry.path} is missing; build or copy it again"
        if (md5 := md5_of(path)) != entry.md5:
            return (
                f"{entry.dataset}: {entry.path} was changed or damaged (md5 {md5[:12]}, the manifest says "
                f"{entry.md5[:12]}); move it away and build it again"
            )
        return None

    def _add(self, new: DatasetVersion) -> DatasetVersion:
        """Appends the entry, unless the current one is equal, and points the link to its file."""
        kind, name = new.path.split("/")
        with self._locked():
            self.refuse_twin(kind, new.dataset)  # another build may have added it meanwhile
            entries = self.entries(kind)
            latest = max((e for e in entries if e.dataset == new.dataset), key=lambda e: e.version, default=None)
            if latest is None or _content(latest) != _content(new):
                latest = replace(new, version=1 + (latest.version if latest else 0))
                content = {"format": 1, "entries": [asdict(e) for e in (*entries, latest)]}
                write_text(self.root / kind / MANIFEST, json.dumps(content, indent=2) + "\n")
            _link(self.root / kind / name, self.root / kind / f"{_stem(new.dataset)}.parquet", entries)
        return latest

    def _folder(self, kind: str) -> Path:
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock, so that two simultaneous builds add their entries one after the other."""
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def raw_name(ticker: str) -> str:
    """Returns the raw name: `^GSPC` -> `GSPC.OHLCV.daily`; the VIX has closes only."""
    return "VIX.Close.daily" if clean_ticker(ticker) == "VIX" else f"{clean_ticker(ticker)}.OHLCV.daily"


def processed_name(ticker: str, tier: str) -> str:
    return f"{clean_ticker(ticker)}.dataset.{tier}"


def clean_ticker(ticker: str) -> str:
    """Returns a ticker for file and data set names: BRK.B becomes BRK-B. Raises ManifestError."""
    clean = re.sub(r"[.=/: &+]", "-", ticker.strip().removeprefix("^"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}", clean):
        raise ManifestError(
            f"ticker {quoted(ticker, 40)} cannot name a file; give a name of at most 30 letters and digits, such as "
            "SPY, "
            "with --ticker"
        )
    return clean


def ticker_of_file(path: Path) -> str:
    """Returns `^GSPC` for `^GSPC.csv`, `BRK.B` for `BRK.B.csv.gz`, `SPX` for `SPX.1f0e8c23aa01.parquet`."""
    name = re.sub(r"(\.(csv|txt|tsv|tab|prn|dat|parquet|pq|gz|zip))+$", "", path.name, flags=re.IGNORECASE)
    return re.sub(r"\.[0-9a-f]{12}$", "", name)


def _stem(dataset: str) -> str:
    """Returns the file name: raw files have only their ticker, as in the earlier scripts: SPX.parquet."""
    return dataset.split(".")[0] if dataset.endswith(".daily") else dataset


def _new(dataset: str, path: Path, md5: str, dates: pd.Index, **more: Any) -> DatasetVersion:
    return DatasetVersion(
        dataset,
        version=0,
        path=f"{path.parent.name}/{path.name}",
        md5=md5,
        rows=len(dates),
        start=f"{dates[0]:%Y-%m-%d}",
        end=f"{dates[-1]:%Y-%m-%d}",
        generated_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **more,
    )


def _content(entry: DatasetVersion) -> tuple[Any, ...]:
    """Returns the fields in which an entry must differ to become a new version."""
    return entry.md5, entry.sources, entry.findings


def _are_findings(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(found, dict) and isinstance(found.get("kind"), str) and isinstance(found.get("text"), str)
        for found in content
    )


def _entry(content: Any) -> DatasetVersion:
    if not isinstance(content, dict):
        raise TypeError(f"an entry is {type(content).__name__}, expected an object")
    known = {f.name for f in fields(DatasetVersion)}
    return DatasetVersion(**{name: value for name, value in content.items() if name in known})


def _link(target: Path, link: Path, entries: tuple[DatasetVersion, ...]) -> None:
    """Points the ticker's plain name to the current file; a user's own file of that name is renamed."""
    if link.exists() and not _is_link(link, entries):
        link.replace(link.with_name(f"{link.stem}.{md5_of(link)[:12]}.parquet"))
    temporary = link.with_name(f"{draft_name(link.name)}.tmp")
    try:
        temporary.symlink_to(target.name)
    except OSError:  # a file system without links
        with replacing(link, mode=SHARED) as draft:
            shutil.copyfile(target, draft)
        return
    temporary.replace(link)


def _sweep(folder: Path) -> None:
    """Removes drafts of a killed build; also temporary links, and drafts of an earlier fts, after a day."""
    sweep(folder)
    for left in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):  # another build also sweeps, or has just finished
            if time.time() - left.lstat().st_mtime > 86_400:
                left.unlink()


def _is_link(path: Path, entries: tuple[DatasetVersion, ...]) -> bool:
    """Whether it is a link of ours, or (on file systems without links) a copy of a registered file."""
    if path.name not in {f"{_stem(e.dataset)}.parquet" for e in entries}:
        return False
    if path.is_symlink():
        return str(path.readlink()) in {Path(e.path).name for e in entries}
    return path.is_file() and md5_of(path) in {e.md5 for e in entries}
