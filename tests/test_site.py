"""The site as `make docs` builds it: links and pictures are there, a phone shows it whole, the search finds options."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import CHROMIUM, Page, page_of
from tests.fts_process import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


class Links(HTMLParser):
    """What a page names, and the places that others can name in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.places.append(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}
    lost = []
    for path, page in pages.items():
        assert len(page.places) == len(set(page.places)), f"{path.name}: one id twice"
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target.exists() and not (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places
            )
            if not (parts.scheme or parts.netloc or there):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert len(pages) > 25 and lost == []


# what stands out of a phone's screen and is in no box that scrolls; pictures that did not come
OUTSIDE = """JSON.stringify([...document.querySelectorAll(".md-content :is(table, pre, code, img, p)")].filter(one => {
    for (let box = one.parentElement; box && !box.matches(".md-content"); box = box.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
    return one.getBoundingClientRect().right > innerWidth + 1 || one.matches("img") && !one.naturalWidth;
}).map(one => one.outerHTML.slice(0, 80)))"""
FOUND = "[...document.querySelectorAll('.md-search-result__item > a, .md-search-result__link')].map(a => a.href).join()"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_site_in_a_browser(site: Path, tmp_path: Path) -> None:
    with served(site) as address:
        asyncio.run(_looked_at(site, address, tmp_path / "profile"))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


async def _looked_at(site: Path, address: str, profile: Path) -> None:
    async with page_of(address + "index.html", profile) as page:
        await page.ask("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        for path in sorted(site.rglob("*.html")):
            name = path.relative_to(site).as_posix()
            await page.ask("Page.navigate", url=address + name)
            await until(page, f"location.href.endsWith('{name}') && document.readyState == 'complete'")
            assert await page.value_of(OUTSIDE) == "[]", name
            assert await page.value_of("document.documentElement.scrollWidth") <= 360, name

        for media, scheme in (("dark", "slate"), ("light", "default")):  # follows the machine, also after a first visit
            await page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": media}])
            await page.ask("Page.navigate", url=address + "guide.html")
            await until(page, f"document.body?.getAttribute('data-md-color-scheme') == '{scheme}'")

        await page.ask("Page.navigate", url=address + "index.html")
        await until(page, "document.readyState == 'complete' && location.href.endsWith('index.html')")
        await page.value_of("document.querySelector('.md-search__input').focus()")
        await until(page, "!document.querySelector('.md-search-result__meta').textContent.includes('nitializing')")
        await page.value_of(
            "((box) => { box.value = '--on-oom'; box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); })"
            "(document.querySelector('.md-search__input'))"
        )
        await until(page, f"{FOUND}.includes('reference/commands.html')")
        assert {one for one in page.fetched if not one.startswith((address, "data:", "about:"))} == set()


async def until(page: Page, expression: str) -> None:
    for _ in range(600):
        if await page.value_of(expression):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never true: {expression}")
