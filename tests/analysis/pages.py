"""Pages of which a test reads the text: their figures are made, but not written as SVG and PNG (1 s a page)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fts.analysis import report


@contextlib.contextmanager
def unwritten() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_figure", name_of)
        yield


def name_of(figure: Figure, folder: Path, name: str) -> str:
    assert figure.get_axes(), name
    return f'<svg id="{name}"></svg>'
