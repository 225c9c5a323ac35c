"""A join job, resolved against what may be read: columns, types, grants, and how rows will travel. Nothing is read.

1. Each dataset is read under its own grant. Keys are compared as their reader sees them, so both sides must be masked
   alike, and be of types that can be equal.
2. A joined column says something of the row that it was found for: it carries the classifications, origins and masks of
   the keys and times beside its own. A counted one also those of what it was counted from. Which rows an inner join
   leaves says as much, so behind one all columns carry those of its keys and times.
3. What is small is given to every worker, what is large goes by the hash of its keys through `buckets`: decided from
   footers alone, so that a run that is taken up again comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from dataops.datasets.access import GovernedInput, totals
from dataops.datasets.reading import Source
from dataops.declarations.aggregation import Aggregation, Measure
from dataops.declarations.inputs import INPUT, joined_name
from dataops.declarations.join import AsOf, Deduplicate, Join, JoinJob
from dataops.errors import InvalidInput
from dataops.governance.contract import Column, derived_contract, inherited_classification, schema_of
from dataops.governance.marks import derived_marks, derived_origins, plain_marks, side_marks
from dataops.preparation.aggregate import aggregation_type
from dataops.preparation.asof import Times, times_of
from dataops.preparation.join_bytes import bytes_at_most
from dataops.preparation.matching import key_type
from dataops.records import Record, digest

GIVEN_BYTES = 128 * 2**20
"""Decoded, of all datasets together that every worker gets."""
BUCKET_BYTES = 64 * 2**20
BUCKET_ROWS = 2_000_000

Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One join of the job.

    Attributes
    ----------
    name : what the run calls the input.
    read : columns of the dataset that are read, as `schema` says.
    columns : that it adds, in their order; `sources` are their names in the dataset (of counted ones: in the result).
    found_by : the keys and times of both sides, as they show in what they find.
    key_types : in which the keys are compared, one for each.
    times : how times are compared; None where it isn't as of a time.
    buckets : through how many of them rows travel; 0: every worker gets the dataset.
    """

    name: str
    join: Join
    source: Source
    read: tuple[str, ...]
    schema: pa.Schema
    columns: tuple[Column, ...]
    sources: tuple[str, ...]
    found_by: tuple[Column, ...]
    key_types: tuple[pa.DataType, ...]
    times: Times | None
    buckets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPlan:
    """A join job, resolved against what may be read.

    Attributes
    ----------
    read : columns of the main input that are read for the output, `keys_read` those that are looked at before.
    kept : columns of the main input that the output keeps.
    columns : of the output.
    buckets : through how many of them the main input's keys travel where it is deduplicated or aggregated.
    seed : digest of all that decides the output.
    """

    job: JoinJob
    source: Source
    read: tuple[str, ...]
    keys_read: tuple[str, ...]
    kept: tuple[str, ...]
    columns: tuple[Column, ...]
    joins: tuple[Joined, ...]
    buckets: int
    seed: str

    def reading(self, sources: Mapping[str, Source]) -> JoinPlan:
        """The plan over `sources`, by the run's name of the input."""
        joins = tuple(replace(one, source=sources[one.name]) for one in self.joins)
        return replace(self, source=sources[INPUT], joins=joins)

    def columns_read(self) -> dict[str, tuple[str, ...]]:
        """The columns that are read, by the run's name of the input."""
        return {INPUT: self.read, **{one.name: one.read for one in self.joins}}


