"""November and December 2013, night by night: scores, outcomes a day late, retraining, promotion, and the way back.

``python examples/flights/nights.py FOLDER`` makes a workspace in FOLDER and lets 61 days pass in it by a clock that is
set forward. Each morning the flights of the day arrive as a file, and with them how those of the day before went; a
scheduler script does what is due by ``nights/schedules/nights.yaml``, each step in a process of its own as ever. Twice
a person does something: on 25 November a version is trained by a mistake and put up as challenger, on 9 December it is
promoted against its gates. The page that comes of it all is ``FOLDER/nights.html``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nights_page import write_page
from nights_records import Decision, decisions, headline
from run import ARCHIVE, read_tables

from dataops.datasets.catalog import add_dataset, read_contract
from dataops.declarations.jobs import find_job
from dataops.demo.fetch import cache_folder, fetch
from dataops.engine.progress import Progress
from dataops.governance.contract import schema_of
from dataops.promotion.override import Override
from dataops.records import now_utc
from dataops.runs.execute import Options, Outcome, run_job
from dataops.runs.init import init_workspace
from dataops.runs.models import set_alias
from dataops.runs.promotion import promote_version
from dataops.runs.workspace import Workspace, open_workspace, os_user
from dataops.scheduling.floor import VirtualClock
from dataops.scheduling.loop import Scheduler
from dataops.scheduling.working import Starter, SubprocessStarter
from dataops.storage.objects import Store

HERE = Path(__file__).resolve().parent / "nights"
ZONE = ZoneInfo("America/New_York")
MODEL = "late_arrival"
ZONES = {"flights_today": "production", "flight_outcomes": "production", "flights_known": "historical"}
FOLDERS = ("contracts", "policies", "jobs", "schedules", "cluster")
WEATHER = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
HOURS = ((5, 0), (5, 30), (7, 0))  # files arrive, the night's slot, the slot of Mondays
FIRST, LAST = date(2013, 11, 1), date(2013, 12, 31)
DAY = timedelta(days=1)

Starting = Callable[[Store, Path], Starter]


@dataclass(slots=True, kw_only=True)
class Nights:
    """The workspace, its flights, and how far the days went.

    Attributes
    ----------
    flights : joined with weather and planes, with `day`, the day in New York.
    first : the first day; what was before is known from the beginning.
    start : who starts the steps.
    done : what the schedules and people decided, as told so far.
    """

    folder: Path
    flights: pa.Table
    first: date = FIRST
    start: Starting = SubprocessStarter
    log: Callable[[str], None] = lambda _: None
    clock: VirtualClock
    done: list[Decision] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        """The workspace, read anew."""
        return open_workspace(str(self.folder))

    def run(self, job: str, file: str) -> Outcome:
        """The outcome of a job that a person runs."""
        declared, workspace = find_job(self.folder / file, job), self.workspace
        with Progress(sys.stderr, quiet=True) as progress:
            return run_job(
                workspace,
                declared.job,
                source=declared.document.source,
                options=Options(cluster=workspace.cluster(None)),
                progress=progress,
            )

    def begin(self) -> None:
        """The first champion, trained on the summer alone, and its first scores."""
        self.run("flights_summer", "jobs/first.yaml")
        version = self.run(MODEL, "jobs/first.yaml").state.result["versions"][0]["version"]
        rules = str(self.folder / "jobs/first_promotion.yaml")
        promote_version(self.workspace, MODEL, version, reason="the first one", rules=rules)
        self.run("flight_scores", "jobs/nightly.yaml")  # of the day before, so that the first night has outcomes

    def pass_day(self, day: date, acts: Mapping[date, Callable[[Nights], str]]) -> list[Decision]:
        """What was decided on `day`."""
        before = len(self.done)
        for hour, minute in HOURS:
            self.clock.at = at(day, hour, minute)
            if (hour, minute) == HOURS[0]:
                arrive(self.folder, self.flights, day, learn=day > self.first)
            with Scheduler(self.folder, clock=self.clock, start=self.start, log=self.log) as scheduler:
                result = scheduler.once()
            if result.exit_code:
                raise RuntimeError(f"{day}: {result.record()}")
        self.done += decisions(self.workspace, after=[one.key for one in self.done])
        if day in acts:
            self.done.append(Decision(at=self.clock.at, who=os_user(), what=acts[day](self)))
        return self.done[before:]


def at(day: date, hour: int, minute: int) -> datetime:
    """A time of New York, aware UTC."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE).astimezone(UTC)


def train_mistaken(nights: Nights) -> str:
    """Somebody trains a version with the wrong sign, and puts it up as challenger."""
    nights.run("flights_mistaken", "jobs/mistake.yaml")
    version = nights.run(MODEL, "jobs/mistake.yaml").state.result["versions"][0]
    set_alias(nights.workspace, f"{MODEL}@{version['version']}", "challenger", reason="learnt from October on")
    figure = version["metrics"]["holdout"]["overall"]["roc_auc"]
    return f"{MODEL}@{version['version']} is challenger: ROC AUC {figure:.4f} on its own test rows"


