"""Every sentence the product can say keeps the rules of plain English that a program can check."""

from __future__ import annotations

import re

import pytest

from tests.sentences import Sentence, sentences

SAID = sorted(set(sentences()), key=lambda each: (each.file, each.line))
FORBIDDEN = {
    "a riddle": r"\b(is|are|was|were) told\b|\b(is|are) said\b|\blacks?\b|\bwhose\b|\bthat lack\b",
    "a class name of Python": r"\b[A-Z][a-z]+[A-Za-z]*(Error|Exception)\b",
    "one of several": r"(^|[^0-9.,{}])1 (cells|trials|jobs|workers|slots|epochs|days|rows|files|seeds|steps)\b",
    "two verbs for a dry run": r"\bwould: ",
}
KEYS = re.compile(r"`?\b[a-zA-Z]\b`? (writes|marks|enqueues|pauses|opens|shows|quits)\b")  # `w writes them`


def test_the_collection_sees_the_product():
    assert len(SAID) > 1000
    files = {each.file for each in SAID}
    assert {"jobs/cli/selection.py", "state/transitions/undo.py", "jobs/why.py", "tui/hands.py"} <= files


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_sentence_is(rule: str):
    wrong = [each for each in SAID if re.search(FORBIDDEN[rule], each.text)]
    assert not wrong, shown(wrong)


def test_the_command_line_names_commands_and_no_keys_of_the_monitor():
    wrong = [each for each in SAID if each.file.startswith(("jobs/cli/", "state/")) and KEYS.search(each.text)]
    assert not wrong, shown(wrong)


def shown(wrong: list[Sentence]) -> str:
    return "\n".join(f"{each.file}:{each.line} {each.text[:150]}" for each in wrong)
