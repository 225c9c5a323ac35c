"""What an Open Data Contract Standard file says shall happen to rows that break a rule. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from open_data_contract_standard.model import CustomProperty

from dataops.errors import near_match
from dataops.governance.contract import Action, Rule
from dataops.governance.findings import Findings, Place

Placed = tuple[Place, Rule]

# a dataset that has too few rows, or old ones, has no rows to set aside for it
DATASET_ACTIONS = (Action.WARN, Action.FAIL)


def read_action(
    properties: Sequence[CustomProperty] | None,
    place: Place,
    findings: Findings,
    *,
    only: bool,
    allowed: Collection[Action] = tuple(Action),
    otherwise: Action = Action.QUARANTINE,
) -> Action:
    """The action among custom properties.

    Parameters
    ----------
    only : other properties are refused: a typo is no quarantine.
    allowed : the actions that can be carried out.
    otherwise : where nothing is said.
    """
    action = otherwise
    for position, one in enumerate(properties or []):
        here = (*place, "customProperties", position)
        if one.vendor not in (None, "dataops"):
            continue
        if one.property != "action":
            if only:
                findings.add((*here, "property"), f"unknown property.{near_match(str(one.property), ('action',))}")
        elif one.value in tuple(Action) and one.value not in allowed:
            findings.add((*here, "value"), f"of all rows together one can but {' or '.join(allowed)}")
        elif one.value in allowed:
            action = Action(str(one.value))
        else:
            findings.add((*here, "value"), f"unknown action.{near_match(str(one.value), tuple(allowed))}")
    return action
