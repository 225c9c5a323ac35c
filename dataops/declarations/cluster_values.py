"""Values of cluster files: amounts of memory, addresses, hosts, words that become parts of a command."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator

from dataops.errors import InvalidInput

_MEMORY = re.compile(r"auto|[0-9]+(\.[0-9]+)? ?[kMGT]i?B")
_PLACE = r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})"
_ADDRESS = re.compile(_PLACE)
_SCHEDULER = re.compile(rf"(?:tcp|tls)://{_PLACE}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,254}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_WALLTIME = re.compile(r"([0-9]{1,3}-)?[0-9]{1,3}:[0-9]{2}:[0-9]{2}")
_JOB_MEMORY = re.compile(r"[1-9][0-9]{0,8}[KMGT]")
_HIGHEST_PORT = 65_535


def _require_memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise InvalidInput(f"{text!r} is no amount of memory: expected 'auto' or one like '4 GB' or '512 MiB'")
    return text


def _require_address(text: str) -> str:
    address = _ADDRESS.fullmatch(text)
    if not address or int(address.group(2)) > _HIGHEST_PORT:
        raise InvalidInput(f"{text!r} is no address: expected 'host:port' like '127.0.0.1:0'")
    return text


def require_scheduler_address(text: str) -> str:
    """`text`, if it is an address of a Dask scheduler.

    Raises
    ------
    InvalidInput : it isn't one.
    """
    address = _SCHEDULER.fullmatch(text)
    if not address or int(address.group(2)) > _HIGHEST_PORT:
        raise InvalidInput(f"{text!r} is no address of a Dask scheduler: expected one like 'tls://10.0.0.1:8786'")
    return text


def _require_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise InvalidInput(f"{text!r} is no host: expected a name or an address like 'node1' or '10.0.0.1'")
    return text


def _require_word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise InvalidInput(f"{text!r}: expected a word of letters, digits and . _ @ + -, not beginning with a dash")
    return text


def _require_variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise InvalidInput(f"{text!r} is no name of a variable: expected letters, digits and _")
    return text


def _require_walltime(text: str) -> str:
    if not _WALLTIME.fullmatch(text):
        raise InvalidInput(f"{text!r} is no time of Slurm's: expected one like '02:00:00' or '1-00:00:00'")
    return text


def _require_job_memory(text: str) -> str:
    if not _JOB_MEMORY.fullmatch(text):
        raise InvalidInput(f"{text!r} is no amount of memory of Slurm's: expected one like '8G' or '512M'")
    return text


def is_loopback(address: str) -> bool:
    """Whether `address` (``tcp://host:port``) can be reached from its own machine only."""
    host = address.rpartition("//")[2].rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Memory = Annotated[str, AfterValidator(_require_memory)]
ServerAddress = Annotated[str, AfterValidator(_require_address)]
SchedulerAddress = Annotated[str, AfterValidator(require_scheduler_address)]
Host = Annotated[str, AfterValidator(_require_host)]
Word = Annotated[str, AfterValidator(_require_word)]
Walltime = Annotated[str, AfterValidator(_require_walltime)]
JobMemory = Annotated[str, AfterValidator(_require_job_memory)]
Variable = Annotated[str, AfterValidator(_require_variable)]