def promote_mistaken(nights: Nights) -> str:
    """Somebody promotes that version although the gates say no."""
    workspace = nights.workspace
    version = next(
        number
        for number in reversed(workspace.registry.numbers(MODEL))
        if workspace.registry.read_manifest(MODEL, number).lineage["dataset"] == "flights_mistaken"
    )
    override = Override(why="its own test rows speak for it", until=now_utc() + timedelta(days=30))
    promote_version(workspace, MODEL, version, reason="it looks good", override=override)
    return f"{MODEL}@{version} is promoted against its gates: {override.why}"


ACTS: Mapping[date, Callable[[Nights], str]] = {
    date(2013, 11, 25): train_mistaken,
    date(2013, 12, 9): promote_mistaken,
}


def join_flights(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Each flight with the newest weather at its airport, at most three hours old, with its plane, and with its day."""
    flights, planes = tables["flights"].sort_by("time_hour"), tables["planes"]
    weather = tables["weather"].select(["origin", "time_hour", *WEATHER]).sort_by("time_hour")
    hours = -3 * 3600 * 1_000_000
    joined = flights.join_asof(weather, on="time_hour", by="origin", tolerance=hours)
    register = planes.select(["tailnum", "year", "seats"]).rename_columns(["tailnum", "built", "seats"])
    joined = joined.join(register, keys="tailnum").sort_by([("time_hour", "ascending"), ("carrier", "ascending")])
    days = [date(*ymd) for ymd in zip(*(joined[name].to_pylist() for name in ("year", "month", "day")), strict=True)]
    return joined.drop_columns("day").append_column("day", pa.array(days))


def make_nights(
    folder: Path,
    flights: pa.Table,
    *,
    since: date,
    until: date,
    start: Starting = SubprocessStarter,
    log: Callable[[str], None] = lambda _: None,
) -> Nights:
    """A workspace in `folder` that knows the flights from `since` up to the day before `until`."""
    init_workspace(folder)
    for place in FOLDERS:
        shutil.copytree(HERE / place, folder / place, dirs_exist_ok=True)
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [data_science]}}\n")
    for name in ZONES:
        (folder / "data" / name).mkdir(parents=True)
    day = since
    while day < until:  # a month is a file
        end = min(date(day.year + day.month // 12, day.month % 12 + 1, 1), until)
        put(folder, "flights_known", f"{day:%Y-%m}", of_days(flights, day, end))
        day = end
    arrive(folder, flights, until - DAY, learn=False)
    settings = open_workspace(str(folder)).settings
    for name, zone in ZONES.items():
        add_dataset(settings, name=name, url=f"data/{name}", zone=zone, contract=f"contracts/{name}.yaml", draft=False)
    clock = VirtualClock(at(until, *HOURS[0]))
    return Nights(folder=folder, flights=flights, first=until, start=start, log=log, clock=clock)


def of_days(flights: pa.Table, first: date, end: date) -> pa.Table:
    """The flights from `first` up to the day before `end`."""
    return flights.filter(pc.and_(pc.greater_equal(flights["day"], first), pc.less(flights["day"], end)))


def arrive(folder: Path, flights: pa.Table, day: date, *, learn: bool) -> None:
    """In the morning of `day` its flights are known, and how those of the day before went, to `learn` from too."""
    put(folder, "flights_today", day.isoformat(), of_days(flights, day, day + DAY))
    before = of_days(flights, day - DAY, day)
    put(folder, "flight_outcomes", (day - DAY).isoformat(), before)
    if learn:
        put(folder, "flights_known", (day - DAY).isoformat(), before)


def put(folder: Path, dataset: str, name: str, rows: pa.Table) -> None:
    """`rows` as a file of `dataset`, in the columns and types of its contract; it appears whole."""
    schema = schema_of(read_contract(HERE / "contracts" / f"{dataset}.yaml").columns)
    path = folder / "data" / dataset / f"{name}.parquet"
    if not path.exists():
        part = path.with_name(f".{path.name}")
        pq.write_table(rows.select(schema.names).cast(schema), part)
        part.replace(path)


def let_pass(
    nights: Nights, days: Sequence[date], acts: Mapping[date, Callable[[Nights], str]], say: Callable[[str], None]
) -> None:
    """`days` pass, one after the other; `say` is told a line for each, and what was decided."""
    for day in days:
        decided = nights.pass_day(day, acts)
        say(headline(nights.workspace, day))
        for one in decided:
            say(f"            {one.told}")


def main(folder: Path) -> None:
    """The whole of it, and how long it took."""
    begun = time.monotonic()
    flights = join_flights(read_tables(fetch(ARCHIVE, cache_folder(os.environ))))
    with (folder.parent / f"{folder.name}.log").open("w") as log:
        nights = make_nights(
            folder,
            flights,
            since=date(2013, 6, 1),
            until=FIRST,
            log=lambda line: print(line, file=log, flush=True),
        )
        nights.begin()
        days = [FIRST + n * DAY for n in range((LAST - FIRST).days + 1)]
        let_pass(nights, days, ACTS, lambda line: print(line, flush=True))
    page = write_page(nights.workspace, nights.done, folder / "nights.html")
    print(f"{len(days)} days in {(time.monotonic() - begun) / 60:.1f} minutes; {page}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/flights/nights.py FOLDER")
    main(Path(sys.argv[1]))
