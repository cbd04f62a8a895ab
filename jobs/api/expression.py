"""Evaluates the expressions of a study file (`when`, `forbid`, `where`) on their syntax tree, without eval().

Supported: names, numbers, strings, True, False, None, comparisons (also chained), and, or, not, in, + - * / // %,
and tuples or lists after `in`. A name without a value is a parameter of another branch. What depends on it is unknown,
`not` of unknown is unknown, and an expression that is unknown does not hold.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any

from fts.frozen import dataclass
from fts.jobs.api.spec import BadSpec
from fts.raising import quoted

LONGEST, MOST_PARTS, DEEPEST = 1000, 200, 30  # characters, nodes of the tree, depth of the tree
LARGEST = 10**308  # the largest intermediate integer, so that products do not grow without limit

Value = bool | int | float | str | None


class BadExpression(BadSpec):
    """The text is not a supported expression, or its values cannot be combined."""


class _Unknown:
    """The value of what depends on a parameter that was not drawn."""


UNKNOWN = _Unknown()

_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, several: one in several,
    ast.NotIn: lambda one, several: one not in several,
}
_COUNTED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_REFUSED = {  # what people often try, in words
    ast.Call: "a call",
    ast.Attribute: "an attribute",
    ast.Subscript: "an index",
    ast.Lambda: "a function",
    ast.IfExp: "an `if`",
    ast.JoinedStr: "a text with places",
    ast.NamedExpr: "an assignment",
    ast.Is: "`is` (write ==)",
    ast.IsNot: "`is not` (write !=)",
    ast.Pow: "a power",
    ast.BitAnd: "& (write and)",
    ast.BitOr: "| (write or)",
    ast.Invert: "~ (write not)",
}
INSTEAD = (  # operators of other languages and their Python form; the first one that matches at the fault is used
    ("=>", ">="), ("=<", "<="), ("=", "=="), ("<>", "!="), ("&", "and"), ("|", "or"), ("!", "not"), ("AND", "and"),
    ("OR", "or"),
)  # fmt: skip
EXPECTED = "expected names, numbers, strings, comparisons, and, or, not, in, + - * / // %"


@dataclass(frozen=True)
class Expression:
    """One parsed expression."""

    text: str
    names: tuple[str, ...]  # each once, in order of appearance
    _tree: ast.expr = field(compare=False, repr=False)

    @staticmethod
    def parse(text: Any) -> Expression:
        """Parses a text. Raises BadExpression with the position of the fault."""
        if not isinstance(text, str):
            raise BadExpression(f"an expression is {quoted(text)}, expected a text such as \"optimizer == 'sgd'\"")
        return _parsed(text)

    def value(self, values: Mapping[str, Any]) -> Value:
        """Evaluates the expression. Returns False if it is unknown because a name has no value.

        Raises BadExpression for values that cannot be combined: a string in a sum, a division by zero.
        """
        found = self._of(self._tree, values)
        return False if found is UNKNOWN else found

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Is the value true in Python's sense? False if it is unknown."""
        return bool(self.value(values))

    @property
    def compared(self) -> list[tuple[str, Value]]:
        """Each name that is compared by ==, != or in, with the constant."""
        found: list[tuple[str, Value]] = []
        for node in ast.walk(self._tree):
            if not isinstance(node, ast.Compare):
                continue
            for left, sign, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                if isinstance(sign, ast.In | ast.NotIn) and isinstance(left, ast.Name):
                    found += [(left.id, each.value) for each in _constants(right)]
                elif isinstance(sign, ast.Eq | ast.NotEq):
                    for one, other in ((left, right), (right, left)):
                        if isinstance(one, ast.Name) and isinstance(other, ast.Constant):
                            found.append((one.id, other.value))  # type: ignore[arg-type]  # parse refuses other types
        return found

    # -- evaluation of the syntax tree

    def _of(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return values.get(node.id, UNKNOWN)
        if isinstance(node, ast.Tuple | ast.List):
            every = [self._of(each, values) for each in node.elts]
            return UNKNOWN if any(each is UNKNOWN for each in every) else every
        if isinstance(node, ast.BoolOp):
            return self._joined(node, values)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, values)
        if isinstance(node, ast.BinOp):
            left, right = self._of(node.left, values), self._of(node.right, values)
            return self._counted(node, _COUNTED[type(node.op)], left, right)
        assert isinstance(node, ast.Compare), "parse refuses every other node"
        return self._compared(node, values)

    def _joined(self, node: ast.BoolOp, values: Mapping[str, Any]) -> Any:
        """A false part makes `and` false and a true part makes `or` true. Else one unknown part makes it unknown."""
        decides, unknown = isinstance(node.op, ast.Or), False
        for part in node.values:
            found = self._of(part, values)
            if found is UNKNOWN:
                unknown = True
            elif bool(found) is decides:
                return decides
        return UNKNOWN if unknown else not decides

    def _unary(self, node: ast.UnaryOp, values: Mapping[str, Any]) -> Any:
        found = self._of(node.operand, values)
        if found is UNKNOWN:
            return UNKNOWN
        if isinstance(node.op, ast.Not):
            return not found
        return self._counted(node, operator.sub if isinstance(node.op, ast.USub) else operator.add, 0, found)

    def _counted(self, node: ast.expr, count: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        for side in (left, right):
            if side is UNKNOWN:
                return UNKNOWN
            if not isinstance(side, int | float):
                raise self._bad(node, f"{quoted(side, 40)} is not a number")
        try:
            found = count(left, right)
        except (ZeroDivisionError, OverflowError) as error:
            raise self._bad(node, f"{error} of {quoted(left, 40)} and {quoted(right, 40)}") from None
        if isinstance(found, int) and abs(found) > LARGEST:
            raise self._bad(node, "the number is larger than 1e308")
        return found

    def _compared(self, node: ast.Compare, values: Mapping[str, Any]) -> Any:
        """Evaluates a chain of comparisons, joined by `and`."""
        left, unknown = self._of(node.left, values), False
        for sign, part in zip(node.ops, node.comparators, strict=True):
            right = self._of(part, values)
            if left is UNKNOWN or right is UNKNOWN:
                unknown = True
            else:
                try:
                    if not _COMPARED[type(sign)](left, right):
                        return False
                except TypeError:
                    raise self._bad(node, f"{quoted(left, 40)} and {quoted(right, 40)} cannot be compared") from None
            left = right
        return UNKNOWN if unknown else True

    def _bad(self, node: ast.AST, what: str) -> BadExpression:
        return _bad(self.text, _place(self.text, node), what)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Expression:
    if not text.strip() or len(text) > LONGEST:
        raise BadExpression(f"an expression has {len(text.strip())} characters, expected 1 to {LONGEST}")
    line = text if "#" in text else text.replace("\n", " ")  # joins lines, unless a newline ends a comment
    start = len(line) - len(line.lstrip())
    try:
        tree = ast.parse(line.strip(), mode="eval").body
    except SyntaxError as error:
        place = error.offset or len(line.strip()) + 1  # offset 0: the text ends too early
        raise _bad(text, start + place, _cure(line.strip()[place - 1 :]) or str(error.msg)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadExpression(f"{quoted(text)} is not an expression: {error or 'it is nested too deeply'}") from None
    tree = _Dotted().visit(tree)
    names: dict[str, None] = {}
    lists = [part for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in _behind_in(node)]
    for count, (node, depth) in enumerate(_every(tree, 1)):
        if count >= MOST_PARTS or depth > DEEPEST:
            raise BadExpression(
                f"{quoted(text)} is too long: expected at most {MOST_PARTS} parts, nested {DEEPEST} deep"
            )
        if (refused := _refused(node)) is not None:
            raise _bad(text, _place(text, node), f"{refused} is not supported; {EXPECTED}")
        if isinstance(node, ast.Tuple | ast.List) is not any(node is each for each in lists):
            raise _bad(text, _place(text, node), "expected a list after `in`, and nowhere else, such as x in (1, 2)")
        if isinstance(node, ast.Name):
            names.setdefault(node.id)
    return Expression(text, tuple(names), tree)


def _cure(rest: str) -> str | None:
    """Returns what to write instead of an operator of another language; None: it starts with no such operator."""
    found = next((pair for pair in INSTEAD if rest.startswith(pair[0])), None)
    return None if found is None else f"{found[0]} is not supported, write {found[1]}"


class _Dotted(ast.NodeTransformer):
    """Turns `optimizer.lr` into one name, because parameters may have dots in their names."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        inner = self.visit(node.value)
        if not isinstance(inner, ast.Name):
            return ast.copy_location(ast.Attribute(inner, node.attr, node.ctx), node)
        return ast.copy_location(ast.Name(f"{inner.id}.{node.attr}", inner.ctx), node)


def _behind_in(node: ast.Compare) -> list[ast.expr]:
    return [part for sign, part in zip(node.ops, node.comparators, strict=True) if isinstance(sign, ast.In | ast.NotIn)]


def _constants(listed: ast.expr) -> list[Any]:
    inner = listed.elts if isinstance(listed, ast.Tuple | ast.List) else []
    return [each for each in inner if isinstance(each, ast.Constant)]


def _every(node: ast.expr, depth: int) -> Iterator[tuple[ast.expr, int]]:
    """Yields the expression nodes and their depth, each node before its children."""
    yield node, depth
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.expr):
            yield from _every(inner, depth + 1)


def _refused(node: ast.expr) -> str | None:
    """Returns what is not supported in a node, in words, or None."""
    if isinstance(node, ast.Constant):
        known = node.value is None or isinstance(node.value, bool | int | float | str)
        finite = not isinstance(node.value, float) or math.isfinite(node.value)
        return None if known and finite else quoted(node.value, 40)
    if isinstance(node, ast.Compare):
        return next((_REFUSED[type(sign)] for sign in node.ops if type(sign) not in _COMPARED), None)
    if isinstance(node, ast.UnaryOp | ast.BinOp):
        sign = node.op
        known = type(sign) in _COUNTED or isinstance(sign, ast.Not | ast.USub | ast.UAdd)
        return None if known else _REFUSED.get(type(sign), type(sign).__name__)
    if isinstance(node, ast.Name | ast.BoolOp | ast.Tuple | ast.List):
        return None
    return _REFUSED.get(type(node), type(node).__name__)


def _place(text: str, node: ast.AST) -> int:
    """Returns a node's position in the text, in characters from 1. Python counts bytes after leading blanks."""
    start = len(text) - len(text.lstrip())
    before = text.lstrip().encode()[: getattr(node, "col_offset", 0)]
    return start + len(before.decode(errors="ignore")) + 1


def _bad(text: str, place: int, what: str) -> BadExpression:
    return BadExpression(f"{quoted(text.strip(), 200)} has a fault at character {place}: {what}")
