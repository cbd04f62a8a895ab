"""The process that answers the form's questions, one JSON line each. It ends when its stdin is closed.

{"ask": "studies", "folders": [...]}               -> {"studies": [Found]}
{"ask": "typed", "text": "train.py:objective"}     -> {"key": ...}
{"ask": "look", "key": ..., "typed": {...}}        -> {"look": Look, "typed": {...}}
{"ask": "cost", "ticked": [...]}                   -> {"cost": Cost} of the study of the last look, or of key and typed
{"ask": "stamp"}                                   -> {"stamp": ...} of the study of the last look
A question that cannot be answered gets {"problem": sentence}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fts.jobs.api.form import as_data
from fts.jobs.cli.errors import sentence_of
from fts.jobs.cli.output import plain
from fts.jobs.form import fields, studies
from fts.jobs.form.offers import Offer, OfWords, SeenCells
from fts.jobs.settings import Places, places
from fts.jobs.status.sanitize import clean, clean_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


class Session:
    """The study of the last look, and the answers to questions about it."""

    def __init__(self, found: Places, here: Path) -> None:
        self.places, self.here = found, here
        self.offer: Offer | None = None
        self.key = ""
        self.typed: dict[str, str] = {}
        self.seen = SeenCells()

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer, or {"problem": sentence}; never raises."""
        try:
            os.chdir(self.here)  # it may have been removed
            method = getattr(self, f"on_{question['ask']}")
            found: dict[str, Any] = method(question)
        except Exception as error:  # noqa: BLE001  # the form shows the sentence; the server must go on
            return {"problem": clean(sentence_of(error))}
        return found

    def on_studies(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "studies": [as_data(each) for each in studies.found(self.places, [Path(f) for f in question["folders"]])]
        }

    def on_typed(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"key": studies.typed_key(str(question["text"]), self.here)}

    def on_look(self, question: Mapping[str, Any]) -> dict[str, Any]:
        key = str(question["key"])
        if self.offer is None or key != self.key:
            self.offer, self.key = studies.offer_of(key, self.places), key
        given = dict(question.get("typed") or {})
        first = self.offer.first if isinstance(self.offer, OfWords) else {}
        if question.get("fresh"):  # just chosen: options typed with its name override the remembered ones
            given = {**given, **first}
        look, self.seen = self.offer.look(given)
        self.typed = fields.only_known(look.fields, given)
        return {"look": as_data(look), "typed": self.typed}

    def on_cost(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if self.offer is None or question.get("key", self.key) != self.key:  # the process was restarted
            self.on_look(question)
        assert self.offer is not None, "on_look has set it"
        return {"cost": as_data(self.offer.cost(self.typed, self.seen, list(question["ticked"])))}

    def on_stamp(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"stamp": "" if self.offer is None else self.offer.stamp()}


def serve(questions: TextIO, answers: TextIO, session: Session) -> None:
    """Answers questions until the input ends."""
    for line in questions:
        try:
            question = json.loads(line)
        except ValueError:
            continue
        answer = {"id": question.get("id"), **session.answer(question)}
        answers.write(json.dumps(clean_value(plain(answer)), allow_nan=False) + "\n")
        answers.flush()


def main(argv: list[str]) -> int:
    """Runs the server. Redirects stdout to stderr, so that prints of a library do not mix with the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    database = argv[argv.index("--db") + 1] if "--db" in argv[:-1] else None
    serve(sys.stdin, answers, Session(places(database), Path.cwd()))
    return 0
