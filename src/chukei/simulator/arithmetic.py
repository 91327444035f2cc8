"""Sums in a sentence: "what is 12 * (3 + 4)?"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

LONGEST = 80  # characters; enough for a sum that somebody types, and no work for the interpreter

_SUM = re.compile(r"[(\d][\d\s().,+\-*/×÷\u2212]*[+\-*/×÷\u2212][\d\s().,+\-*/×÷\u2212]*[)\d]")
_SIGNS = str.maketrans({"×": "*", "÷": "/", "\u2212": "-", ",": ""})
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def solve(text: str) -> tuple[str, str] | None:
    """Return the first sum in a text and its result; None if there is none, or it is not one after all."""
    match = _SUM.search(text[:2000])
    if match is None or len(match[0]) > LONGEST:
        return None
    written = " ".join(match[0].split())
    if re.fullmatch(r"\d{1,4}([-/]\d{1,2}){2}|\d+(-\d+)+", written):
        return None  # a date, a range or a telephone number
    try:
        result = _value(ast.parse(written.translate(_SIGNS), mode="eval").body)
    except ZeroDivisionError:
        return written, "undefined"
    except (SyntaxError, ValueError, OverflowError, RecursionError):
        return None
    return written, _shown(result)


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            return _OPERATIONS[type(sign)](_value(left), _value(right))
        case _:
            raise ValueError(ast.dump(node))


def _shown(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.10g}"