def plan_join(job: JoinJob, inputs: Mapping[str, GovernedInput], *, where: str) -> JoinPlan:
    """`job` over `inputs`, with the columns that it reads and makes.

    Parameters
    ----------
    where : the file of the job, for messages.

    Raises
    ------
    AccessDenied : it needs a column that the policies deny.
    InvalidInput : an unknown column, keys that can't be equal or are masked otherwise, a name given twice.
    """
    given = inputs[INPUT]
    available = _available(given)
    others = [inputs[joined_name(place, join.dataset)] for place, join in enumerate(job.joins)]
    main_keys = dict.fromkeys(name for join in job.joins for name in _main_columns(join))
    first = [*(job.deduplicate.columns if job.deduplicate else ()), *job.group_by]
    counted = [name for one in job.aggregations.values() for name in one.columns]
    kept = () if job.group_by else tuple(job.columns if job.columns is not None else available)
    given.require_columns([*kept, *main_keys, *first, *counted], where=where)
    _require_named(job.deduplicate, available, given, f"{where}: deduplicate")
    _require_discrete(job.group_by, available, given, f"{where}: group_by")
    for place, (join, other) in enumerate(zip(job.joins, others, strict=True)):
        other.require_columns(_read(join), where=f"{where}: joins[{place}]")
    buckets = _buckets(others, job, totals(given.units)[0])
    joins = tuple(
        _joined(join, place, given, other, bucket, where)
        for place, (join, other, bucket) in enumerate(zip(job.joins, others, buckets, strict=True))
    )
    columns = _output(job, given, kept, joins, where)
    derived_contract(job.output, columns)  # refuses names that a reader would take for one another
    rows, _ = totals(given.units)
    looked_at = tuple(name for name in available if name in {*first, *counted, *main_keys})
    return JoinPlan(
        job=job,
        source=given.source,
        read=tuple(name for name in available if name in {*kept, *main_keys}) or looked_at or tuple(available)[:1],
        keys_read=looked_at,
        kept=kept,
        columns=columns,
        joins=joins,
        buckets=max(1, -(-rows // BUCKET_ROWS), -(-_bytes_of(given, looked_at) // BUCKET_BYTES)),
        seed=_seed(job, inputs),
    )


def _seed(job: JoinJob, inputs: Mapping[str, GovernedInput]) -> str:
    read = {name: [given.dataset.snapshot.content_digest, given.grant.effect.digest] for name, given in inputs.items()}
    return digest({"job": job.model_dump(mode="json", exclude={"name", "output"}), "inputs": read})


def _available(given: GovernedInput) -> dict[str, Column]:
    return {column.name: column for column in given.masked_columns()}


def _main_columns(join: Join) -> tuple[str, ...]:
    return (*join.on, *([join.asof.at] if join.asof else []))


def _buckets(others: Sequence[GovernedInput], job: JoinJob, main_rows: int) -> list[int]:
    """For each join through how many buckets it goes; the smallest datasets are given to every worker, as they fit.

    A bucket holds a share of the dataset, and of the keys of the main input's rows.
    """
    sizes = [_bytes_of(given, _read(join)) for join, given in zip(job.joins, others, strict=True)]
    found, left = [0] * len(sizes), GIVEN_BYTES
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
        if sizes[place] <= left:
            left -= sizes[place]
        else:
            rows = max(main_rows, totals(others[place].units)[0])
            found[place] = max(1, -(-sizes[place] // BUCKET_BYTES), -(-rows // BUCKET_ROWS))
    return found


def _bytes_of(given: GovernedInput, names: Sequence[str]) -> int:
    rows, size = totals(given.units)
    return bytes_at_most(given.dataset.contract.columns, _available(given), set(names), rows=rows, size=size)


def _read(join: Join) -> tuple[str, ...]:
    counted = [name for one in join.aggregations.values() for name in one.columns]
    times = join.asof.columns if join.asof else ()
    repeats = join.deduplicate.columns if join.deduplicate else ()
    return tuple(dict.fromkeys([*join.keys, *times, *repeats, *join.columns, *counted]))


def _joined(join: Join, place: int, main: GovernedInput, given: GovernedInput, buckets: int, where: str) -> Joined:
    at = f"{where}: joins[{place}]"
    ours, theirs = _available(main), _available(given)
    names = list(zip(join.on, join.keys, strict=True))
    types = tuple(_compared(ours[one], theirs[other], main, given, f"{at}.on") for one, other in names)
    _require_named(join.deduplicate, theirs, given, f"{at}.deduplicate")
    keys = [column for one, other in names for column in (ours[one], theirs[other])]
    times = None
    if join.asof is not None:
        times = _times(join.asof, ours, theirs, main, given, f"{at}.asof")
        keys += [ours[join.asof.at], *(theirs[name] for name in join.asof.columns)]
    keys = _shown_by_a_match(keys, [main, given])
    return Joined(
        name=joined_name(place, join.dataset),
        join=join,
        source=given.source,
        read=_read(join),
        schema=schema_of(theirs[name] for name in _read(join)),
        columns=tuple(_added(join, theirs, keys, at)),
        sources=tuple(join.aggregate) if join.aggregate else join.columns,
        found_by=tuple(keys),
        key_types=types,
        times=times,
        buckets=buckets,
    )


def _shown_by_a_match(keys: Sequence[Column], inputs: Sequence[GovernedInput]) -> list[Column]:
    """`keys` as they show in what they find: of a pseudonym too little to know anyone by."""
    masks = [one.mask for given in inputs for one in given.grant.decisions if one.mask is not None]
    return [replace(key, masks=side_marks([key], masks)) for key in keys]


def _compared(one: Column, other: Column, main: GovernedInput, given: GovernedInput, at: str) -> pa.DataType:
    if plain_marks(one) != plain_marks(other):
        raise InvalidInput(
            f"{at}: '{one.name}' of '{main.dataset.name}' is masked otherwise than '{other.name}' of "
            f"'{given.dataset.name}': equal values would not look alike. Let one mask hold for both"
        )
    found = key_type(one.type, other.type)
    if found is None:
        raise InvalidInput(
            f"{at}: '{one.name}' of '{main.dataset.name}' is {one.type} and '{other.name}' of '{given.dataset.name}' "
            f"is {other.type}; expected whole numbers, text, dates or times of one type on both sides"
        )
    return found


def _times(asof: AsOf, ours: Columns, theirs: Columns, main: GovernedInput, given: GovernedInput, at: str) -> Times:
    """How the times are compared: in the finest unit of all of them."""
    type_ = ours[asof.at].type
    for name in asof.columns:
        _compared(ours[asof.at], theirs[name], main, given, at)
        type_ = key_type(type_, theirs[name].type) or type_
    try:
        return times_of(type_, oldest=asof.oldest, strictly_before=asof.strictly_before)
    except InvalidInput as error:
        raise InvalidInput(f"{at}: {error}") from None


def _require_named(asked: Deduplicate | None, known: Columns, given: GovernedInput, at: str) -> None:
    if asked is None:
        return
    _require_discrete(asked.by, known, given, at)
    try:
        _require_ordering(asked.order, known)
    except InvalidInput as error:
        raise InvalidInput(f"{at}.order: {error}") from None


def _require_discrete(names: Sequence[str], known: Columns, given: GovernedInput, at: str) -> None:
    for name in names:
        if key_type(known[name].type, known[name].type) is None:
            raise InvalidInput(
                f"{at}: '{name}' of '{given.dataset.name}' is {known[name].type}; expected whole numbers, text, dates "
                "or times"
            )


def _added(join: Join, theirs: Columns, keys: Sequence[Column], at: str) -> list[Column]:
    """The columns that `join` adds, each made of its own and of the keys that found it."""
    if not join.aggregate:
        inner = join.how == "inner"
        return [
            _made(name, theirs[source].type, [theirs[source], *keys], required=inner and theirs[source].required)
            for name, source in join.named.items()
        ]
    return _counted(join.aggregations, theirs, keys, at, as_of=join.asof is not None)


def _counted(
    asked: Mapping[str, Aggregation], known: Columns, keys: Sequence[Column], at: str, *, as_of: bool = False
) -> list[Column]:
    """The columns that are `asked` of the `known` ones, one row for each of the `keys`."""
    found = []
    for name, one in asked.items():
        sources = [known[column] for column in one.columns]
        try:
            type_ = aggregation_type(one, sources[0].type if sources else None)
            _require_ordering(one.order, known)
            _require_as_of(one, type_, as_of=as_of)
        except InvalidInput as error:
            place = f"{at}.aggregate" if at.endswith("]") else f"{at}: aggregate"
            raise InvalidInput(f"{place}.{name}: {error}") from None
        found.append(_made(name, type_, [*sources, *keys], required=False))
    return found


def _require_ordering(name: str | None, known: Columns) -> None:
    kind = pa.null() if name is None else known[name].type
    ordered = pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_decimal(kind)
    if name is not None and (not ordered or pa.types.is_boolean(kind) or pa.types.is_float16(kind)):
        raise InvalidInput(f"'{name}' is {kind}, and numbers, times or text order rows")


def _require_as_of(one: Aggregation, type_: pa.DataType, *, as_of: bool) -> None:
    if as_of and pa.types.is_decimal(type_) and one.measure is Measure.SUM:
        raise InvalidInput("decimals aren't added up as of a time; take their mean, or make them floats first")


def _made(name: str, type_: pa.DataType, sources: Sequence[Column], *, required: bool) -> Column:
    return Column(
        name=name,
        type=type_,
        required=required,
        classification=inherited_classification(sources),
        masks=derived_marks(sources),
        origins=derived_origins(sources),
    )


def _output(
    job: JoinJob, given: GovernedInput, kept: Sequence[str], joins: Sequence[Joined], where: str
) -> tuple[Column, ...]:
    available = _available(given)
    columns = [available[name] for name in kept]
    if job.group_by:
        keys = [available[name] for name in job.group_by]
        columns = [*keys, *_counted(job.aggregations, available, _shown_by_a_match(keys, [given]), where)]
    for place, one_join in enumerate(joins):
        taken = {column.name for column in columns}
        clash = [column.name for column in one_join.columns if column.name in taken]
        if clash:
            raise InvalidInput(
                f"{where}: joins[{place}].columns: the output has {', '.join(map(repr, clash))} already; `rename` one, "
                "or list the `columns` to keep"
            )
        columns += one_join.columns
    chosen_by = [key for one_join in joins if one_join.join.how == "inner" for key in one_join.found_by]
    return tuple(_chosen(column, chosen_by) for column in columns) if chosen_by else tuple(columns)


def _chosen(column: Column, keys: Sequence[Column]) -> Column:
    """`column` of rows that were chosen by `keys`; the keys themselves stay as they are."""
    made = _made(column.name, column.type, [column, *keys], required=column.required)
    if made.classification == column.classification and made.origins in (column.origins, (column.name,)):
        return column
    return replace(column, classification=made.classification, masks=made.masks, origins=made.origins)


def join_declaration(plan: JoinPlan) -> Record:
    """What the manifest says of how the output was made, without a name of a run."""
    return plan.job.model_dump(mode="json", exclude={"name"})
