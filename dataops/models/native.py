"""XGBoost's trees, scored by its C library without its Python package.

1. An application that scores a few rows, and each worker of a rescore, needs none of what ``import xgboost`` brings
   along (scikit-learn and pandas, seconds of it): the library is loaded from inside the installed package, by its
   documented C interface.
2. The answers are those of `boosted` to the bit: it is the same library, asked the same.
3. One thread unless told: no pool of threads is started, so a process may fork after it has scored.
4. Any number of threads may score with one model: XGBoost keeps what a call gives in the calling thread's own memory,
   for each of its boosters, and for as long as the thread lives. So the booster of a model that nobody has any more is
   given the next one: in an application that changes its model for years, that memory doesn't grow.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import weakref
from collections import deque
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dataops.declarations.metrics import Task
from dataops.errors import Compute, Format
from dataops.features.encoder import Encoded
from dataops.models.predictor import BOOSTED, Margins, Predictions, require_columns
from dataops.models.ubj import require_sound

_NAMES: Final = {"darwin": "libxgboost.dylib", "win32": "xgboost.dll"}
_KINDS: Final = {"value": 0, "margin": 1}  # XGBoosterPredictFromDense: type
_MOST_IDLE: Final = 4  # boosters that wait for their next model: each keeps its last one until then


class _Library:
    """XGBoost's library, with the boosters that wait for their next model."""

    def __init__(self, functions: Any) -> None:
        self._functions = functions
        self._idle: deque[ctypes.c_void_p] = deque()

    def booster(self) -> ctypes.c_void_p:
        """One that nobody else has; a model that it had before is replaced by the next that is loaded."""
        try:
            return self._idle.pop()
        except IndexError:
            made = ctypes.c_void_p()
            if self._functions.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(made)):
                raise Compute("XGBoost could not make a model: is there memory left?") from None
            return made

    def retire(self, booster: ctypes.c_void_p) -> None:
        """`booster` waits for its next model."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(booster)
        else:
            self.free(booster)

    def free(self, booster: ctypes.c_void_p) -> None:
        """`booster` is gone, but for what threads keep of it."""
        self._functions.XGBoosterFree(booster)

    def call(self, name: str, booster: ctypes.c_void_p, *arguments: Any) -> None:
        """Compute, where the function `name` fails, with its reason if it scored: others quote bytes of the model."""
        if getattr(self._functions, name)(booster, *arguments):
            said = self._functions.XGBGetLastError() if name.startswith("XGBoosterPredict") else b""
            raise failed(name, said.decode(errors="replace"))


def failed(name: str, said: str) -> Compute:
    """What the failure of the library's function `name` comes to: its first line of what it `said`, without where in
    the library that was.
    """
    why = said.partition("\n")[0].rpartition("Check failed: ")[2]
    return Compute(f"{name} of XGBoost's library failed{': ' if why else ''}{why}")


class NativeModel:
    """Gradient-boosted trees for two classes or a number; `boosted.BoostedModel` scores equal rows once, by this."""

    __slots__ = ("_booster", "_columns", "_library", "_task")

    def __init__(self, library: _Library, data: bytes, threads: int) -> None:
        self._task = require_sound(data)
        booster, columns = library.booster(), ctypes.c_uint64()
        try:
            library.call("XGBoosterSetParam", booster, b"nthread", str(threads).encode())
            library.call("XGBoosterLoadModelFromBuffer", booster, data, ctypes.c_uint64(len(data)))
            library.call("XGBoosterGetNumFeature", booster, ctypes.byref(columns))
        except Compute:
            library.free(booster)
            raise Format(f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)") from None
        self._library, self._booster, self._columns = library, booster, columns.value
        # not when this model is gone, but when nobody has its pointer any more: a copy of the model shares it
        weakref.finalize(booster, library.retire, ctypes.c_void_p(booster.value)).atexit = False

    @property
    def format(self) -> str:
        """``xgboost-ubj/1``."""
        return BOOSTED

    @property
    def task(self) -> Task:
        """By its objective."""
        return self._task

    @property
    def columns(self) -> int:
        """How many columns it takes."""
        return self._columns

    @property
    def rounds(self) -> int:
        """How many rounds it was boosted."""
        rounds = ctypes.c_int()
        self._library.call("XGBoosterBoostedRounds", self._booster, ctypes.byref(rounds))
        return rounds.value

    def to_json(self) -> bytes:
        """The model as XGBoost's JSON."""
        length, data = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char)()
        self._library.call(
            "XGBoosterSaveModelToBuffer",
            self._booster,
            json.dumps({"format": "json"}).encode(),
            ctypes.byref(length),
            ctypes.byref(data),
        )
        return ctypes.string_at(data, length.value)  # a copy: the memory is the booster's

    def predict(self, encoded: Encoded) -> Predictions:
        """``(n_rows,)`` float32, the probability of the positive class, or the number that is predicted."""
        return self.of_rows(require_columns(encoded, self._columns), "value")

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the sum of the trees: log odds, of a regression before its link."""
        return self.of_rows(require_columns(encoded, self._columns), "margin")

    def of_rows(self, matrix: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
        """The scores of the rows of `matrix`, finite and of `columns` columns: `kind` is ``value`` or ``margin``."""
        if not len(matrix):
            return np.empty(0, np.float32)
        matrix = np.require(matrix, requirements=("C", "ALIGNED"))  # others are refused
        asked = {
            "type": _KINDS[kind],
            "training": False,
            "iteration_begin": 0,
            "iteration_end": 0,
            "strict_shape": False,
        }
        config = json.dumps({**asked, "missing": math.nan, "cache_id": 0}).encode()
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        self._library.call(
            "XGBoosterPredictFromDense",
            self._booster,
            json.dumps(matrix.__array_interface__).encode(),
            config,
            ctypes.c_void_p(),
            ctypes.byref(shape),
            ctypes.byref(dimensions),
            ctypes.byref(result),
        )
        if dimensions.value != 1 or shape[0] != len(matrix):  # else memory would be read that holds no scores
            raise Compute(f"XGBoost's library was asked for {len(matrix)} scores, and gave another number")
        # a copy: the memory is the thread's, and its next call writes there again
        return np.ctypeslib.as_array(result, shape=(len(matrix),)).copy()


def load_native(data: bytes, threads: int = 1) -> NativeModel | None:
    """The model in `data`, XGBoost's UBJ; None where XGBoost's library isn't found without its package.

    Raises
    ------
    Format : XGBoost can't read it, or its objective isn't one of `ubj.OBJECTIVES`.
    """
    library = _library()
    return None if library is None else NativeModel(library, data, threads)


@cache
def _library() -> _Library | None:
    """XGBoost's library; None where it lies elsewhere than in the installed package, or can't be loaded."""
    spec = find_spec("xgboost")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "lib" / _NAMES.get(sys.platform, "libxgboost.so")
        if path.is_file():
            try:
                functions = ctypes.CDLL(str(path))
                functions.XGBGetLastError.restype = ctypes.c_char_p
                return _Library(functions)
            except OSError:
                return None
    return None
