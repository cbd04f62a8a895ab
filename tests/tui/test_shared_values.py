"""Many jobs of one study keep their equal parts once, and none gets the part of another that only looks equal."""

from __future__ import annotations

import json
from dataclasses import replace

from fts.tui.data.shared_values import MOST, SharedValues
from tests.tui.values import make_job, make_trial


def test_equal_parts_of_two_jobs_and_two_trials_are_one_object():
    shared = SharedValues()
    first, second = (shared.clean(make_job(n, "2M", 1, "queued", spec={"epochs": 20, "deep": [1, 2]})) for n in (1, 2))
    assert first.spec is second.spec and first.id != second.id
    one, other = (shared.clean(replace(make_trial(n, 1, n, "complete"), params={"x": 0.5})) for n in (1, 2))
    assert one.params is other.params and one.number != other.number


def test_specifications_that_differ_in_their_axes_share_their_names_and_their_other_parts():
    shared = SharedValues()
    text = '{"axes": {"seed": 1}, "objective": "train.py:objective", "env": {"THREADS": "1"}}'
    read = (json.loads(each) for each in (text, text.replace("1", "2", 1)))
    one, other = (shared.clean(make_job(n, spec=spec)).spec for n, spec in enumerate(read, 1))
    assert one != other
    assert all(a is b for a, b in zip(one, other, strict=True))
    assert one["env"] is other["env"] and one["objective"] is other["objective"]


def test_what_is_equal_in_python_alone_is_not_shared():
    """1 == 1.0 == True, and each of them is shown in its own way."""
    shared = SharedValues()
    specs = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": -1}, {"a": -2}, {"a": "1"}]
    found = [shared.clean(make_job(n, "2M", 1, "queued", spec=spec)).spec for n, spec in enumerate(specs, 1)]
    assert [repr(spec) for spec in found] == [repr(spec) for spec in specs]


def test_the_parts_of_old_trials_are_not_kept_for_ever():
    shared = SharedValues()
    for n in range(MOST + 1):
        shared.clean(replace(make_trial(1, 1, 1), params={"x": n}))
    assert len(shared._kept) <= MOST
