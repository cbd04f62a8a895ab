"""Hooks of mkdocs: files of the repository outside docs/ become part of the site, and links to them are followed there.

README.md is the first page. A link that leaves docs/, such as ../examples/study/study.toml, leads to the copy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {  # file of the repository -> its place on the site
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "benchmarks/results.md": "benchmarks/results.md",
    "benchmarks/memory-grid.md": "benchmarks/memory-grid.md",
}
RECORDS = ("DECISIONS.md", "LOG.md", "CHANGELOG.md")  # what was true then, which a search need not find
SIGNS = {".py", ".toml", ".sh", ".c", ".R", ".ipynb"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / "examples").rglob("*")):
        if path.suffix in SIGNS and "outputs" not in path.parts:
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """docs/guide.md of README and ../examples/... of a page in docs are guide.md and examples/... here."""
    place = page.file.src_uri
    if place in RECORDS:
        page.meta["search"] = {"exclude": True}
    if place in PAGES.values():
        markdown = re.sub(r"\]\(docs/", "](", markdown)
    elif "/" not in place:
        markdown = re.sub(r"\]\(\.\./", "](", markdown)
    return markdown.replace("](README.md", "](index.md")


def on_page_content(html: str, **_: object) -> str:
    """Short words of a program stay on one line; a picture leads to its file, which a phone can enlarge."""
    html = re.sub(r"(?<!<pre>)<code>([^<\n]{1,28})</code>", r'<code class="short">\1</code>', html)
    return re.sub(r'<img [^>]*src="([^"]+)"[^>]*>', r'<a href="\1">\g<0></a>', html)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Raises PluginError for a page that would load something from another host."""
    loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="?(https?:[^"\s>]+)', output)
    loaded += re.findall(r'<link(?=[^>]*rel="?(?:stylesheet|preconnect|preload))[^>]*href="?(https?:[^"\s>]+)', output)
    if loaded:
        raise PluginError(f"{page.file.src_uri} would load {', '.join(loaded)}")
    return output
