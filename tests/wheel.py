"""Builds the wheel, installs it in a fresh environment, and runs a study there: `python -m tests.wheel [PYTHON ...]`.

Without an index of packages the environment borrows what this one has installed, and its size is not measured.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {"fts": "fts", "jobs": "fts/jobs", "state": "fts/state", "tui": "fts/tui"}  # folder -> its place in a wheel
GUIDE = ROOT / "docs" / "guide.md"
LEFT_OUT = {".git", ".venv", "outputs", "data", "build", "dist"}  # at the top; __pycache__ and such everywhere
MOST_BYTES = 350 * 10**6  # of the core with all that it needs
EXTRAS = {"patchtst", "ray", "notify", "report", "mirrors", "dev", "examples", "peers"}


def main(pythons: list[str]) -> None:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fts-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        check_content(wheel)
        check_metadata(wheel)
        for number, python in enumerate(pythons or [sys.executable]):
            fresh = folder / f"environment {number}"
            installed = install(python, fresh, wheel)
            run_study(fresh, folder / f"a study {number} %h", installed)
    print(f"the wheel works: {time.monotonic() - begun:.0f} s")


def build(folder: Path) -> Path:
    """The wheel, by way of the source distribution, from a copy of the sources: a build writes into its folder."""
    source, dist = folder / "source", folder / "dist"
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source))
    (archive,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    run(sys.executable, "-m", "twine", "check", "--strict", str(archive), str(wheel))
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "pyproject.toml"} <= names, names
    assert not [name for name in names if name.startswith("tests")], "tests would be without what they test"
    print(f"built {wheel.name} ({wheel.stat().st_size:,} bytes)")
    return wheel


def left_out(folder: str, names: list[str]) -> set[str]:
    made = {name for name in names if name == "__pycache__" or name.endswith((".egg-info", "_cache"))}
    return made | (LEFT_OUT & set(names) if Path(folder) == ROOT else set())


def check_content(wheel: Path) -> None:
    """Every file of the package, and nothing else."""
    with zipfile.ZipFile(wheel) as content:
        found = {name for name in content.namelist() if ".dist-info/" not in name}
    expected = {
        (Path(place) / path.relative_to(ROOT / folder)).as_posix()
        for folder, place in PACKAGES.items()
        for path in files_below(ROOT / folder)
    }
    assert found == expected, f"missing: {sorted(expected - found)}; too many: {sorted(found - expected)}"


def files_below(folder: Path) -> Iterator[Path]:
    """Links are not followed: fts/jobs is ../jobs."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from files_below(path)
        else:
            yield path


def check_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        info = next(name for name in content.namelist() if name.endswith(".dist-info/METADATA"))[: -len("METADATA")]
        metadata = HeaderParser().parsestr(content.read(f"{info}METADATA").decode())
        points = content.read(f"{info}entry_points.txt").decode()
        content.getinfo(f"{info}licenses/LICENSE")
    assert metadata["Name"] == "fts-hpo" and metadata["License-Expression"] == "MIT", metadata.items()
    assert set(metadata.get_all("Provides-Extra", [])) >= EXTRAS, metadata.get_all("Provides-Extra")
    described = str(metadata.get_payload())
    assert "](" not in described, "the description has a link that an index cannot follow"
    for point in ("fts = fts.jobs.cli:main", "fts-tui = fts.tui.__main__:main", "patchtst = fts.study.study:PatchTST"):
        assert point in points, points


def install(python: str, fresh: Path, wheel: Path) -> str:
    """The environment with the wheel in it; returns what happened, in words."""
    run(python, "-m", "venv", "--without-pip", str(fresh))
    pip = (sys.executable, "-m", "pip", "--python", str(fresh / "bin" / "python"), "install", "--quiet")
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt"), str(wheel)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (packages,) = (fresh / "lib").glob("python*/site-packages")
    if done.returncode == 0:
        size = sum(path.lstat().st_size for path in packages.rglob("*"))
        assert size < MOST_BYTES, f"the core needs {size:,} bytes, more than {MOST_BYTES:,}"
        return f"{size / 1e6:.0f} MB with all it needs"
    if run_is_possible(*pip[:-2], "download", "--quiet", "--no-deps", "--no-cache-dir", "-d", str(fresh), "huey"):
        raise SystemExit(f"the wheel cannot be installed:\n{done.stderr}")
    print("no index of packages answers: the new environment borrows the packages of this one", file=sys.stderr)
    run(*pip, "--no-deps", "--no-index", str(wheel))
    borrowed = {str(Path(module.__file__ or "").parent.parent) for module in (__import__("click"), __import__("huey"))}
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return "with borrowed packages"


def run_study(fresh: Path, folder: Path, installed: str) -> None:
    """From an empty folder to a result, as a newcomer types it: the commands of the page of the index and of README."""
    folder.mkdir()
    fts = str(fresh / "bin" / "fts")
    version = run(str(fresh / "bin" / "python"), "-c", "import sys; print(sys.version.split()[0])", at=folder).strip()
    said = run(fts, "--version", at=folder)
    assert said.split() == ["fts", version_of_sources()], said
    begun = time.monotonic()
    begin, with_files = blocks(ROOT / "docs" / "index_page.md")
    said = {line: run("sh", "-c", typed(line, fresh), at=folder) for line in begin if "pip install" not in line}
    assert " done " in said["fts results"] and "failed" not in said["fts results"], said
    own = folder / "own files"
    own.mkdir()
    (own / "train.py").write_text(re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)[1])
    for line in [*blocks(ROOT / "README.md")[0][1:], *with_files]:
        run("sh", "-c", typed(line, fresh), at=own)
    where = run(str(fresh / "bin" / "python"), "-c", "import fts, fts.tui.app; print(fts.__file__)", at=folder)
    assert where.startswith(str(fresh)), f"{where} is not the installed package"
    run(fts, "doctor", at=folder)
    print(f"Python {version}: {installed}; the study of `fts init` took {time.monotonic() - begun:.0f} s")


def blocks(page: Path) -> list[list[str]]:
    """The lines of each block of commands, without what explains them."""
    found = re.findall(r"^```\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [[line.partition("  #")[0].strip() for line in block.splitlines()] for block in found]


def typed(line: str, fresh: Path) -> str:
    """The line, ending by itself where a person would end it, with the environment's programs first."""
    ends = {"fts worker": "fts worker --until-empty", "fts-tui": "fts-tui --help"}
    return f"PATH={shlex.quote(str(fresh / 'bin'))}:$PATH; {ends.get(line, line)}"


def run_is_possible(*words: str) -> bool:
    return subprocess.run(list(words), capture_output=True, check=False).returncode == 0


def version_of_sources() -> str:
    for line in (ROOT / "fts" / "__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise AssertionError("fts/__init__.py has no __version__")


def run(*words: str, at: Path | None = None) -> str:
    """What the command printed; its failure ends the test with all it said."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FTS_", "PYTHONPATH"))}
    done = subprocess.run(list(words), cwd=at, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
