"""A reading: what one grant lets a worker read, and where that lies.

1. `dataops.datasets.access` alone makes one, of a decision of the policies. All that reads rows asks for one.
2. It goes to other machines: it names folders and files, and holds no key and no value.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataops.governance.contract import Contract
from dataops.governance.expressions import Expression, parse_expression
from dataops.governance.grant import Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that a worker needs to read a dataset under a grant; holds the folder of the keys, never a key.

    Attributes
    ----------
    expires_at : time (`records.format_time`) from which on nothing is read any more; None: the grant has no end.
    parsed : filters of `effect`, parsed: a worker that is told them needs no parser. What is missing is parsed.
    survey : URL of the folder with what a look at the whole dataset found; None where no rule or mask needs one.
    quarantine : URL of the folder of all quarantine files; of a replay only.
    """

    dataset: str
    url: str
    contract: Contract
    effect: Effect
    purpose: str
    keys_folder: str
    expires_at: str | None = None
    parsed: tuple[Expression, ...] = ()
    survey: str | None = None
    quarantine: str | None = None

    @property
    def filters(self) -> tuple[Expression, ...]:
        """The filters of `effect`."""
        parsed = {one.sql: one for one in self.parsed}
        return tuple(parsed.get(sql) or parse_filter(sql) for sql in self.effect.filters)


def parse_filter(sql: str) -> Expression:
    """The row filter of a policy that `sql` says.

    Raises
    ------
    InvalidInput : it isn't in the language.
    """
    return parse_expression(sql, where="row filter of the policy")
