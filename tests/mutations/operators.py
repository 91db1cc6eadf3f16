"""What a fault is: every way in which a node of the source can be changed."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

Change = tuple[str, ast.AST]
"""Name of the operator and what stands in the place of the node."""

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_PAIRS = [("min", "max"), ("any", "all"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax")]
_PAIRS += [("floor", "ceil"), ("sum", "mean"), ("zeros", "ones"), ("rows", "cols"), ("height", "width")]
_PAIRS += [("lower", "upper")]
_OTHER = dict(_PAIRS) | {two: one for one, two in _PAIRS}
_SYMMETRIC = {"min", "max", "minimum", "maximum", "isinstance", "box_iou"}


def changes(node: ast.AST) -> Iterator[Change]:
    """Everything that can be wrong with a node itself, its children apart."""
    for kind, of_kind in _BY_KIND.items():
        if isinstance(node, kind):
            yield from of_kind(node)


def _with(node: ast.AST, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _without(items: list[Any], index: int) -> list[Any]:
    return items[:index] + items[index + 1 :]


def _compare(node: ast.Compare) -> Iterator[Change]:
    for index, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:
            yield "comparison", _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def _arithmetic(node: ast.BinOp | ast.AugAssign) -> Iterator[Change]:
    if type(node.op) in _ARITHMETIC:
        yield "arithmetic", _with(node, op=_ARITHMETIC[type(node.op)]())


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    yield "sign or not left out", node.operand


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", _with(node, value=not value)
    elif isinstance(value, int):
        yield "constant", _with(node, value=value + 1)
        if value > 0:
            yield "constant", _with(node, value=value - 1)
    elif isinstance(value, float):
        yield "constant", _with(node, value=value * 1.5 if value else 1.0)
    elif isinstance(value, str):
        yield "text", _with(node, value=f"{value}?")


def _condition(node: ast.If | ast.While | ast.IfExp) -> Iterator[Change]:
    yield "condition negated", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.IfExp):
        yield "one of two", node.body
        yield "one of two", node.orelse


def _bool(node: ast.BoolOp) -> Iterator[Change]:
    yield "and, or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for index in range(len(node.values)):
        left = _without(node.values, index)
        yield "operand left out", left[0] if len(left) == 1 else _with(node, values=left)


def _call(node: ast.Call) -> Iterator[Change]:
    name = _name(node.func)
    plain = not any(isinstance(argument, ast.Starred) for argument in node.args)
    for index in range(len(node.args) - 1 if plain and name not in _SYMMETRIC else 0):
        one, two = node.args[index : index + 2]
        yield "arguments swapped", _with(node, args=[*node.args[:index], two, one, *node.args[index + 2 :]])
    if len(node.args) > 1 and plain:
        yield "argument left out", _with(node, args=node.args[:-1])
    for index in range(len(node.keywords)):
        yield "argument left out", _with(node, keywords=_without(node.keywords, index))
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, (ast.Call, ast.Subscript, ast.Name)):
        chained = not (isinstance(node.func.value, ast.Name) and node.func.value.id in _MODULES)
        if chained:
            yield "method left out", node.func.value


def _named(node: ast.Name | ast.Attribute) -> Iterator[Change]:
    name = _name(node)
    if isinstance(node.ctx, ast.Load) and name in _OTHER:
        yield "the other of a pair", _with(node, **{"id" if isinstance(node, ast.Name) else "attr": _OTHER[name]})


def _subscript(node: ast.Subscript) -> Iterator[Change]:
    if isinstance(node.slice, ast.Slice):
        for part in ("lower", "upper", "step"):
            if getattr(node.slice, part) is not None:
                yield "slice", _with(node, slice=_with(node.slice, **{part: None}))


def _sequence(node: ast.Tuple | ast.List | ast.Set) -> Iterator[Change]:
    if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load) or len(node.elts) < 2:
        return
    if all(isinstance(entry, ast.Constant) for entry in node.elts):
        for index in range(len(node.elts)):
            yield "entry left out", _with(node, elts=_without(node.elts, index))
    if len(node.elts) == 2 and not isinstance(node, ast.Set):
        yield "entries swapped", _with(node, elts=node.elts[::-1])


def _dict(node: ast.Dict) -> Iterator[Change]:
    for index in range(len(node.keys)):
        yield "entry left out", _with(node, keys=_without(node.keys, index), values=_without(node.values, index))
    for index in range(len(node.keys) - 1):
        order = [*range(index), index + 1, index, *range(index + 2, len(node.keys))]
        if None in (node.keys[index], node.keys[index + 1]):
            changed = {"keys": [node.keys[i] for i in order], "values": [node.values[i] for i in order]}
            yield "entries swapped", _with(node, **changed)


def _returned(node: ast.Return) -> Iterator[Change]:
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield "returned value", _with(node, value=ast.Constant(None))


def _statement(node: ast.stmt) -> Iterator[Change]:
    yield "statement left out", ast.Pass()


def _loop(node: ast.For) -> Iterator[Change]:
    yield "loop left out", _with(node, iter=ast.List([], ast.Load()))


def _comprehension(node: ast.ListComp | ast.SetComp | ast.DictComp) -> Iterator[Change]:
    for index, part in enumerate(node.generators):
        for condition in range(len(part.ifs)):
            left = _with(part, ifs=_without(part.ifs, condition))
            yield (
                "filter left out",
                _with(node, generators=[*node.generators[:index], left, *node.generators[index + 1 :]]),
            )


def _with_block(node: ast.With) -> Iterator[Change]:
    if len(node.items) == 1 and node.items[0].optional_vars is None:
        yield "context left out", ast.If(ast.Constant(True), node.body, [])


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


_MODULES = {"torch", "F", "np", "os", "json", "cv2", "math", "hashlib", "logging", "open_clip", "dist", "dataclasses"}
_MODULES |= {
    "views",
    "pooling",
    "painting",
    "show",
    "contextlib",
    "time",
    "re",
    "argparse",
    "tqdm",
    "nn",
    "Path",
    "sys",
}
_MODULES |= {"logger", "difflib", "signal", "datetime", "ast", "self", "cls", "Image", "functools", "operator", "dict"}
_BY_KIND: dict[Any, Any] = {
    ast.Compare: _compare,
    (ast.BinOp, ast.AugAssign): _arithmetic,
    ast.UnaryOp: _unary,
    ast.Constant: _constant,
    (ast.If, ast.While, ast.IfExp): _condition,
    ast.BoolOp: _bool,
    ast.Call: _call,
    (ast.Name, ast.Attribute): _named,
    ast.Subscript: _subscript,
    (ast.Tuple, ast.List, ast.Set): _sequence,
    ast.Dict: _dict,
    ast.Return: _returned,
    (ast.Expr, ast.AugAssign, ast.Assign, ast.Raise, ast.Continue, ast.Break): _statement,
    ast.For: _loop,
    (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp): _comprehension,
    ast.With: _with_block,
}
