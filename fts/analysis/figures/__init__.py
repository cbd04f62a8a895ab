"""Draws the figures of the report: single cells, searches, sizes; all in one style.

Each drawing function takes a Group (and further inputs) and returns a matplotlib Figure, or None if there is
nothing to draw. `write_figure` saves an SVG (for the page) and a PNG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.analysis.figures import cells, searches, sizes
from fts.analysis.figures.look import look, write_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import Group

__all__ = ["draw_all", "look", "write_figure"]


def draw_all(study: StudyData, group: Group) -> dict[str, Figure]:
    """Returns every figure that the data allow, by name, in the order of the report."""
    with look():
        drawn = {
            "results": cells.results_matrix(group),
            "learning_curves": cells.learning_curves(study, group),
            "scaling": sizes.scaling_curves(group),
            "calibration": cells.calibration(group),
            "hyperparameters": searches.hyperparameters(study, group),
            "importance": searches.importance(group),
            "depth_width": searches.depth_width(study, group),
            "cost": cells.cost(group),
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}
