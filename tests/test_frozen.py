"""Our frozen dataclasses behave as Python's own do, and no command pays for those that it does not use."""

import copy
import dataclasses
import os
import pickle
import subprocess
from dataclasses import KW_ONLY, FrozenInstanceError, InitVar, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fts.frozen import dataclass
from fts.jobs.python import python

ROOT = Path(__file__).parent.parent


def classes(dataclass):
    """The same classes, made by one of the two decorators."""

    @dataclass(frozen=True)
    class Empty:
        pass

    @dataclass(frozen=True)
    class One:
        """With a sentence."""

        a: int

    @dataclass(frozen=True)
    class Many:
        a: int
        b: str = "b"
        c: list[int] = field(default_factory=list, compare=False)
        d: float = field(default=0.5, repr=False)
        e: int = field(init=False, default=7)
        f: dict[str, int] = field(init=False, default_factory=dict, hash=None, compare=False)
        shared: ClassVar[int] = 3
        _: KW_ONLY
        g: Any = None

    @dataclass(frozen=True)
    class Checked:
        a: int

        def __post_init__(self):
            if self.a < 0:
                raise ValueError(f"a is {self.a}")

        def __repr__(self):
            return "own"

        def __eq__(self, other):
            return isinstance(other, int) or self.a == other.a

    @dataclass(frozen=True)
    class Below(One):
        b: int = 2

    class Plain(Many):
        pass

    return {kind.__name__: kind for kind in (Empty, One, Many, Checked, Below, Plain)}


CALLS = [
    ("Empty", (), {}), ("Empty", (1,), {}), ("One", (1,), {}), ("One", (), {}), ("One", (1, 2), {}),
    ("One", (), {"a": 1}), ("One", (), {"x": 1}), ("Many", (1,), {}), ("Many", (1, "x", [2], 3.0), {"g": 5}),
    ("Many", (1, "x", [2], 3.0, 4), {}), ("Many", ([],), {}), ("Checked", (1,), {}),
    ("Checked", (-1,), {}), ("Below", (1,), {}), ("Below", (1, 3), {}), ("Plain", (1,), {}),
    ("Plain", (1, "c"), {"g": 1}),
]  # fmt: skip


def told(call):
    """What comes of it, in words; an object's address is none."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # whatever comes, both must say the same
        return type(error), str(error).replace("classes.<locals>.", "")


@pytest.mark.parametrize(("name", "values", "named"), CALLS)
def test_a_value_is_made_compared_hashed_and_refused_as_one_of_dataclasses(name, values, named):
    ours, theirs = (classes(one)[name] for one in (dataclass, dataclasses.dataclass))
    said = [told(lambda kind=kind: repr(kind(*values, **named))) for kind in (ours, theirs)]
    assert said[0] == said[1]
    if isinstance(said[0], tuple):
        return
    for asked in (
        lambda v: told(lambda: hash(v)),
        dataclasses.asdict,
        dataclasses.astuple,
        lambda v: v == copy.copy(v),
        lambda v: v != dataclasses.replace(v),
        lambda v: v == 1,
        lambda v: repr(copy.deepcopy(v)),
        lambda v: told(lambda: setattr(v, "a", 2)),
        lambda v: told(lambda: setattr(v, "new", 2)) if type(v).__name__ != "Plain" else None,
        lambda v: told(lambda: delattr(v, "a")),
        lambda v: type(v).__match_args__,
        lambda v: [(f.name, f.init, f.compare) for f in dataclasses.fields(v)],
        lambda v: v.__dict__,
    ):
        one, other = (asked(kind(*values, **named)) for kind in (ours, theirs))
        assert one == other or repr(one) == repr(other)


def test_what_is_not_written_here_is_refused_as_soon_as_the_class_is_made():
    for left_out in ({"hash": False}, {"hash": True}):
        with pytest.raises(AssertionError, match=r"Wrong\.a"):
            dataclass(frozen=True)(type("Wrong", (), {"__annotations__": {"a": int}, "a": field(**left_out)}))
    with pytest.raises(AssertionError, match=r"Wrong\.a"):
        dataclass(frozen=True)(type("Wrong", (), {"__annotations__": {"a": InitVar[int]}}))


def test_a_value_with_a_nan_equals_its_copy():
    """Those of dataclasses do not since Python 3.13; a screen would take such a value for a new one at every look."""
    value = classes(dataclass)["Many"](float("nan"))
    assert value == copy.copy(value) and hash(value) == hash(copy.copy(value))


@dataclass(frozen=True)
class Sent:
    a: int
    b: tuple[int, ...] = ()


def test_what_comes_from_another_process_before_the_first_was_made_here_is_one():
    code = "import pickle, sys; from tests.test_frozen import Sent; pickle.dump(Sent(1, (2,)), sys.stdout.buffer)"
    done = subprocess.run(python("-c", code), cwd=ROOT, capture_output=True, check=True)
    sent = pickle.loads(done.stdout)  # noqa: S301  # of our own process
    assert repr(sent) == "Sent(a=1, b=(2,))"
    assert sent == Sent(1, (2,))
    assert hash(sent) == hash(Sent(1, (2,)))
    with pytest.raises(FrozenInstanceError):
        sent.a = 2


def test_a_command_writes_no_method_of_a_frozen_class_that_it_does_not_use(tmp_path):
    """`fts status` made 342 functions, which took it a third of its processor time."""
    code = (
        "import sys; sys.argv = ['fts', 'status']; "
        "from fts.jobs.cli import main; main(); "
        "kinds = [kind for name, module in list(sys.modules.items()) if name.startswith('fts.') "
        "for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == name "
        "and '__dataclass_fields__' in vars(kind)]; "
        "written = [kind.__name__ for kind in kinds if kind.__mro__[1] is object "
        "and '__slots__' not in vars(kind) and kind.__dataclass_params__.frozen "
        "and not kind.__dataclass_params__.order and kind.__setattr__.__module__ != 'fts.frozen']; "
        "print(len(kinds) > 30, written, file=sys.stderr)"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(python("-c", code), cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "True []"
