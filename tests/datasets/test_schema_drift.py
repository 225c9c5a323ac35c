"""Files whose schema drifted meet the real read: the contract's rows in the contract's types, or an error that names
the column. Never other values, never fewer rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.attacks.isolated import Seen, run_isolated
from tests.datasets.drifts import BREAKS, CANARY, DRIFTS, UNFIT


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    return run_isolated("tests.datasets.drifts", tmp_path_factory.mktemp("drifted"))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
@pytest.mark.parametrize("name", DRIFTS)
def test_a_drifted_file_is_read_exactly_or_refused_by_name(seen: Mapping[str, Seen], name: str, beside: bool) -> None:
    drift = DRIFTS[name]
    one = seen[f"{name}: {'beside' if beside else 'alone'}"]
    assert one.verdict == (drift.beside if beside else drift.alone), one.said
    assert CANARY not in one.said
    if one.verdict in (BREAKS, UNFIT):
        assert f"'{drift.column}'" in one.said
        assert not beside or "b.parquet" in one.said


def test_there_are_forty_drifts() -> None:
    assert len(DRIFTS) >= 40
