"""Implements `fts nodes`: lists the machines that run trials for a worker here; drains, quarantines, releases them."""

from __future__ import annotations

import click

from fts.jobs.cli.app import AS_JSON, here
from fts.jobs.cli.output import emit, emit_json, emit_table, say
from fts.jobs.cli.show import reading
from fts.jobs.status import formatting
from fts.jobs.status.nodes import state_of
from fts.jobs.status.sanitize import clean
from fts.state import queries, transitions
from fts.state.db import open_for_person

ASKS = ("drain", "quarantine", "release")


@click.command()
@click.argument("ask", required=False, type=click.Choice(ASKS))
@click.argument("node", required=False)
@AS_JSON
def nodes(ask: str | None, node: str | None, as_json: bool) -> None:
    """List the machines that run trials for `fts worker --executor`, or change one.

    drain NODE: starts no further trial there. quarantine NODE: the same, because it is broken. release NODE: lets it
    run trials again.
    """
    if ask is not None:
        if node is None:
            raise click.UsageError(f"fts nodes {ask} needs the name of a node; `fts nodes` lists them")
        return change(ask, node, as_json)
    with reading() as db:
        found, now = queries.nodes(db), db.now()
    if as_json:
        return emit_json("nodes", found, now)
    if not found:
        return say(
            "no node runs trials now; `fts worker --executor ssh --nodes gpu1:4` uses some, and `fts why` says what a "
            "trial waits for"
        )
    rows = [
        (
            one.id,
            state_of(one, now),
            f"{one.busy}/{one.slots}",
            len(one.gpus) or None,
            None if one.memory is None else formatting.in_gb(one.memory),
            None if one.heard_at is None else f"{formatting.spell(max(0.0, now - one.heard_at))} ago",
            clean(one.hardware),
            ", ".join(map(clean, one.trials)) or clean(one.reason or "") or None,
        )
        for one in found
    ]
    columns = ("node", "state", "slots", "GPUs", "memory", "heard", "hardware", "runs, or why not")
    return emit_table(columns, rows, right=("slots", "GPUs", "memory"))


def change(ask: str, node: str, as_json: bool) -> None:
    db = open_for_person(here().db, create=False)
    try:
        transitions.ask_node(db, node, ask)
    finally:
        db.close()
    words = {
        "drain": "takes no further trial; running trials continue",
        "quarantine": "takes no further trial; running trials continue",
        "release": "may run trials again",
    }
    sentence = f"node {node} {words[ask]}"
    emit_json("change", {"action": ask, "node": node, "message": sentence}) if as_json else emit(sentence)
