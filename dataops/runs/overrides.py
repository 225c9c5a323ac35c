"""What a job scores with and nobody vouches for any more: champions whose override has ended.

1. It is said, and stops nothing: an alias moves by people alone, and scores are wanted meanwhile.
2. A version that a job names by its number is that job's own choice, whatever became of an alias.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from dataops.declarations.jobs import Job
from dataops.declarations.references import parse_model_reference
from dataops.declarations.rescore import RescoreJob
from dataops.errors import DataopsError
from dataops.promotion.override import tell_ended
from dataops.registry.aliases import last_move
from dataops.runs.workspace import Workspace


def ended_overrides(workspace: Workspace, job: Job, *, now: datetime) -> tuple[str, ...]:
    """One text for each alias that `job` scores by and whose version was promoted against its gates until a day that is
    over.
    """
    if not isinstance(job, RescoreJob):
        return ()
    found: list[str] = []
    for text in dict.fromkeys((job.model, *job.challengers.values())):
        asked = parse_model_reference(text)
        if asked.alias is None:
            continue
        with suppress(DataopsError):  # what can't be read is said where it is loaded
            last = last_move(workspace.registry, asked.model, asked.alias)
            if last is not None and (told := tell_ended(workspace.registry, last, now=now)):
                found.append(told)
    return tuple(found)
