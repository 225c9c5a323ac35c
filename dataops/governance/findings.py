"""Findings: what is wrong in a file that people wrote, each with its place, raised together."""

from __future__ import annotations

from collections.abc import Mapping

from dataops.errors import InvalidInput

Place = tuple[str | int, ...]


class Findings:
    """What is wrong, each as ``file:line: path: message``; grows while a document is read."""

    def __init__(self, *, source: str, lines: Mapping[Place, int]) -> None:
        self._source = source
        self._lines = lines
        self._found: list[tuple[int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: Place, message: str) -> None:
        """Note that `message` is wrong at `place`."""
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        self._found.append((self._line(place) or 0, ": ".join(filter(None, (self.where(place), path, message)))))

    def where(self, place: Place) -> str:
        """``file:line`` of `place`, or of the nearest thing around it that has a line."""
        line = self._line(place)
        return self._source if line is None else f"{self._source}:{line}"

    def require_none(self) -> None:
        """Nothing, if nothing was noted.

        Raises
        ------
        InvalidInput : all findings, in the order of the file.
        """
        if self._found:
            raise InvalidInput("\n".join(message for _line, message in sorted(self._found, key=lambda found: found[0])))

    def _line(self, place: Place) -> int | None:
        around = (place[:length] for length in range(len(place), -1, -1))
        return next((self._lines[outer] for outer in around if outer in self._lines), None)
