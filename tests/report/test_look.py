"""The page as a reader sees it: readable colours, sorting, a pointer over a chart, a phone, the dark, no script."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fts.jobs.report.report import write_report
from fts.jobs.report.style import DARK, LIGHT, PRINT
from fts.tui.render.theme import READABLE, contrast
from tests.browser import CHROMIUM, Page, page_of
from tests.cli.study import places_of
from tests.report.planted import planted

TEXTS = ("ink", "soft", "good", "warn", "blue")
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
MIDDLE_OF_A_MARK = """(() => {
    const mark = document.querySelector("svg circle[data-t]");
    mark.scrollIntoView({ block: "center" });
    const { x, y, width } = mark.getBoundingClientRect();
    return [x + width / 2, y + width / 2];
})()"""
FIRST_COLUMN = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[{at}].textContent)"


@pytest.mark.parametrize("palette", [LIGHT, DARK, PRINT], ids=["light", "dark", "print"])
def test_every_text_can_be_read_on_paper_and_wash(palette: dict[str, str]) -> None:
    for text in TEXTS:
        for ground in ("paper", "wash"):
            assert contrast(palette[text], palette[ground]) >= READABLE, (text, ground)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    db = planted(tmp_path, datasets=2, trials=14)
    (file,) = write_report(db, places_of(tmp_path), "train", tmp_path / "report")
    db.close()
    asyncio.run(asyncio.wait_for(_looked_at(Path(file), tmp_path), 120))


async def _looked_at(file: Path, scratch: Path) -> None:
    async with page_of(file.as_uri(), scratch / "profile") as page:
        await until(page, "document.querySelectorAll('#trials th button').length > 2")
        assert {address.split(":")[0] for address in page.fetched} == {"file"}

        names = await page.value_of("[...document.querySelectorAll('#trials th')].map(head => head.textContent)")
        at = next(n for n, name in enumerate(names) if "loss" in name)
        await page.value_of(f"document.querySelectorAll('#trials th button')[{at}].click()")
        rising = numbers(await page.value_of(FIRST_COLUMN.format(at=at)))
        await page.value_of(f"document.querySelectorAll('#trials th button')[{at}].click()")
        falling = numbers(await page.value_of(FIRST_COLUMN.format(at=at)))
        assert rising == sorted(rising) and falling == sorted(falling, reverse=True) and len(rising) > 10
        assert await page.value_of(f"document.querySelectorAll('#trials th')[{at}].ariaSort") == "descending"

        place = await page.value_of(MIDDLE_OF_A_MARK)
        await page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        await until(page, "!document.getElementById('tip').hidden")
        assert "loss" in await page.value_of("document.getElementById('tip').textContent")

        for width in (360, 800, 1400):
            await page.ask(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
            )
            whole, seen = await page.value_of(WIDTHS)
            assert whole <= seen, f"at {width} the page scrolls sideways: {whole} of {seen}"
        for media, paper in (("dark", DARK), ("light", LIGHT)):
            await page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": media}])
            shown = await page.value_of("getComputedStyle(document.body).backgroundColor")
            assert shown == f"rgb({', '.join(str(int(paper['paper'][k : k + 2], 16)) for k in (1, 3, 5))})"

        await page.ask("Emulation.setScriptExecutionDisabled", value=True)
        await page.ask("Page.reload")
        await asyncio.sleep(0.5)
        assert len(await page.shot()) > 10_000


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace("−", "-").replace(",", "")) for cell in cells if any(c.isdigit() for c in cell)]


async def until(page: Page, expression: str) -> Any:
    for _ in range(200):
        if found := await page.value_of(expression):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"never true: {expression}")
