"""A store that counts what is read of it."""

from __future__ import annotations

from dataops.storage.objects import Store


class Counting:
    """A store that counts what is read of it."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.gets = inner, 0

    def get(self, key: str) -> bytes:
        self.gets += 1
        return self.inner.get(key)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)
