"""XGBoost's trees, scored by its C library without its Python package.

1. An application that scores a few rows needs none of what ``import xgboost`` brings along (scikit-learn and pandas,
   seconds of it): the library is loaded from inside the installed package, by its documented C interface.
2. The answers are those of `boosted` to the bit: it is the same library, asked the same.
3. One thread unless told: no pool of threads is started, so a process may fork after it has scored.
4. Any number of threads may score with one model: XGBoost keeps what a call gives in the calling thread's own memory.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
import weakref
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dataops.errors import Compute, Format
from dataops.features.encoder import Encoded
from dataops.models.boosted import UBJ_START
from dataops.models.predictor import BOOSTED, Margins, Predictor, Probabilities, require_columns
from dataops.models.ubj import require_sound

_NAMES: Final = {"darwin": "libxgboost.dylib", "win32": "xgboost.dll"}
_VALUE, _MARGIN = 0, 1  # XGBoosterPredictFromDense: type


class NativeModel:
    """Gradient-boosted trees for two classes; see `boosted.BoostedModel` for the same with XGBoost's own object."""

    __slots__ = ("__weakref__", "_columns", "_handle", "_library")

    def __init__(self, library: Any, data: bytes, threads: int) -> None:
        unreadable = f"not an XGBoost model in UBJ that this release reads ({len(data)} bytes)"
        if not data.startswith(UBJ_START):
            raise Format(unreadable)
        require_sound(data)
        self._library, self._handle = library, ctypes.c_void_p()
        if library.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(self._handle)):
            raise Compute("XGBoost could not make a model: is there memory left?")
        weakref.finalize(self, library.XGBoosterFree, self._handle).atexit = False
        try:
            self._call("XGBoosterSetParam", b"nthread", str(threads).encode())
            self._call("XGBoosterLoadModelFromBuffer", data, ctypes.c_uint64(len(data)))
        except Compute:
            raise Format(unreadable) from None
        columns = ctypes.c_uint64()
        self._call("XGBoosterGetNumFeature", ctypes.byref(columns))
        self._columns = columns.value

    @property
    def format(self) -> str:
        """``xgboost-ubj/1``."""
        return BOOSTED

    def predict(self, encoded: Encoded) -> Probabilities:
        """``(n_rows,)`` float32, the probability of the positive class."""
        return self._scores(encoded, _VALUE)

    def margins(self, encoded: Encoded) -> Margins:
        """``(n_rows,)`` float32, the log odds of the positive class."""
        return self._scores(encoded, _MARGIN)

    def _scores(self, encoded: Encoded, kind: int) -> npt.NDArray[np.float32]:
        matrix = np.ascontiguousarray(require_columns(encoded, self._columns))
        if not len(matrix):
            return np.empty(0, np.float32)
        asked = {"type": kind, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False}
        config = json.dumps({**asked, "missing": math.nan, "cache_id": 0}).encode()
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        self._call(
            "XGBoosterPredictFromDense",
            json.dumps(matrix.__array_interface__).encode(),
            config,
            ctypes.c_void_p(),
            ctypes.byref(shape),
            ctypes.byref(dimensions),
            ctypes.byref(result),
        )
        # a copy: the memory is the thread's, and its next call writes there again
        return np.ctypeslib.as_array(result, shape=(len(matrix),)).copy()

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(self._handle, *arguments):
            # the library's message isn't passed on: it quotes bytes of the model
            raise Compute(f"{name} of XGBoost's library failed")


def load_native(data: bytes, threads: int = 1) -> Predictor | None:
    """The model in `data`, XGBoost's UBJ; None where XGBoost's library isn't found without its package.

    Raises
    ------
    Format : XGBoost can't read it, or its objective isn't ``binary:logistic``.
    """
    library = _library()
    return None if library is None else NativeModel(library, data, threads)


@cache
def _library() -> Any:
    """XGBoost's library; None where it lies elsewhere than in the installed package, or can't be loaded."""
    spec = find_spec("xgboost")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "lib" / _NAMES.get(sys.platform, "libxgboost.so")
        if path.is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                return None
    return None
