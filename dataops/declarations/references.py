"""Names of model versions as people write them: ``income@champion``, ``income@3``, ``income``.

No pydantic here: applications that only load a model read references too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataops.errors import InvalidInput
from dataops.records import require_name

DEFAULT_ALIAS = "champion"

_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A version of a model, by number or by alias: exactly one of the two is set.

    Attributes
    ----------
    model : the model's name.
    alias : the alias to follow at the time of use, e.g. ``champion``.
    version : the version's number, from 1.
    """

    model: str
    alias: str | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        """Refuse a reference that names both, or neither."""
        if (self.alias is None) == (self.version is None):
            raise InvalidInput(f"a reference to model '{self.model}' needs an alias or a version, and not both")

    def __str__(self) -> str:
        return f"{self.model}@{self.alias if self.version is None else self.version}"


def parse_model_reference(text: str) -> ModelReference:
    """The reference that `text` spells; a bare model name means its champion.

    Raises
    ------
    InvalidInput : not of the shape ``model@alias``, ``model@3`` or ``model``.
    """
    model, at, which = text.partition("@")
    if "@" in which or (at and not which):
        raise InvalidInput(f"{text!r} names no model version: expected 'model@alias', 'model@3' or 'model'")
    require_name(model, "model")
    if _VERSION.fullmatch(which):
        return ModelReference(model=model, version=int(which))
    if which.isdigit():
        raise InvalidInput(f"{text!r} names no model version: versions are whole numbers from 1")
    return ModelReference(model=model, alias=require_name(which, "alias") if at else DEFAULT_ALIAS)
