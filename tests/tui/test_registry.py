"""One registry: each action has a key or a palette entry, a help line, a command, an event verb; nothing is missing."""

from __future__ import annotations

import re

import pytest

from fts.jobs.actions import ACTIONS
from fts.jobs.cli.app import fts
from fts.state.values import Verb
from fts.tui import bindings
from fts.tui.command_palette import PaletteCommands
from fts.tui.data.view import QUEUE
from fts.tui.screens.help import lines as help_lines
from tests.tui.stories import monitor

SPECIFIED = {
    "J": "move_down", "K": "move_up", "t": "next", "p": "pause", "r": "retry", "x": "cancel", "P": "pause_queue",
    "D": "drain", "u": "undo", "U": "redo", "a": "ack", "m": "note", "e": "enqueue",
}  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_each_action_is_complete(action):
    assert action.help.endswith(".")
    assert action.label
    assert action.verb in set(Verb)
    assert action.level in ("L0", "L1", "L2", "L3")
    command = action.command([3], place=1, text="x").split()
    assert command[0] == "fts"
    assert command[1] in fts.list_commands(None)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)
def test_what_cannot_be_undone_has_no_key(action):
    if action.level == "L3":
        assert action.key is None


@pytest.mark.parametrize(("key", "action_id"), SPECIFIED.items())
def test_the_keys_are_those_of_the_specification(key, action_id):
    assert action_id in [action.id for action in ACTIONS if action.key == key]
    assert bindings.ACTION_KEYS[key] == key


def test_upper_case_keys_ask_and_lower_case_ones_act_on_the_selection():
    for action in ACTIONS:
        if action.key and re.fullmatch("[A-Z]", action.key) and action.key not in "JKU":
            assert action.asks([])


async def test_each_action_is_in_palette_and_help(db_path):
    async with monitor(db_path) as (app, _pilot):
        listed = {choice.id: choice for choice in help_lines(app, QUEUE)}
        offered = {entry.id: entry for entry in PaletteCommands(app.screen).entries()}
        for action in ACTIONS:
            assert listed[action.id].note == action.help
            assert listed[action.id].key == offered[action.id].key == (action.key or "")
            assert offered[action.id].twin == action.command(app.chosen())
