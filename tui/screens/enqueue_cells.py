"""The Cells tab of the enqueue form: a tick for each cell, as a matrix if two axes form one, else one cell per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from fts.jobs.api.form import ANOTHER, LOST, CellNow, Grid, grid_of, toggled
from fts.jobs.status import formatting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual import events

LONGEST = 24  # columns of a value at most; the line below the table shows all of it
STYLES = {"new": "bold", "extends": "bold", "changes": "bold", ANOTHER: "bold", "failed": "bold"}


class CellTable(DataTable[Text]):
    """The table of cells. Space or a click ticks a cell, r its row, c its column, a all, n none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "tick"),
        Binding("r", "tick_row", "row"),
        Binding("c", "tick_column", "column"),
        Binding("a", "tick_all", "all"),
        Binding("n", "tick_none", "none"),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
        Binding("h", "cursor_left", show=False),
        Binding("l", "cursor_right", show=False),
        Binding("g", "scroll_top", show=False),
        Binding("G", "scroll_bottom", show=False),
    ]

    class Ticked(Message):
        """The set of ticked cells has changed."""

    class Pointed(Message):
        """The cursor has moved to another cell."""

        def __init__(self, cell: CellNow | None) -> None:
            super().__init__()
            self.cell = cell

    def __init__(self, **more: Any) -> None:
        super().__init__(cursor_type="cell", zebra_stripes=False, **more)
        self.cells: dict[str, CellNow] = {}
        self.grid = Grid((), (), ("",))
        self.ticked: set[str] = set()
        self._marked: tuple[int, int] | None = None  # (row, column) with the > of the cursor

    # -- what is shown

    def show(self, cells: Sequence[CellNow], ticked: Iterable[str]) -> None:
        """Shows these cells. If only their states have changed, cursor and scroll position stay."""
        grid = grid_of(cells)
        self.ticked = {name for name in ticked if name in {cell.name for cell in cells}}
        same = grid == self.grid and self.row_count == len(grid.rows)
        before, self.cells = self.cells, {cell.name: cell for cell in cells}
        if same:
            for place, name in grid.places.items():
                if before.get(name) != self.cells[name]:
                    self._write(place)
            return
        self.grid, self._marked = grid, None
        self.clear(columns=True)
        self.fixed_columns = len(grid.axes) if grid.is_matrix else 0
        for axis in grid.axes:
            self.add_column(Text(formatting.cut(axis, LONGEST), style="bold"), key=f"axis {axis}")
        for n, heading in enumerate(grid.columns):
            label = formatting.cut(heading, LONGEST) if heading else "cell" if grid.axes else "the study"
            self.add_column(Text(label, style="bold"), key=f"column {n}")
        for n, values in enumerate(grid.rows):
            self.add_row(
                *(Text(formatting.cut("-" if value is None else str(value), LONGEST)) for value in values),
                *(self._text((n, column)) for column in range(len(grid.columns))),
            )
        if grid.rows:
            self.move_cursor(row=0, column=len(grid.axes), scroll=False)
            self._point()

    def _text(self, place: tuple[int, int]) -> Text:
        name = self.grid.places.get(place)
        if name is None:
            return Text("    -" if self.grid.is_matrix else "", style="dim")
        cell = self.cells[name]
        here = ">" if place == self._marked else " "
        box = "[x]" if name in self.ticked else "[ ]"
        sign = formatting.LOST if cell.state == LOST else formatting.GLYPHS.get(cell.state, "")
        glyph = f"{sign} " if sign else ""
        return Text(f"{here}{box} {glyph}{cell.note}", style=STYLES.get(cell.state, ""))

    def _write(self, place: tuple[int, int]) -> None:
        row, column = place
        if row < self.row_count:
            self.update_cell_at((row, column + len(self.grid.axes)), self._text(place), update_width=True)  # type: ignore[arg-type]

    def _rewrite(self, names: Iterable[str]) -> None:
        wanted = set(names)
        for place, name in self.grid.places.items():
            if name in wanted:
                self._write(place)

    # -- where the cursor stands

    def pointed(self) -> CellNow | None:
        """Returns the cell under the cursor; on the value of an axis the first cell of the row."""
        place = self._place()
        name = self.grid.places.get(place) if place is not None else None
        return self.cells.get(name) if name is not None else None

    def _place(self) -> tuple[int, int] | None:
        if not self.grid.rows:
            return None
        return self.cursor_row, max(self.cursor_column - len(self.grid.axes), 0)

    def _point(self) -> None:
        before, self._marked = self._marked, self._place()
        for place in (before, self._marked):
            if place is not None and place in self.grid.places:
                self._write(place)
        self.post_message(self.Pointed(self.pointed()))

    def on_data_table_cell_highlighted(self, event: DataTable.CellHighlighted) -> None:
        event.stop()
        self._point()

    # -- ticks

    def set_ticked(self, names: Iterable[str]) -> None:
        before, self.ticked = self.ticked, set(names)
        self._rewrite(before ^ self.ticked)
        if before != self.ticked:
            self.post_message(self.Ticked())

    def _toggle(self, names: Iterable[str]) -> None:
        self.set_ticked(toggled(self.ticked, names))

    def action_tick(self) -> None:
        place = self._place()
        if place is not None and self.cursor_column < len(self.grid.axes):
            self._toggle(self.grid.row_of(place[0]))
        elif place is not None and (name := self.grid.places.get(place)) is not None:
            self._toggle([name])

    def action_tick_row(self) -> None:
        if (place := self._place()) is not None:
            self._toggle(self.grid.row_of(place[0]))

    def action_tick_column(self) -> None:
        """Ticks the column of a matrix; on the value of an axis every cell with this value."""
        if (place := self._place()) is None:
            return
        axes = len(self.grid.axes)
        if self.cursor_column < axes:
            self._toggle(self.grid.alike(place[0], self.cursor_column))
        elif self.grid.is_matrix:
            self._toggle(self.grid.column_of(place[1]))
        else:
            self._toggle(self.cells)

    def action_tick_all(self) -> None:
        self.set_ticked(self.cells)

    def action_tick_none(self) -> None:
        self.set_ticked(())

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor to the clicked cell, so that the click ticks it; Textual would select only the one under
        the cursor."""
        row, column = event.style.meta.get("row", -1), event.style.meta.get("column", -1)
        if row >= 0 and column >= 0 and not event.style.meta.get("out_of_bounds", False):
            self.move_cursor(row=row, column=column, scroll=False)

    def on_data_table_cell_selected(self, event: DataTable.CellSelected) -> None:
        event.stop()
        self.action_tick()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Ticks the column of a clicked heading; the heading of an axis does nothing."""
        event.stop()
        column = event.column_index - len(self.grid.axes)
        if column >= 0:
            self._toggle(self.grid.column_of(column))
