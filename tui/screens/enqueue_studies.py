"""The Study tab of the enqueue form: the studies that were found; broken ones with their error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets.option_list import Option

from fts.jobs.status.sanitize import clean
from fts.tui.screens.chooser import PagedList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.widgets import OptionList

    from fts.jobs.api.form import Found

NONE_FOUND = "no study is found here: type its file below, or write one with `fts init`"


LOOKING = "looking for studies in this folder, the queue and what is installed ..."


class StudyList(PagedList):
    """A list with one study per line and a `>` before the highlighted one, which is visible without colours."""

    studies: Sequence[Found] = ()
    folder = ""  # working folder of the monitor

    def show(self, studies: Sequence[Found], folder: str, problem: str) -> None:
        """Shows the studies that were found. `problem`: why the search failed."""
        self.studies, self.folder = studies, folder
        self.clear_options()
        for each in studies:
            self.add_option(Option(self._prompt(each, False), disabled=bool(each.problem)))
        if not studies:
            self.add_option(Option(problem or NONE_FOUND, disabled=True))
        first = next((n for n, each in enumerate(studies) if not each.problem), None)
        if first is not None:
            self.highlighted = first
            self.replace_option_prompt_at_index(first, self._prompt(studies[first], True))

    def _prompt(self, each: Found, here: bool) -> Text:
        where = "" if each.where == self.folder else f"  {each.where}"
        note = f"  {each.note}" if each.note else ""
        text = Text(f"{'>' if here else ' '} {each.title}", style="bold", no_wrap=False)
        text.append(f"  {each.kind}{note}{where}", style="not bold")
        if each.problem:
            text.append(f"\n    cannot be chosen: {clean(each.problem)}", style="not bold")
        return text

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        for n, each in enumerate(self.studies):
            self.replace_option_prompt_at_index(n, self._prompt(each, n == event.option_index))
