"""The user's file: keys, colours and options; a mistake is one sentence with its line and the nearest known name."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from fts.tui import keymap, settings
from fts.tui.__main__ import arguments, main, with_settings
from fts.tui.keymap import Keymap
from fts.tui.render import theme
from fts.tui.settings import BadSettings, MonitorSettings, parsed, written
from tests.tui.terminal import Terminal

FILE = Path("monitor.toml")


def refused(text: str) -> str:
    with pytest.raises(BadSettings) as caught:
        parsed(text, "monitor.toml")
    return str(caught.value)


def test_the_file_that_is_printed_is_read_and_changes_nothing():
    assert parsed(written(MonitorSettings(), FILE), "monitor.toml") == MonitorSettings()


def test_the_file_that_is_printed_keeps_what_was_changed():
    text = '[monitor]\nascii = true\n[theme]\nname = "light"\nfailed = "#900000"\n'
    text += '[keys]\ncancel = ["X", \'"\']\nsort = []\n'
    chosen = parsed(text, "monitor.toml")
    assert chosen.keymap.changed == {"cancel": ("X", '"'), "sort": ()}
    assert chosen.theme == theme.USER and theme.palette(theme.USER).failed == "#900000"
    assert theme.palette(theme.USER).background == theme.LIGHT.background
    assert parsed(written(chosen, FILE), "monitor.toml") == chosen
    assert theme.palette(theme.USER).failed == "#900000"


def test_what_is_commented_out_is_what_the_file_may_say():
    text = re.sub(r"^# (\w+ = )", r"\1", written(MonitorSettings(), FILE), flags=re.MULTILINE)
    chosen = parsed(text, "monitor.toml")
    assert chosen.ascii is False and chosen.mouse is True and chosen.theme == theme.USER


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[keys]\ncancle = "X"', "[keys] has 'cancle', expected an id of `fts-tui --keys`; the nearest is 'cancel'"),
        ('[keys]\ncancel = "ctrl+spade"', "line 2: cancel has 'ctrl+spade', expected a key such as x"),
        ('[keys]\ncancel = "excape"', "the nearest is 'escape'"),
        ('[keys]\ncancel = "p"', "line 2: pause and cancel have the same key 'p'"),
        ('[keys]\n\ncancel = "Z"\nsort = "Z"', "line 4: cancel and sort have the same key 'Z'"),
        ('[keys]\ncancel = "ctrl+i"', "which a terminal cannot tell from tab"),
        ('[keys]\ncancel = "ctrl+enter"', "which most terminals do not send"),
        ('[keys]\ncancel = "ctrl+c"', "cancel has the key 'ctrl+c', which always leaves the monitor"),
        ('[keys]\nstop = "S"', "stop cannot be undone, so it has no key"),
        (f"[monitor]\nascii = 0x{'f' * 9000}", "line 2: ascii is a value that cannot be shown, expected true or false"),
        ("[keys]\ncancel = 3", 'cancel is 3, expected a key such as "x" or a list'),
        ('[theme]\nname = "nrod"', "theme is 'nrod', expected dark, light, ansi or a theme of Textual such as nord"),
        ('[theme]\nfialed = "#FF0000"', "line 2: [theme] has 'fialed', expected one of name, background"),
        ('[theme]\nfailed = "red"', "line 2: failed is 'red', expected a colour such as \"#2FBF8F\""),
        ('[theme]\nfailed = "#222222"', "failed #222222 has a contrast of 1.2 on background #121212, expected at"),
        ('[theme]\nname = "ansi"\nfailed = "#FF0000"', "line 2: name is 'ansi', which has the terminal's colours"),
        ("[monitor]\nascii = 1", "line 2: ascii is 1, expected true or false"),
        ("[monitor]\nmuose = true", "line 2: [monitor] has 'muose', expected ascii or mouse; the nearest is 'mouse'"),
        ("[kyes]", "line 1: unknown table 'kyes', expected [monitor], [theme] or [keys]; the nearest is 'keys'"),
        ('cancel = "X"', "unknown table 'cancel', expected [monitor], [theme] or [keys]; it belongs below [keys]"),
        ("keys = 3", "line 1: keys is 3, expected a table: write [keys] in a line of its own"),
        ("[keys]\ncancel = X", "line 2: no TOML: invalid value; a word stands in quotes"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_line_and_the_nearest_name(text, told):
    said = refused(text)
    assert said.startswith("monitor.toml, line ")
    assert told in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("X", "X"), ("shift+x", "X"), ("ctrl+X", "ctrl+x"), ("^x", "ctrl+x"), ("esc", "escape"), ("F5", "f5"),
        ("alt+up", "alt+up"), ("+", "+"), (" ", "space"), (",", ","), ("PgDn", "pagedown"),
    ],
)  # fmt: skip
def test_a_key_may_be_written_as_people_write_it(typed, key):
    found = keymap.checked({"note": [typed], "down": [], "replay_back": [], "zoom_in": [], "mark": [], "back": [],
                            "page_down": [], "move_up": []})  # fmt: skip
    assert found.changed["note"] == (key,)


def test_keys_can_be_swapped_and_a_key_that_was_given_away_is_free():
    found = keymap.checked({"pause": ["x"], "cancel": ["p"]})
    assert found.ids["x"] == "pause" and found.ids["p"] == "cancel"
    assert found.for_textual() == {"pause": "x", "cancel": "p"}
    assert (
        keymap.checked({"replay_on": [], "replay_back": ["comma", "."][1:]}).for_textual()["replay_on"] == keymap.NO_KEY
    )


def test_of_two_commands_on_one_key_the_other_keeps_it():
    assert keymap.checked({"note": ["M"]}).for_textual() == {"note": "M", "metric": "m"}
    assert keymap.checked({"metric": ["M"]}).for_textual() == {"note": "m", "metric": "M"}


def test_sentences_name_the_keys_of_the_user():
    found = keymap.checked({"retry": ["f5"], "undo": []})
    assert found.in_words("out of memory (r retries, 5 shows the log)") == "out of memory (F5 retries, 5 shows the log)"
    assert found.in_words("done · u undoes") == "done · :undo undoes"
    assert Keymap().in_words("u undoes") == "u undoes"


def test_option_then_environment_then_file_then_default(monkeypatch):
    chosen = MonitorSettings(theme="light", ascii=True, mouse=False)
    monkeypatch.delenv("FTS_THEME", raising=False)
    given = with_settings(arguments([]), chosen)
    assert (given.theme, given.ascii, given.mouse) == ("light", True, False)
    monkeypatch.setenv("FTS_THEME", "ansi")
    given = with_settings(arguments(["--no-ascii", "--mouse"]), chosen)
    assert (given.theme, given.ascii, given.mouse) == ("ansi", False, True)
    assert with_settings(arguments(["--theme", "nord"]), chosen).theme == "nord"
    monkeypatch.setenv("FTS_THEME", "unknown")
    assert with_settings(arguments([]), MonitorSettings()).theme == "dark"


def test_a_bad_file_ends_with_2_before_the_terminal_is_taken(capsys):
    path = settings.file()
    path.parent.mkdir(parents=True)
    path.write_text('[keys]\ncancle = "X"\n')
    assert main([]) == main(["--keys"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines()[0].startswith(f"fts: {path}, line 2: ")
    path.unlink()
    path.mkdir()
    assert main(["--keys"]) == 2 and "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[[[[", b"a" * 200_000, b"[keys]\n" * 2, b"\x00"])
def test_no_file_is_a_traceback(content, tmp_path):
    path = tmp_path / "monitor.toml"
    path.write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        settings.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_where_the_file_is(tmp_path):
    assert settings.file({}) == Path.home() / ".config" / "fts" / "monitor.toml"
    assert settings.file({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "fts" / "monitor.toml"
    assert settings.file({"XDG_CONFIG_HOME": "relative"}) == settings.file({}), "as the specification demands"


def test_every_state_can_be_read_in_every_theme_of_textual():
    for palette in theme.of_library().values():
        for role in theme.INKS:
            for behind in (palette.background, palette.cursor):
                found = theme.contrast(getattr(palette, role), behind)
                assert found >= 4.5, f"{palette.name}: {role} has {found:.2f}"


def test_a_terminal_says_the_sentence_and_stays_as_it_was(db_path, tmp_path):
    (tmp_path / "config" / "fts").mkdir(parents=True)
    (tmp_path / "config" / "fts" / "monitor.toml").write_text('[theme]\nname = "dakr"\n')
    with Terminal(db_path) as terminal:
        assert terminal.gone_within(20)
        terminal.wait_quiet(0.3)
        assert b"\x1b" not in terminal.screen
        assert b"line 2: theme is 'dakr'" in terminal.screen


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "this machine or container has not enough free memory for that"),
        (OSError(24, "Too many open files"), "[Errno 24] Too many open files"),
        (RuntimeError("cannot join thread before it is started"), "no thread can be started: this user, container"),
    ],
)
def test_a_machine_without_room_ends_the_monitor_with_one_sentence(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fails(_: object) -> int:
        try:
            raise RuntimeError("can't start new thread") if isinstance(error, RuntimeError) else error
        except RuntimeError:
            raise error from None  # as Textual, which then waits for that thread

    for name in ("sys.stdin", "sys.stdout"):
        monkeypatch.setattr(f"{name}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("fts.tui.terminal.ask_for_size", lambda: None)
    monkeypatch.setattr("fts.tui.terminal.refusal", lambda: None)
    monkeypatch.setattr("fts.tui.terminal.quiet", contextlib.nullcontext)
    monkeypatch.setattr("fts.tui.__main__.run", fails)
    assert main([]) == 1
    assert capsys.readouterr().err.startswith(f"fts: {said}")
