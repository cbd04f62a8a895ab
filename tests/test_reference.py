"""The pages that are written from the code say what the code says, and none of its words is missing."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import click
import pytest

from fts.jobs import settings
from fts.jobs.supervisor import child
from fts.state.values import UNRANKED, Cause, JobStatus, TrialStatus, Verb
from fts.tui import keymap
from tests import reference, reference_facts
from tests.test_sentences import is_command

PAGES = reference.pages()
RECORDS = ("DECISIONS.md", "LOG.md")  # what was true then
PAGES_BY_HAND = sorted(path.name for path in reference.DOCS.glob("*.md") if path.name not in (*PAGES, *RECORDS))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_the_code_is(name: str):
    path = reference.DOCS / name
    assert path.exists() and path.read_text(encoding="utf-8") == PAGES[name], (
        f"{name} is old: type `python -m tests.reference`"
    )


def test_no_page_of_the_reference_is_left_behind():
    there = {f"reference/{path.name}" for path in (reference.DOCS / "reference").iterdir()}
    assert there == {name for name in PAGES if "/" in name}


def test_every_command_has_its_section_with_its_example():
    sections = PAGES["reference/commands.md"].split("\n### fts ")[1:]
    assert [part.partition("\n")[0] for part in sections] and {part.partition("\n")[0] for part in sections} == {
        name for name, _ in reference.commands()
    }
    assert all("\nExample:\n" in part for part in sections)


def test_every_option_is_explained_word_for_word():
    page = PAGES["reference/commands.md"].replace("\\|", "|")
    for name, command in reference.commands():
        for option in command.params:
            if isinstance(option, click.Option) and option.help and option.name != "help":
                told = option.help.partition("  [default")[0]
                assert f"| {reference.plain(told)} |\n" in page, f"fts {name} {option.opts[0]}"


def test_a_page_has_no_sign_that_nobody_sees():
    for name, text in PAGES.items():
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", text), name


def test_every_key_of_the_monitor_is_listed():
    listed = re.findall(r"^\| [^|]* \| `(\w+)` \|", PAGES["reference/keys.md"], re.MULTILINE)
    assert sorted(listed) == sorted(keymap.defaults())


@pytest.mark.parametrize("kind", [Verb, JobStatus, TrialStatus, Cause])
def test_every_word_of_a_record_is_explained_where_it_is_defined(kind):
    assert set(reference.comments(kind)) == {each.name for each in kind}


FACT = re.compile(r'^([A-Z_]+) = "([\w-]+)"  # fact of', re.MULTILINE)
BADGE = re.compile(r'^[A-Z_]+ = "([\w -]+)"  # (?:its )?badge', re.MULTILINE)


def test_every_fact_and_badge_of_the_code_is_on_the_page():
    rooms = (path for room in ("state", "jobs", "fts") for path in (reference.ROOT / room).rglob("*.py"))
    sources = [path.read_text(encoding="utf-8") for path in rooms]
    facts = {name for source in sources for _, name in FACT.findall(source)}
    badges = {name for source in sources for name in BADGE.findall(source)}
    assert len(facts) > 6 and facts <= set(reference_facts.BESIDE)
    assert len(badges) > 4 and badges | set(UNRANKED) <= set(reference_facts.BADGES)


# -- environment


@lru_cache(maxsize=1)
def named() -> frozenset[str]:
    """The variables in every text of the product's code; of an f-string its pieces, such as FTS_HEAT_."""
    found: set[str] = set()
    for folder in ("state", "jobs", "tui", "fts"):
        for path in (reference.ROOT / folder).rglob("*.py"):  # links, such as fts/jobs, are not followed
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)) if "FTS_" in source else ():
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.update(re.findall(r"\bFTS_[A-Z][A-Z_]*", node.value))
    return frozenset(found)


def test_every_variable_in_the_code_is_documented():
    known = reference.documented()
    families = {name for name in known if name.endswith("_")}
    missing = {
        name
        for name in named() - known - reference.NO_VARIABLE
        if not any(name.startswith(family) for family in families)
        and not any(one.startswith(name) for one in known)  # the beginning of several: FTS_HEAT_
    }
    assert not missing, f"{missing}: give each a row in tests/reference.py"


