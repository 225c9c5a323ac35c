"""What is held out of training is parted as the job's split is: by keys, by time, else by place."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from dataops.declarations.metrics import Metric
from dataops.declarations.search import Search
from dataops.features.encoder import Encoded, Encoder, NumericColumn
from dataops.governance.masking import MaskKind
from dataops.preparation.split import assign_split
from dataops.storage.objects import MemoryStore
from dataops.training.grouping import Grouping, count_hours, grouping_of, groups_by, hours_of, with_times
from dataops.training.groups import GROUPS
from dataops.training.logistic import LogisticTrainer
from dataops.training.parts import EncodedPart
from dataops.training.search import HELD_OUT, Searching
from dataops.training.search_trials import TrialLog

PERSON = Grouping(keys=("person",))


def test_rows_of_one_key_are_in_one_group_whatever_else_differs():
    people = np.repeat(np.arange(3000), 7)
    table = pa.table({"person": people, "row": np.arange(len(people))})
    groups = groups_by(PERSON, table)
    assert (groups.reshape(-1, 7) == groups[::7, None]).all()
    counts = np.bincount(groups[::7], minlength=GROUPS)
    assert len(counts) == GROUPS
    assert counts.min() > 50
    order = np.random.default_rng(0).permutation(len(people))
    assert (groups_by(PERSON, table.take(order)) == groups[order]).all()


def test_groups_are_drawn_apart_from_the_split():
    """The rows to learn from are those above a bound of the split's hash: they have groups of all 32."""
    people = pa.chunked_array([np.arange(4000)])
    table = pa.table({"person": people}).filter(pa.compute.equal(assign_split([people], test=0.5), "train"))
    counts = np.bincount(groups_by(PERSON, table), minlength=GROUPS)
    assert counts.min() > 0.4 * table.num_rows / GROUPS
    assert counts.max() < 1.8 * table.num_rows / GROUPS


def test_several_keys_and_nulls_are_keys():
    table = pa.table({"person": ["a", "ab", None, None], "place": ["bc", "c", "x", "x"]})
    groups = groups_by(Grouping(keys=("person", "place")), table)
    assert groups[2] == groups[3]
    many = pa.table({"person": [f"p{n}" for n in range(200)], "place": ["x"] * 200})
    assert len(set(groups_by(Grouping(keys=("person", "place")), many).tolist())) > 25


def _timed(times: pa.Array) -> tuple[Grouping, pa.Table]:
    table = pa.table({"at": times})
    return with_times(Grouping(time="at"), [count_hours(hours_of(table.column("at")))]), table


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_the_newest_days_are_held_out_by_time(zone):
    first = datetime(2025, 1, 1, 22, tzinfo=UTC if zone else None)
    nights = [first + timedelta(days=day, hours=hour / 2) for day in range(120) for hour in range(4)]
    order = np.random.default_rng(0).permutation(len(nights))
    grouping, table = _timed(pa.array([nights[one] for one in order], pa.timestamp("us", tz=zone)))
    groups = groups_by(grouping, table)
    held_out = np.flatnonzero(groups < HELD_OUT)
    assert 0.15 < len(held_out) / len(nights) < 0.23
    oldest = min(nights[order[place]] for place in held_out)
    assert all(nights[order[place]] < oldest for place in np.flatnonzero(groups >= HELD_OUT))
    assert set(groups.tolist()) == set(range(GROUPS))
    halves = [count_hours(hours_of(table.column("at").slice(*part))) for part in ((0, 100), (100,))]
    assert with_times(Grouping(time="at"), halves[::-1]) == grouping


def test_days_of_a_date_stay_together_and_few_days_go_by_the_hour():
    grouping, table = _timed(pa.array([date(2025, 1, 1 + n % 20) for n in range(400)]))
    groups = groups_by(grouping, table).reshape(20, 20)
    assert (groups == groups[0]).all()
    assert (np.diff(groups[0].astype(int)) < 0).all()
    hours = [datetime(2025, 1, 1) + timedelta(hours=n) for n in range(96)]  # noqa: DTZ001
    grouping, table = _timed(pa.array(hours, pa.timestamp("s")))
    groups = groups_by(grouping, table)
    assert set(groups.tolist()) == set(range(GROUPS))
    assert (np.diff(groups.astype(int)) <= 0).all()
    grouping, table = _timed(pa.array([], pa.timestamp("s")))
    assert groups_by(grouping, table).tolist() == []


@pytest.mark.parametrize(
    ("split_by", "mask", "words"),
    [
        (None, None, "an earlier release prepared the dataset, which didn't say what it was split by"),
        ({"keys": ["nobody"]}, None, "'people' has no column nobody, which it was split by"),
        ({"keys": ["who"]}, MaskKind.GENERALISE, "the policies mask who, which 'people' was split by"),
        ({"keys": ["hidden"]}, None, "the policies deny hidden"),
        ({"time": "who"}, MaskKind.PSEUDONYM, "Rows of one time may be held out and learnt from"),
        ({"keys": ["who"]}, MaskKind.PSEUDONYM, None),
        ({"time": "who"}, None, None),
    ],
)
def test_why_rows_go_by_place_is_said(split_by, mask, words):
    columns = [SimpleNamespace(name=name) for name in ("who", "hidden")]
    lineage = {"split": "split", **({"split_by": split_by} if split_by else {})}
    effect = SimpleNamespace(columns={"who": mask and SimpleNamespace(kind=mask)})
    contract = SimpleNamespace(columns=columns)
    given = SimpleNamespace(
        dataset=SimpleNamespace(name="people", lineage=lineage, contract=contract), grant=SimpleNamespace(effect=effect)
    )
    found = grouping_of(given)
    assert (found.columns == ()) == (found.why is not None) == (words is not None)
    assert (words or "by who, as the split is") in str(found)


def test_a_search_over_people_chooses_what_does_best_on_other_people(cluster, place):
    """Thirty rows a person, and nothing to learn but who is who: by place in the file the least penalty looks best."""
    random, columns = np.random.default_rng(1), 40
    values = np.repeat(random.standard_normal((60, columns)).astype(np.float32), 30, axis=0)
    target = np.repeat((random.random(60) < 0.5).astype(np.float32), 30)
    people = pa.table({"person": np.repeat(np.arange(60), 30)})
    part = EncodedPart(encoded=Encoded.of(values, np.zeros((1800, 0), np.int32)), target=target)
    part = replace(part, groups=groups_by(PERSON, people))
    numbers = tuple(NumericColumn(name=f"n{n}", fill=0.0, mean=0.0, scale=1.0) for n in range(columns))
    parts = replace(place(cluster, [part]), encoder=Encoder(numeric=numbers, categorical=()))
    found = Searching(
        search=Search(method="grid", space={"l2": {"one_of": [1e-3, 1.0, 1e5]}}),
        trainer=LogisticTrainer(),
        params={},
        metric=Metric.LOG_LOSS,
        seed=1,
        least=1,
        log=TrialLog(MemoryStore(), "run", "one"),
        tell=lambda *_: None,
    ).run(parts)
    assert found.best.params == {"l2": 1e5}
