"""Functions as machine code, by numba.

1. Compiled once, for seconds, and kept beside the module, or in the user's cache where nothing can be written there.
   Later processes load it: with numba itself that takes some tenths of a second, so a module of such functions is
   imported where they are called.
2. Signatures are told, so that nothing is compiled for other types by chance. Other threads go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb

Kernel = TypeVar("Kernel", bound=Callable[..., None])

_REORDERED = {"reassoc", "contract", "nsz"}  # several sums at a time: in another order, but always the same


def compiled(signature: Any) -> Callable[[Kernel], Kernel]:
    """`numba.njit`, kept on disk where some folder takes it."""

    def compile_it(function: Kernel) -> Kernel:
        try:
            compiled: Kernel = nb.njit(signature, nogil=True, cache=True, error_model="numpy", fastmath=_REORDERED)(
                function
            )
        except RuntimeError:  # no folder that can be written to
            compiled = nb.njit(signature, nogil=True, error_model="numpy", fastmath=_REORDERED)(function)
        return compiled

    return compile_it
