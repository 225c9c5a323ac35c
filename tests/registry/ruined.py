"""Scores mutated XGBoost models in a process of its own, which a bad one may kill: ``ruined.py BEGIN END``.

A line for each mutation: its number, and "refused", "same" or "other" (of the answers to golden rows).
"""

from __future__ import annotations

import random
import resource
import sys
from dataclasses import replace

from dataops.errors import DataopsError
from dataops.models.golden import make_golden
from dataops.models.native import load_native
from dataops.models.package import Package
from dataops.models.predictor import BOOSTED, Predictor, load_predictor
from dataops.runtime.serving import ready_predictor
from tests.compat.writing import HERE
from tests.registry.examples import make_package

MEMORY = 4 << 30
DATA = (HERE / "xgboost-ubj-1.ubj").read_bytes()


def mutated(seed: int) -> bytes:
    """`DATA` with a bit flipped, some bytes changed, bytes cut out or put in: the same for the same seed."""
    chance, data = random.Random(seed), bytearray(DATA)  # noqa: S311 - makes tests, keeps no secret
    place = chance.randrange(len(data))
    if seed % 4 == 0:
        data[place] ^= 1 << chance.randrange(8)
    elif seed % 4 == 1:
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    elif seed % 4 == 2:
        del data[place : place + chance.randrange(1, 64)]
    else:
        data[place:place] = bytes(chance.choices(range(256), k=chance.randrange(1, 16)))
    return bytes(data)


def boosted_package() -> Package:
    """A package whose model has as many columns as `DATA`."""
    program = make_package().program
    encoder = replace(
        program.encoder,
        numeric=(program.encoder.numeric[0], replace(program.encoder.numeric[0], name="hours")),
        categorical=(program.encoder.categorical[0], replace(program.encoder.categorical[0], name="city")),
    )
    sources = (("age", "int64"), ("hours", "int64"), ("job", "string"), ("city", "string"))
    program = replace(program, sources=sources, encoder=encoder)
    package = replace(make_package(), program=program, model_format=BOOSTED, model=DATA)
    model: Predictor = load_predictor(BOOSTED, DATA)
    return replace(package, golden=make_golden(program, model))


def verdict(package: Package) -> str:
    """What becomes of a package that is to be served."""
    try:
        if load_native(package.model) is None:
            return "refused"
        ready_predictor(replace(package, golden=None))  # also without golden rows nothing may break
        ready_predictor(package)
    except DataopsError as error:
        return "other" if "answers otherwise" in str(error) else "refused"
    return "same"


def main(begin: str, end: str) -> None:
    package = boosted_package()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # of the process alone, not of the machine
    for seed in range(int(begin), int(end)):
        sys.stdout.write(f"{seed} {verdict(replace(package, model=mutated(seed)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
