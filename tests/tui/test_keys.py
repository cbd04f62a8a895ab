"""The table of keys: each has its method and one meaning, none is a terminal's own."""

from __future__ import annotations

import re

from fts.jobs.actions import ACTIONS
from fts.tui import bindings
from fts.tui.screens.base import MonitorScreen
from tests.sentences import sentences

VERBS = "shows|runs|starts|resumes|retries|undoes|lists|writes|puts|changes|reads|leaves|clears|returns|enqueues|ends"
NAMED = re.compile(rf"(?<![\w`'-])([A-Za-z/?]|\^[a-z]|Esc|Enter|Tab|Space) (?:{VERBS})\b")


def test_every_key_has_its_method_and_no_key_two_meanings():
    for key in bindings.KEYS:
        if key.id != "screen":
            assert callable(getattr(MonitorScreen, f"action_{key.id}"))
    assert not set(bindings.BY_KEY) & set(bindings.ACTION_KEYS)
    names = [name for key in bindings.KEYS for name in key.keys]
    assert len(names) == len(set(names))


def test_no_key_that_tmux_or_a_terminal_keeps_is_used():
    forbidden = {"ctrl+b", "ctrl+a", "ctrl+h", "ctrl+j", "ctrl+k", "ctrl+s", "ctrl+i", "ctrl+m", "ctrl+enter"}
    assert not forbidden & (set(bindings.BY_KEY) | set(bindings.ACTION_KEYS))


def test_every_hint_of_the_bar_is_a_key_or_an_action():
    known = {key.id for key in bindings.KEYS} | {action.id for action in ACTIONS} | {"copy"}
    assert {name for bar in bindings.BARS.values() for name, _, _ in bar} <= known


def test_every_key_that_a_sentence_of_the_monitor_names_is_a_key():
    """`s changes the level`, `W starts one`: the letter is in the table of keys or of actions."""
    known = (
        {key.shown for key in bindings.KEYS}
        | set(bindings.BY_KEY)
        | set(bindings.ACTION_KEYS)
        | {"Esc", "Enter", "Tab", "Space"}
    )
    named = {
        (match[1], each.text) for each in sentences() for match in NAMED.finditer(each.text) if in_monitor(each.file)
    }
    assert {key for key, _ in named} >= {"s", "t", "W", "r", "p", "u"}
    assert [each for each in named if each[0] not in known] == []


def in_monitor(file: str) -> bool:
    return file.startswith(("tui/", "jobs/status/", "jobs/actions/"))