def test_every_variable_of_another_program_is_documented():
    """Those that the code reads from its environment, and those that it gives to every trial."""
    asked = re.compile(
        r"environ(?:\.(?:get|pop|setdefault)\(|\[)'([A-Z][A-Z_]+)'|'([A-Z][A-Z_]+)' in (?:os\.)?environ\b"
    )
    found = set(child.thread_environment(1))
    for folder in ("state", "jobs", "tui", "fts"):
        for path in (reference.ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if "environ" in source:
                found |= {one or other for one, other in asked.findall(ast.unparse(ast.parse(source)))}
    assert {"NO_COLOR", "CUDA_VISIBLE_DEVICES", "XDG_STATE_HOME", "OMP_NUM_THREADS"} <= found
    page = set(re.findall(r"`([A-Z][A-Z_]+)`", PAGES["reference/environment.md"]))
    missing = {name for name in found - page - reference.NO_VARIABLE if not name.startswith("FTS_")}
    assert not missing, f"{missing}: give each a row in tests/reference.py"


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(os.environ)
        self.names: set[str] = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


def test_every_variable_that_a_worker_reads_is_documented(monkeypatch: pytest.MonkeyPatch):
    asked = Asked()
    monkeypatch.setattr(os, "environ", asked)
    settings.worker_settings(device="cpu")
    settings.worker_settings(where=settings.Where(executor="command", launch="env"))
    settings.places()
    read = {name for name in asked.names if name.startswith("FTS_")}
    assert {"FTS_LEASE_S", "FTS_STALL_FACTOR", "FTS_NODE_LEASE_S", "FTS_DB"} <= read
    assert read <= reference.documented()


def test_every_documented_variable_is_in_the_code():
    made = {f"FTS_{name.upper()}" for name in (*settings.STALL, *reference.TIMES)}
    made |= {f"FTS_HEAT_{name.upper()}" for name in reference.HEAT}
    made |= {f"FTS_MEMORY_{name}" for name in ("SOFT", "HARD", "AVAILABLE_LOW", "SWAP_GROWTH")}
    assert reference.documented() <= named() | made


# -- the site


def test_every_page_of_the_site_is_in_its_navigation_or_left_out_on_purpose():
    text = (reference.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(reference.DOCS).as_posix() for path in reference.DOCS.rglob("*.md")}
    assert {page for page in pages if page not in text} == set()


LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs"])
def test_every_link_to_a_file_finds_it(name: str):
    top = reference.ROOT / name
    for path in [top] if top.is_file() else sorted(top.rglob("*.md")):
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto:")):
                assert (path.parent / target).exists(), f"{path.relative_to(reference.ROOT)}: {target}"


INVENTED = {"bowl"}  # the study that STUDIES.md writes


def typed(text: str) -> Iterator[str]:
    """What stands behind `fts` in the blocks and in the lines of a page."""
    block = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for lines in block.findall(text):
        for line in lines.replace("\\\n", " ").split("\n"):
            for one in re.split(r"\s+;\s+|&&", re.sub(r"\s+#.*", "", line.removeprefix("$ "))):
                if found := re.match(r"\s*(?:[A-Z_]+=\S+ )?fts ([a-z].*)", one):
                    yield found[1]
    yield from re.findall(r"`fts ([a-z][^`]*)`", block.sub("", text))


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{page}" for page in PAGES_BY_HAND)])
def test_every_command_of_a_page_exists_with_its_options(name: str):
    words = [re.sub(r"'[^']*'", "VALUE", each) for each in typed((reference.ROOT / name).read_text(encoding="utf-8"))]
    assert [each for each in words if each.split()[0] not in INVENTED and not is_command(each)] == []


def test_the_site_asks_no_other_host():
    """No font, script or picture of another host: the site opens without a network, and tells nobody who reads it."""
    text = (reference.ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings_of_site = re.sub(r"#.*", "", text)
    assert "font: false" in text and "http" not in settings_of_site and "offline" not in settings_of_site


def test_the_cookbook_names_every_example():
    files = {
        path.relative_to(reference.ROOT).as_posix()
        for path in (reference.ROOT / "examples").rglob("*.*")
        if path.parent.name not in ("__pycache__", "study") or path.name == "study.toml"
    }
    assert set(re.findall(r"^\[(examples/[^\]]+)\]", PAGES["cookbook.md"], re.MULTILINE)) == {
        name for name in files if "__pycache__" not in name and Path(name).name not in reference.SHARED
    }
    assert Path(reference.DOCS / "cookbook.md").exists()


def anchors_of(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_every_anchor_of_the_documents_leads_somewhere_on_github_and_on_the_site() -> None:
    """The site writes one hyphen where GitHub writes two, so none that a link names has two."""
    root = reference.DOCS.parent
    anchors = {page: anchors_of(page) for page in [*root.glob("*.md"), *reference.DOCS.rglob("*.md")]}
    for page in anchors:
        for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            there = (page.parent / target).resolve() if target else page
            assert there not in anchors or anchor in anchors[there], f"{page.name}: {target}#{anchor} names no heading"
            assert "--" not in anchor and anchor.strip("-") == anchor, f"{page.name}: {target}#{anchor}, reword it"
