"""Row filters: those that a request's rows must pass, and those that they must have passed before. Pure.

1. The ``where`` of every filter rule that concerns the dataset itself must hold, all together. It sees true values:
   where a column of it is missing or stored masked, the request is refused.
2. A filter of a dataset that the asked one was made from can't be applied any more: what it looks at may be masked by
   now, or gone. It must have been applied when the dataset was made, which `MadeFrom.filters` tells, else the request
   is refused: rows filtered for one purpose only don't reach another one through a prepared set.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dataops.errors import AccessDenied, DataopsError, near_match
from dataops.governance.contract import Contract, schema_of
from dataops.governance.expressions import result_type
from dataops.governance.grant import who
from dataops.governance.rules import Request, Rule, RuleEffect, spell_names, spell_rules
from dataops.records import digest


def applied_filters(request: Request, rules: Sequence[Rule], contract: Contract) -> tuple[str, ...]:
    """The predicates of all filter rules; findings of all that can't be applied are raised at once."""
    filtering = [rule for rule in rules if rule.effect == RuleEffect.FILTER and rule.concerns_dataset(request)]
    findings = [finding for rule in filtering if (finding := _filter_finding(rule, contract))]
    if findings:
        raise AccessDenied(
            f"{who(request.principal, request.roles)} may not read dataset '{request.dataset}': "
            "a row filter can't be applied\n"
            + "\n".join(f"  {finding}" for finding in findings)
            + "\nMend the rule, or limit it by `datasets` to those that hold what it looks at."
        )
    return tuple(sorted({rule.where.sql for rule in filtering if rule.where is not None}))


def _filter_finding(rule: Rule, contract: Contract) -> str | None:
    known = {column.name: column for column in contract.columns}
    columns = rule.where.columns if rule.where is not None else ()
    missing = [name for name in columns if name not in known]
    masked = [name for name in columns if name in known and known[name].masks]
    named = spell_rules([rule])
    if rule.where is None or missing:
        return f"{named}: the contract has no column {spell_names(missing)}.{near_match(missing[0], known)}"
    if masked:
        return f"{named}: column {spell_names(masked)} is stored masked, so its true values can't be compared"
    try:
        type_ = result_type(rule.where, schema_of(contract.columns), where=named)
    except DataopsError as error:
        return str(error)
    return None if pa.types.is_boolean(type_) else f"{named}: gives {type_}, where a row filter is true or false"


def require_filtered_before(request: Request, rules: Sequence[Rule]) -> None:
    """Nothing, if each filter of what the dataset was made from was applied when that was read.

    Its rows can't be told apart any more: the columns that the filter looks at may be masked by now, or gone.
    """
    findings = [
        f"made from '{origin.dataset}' ({origin.zone}) without row filter {rule.where.sql if rule.where else '?'} "
        f"that holds for purpose '{request.purpose}': {spell_rules([rule])}"
        for rule in rules
        if rule.effect == RuleEffect.FILTER
        for origin in rule.ancestors(request)
        if rule.where is None or digest(rule.where.sql) not in origin.filters
    ]
    if findings:
        raise AccessDenied(
            f"{who(request.principal, request.roles)} may not read dataset '{request.dataset}' for purpose "
            f"'{request.purpose}': rows that the policies leave out may be in it\n"
            + "\n".join(f"  {finding}" for finding in dict.fromkeys(findings))
            + "\nMake it anew from rows that are filtered so: by a job whose purpose the rule names too."
        )
