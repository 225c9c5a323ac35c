"""Arithmetic of the expression language: numbers that are finite or null.

1. Whole numbers stay whole (64 bits) but for ``/``, which always gives float64.
2. Overflow, division by zero, the root or logarithm of too little give null, never an error: checked kernels are tried
   first, and where some row overflows, that row alone becomes null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.governance.expression_values import NUMBERS, REAL, WHOLE, Value, as_real, finite, typed, unify

# the arguments, and the literal that steers the operation
Operation = Callable[[Sequence[Value], Any], pa.Array]

_LOWEST = -(2**63)  # no scalar here: the first that pyarrow makes imports pandas
_EXACT = pa.decimal256(19, 0)


def _arithmetic(name: str, checked: Callable[..., pa.Array], unchecked: Callable[..., pa.Array]) -> Operation:
    def run(values: Sequence[Value], _parameter: Any) -> pa.Array:
        left, right = unify(typed(values, name, *NUMBERS), name)
        if left.type == REAL:
            return finite(unchecked(left, right))
        try:
            return checked(left, right)
        except pa.ArrowInvalid:
            return _exact(unchecked, left, right)

    return run


def _exact(operation: Callable[..., pa.Array], left: Value, right: Value) -> pa.Array:
    """The slow way, taken when some row overflows 64 bits: null in those rows."""
    exact = operation(pc.cast(left, _EXACT), pc.cast(right, _EXACT))
    lowest, highest = (pa.scalar(bound, WHOLE).cast(_EXACT) for bound in (_LOWEST, 2**63 - 1))
    fits = pc.and_(pc.greater_equal(exact, lowest), pc.less_equal(exact, highest))
    return pc.if_else(fits, operation(left, right), pa.scalar(None, WHOLE))


def _divide(values: Sequence[Value], _parameter: Any) -> pa.Array:
    left, right = (as_real(value) for value in typed(values, "/", *NUMBERS))
    return finite(pc.divide(left, right))


def _remainder(values: Sequence[Value], _parameter: Any) -> pa.Array:
    """The remainder with the sign of the dividend, as in C and SQL."""
    left, right = unify(typed(values, "%", *NUMBERS), "%")
    if left.type == REAL:
        with np.errstate(all="ignore"):
            return pa.array(np.fmod(_numpy(left), _numpy(right)), REAL, from_pandas=True)
    # by 0 nothing, and -2**63 / -1 overflows: both divide by 1, the one to null, the other to 0
    is_zero = pc.equal(right, 0)
    divisor = pc.if_else(pc.or_(is_zero, pc.equal(right, -1)), pa.scalar(1, WHOLE), right)
    remainder = pc.subtract(left, pc.multiply(pc.divide(left, divisor), divisor))
    return pc.if_else(is_zero, pa.scalar(None, WHOLE), remainder)


def _numpy(value: Value) -> Any:
    """float64 with NaN for null."""
    if isinstance(value, pa.Scalar):
        return np.float64(value.as_py() if value.is_valid else np.nan)
    return value.to_numpy(zero_copy_only=False)


def _negate(values: Sequence[Value], parameter: Any) -> pa.Array:
    return _SUBTRACT([pa.scalar(0, WHOLE), *typed(values, "-", *NUMBERS)], parameter)


def _absolute(values: Sequence[Value], _parameter: Any) -> pa.Array:
    (value,) = typed(values, "abs", *NUMBERS)
    if value.type == REAL:
        return finite(pc.abs(value))
    return pc.if_else(pc.equal(value, pa.scalar(_LOWEST, WHOLE)), pa.scalar(None, WHOLE), pc.abs(value))


def _towards(name: str, kernel: Callable[[pa.Array], pa.Array]) -> Operation:
    def run(values: Sequence[Value], _parameter: Any) -> pa.Array:
        (value,) = typed(values, name, *NUMBERS)
        return value if value.type == WHOLE else finite(kernel(value))

    return run


def _round(values: Sequence[Value], digits: Any) -> pa.Array:
    """Half away from zero, as SQL has it."""
    (value,) = typed(values, "round", *NUMBERS)
    if value.type == WHOLE:
        return value
    # from 2**52 there is no fraction, and the kernel would overflow
    is_small = pc.less(pc.abs(value), 2.0**52)
    small = pc.if_else(is_small, value, pa.scalar(0.0))
    rounded = pc.round(small, ndigits=digits, round_mode="half_towards_infinity")
    return finite(pc.if_else(is_small, rounded, value))


def _real_function(name: str, kernel: Callable[[pa.Array], pa.Array]) -> Operation:
    def run(values: Sequence[Value], _parameter: Any) -> pa.Array:
        (value,) = typed(values, name, *NUMBERS)
        return finite(kernel(as_real(value)))

    return run


_SUBTRACT = _arithmetic("-", pc.subtract_checked, pc.subtract)

ARITHMETIC: Mapping[str, Operation] = {
    "+": _arithmetic("+", pc.add_checked, pc.add),
    "-": _SUBTRACT,
    "*": _arithmetic("*", pc.multiply_checked, pc.multiply),
    "/": _divide,
    "%": _remainder,
    "negate": _negate,
    "abs": _absolute,
    "floor": _towards("floor", pc.floor),
    "ceil": _towards("ceil", pc.ceil),
    "round": _round,
    "sqrt": _real_function("sqrt", pc.sqrt),
    "ln": _real_function("ln", pc.ln),
    "exp": _real_function("exp", pc.exp),
}
