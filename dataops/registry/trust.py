"""Trust: what a reader of the registry takes, said by the reader and by nothing that lies in the registry.

1. Signers, formats and sizes are the reader's own: what comes with a version says nothing about whether to trust it.
2. Without signers nothing is taken; to take what nobody signed, a reader says `UNSIGNED`.
3. A signature covers what it is about (model and number, alias and generation) and the time of signing, and is judged
   at that time: good under another name, at another place or after a revocation it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dataops.errors import InvalidInput
from dataops.governance.signing import Signer
from dataops.models.package import MODEL_FILES

MAX_MODEL_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a reader takes.

    Attributes
    ----------
    signers
        Whose signatures count: of a version at least one, of each move of an alias its own. None: no signature is asked
        for. Empty: nothing is taken.
    formats
        The formats of models that are parsed; others are refused unread.
    max_model_bytes
        How large the files of a version may be in all; more is refused unread.
    """

    signers: tuple[Signer, ...] | None
    formats: frozenset[str] = frozenset(MODEL_FILES)
    max_model_bytes: int = MAX_MODEL_BYTES

    def __post_init__(self) -> None:
        if unknown := sorted(self.formats - MODEL_FILES.keys()):
            raise InvalidInput(f"no loader here reads {unknown}; known formats: {sorted(MODEL_FILES)}")
        if self.max_model_bytes <= 0:
            raise InvalidInput(f"a version of at most {self.max_model_bytes} bytes can't be: give a positive number")


UNSIGNED = Trust(signers=None)
"""Takes what nobody signed: for a registry that only those may write who are trusted."""


class TrustFile:
    """The trust that a file of signers says, read again where it changed: for a reader that goes on for long."""

    __slots__ = ("_data", "_path", "_trust")

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._data: bytes | None = None
        self._trust: Trust | None = None

    def read(self) -> Trust:
        """What it says now; raises as `read_trust`."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return read_trust(self._path)  # says what is wrong
        if self._trust is None or data != self._data:
            self._trust = read_trust(self._path)  # of bytes that may be newer: then it is read once more next time
            self._data = data
        return self._trust


def read_trust(path: str | Path, *, max_model_bytes: int = MAX_MODEL_BYTES) -> Trust:
    """The trust in the keys that a ``signers.yaml`` at `path` lists.

    Raises
    ------
    NotFound : no such file. That is an error, and no reason to take what is unsigned.
    InvalidInput : all findings of the file, each with its line.
    """
    from dataops.declarations.signers import read_signers_file  # pydantic and a YAML parser

    return Trust(signers=read_signers_file(Path(path)), max_model_bytes=max_model_bytes)
