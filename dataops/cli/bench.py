"""``dataops bench``: how fast the whole line is here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dataops.cli.options import json_option
from dataops.cli.output import end_with, print_facts, print_json, print_table, spell_bytes

if TYPE_CHECKING:
    from dataops.bench.place import Place
    from dataops.bench.results import Result


@click.command()
@click.argument("folder", metavar="[DIR]", default="bench")
@click.option("--scale", type=float, default=1.0, show_default=True, help="How much data: 1 is 10 million payments.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Where the data begins.")
@click.option(
    "--streams", type=click.IntRange(1, 64), default=2, show_default=True, help="Rescores side by side, at the end."
)
@click.option("--cluster", metavar="FILE", help="Cluster file. Default: processes on this machine.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes, instead of the cluster file's.")
@click.option(
    "--storage", metavar="URL", help="Where all that is large lies and stays, as s3://bucket/prefix. Default: DIR."
)
@click.option("--keep", is_flag=True, help="Keep data, datasets and models in DIR, to look at.")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@json_option
def bench(
    folder: str,
    *,
    scale: float,
    seed: int,
    streams: int,
    cluster: str | None,
    workers: int | None,
    storage: str | None,
    keep: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure the whole line on made-up payments, in ./bench.

    Makes data of the scale that is asked for, loads it, prepares it under contract and policy, trains two models,
    rescores twice, and then several times side by side. What must hold is checked: a run that misses a check is
    invalid, and ends with exit code 8. The metric, dataops throughput, is the geometric mean of the phases' rows a
    second; DIR keeps results.jsonl and a page with all results.

    \b
    Examples:
      dataops bench --scale 0.1
      dataops bench measured --streams 4 --keep
      dataops bench --scale 10 --cluster cluster/slurm.yaml --storage s3://bucket/bench
    """
    from dataops.bench.run import run_bench
    from dataops.bench.sizes import size_of
    from dataops.engine.progress import Progress
    from dataops.errors import Integrity

    size = size_of(scale, seed)
    with Progress(sys.stderr, quiet=quiet) as progress:
        place, result = run_bench(
            Path(folder),
            size,
            cluster=cluster,
            storage=storage,
            workers=workers,
            streams=streams,
            keep=keep,
            progress=progress,
        )
    if as_json:
        print_json({**result.record(), "page": str(place.page), "results": str(place.results)})
    else:
        _print(place, result)
    if result.missed:
        missed = "; ".join(f"{check.name}: {check.found}, asked: {check.asked}" for check in result.missed)
        end_with(Integrity(f"the run is invalid: {missed}. Everything is left in {place.folder} to look into"))


def _print(place: Place, result: Result) -> None:
    from dataops.bench.results import COUNTED

    click.echo("")
    rows = [
        [
            phase.name,
            phase.rows,
            f"{phase.seconds:.1f} s",
            f"{phase.startup_seconds:.1f} s",
            f"{phase.rate:,.0f}",
            "yes" if phase.name in COUNTED else "no",
        ]
        for phase in result.phases
    ]
    print_table(["phase", "rows", "time", "start-up apart", "rows/s", "counts"], rows)
    click.echo("")
    print_table(
        ["check", "found", "asked", "holds"],
        [[check.name, check.found, check.asked, check.holds] for check in result.checks],
    )
    click.echo("")
    throughput = result.throughput
    told = "none: the run is invalid" if throughput is None else f"{throughput:,.0f} rows/s"
    end_to_end = "none" if result.end_to_end is None else f"{result.end_to_end:,.0f} payments/s, start-up included"
    facts = {
        f"dataops throughput, scale {result.scale:g}": told,
        "end to end": end_to_end,
        "data": f"{spell_bytes(result.data['size_bytes'])} in {result.data['files']:,} files, {result.data['digest']}",
        "took": f"{result.seconds:.0f} s in all",
        "page": str(place.page),
        "results": str(place.results),
    }
    print_facts(facts)
