"""Every sentence the product can say keeps the rules of plain English that a program can check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click import Context, Group

from fts.jobs.cli.app import OF_FILES, fts
from fts.jobs.status.surface import COMMANDS
from fts.jobs.study_file.words import names_a_function, names_a_study
from fts.raising import quoted
from fts.tui.bindings import ACTION_KEYS, BY_KEY
from tests.sentences import Sentence, sentences

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "a riddle": r"\b(is|are|was|were) told\b|\b(is|are) said\b|\blacks?\b|\bwhose\b|\bthat lack\b"
    r"|\banother question\b|\bnobody had asked\b|\btold nothing\b|\banew\b|\b(back|put) in line\b",
    "a class name of Python": r"\b[A-Z][a-z]+[A-Za-z]*(Error|Exception)\b",
    "one of several": r"(^|[^0-9.,{}])1 (cells|trials|jobs|workers|slots|epochs|days|rows|files|seeds|steps)\b",
    "two verbs for a dry run": r"\bwould: ",
}
KEYS = re.compile(r"(?<![-\w])`?\b[a-zA-Z]\b`? (writes|marks|enqueues|pauses|opens|shows|quits)\b")  # `w writes them`


def test_the_collection_sees_the_product():
    assert len(sentences()) > 1000
    files = {each.file for each in sentences()}
    assert {
        "jobs/cli/selection.py",
        "state/transitions/undo.py",
        "jobs/status/explain.py",
        "tui/screens/base.py",
    } <= files


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_sentence_is(rule: str):
    wrong = [each for each in sentences() if re.search(FORBIDDEN[rule], each.text)]
    assert not wrong, shown(wrong)


def test_no_sentence_has_two_spaces_between_words():
    programs = ("fts/study/script.py", "fts/analysis/page.py", "jobs/starters/", "jobs/report/")
    laid_out = ("tui/", "fts/study/screens/", *programs)  # bars of keys
    told = [each for each in sentences() if not each.file.startswith(laid_out)]
    wrong = [each for each in told if re.search(r"[a-z,;:.]  +[a-z]|[,;:]  +\S", each.written)]
    assert not wrong, shown(wrong)


def test_every_command_that_a_sentence_names_exists_with_its_options():
    wrong = [each for each in sentences() for words in COMMAND.findall(each.text) if not is_command(words)]
    assert not wrong, shown(wrong)


COMMAND = re.compile(r"(?:`|^|Example: |Or: )fts ((?:[a-z]|-{2})[^`;]*)")  # `fts retry 6`, or a text that is one
SHELL = re.compile(r"\s(?:[|>]|&&)\s.*")


def is_command(words: str) -> bool:
    """Whether `fts WORDS` names a command, and options that it has; what stands for a value is passed over."""
    name, *rest = SHELL.sub("", words).split()
    command = fts.get_command(Context(fts), name)
    of_file = name in OF_FILES and names_a_study(rest)
    other = name in ("enqueue", "check") and ("--" in rest or names_a_function(rest))
    if of_file or other:  # which have options of their own
        _, command, rest = fts.resolve_command(Context(fts), [name, *rest])
        rest = rest[: rest.index("--")] if "--" in rest else rest
    if isinstance(command, Group) and rest:
        if rest[0].startswith("{"):
            return True  # any of its commands
        command = command.get_command(Context(command), rest.pop(0))
    if command is None:
        return False
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = [word.partition("=")[0].rstrip(",.") for word in rest if re.match(r"--?[a-z]", word)]
    return set(given) <= known | {"--help", "-h"}


def test_the_check_of_commands_sees_a_wrong_one():
    assert is_command("retry {}") and is_command("data build --tier {}") and is_command("enqueue --matrix")
    assert not is_command("repeat 6") and not is_command("data make") and not is_command("retry 6 --hard")


def test_every_key_that_a_sentence_names_is_a_key_of_the_monitor():
    known = set(BY_KEY) | set(ACTION_KEYS)
    assert set(COMMANDS) <= known
    ours = [each for each in sentences() if not each.file.startswith("fts/")]
    named = [(each, key) for each in ours for key in PRESSED.findall(each.text)]
    assert len(named) > 5
    wrong = [each for each, key in named if key not in known]
    assert not wrong, shown(wrong)


VERBS = "writes|marks|enqueues|pauses|opens|shows|quits|starts|resumes|retries|fills|undoes|leaves|zooms|sorts"
PRESSED = re.compile(rf"(?:(?:^|[ `(])press |(?:^|[,;.(] ?))`?([a-zA-Z0-9?/])`?(?: (?:to|{VERBS}|=) |$)")


def test_the_command_line_names_commands_and_no_keys_of_the_monitor():
    wrong = [each for each in sentences() if each.file.startswith(("jobs/cli/", "state/")) and KEYS.search(each.text)]
    assert not wrong, shown(wrong)


def shown(wrong: list[Sentence]) -> str:
    return "\n".join(f"{each.file}:{each.line} {each.text[:150]}" for each in wrong)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_quoted_value_shows_that_it_was_cut() -> None:
    for value, shown in (
        ("short", "'short'"), ("a" * 30, "'aaaaaaaaa…'"), ([1] * 9, "[1, 1, 1, …]"), ({"a": "b" * 9}, "{'a': 'bbb…}"),
        (10**20, "10000000000…"), ("it's" * 9, '"it\'sit\'si…"'),
    ):  # fmt: skip
        assert quoted(value, 12) == shown
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in (16**5000, deep, Broken()):
        assert quoted(value) == "a value that cannot be shown"
    files = [file for folder in ("fts", "jobs", "tui", "state") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 500
    assert [str(file) for file in files if re.search(r"!r:\.\d+\}", file.read_text(encoding="utf-8"))] == []
