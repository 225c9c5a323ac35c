"""Row steps: what is done to rows before they are encoded, alike in preparation, training, rescoring and applications.

1. The order is fixed: generalise source columns, derive new columns one after the other, then keep the rows that
   `where` is true for (null is not true).
2. A step looks at one row at a time, so any split of the rows gives the same rows.
3. A derived column has a name of its own: it never replaces or hides another, and sees only those before it.
4. Only generalisations are steps: they are idempotent and need no key. A pseudonym can't be a feature.
5. A generalisation of a column that isn't there is no step; whatever needs the column says that it is missing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from dataops.errors import DataopsError, Format, InvalidInput
from dataops.features.columns import require_columns
from dataops.governance.expressions import Expression, evaluate, evaluate_predicate, parse_expression, result_type
from dataops.governance.masking import Mask, MaskKind, apply_mask, output_type
from dataops.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSteps:
    """Row-wise steps.

    Parameters
    ----------
    generalise : source column and generalising mask.
    derive : new column and its expression, in the order in which they are made.
    where : keeps the rows that it is true for; None keeps all.

    Raises
    ------
    InvalidInput : with all findings: a mask that doesn't generalise, a name made twice, or used before it is made.
    """

    generalise: tuple[tuple[str, Mask], ...] = ()
    derive: tuple[tuple[str, Expression], ...] = ()
    where: Expression | None = None

    def __post_init__(self) -> None:
        findings = _findings(self)
        if findings:
            raise InvalidInput("steps: " + "; ".join(findings))

    def source_columns(self) -> tuple[str, ...]:
        """The columns that derived columns and `where` are made from, sorted; without the derived ones."""
        derived = {name for name, _ in self.derive}
        used = {column for _, expression in self.derive for column in expression.columns}
        return tuple(sorted((used | set(self.where.columns if self.where else ())) - derived))

    def sources_for(self, columns: Collection[str]) -> tuple[str, ...]:
        """The source columns that must be there for `columns`, derived ones among them, and for `where`; sorted."""
        derived = {name for name, _ in self.derive}
        return tuple(sorted((set(columns) - derived) | set(self.source_columns())))

    def needed_for(self, columns: Collection[str]) -> RowSteps:
        """The steps that `columns` depend on. `where` stays: it decides which rows there are."""
        wanted = {*columns, *(self.where.columns if self.where else ())}
        derive: list[tuple[str, Expression]] = []
        for name, expression in reversed(self.derive):
            if name in wanted:
                wanted.update(expression.columns)
                derive.insert(0, (name, expression))
        generalise = tuple((name, mask) for name, mask in self.generalise if name in wanted)
        return RowSteps(generalise=generalise, derive=tuple(derive), where=self.where)

    def output_schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema of `apply` for a table of `schema`.

        Raises
        ------
        InvalidInput : a column is unknown or hidden by a derived one, or a type doesn't fit.
        """
        masks = dict(self.generalise)
        fields = [
            pa.field(field.name, output_type(masks[field.name], field.type) if field.name in masks else field.type)
            for field in schema
        ]
        for name, expression in self.derive:
            _require_new(name, [field.name for field in fields])
            fields.append(pa.field(name, result_type(expression, pa.schema(fields), where=f"derive.{name}")))
        if self.where is not None:
            kept = result_type(self.where, pa.schema(fields), where="where")
            if not (pa.types.is_boolean(kept) or pa.types.is_null(kept)):
                raise InvalidInput(f"where: the expression gives {kept}; expected a condition, true or false")
        return pa.schema(fields)

    def apply(self, table: pa.Table) -> tuple[pa.Table, int]:
        """`table` after the steps, and how many rows `where` filtered out.

        Raises
        ------
        InvalidInput : a source column is missing, or hidden by a derived one.
        """
        require_columns(table.column_names, self.source_columns(), what="deriving columns")
        for name, mask in self.generalise:
            if name in table.column_names:
                column = apply_mask(mask, table.column(name))
                table = table.set_column(table.schema.get_field_index(name), name, column)
        for name, expression in self.derive:
            _require_new(name, table.column_names)
            table = table.append_column(name, evaluate(expression, table))
        if self.where is None:
            return table, 0
        kept = table.filter(evaluate_predicate(self.where, table))
        return kept, table.num_rows - kept.num_rows

    def record(self) -> Record:
        """The steps as JSON; expressions as their SQL text."""
        return {
            "generalise": [[name, mask.record()] for name, mask in self.generalise],
            "derive": [[name, expression.sql] for name, expression in self.derive],
            "where": self.where.sql if self.where else None,
        }

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """The steps that `record()` wrote; every expression is parsed anew.

        Raises
        ------
        Format : it didn't, or an expression or mask that this release doesn't know.
        """
        try:
            generalise = tuple((str(name), Mask.from_record(mask)) for name, mask in record["generalise"])
            derive = tuple((str(name), parse_expression(sql, where=f"derive.{name}")) for name, sql in record["derive"])
            where = parse_expression(record["where"], where="where") if record["where"] is not None else None
            return cls(generalise=generalise, derive=derive, where=where)
        except DataopsError as error:
            raise Format(f"not row steps that this release knows: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Format(f"not row steps: {type(error).__name__} while reading them") from None


def _findings(steps: RowSteps) -> list[str]:
    found = [
        f"generalise.{name}: a {mask.kind} can't be a step, and its column can't be a feature; only generalise can"
        for name, mask in steps.generalise
        if mask.kind != MaskKind.GENERALISE
    ]
    names = [name for name, _ in steps.derive]
    generalised = [name for name, _ in steps.generalise]
    found += [f"derive.{name}: made twice" for name in sorted({name for name in names if names.count(name) > 1})]
    found += [
        f"generalise.{name}: named twice" for name in sorted({n for n in generalised if generalised.count(n) > 1})
    ]
    found += [
        f"generalise.{name}: is a derived column; generalise what it is made from"
        for name in generalised
        if name in names
    ]
    for place, (name, expression) in enumerate(steps.derive):
        late = sorted(set(expression.columns) & set(names[place:]))
        found += [f"derive.{name}: uses '{other}' before it is made; put that one first" for other in late]
    return found


def _require_new(name: str, existing: Collection[str]) -> None:
    if name in existing:
        raise InvalidInput(
            f"derive.{name}: the table has a column of that name already; give the derived one another name"
        )
