# noqa: INP001 - a script beside the documents, no package
"""The reference pages that say what the code says: job, cluster and schedule files, settings, catalog, command line.

``python docs/generate.py`` writes them. What a key means stands with the key, in `dataops.declarations` and
`dataops.settings`; a verb's words stand with the verb, in `dataops.cli`. A test fails where a page differs.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dataops import errors
from dataops.cli.main import main as command_line
from dataops.declarations.catalog import CatalogEntry, Principals
from dataops.declarations.clusters import KINDS as CLUSTERS
from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.join import JoinJob
from dataops.declarations.loader import MAX_DEPTH, MAX_SIZE_BYTES
from dataops.declarations.prepare import PrepareJob
from dataops.declarations.promotion import Promotion
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.schedules import Schedule
from dataops.declarations.train import TrainJob
from dataops.settings import (
    CACHE_VARIABLE,
    DEFAULTS,
    SIGNING_KEY_VARIABLE,
    SUBMITTING_VARIABLE,
    VARIABLE_PREFIX,
    WHOLE_NUMBERS,
    WORKSPACE_VARIABLE,
    Settings,
)
from dataops.training import (
    boosting,
    boosting_library,
    incremental,
    kmeans,
    lightgbm,
    logistic,
    regressors,
    sampled,
    sklearn_estimators,
)

FOLDER = Path(__file__).resolve().parent / "reference"
WIDTH = 100
NOTE = "Written by `docs/generate.py` from the code; change it there.\n"

READING = f"""\
## How the files are read

YAML, read strictly. At most {MAX_SIZE_BYTES // 1024} kB and {MAX_DEPTH} levels. No anchors, aliases or tags. No key
twice. A key that isn't listed here is refused with its near match, and a key needs a value. Unquoted `null`, `true`,
`false` and JSON numbers are what JSON says; everything else is the text that stands there (`NO`, `12:30`,
`2024-01-01`). Values are never converted: `"5"` is no number. All findings of a file are shown at once, each with
file and line.
"""

PREPARE_EXAMPLE = """\
name: flights_ready
job: prepare
input: flights
derive:
  late: "delay > 15"
  hour: "extract(hour from departed_at)"
where: "distance > 0"
labelled: "delay is not null"
split: {by: "hash(plane, date)", test: 0.2}
output: flights_ready
"""

JOIN_EXAMPLE = """\
name: flights_joined
job: join
input: flights
deduplicate: {by: [flight, date], order: recorded_at}
joins:
  - dataset: weather
    on: [origin]
    asof: {at: departed_at, of: observed_at, tolerance: 2h, as_known: recorded_at}
    columns: [wind, observed_at]
  - dataset: planes
    on: [plane]
    to: [tail_number]
    columns: [year]
    rename: {year: built}
  - dataset: repairs
    on: [plane]
    asof: {at: departed_at, of: done_at, as_known: recorded_at}
    aggregate: {repairs: count, hours_lost: sum(hours), last_repair: "last(kind, done_at)"}
output: flights_joined
"""

TRAIN_EXAMPLE = """\
name: late
job: train
input: flights_ready
target: late
features:
  numeric: {columns: [distance, hour], impute: median, scale: standard}
  categorical: {columns: [origin, destination], min_count: 20}
candidates:
  - {trainer: logistic, params: {l2: 1.0}}
  - {trainer: xgboost, params: {rounds: 50, max_depth: 6}}
evaluate: {metrics: [roc_auc, log_loss], slices: [origin], datasets: [flights_new]}
description: Will a flight arrive more than 15 minutes late?
limits: [Trained on one year of three airports.]
seed: 7
"""

RESCORE_EXAMPLE = """\
name: late_scores
job: rescore
model: late@champion
input: flights_new
keep: [date, origin, destination]
errors: {max_rate: 0.01}
output: late_scores
"""

EVALUATE_EXAMPLE = """\
name: late_realised
job: evaluate
scores: late_scores
labels: arrivals
key: [date, flight]
target: "delay > 15"
metrics: [roc_auc, log_loss]
latest: {column: date, days: 14}
"""

PROMOTION_EXAMPLE = """\
format: 1
model: late
rules:
  - {metric: roc_auc, minimum: 0.7, max_loss: 0.002}
  - {metric: log_loss, dataset: flights_new, maximum: 0.5, min_gain: 0.001, confidence: 0.95}
  - {metric: roc_auc, slice: {column: origin, min_rows: 500}, max_loss: 0.02}
  - {metric: calibration_error, maximum: 0.03}
  - {callable: {seconds: 10, memory_mb: 512, ms_per_row: 5}}
  - {schema: {distance: int64, origin: string, destination: string, departed_at: "timestamp[us]"}}
  - {impact: {job: compared, max_flipped: 0.05, min_rank_correlation: 0.9}}
  - {impact: {job: compared, max_flipped: 0.1}, slice: {column: origin}}
  - {classifications: {allowed: [travel, work]}}
"""

SCHEDULE_EXAMPLE = """\
name: nightly
owner: flights team
when: {cron: "30 2 * * *", time_zone: America/New_York}
deadline: 6h
retries: {times: 2, wait: 1m}
promise: 24h
on_failure: {command: [notify, --team, flights]}
steps:
  - {job: flights_scores, file: jobs/nightly.yaml}
  - {job: flights_realised, file: jobs/nightly.yaml, if: {changed: flights_scores}}
  - job: late
    file: jobs/nightly.yaml
    if: {figure: {job: flights_realised, model: late, metric: roc_auc, below: 0.66}}
  - {challenge: late, if: {changed: late}}
  - {promote: late, cool_down: 3d, freeze: [{from: 2026-12-20, to: 2027-01-05}]}
  - {guard: late, job: flights_realised, metric: roc_auc, minimum: 0.62, max_loss: 0.05}
---
name: rescore_all
when: {promoted: late}
steps:
  - {job: rescore_all, file: jobs/nightly.yaml}
---
name: hourly
when: {every: 1h}
catch_up: {all: 24}
overlap: queue
steps:
  - {job: arrivals, file: jobs/arrivals.yaml}
"""

CLUSTER_EXAMPLE = """\
kind: local
score: {workers: auto, threads: 1}
train: {workers: 1, threads: 4}
memory_limit: 4 GB
dashboard: 127.0.0.1:8787
config: {distributed.comm.timeouts.connect: 30s}
"""

CATALOG_EXAMPLE = """\
name: flights
url: ../data/flights
zone: historical
contract: contracts/flights.yaml
description: Flights of three airports, one row a flight.
"""

PRINCIPALS_EXAMPLE = """\
principals:
  ana: {roles: [data_science]}
  bo:
    roles: [operations]
    keys:
      - id: signer-20260131t120000000000z-56475aa75463
        public_key: A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
        until: 2027-01-31
"""

SETTINGS_EXAMPLE = """\
storage: storage
registry: registry
keys: ~/keys
anchors: ~/anchors/people
cluster: cluster/local.yaml
runs_at_once: 2
"""


def pages() -> dict[str, str]:
    """The text of each page, by its name in `docs/reference`."""
    return {
        "job-files.md": job_files(),
        "cluster-files.md": cluster_files(),
        "schedule-files.md": schedule_files(),
        "catalog-and-principals.md": catalog_and_principals(),
        "settings.md": settings(),
        "command-line.md": command_line_page(),
    }


def job_files() -> str:
    """Jobs and promotion rules."""
    return _page(
        "# Job files",
        NOTE,
        "A file below `jobs/` holds one or more jobs, parted by `---`. Each has a `name` of its own and says its kind "
        "in `job`. `dataops job run FILE NAME` runs one. A job names datasets, columns and models; who may read what "
        "is the [policies'](policies.md) part. SQL is the language of [expressions](expressions.md).",
        "`${date}`, `${day_before}`, `${slot}` and `${previous}` in any text but a job's name and kind are filled in "
        "by the [slot](../guides/scheduling.md#2-a-job-about-a-day) that it runs for, by hand by `--slot`; `$${date}` "
        "is the text itself.",
        "## prepare",
        *_model(PrepareJob),
        "A split adds a column `split` with `train` or `test` in each row. By key the side is a hash of the key "
        "columns' text as the job gets it, so a key stays on its side as data grows; by time the rows from "
        "`test_from` on are for testing. A derived column carries the classifications of all that it was made of, "
        "joined by `+`, and so does `split`.",
        _example("yaml", PREPARE_EXAMPLE),
        "## join",
        *_model(JoinJob),
        "The rows of `input` come out in their order. Each dataset is read under a grant of its own, for its purpose; "
        "keys and times must be masked alike on both sides, and be whole numbers, text, dates or times. A column that "
        "is added carries the classifications of the keys and times that found it beside its own; behind an inner "
        "join all columns do, since its keys chose their rows. With `as_known` a row is seen from the later of its "
        "time and its recording on; one without either is never seen. A row that finds nothing has no value in any "
        "column that a join adds, also where it counts. An `aggregate` with `asof` "
        "is made of all rows that were there then; without it rows of any time count, and those of later tell a model "
        "what it can't know when it is asked: `dataops job explain` says so. NaN is greater than all other numbers: "
        "`min` passes over it, `max` and `last` find it, and a sum or mean with it is NaN. What a join makes is the "
        "raw data of a prepare job: a model carries no join, so new data goes through one as well.",
        _example("yaml", JOIN_EXAMPLE),
        "## train",
        *_model(TrainJob),
        "Every candidate becomes a version of the model. Where the input was split, its `train` rows are learnt from; "
        "else four of every five rows of a file, by their place in it: a file of fewer than five rows has none to be "
        "judged on, and where rows come in an order that repeats by fives, these are no sample of them. Split such "
        "data in a prepare job. The others are the dataset `holdout` of the figures. What is held out of the rows to "
        "learn from (for a search, early stopping, means of the target) goes by the columns that the input was split "
        "by: rows of equal keys together, or the newest by time. Where the input doesn't have these columns, it goes "
        "by place, and the run says so. Learning reads for the purpose `train`; `holdout` and `evaluate.datasets` are "
        "read for `evaluate`. "
        "In front of a raw dataset the preparation of the training set runs again, `labelled` included. Rows without a "
        "known target are left out and counted. A slice of fewer than 20 rows has no figures. A pseudonym can't be a "
        "feature.",
        "### Parameters of `logistic`",
        "The least sum of weighted log losses plus `l2 / 2` times the squares and `l1` times the sizes of all "
        "coefficients but the intercept: `LogisticRegression(C=1 / l2)` of scikit-learn, and with `l1` its elastic net "
        "of `C = 1 / (l1 + l2)` and `l1_ratio = l1 / (l1 + l2)`. A category has a coefficient for each code, which is "
        "one-hot without a wide matrix. `balanced` makes both classes weigh the same. `tol` is the largest slope at "
        "the end, in coordinates that have no unit; a search that `max_iter` cuts short is said to be, and its "
        "version's lineage says so too. Where encoded rows would take more than a fifth of a worker's memory, they lie "
        "on its disk, unless another trainer of the job needs them in memory.",
        *_parameters(logistic.PARAMETERS),
        "### Parameters of `linear` and `poisson`",
        "Both are regressions, with a penalty like that of `logistic`: `linear` has the least sum of weighted squared "
        "errors (`Ridge(alpha=l2)` of scikit-learn), `poisson` that of Poisson's deviance, for counts and other "
        "targets of at least 0, with a prediction that is an `exp` of a sum (`PoissonRegressor(alpha=l2 / weight of "
        "all rows)`). `l1`, `max_iter` and `tol` mean what they do there.",
        *_parameters(regressors.PARAMETERS),
        "### Parameters of `xgboost`",
        "The tree method is `hist`, the objective of classes `binary:logistic`; a regression chooses its own, below. "
        "Where no default stands here, XGBoost's own holds. With `early_stopping` a fit ends when the loss on the "
        "share `held_out` of the training rows hasn't fallen for so many rounds, and keeps the rounds up to its "
        "least; which rows those are depends on file and place alone, and the version's lineage says how many rounds "
        "were trained and kept. `balanced` makes both classes count the same. Weights are scaled to a mean of 1.",
        *_parameters(boosting.PARAMETERS),
        "Of a regression there is no `class_weight` and no `scale_pos_weight`, and beside the others:",
        *_parameters(_of_regressions(boosting.PARAMETERS)),
        "### Parameters of `lightgbm`",
        "Needs the extra `lightgbm`, on the workers too; `make setup` installs it. The method is histograms by row, "
        "the objective of classes `binary`; a regression has the `objective` that `xgboost` takes, and no "
        "`class_weight` and no `scale_pos_weight`. Where no default stands LightGBM's own holds. The first six mean "
        "what they do for `xgboost`.",
        *_parameters(lightgbm.PARAMETERS),
        "### Parameters of `incremental`",
        "Needs the extra `skops`, on the workers too, as `sklearn` does; `make setup` installs it. An estimator of "
        "scikit-learn learns from one unit after another, `epochs` times from each, on whatever worker holds it: one "
        "worker at a time, but for any number of rows, and equal to the bit for any number of workers. Rows of a unit "
        "come in an order drawn from the job's seed. `scale` brings every column to mean 0 and deviation 1 in front "
        "of the estimator. It sees the code of a category as a number: encode categories by `target`, `frequency` or "
        "`hash` where that means little. With `balanced` both classes weigh the same.",
        *_estimators(sklearn_estimators.BY_PARTS, incremental.PARAMETERS),
        "### Parameters of `sklearn`",
        "An estimator of scikit-learn is fitted by itself on one worker, on `rows` of the training rows. Which rows "
        "these are depends on file and place alone: they are the same for any cluster, and for all candidates of a "
        "job. What it needs of memory is told before it starts, and refused where it can't be had. Where no default "
        "stands here, scikit-learn's own is null. Trees keep 5 rows in a leaf unless told otherwise: a leaf of one row "
        "would hold that row's target. The rest is as for `incremental`.",
        *_estimators(sklearn_estimators.ON_A_SAMPLE, sampled.PARAMETERS),
        "### Parameters of `kmeans`",
        "For `task: clusters`, without a target. Centres from which the rows' squared distances, added up, are as "
        "small as steps from a good start make them; numbers as features have them scaled, a category as columns of "
        "zeros and ones. The start is scikit-learn's `KMeans` on a sample of the rows, the best of `starts`; then all "
        "rows are gone over until the squared moves of all centres come to less than `tolerance` times the mean "
        "squared distance. `seed` is the job's where it isn't given. The result is equal to the bit for any number of "
        "workers and any cut of the rows. Fewer different rows than `clusters` are refused, and so is a centre of "
        "fewer rows than the policies show figures about.",
        *_parameters(kmeans.PARAMETERS),
        _example("yaml", TRAIN_EXAMPLE),
        "## rescore",
        *_model(RescoreJob),
        "The output has the columns of `keep`, then those of `outputs` for the job's own model, then for each "
        "challenger: `probability` (float32, of the positive class), `prediction` (true from `threshold`; of a "
        "regression the number, float32), `margin` (float32) and `decile` (1 to 10); of a clustering `cluster` (int32, "
        "from 0) and `distance` (float32, to its centre). Data is read for the purpose `score`. `errors.max_rate` "
        "counts quarantined rows among those that the policies' filters let through.",
        "For a challenger of an alias of the same model that was never set the job's own version stands in; the run "
        "says so: the columns of the output are the same before there is a challenger.",
        _example("yaml", RESCORE_EXAMPLE),
        "## evaluate",
        *_model(EvaluateJob),
        "Each version is judged on the rows that it scored, and each two on the rows that both scored in one pass. An "
        "output that grows by the day is judged as a whole, or with `latest` on the newest outcomes: days count back "
        "from the newest that is known. Scores and outcomes are read to evaluate, the keys of both to score.",
        _example("yaml", EVALUATE_EXAMPLE),
        "## Promotion files",
        "`jobs/promotion.yaml` says what a version must show before `dataops model promote` makes it the champion; "
        "`--rules FILE` names another file. The first key of a rule says its kind; all rules must hold, in any order. "
        "A metric rule without `dataset` is about `holdout`. Without a champion what is relative to it is skipped, and "
        "an absolute bound has to decide; what can't be judged fails, but for slices of too few rows, which are "
        "skipped and named. A file without rules promotes nothing. The [guide](../guides/promotion.md) shows verdicts.",
        *_model(Promotion),
        _example("yaml", PROMOTION_EXAMPLE),
        READING,
    )


def cluster_files() -> str:
    """Where jobs run."""
    return _page(
        "# Cluster files",
        NOTE,
        "Where and with how many processes jobs run. A run takes the shape of its kind: `score` for preparing and "
        "rescoring, `train` for training. `--cluster FILE` names a file, else the one of the "
        "[settings](settings.md) holds; `--workers N` overrides the number of processes. `kind` says which keys a file "
        "has; without it the kind is `local`. Relative paths are relative to the workspace, `~/` is your home.",
        *_kinds_of_clusters(),
        "## Examples",
        "A file of each kind in `cluster/` comes with the project, and says why each value is what it is; the "
        "[guide](../guides/clusters.md) says what happens on failure. What stands in `config` is visible to others on "
        "the machine (`ps`, the dashboard): no secrets there.",
        _example("yaml", CLUSTER_EXAMPLE),
        READING,
    )


def _kinds_of_clusters() -> Iterator[str]:
    for kind, model in CLUSTERS.items():
        yield f"## Kind `{kind}`"
        yield from _model(model)


def schedule_files() -> str:
    """When jobs run by themselves."""
    return _page(
        "# Schedule files",
        NOTE,
        "A file below `schedules/` holds one or more schedules, parted by `---`. A scheduler script reads them anew at "
        "each look, so a change holds from then on; a slot that is open ends with what it began with. A file that "
        "can't be read fails its own schedules, and no others.",
        "## The keys",
        *_model(Schedule),
        _example("yaml", SCHEDULE_EXAMPLE),
        "## Slots",
        "A slot is one time of a clock, or one occasion, at which a schedule is due. Its key names it: "
        "`20261123t023000z`, `snapshot-17`, `promotion-3`, `drift-<run>`. A slot is claimed at most once, whatever "
        "dies and however many scripts look; its runs are named after it, so that doing it again goes on with the "
        "same runs. Durations are text: `90s`, `5m`, `6h`, `3d`.",
        "A slot that a script finds within a minute (or within two of its looks, if these are further apart) is in "
        "time. A later one is a matter of catch-up (`catch_up`), one in time that finds another open a matter of "
        "`overlap`. Behind slots that wait, all that comes due waits as well, in the order of their times. A slot that "
        "was left out or missed never comes by itself: `dataops schedule backfill` brings it. A clock that is put back "
        "brings nothing again.",
        "An occasion isn't late. It waits while a slot is open, and of several that wait `catch_up: last` takes the "
        "newest. What happened before a script first saw the schedule, or while it was paused, asks for nothing.",
        "Where `when` is another one than before, slots count by it from the moment that a script sees it. What had "
        "come due by the old one and was not begun yet never comes: it is on record as missed, or as left out where it "
        "waited, was paused or just came due.",
        "## Cron lines",
        "The fields are those of Debian's cron: numbers, names (`MON`, `JAN`), lists, ranges and steps; beside them "
        "`L` for the last day of the month, `LW` for its last weekday, `FRI#2` for the second Friday and `5L` for the "
        "last one. Where day of the month and weekday both don't begin with `*`, either suffices; else both must "
        "fit.",
        "When clocks change, a line whose minute and hour both don't begin with `*` means times of day: one that the "
        "clock leaves out comes once, right after the gap, and one that it shows twice comes the first time. Any other "
        "line follows real hours: it comes whenever the clock shows a time that fits, be it never or twice. So "
        "`30 2 * * *` comes once each day, and `30 * * * *` once in each real hour. Times of `every` are counted in "
        "real time from `from`.",
        "## Conditions",
        "`if: promoted`, `refused` or `rolled_back` holds where an earlier step of the slot did that. What a mapping "
        "names but nobody knows, such as a figure of a job that never ran, doesn't hold. A step whose condition "
        "doesn't hold is skipped, and says why; a promotion that the gate refuses is an outcome, no failure.",
        READING,
    )


def catalog_and_principals() -> str:
    """Which datasets there are and who people are."""
    return _page(
        "# Catalog and principals",
        NOTE,
        "## catalog/NAME.yaml",
        "One file a dataset; the file's name is the dataset's. `dataops dataset add` writes it. What a job made needs "
        "no entry.",
        *_model(CatalogEntry),
        _example("yaml", CATALOG_EXAMPLE),
        "Parquet files below `url` are the dataset, in subfolders too; names that begin with `.` or `_` are passed "
        "over. Folders named `key=value` are Hive partitions and become columns that the contract marks with "
        "`partitioned: true`.",
        "## principals.yaml",
        *_model(Principals),
        _example("yaml", PRINCIPALS_EXAMPLE),
        "The user is the one that the operating system runs the process as; the environment has no say in it. A user "
        "that isn't listed has no role, and without a role nothing can be read. `keys` are for who submits where no "
        "file's owner tells who asks ([guide](../guides/submitting.md#6-from-another-machine-and-on-s3)).",
        READING,
    )


def settings() -> str:
    """Where a workspace keeps what."""
    described = _attributes(Settings)
    rows = [
        (f"`{key}`", f"`{VARIABLE_PREFIX}{key.upper()}`", f"`{default}`", described[key])
        for key, default in {**DEFAULTS, **WHOLE_NUMBERS}.items()
    ]
    return _page(
        "# Settings",
        NOTE,
        "`dataops.yaml` makes a folder a workspace and says where things lie. An environment variable wins over the "
        "file. Relative paths are relative to the workspace, `~/` is your home. A URL that holds credentials is "
        "refused: they belong into the environment of the workers. Paths, `file://` and `s3://bucket/prefix` are "
        "understood; what S3 needs to know comes from `AWS_*` variables ([guide](../guides/object-storage.md)).",
        *_table(("key", "variable", "default", "meaning"), rows),
        _example("yaml", SETTINGS_EXAMPLE),
        "Four more variables are no settings:",
        *_table(
            ("variable", "meaning"),
            [
                (
                    f"`{WORKSPACE_VARIABLE}`",
                    "The workspace, instead of the nearest folder above with a `dataops.yaml`.",
                ),
                (
                    f"`{CACHE_VARIABLE}`",
                    "Where `dataops demo` keeps what it fetched. Default: `dataops` in the user's cache folder.",
                ),
                (
                    f"`{SIGNING_KEY_VARIABLE}`",
                    "A signing key, as its file holds it, instead of a file. It is taken out before anything starts.",
                ),
                (
                    f"`{SUBMITTING_VARIABLE}`",
                    "The folder of your keys for submitting. Default: `~/.config/dataops/submitting`.",
                ),
            ],
        ),
        f"Once a workspace is found, any other variable that begins with `{VARIABLE_PREFIX}` is refused with its near "
        "match, and so is an unknown key of the file.",
        READING,
    )


def command_line_page() -> str:
    """Every verb with its options."""
    context = click.Context(command_line, info_name="dataops", **command_line.context_settings)
    sections = [section for path, command in verbs(command_line) for section in _verb(path, command, context)]
    codes = [(str(code), f"`{name}`", meaning) for name, code, meaning in families()]
    return _page(
        "# Command line",
        NOTE,
        "Nouns, then verbs. Results go to stdout, progress and messages to stderr. `--json` prints the result as JSON; "
        "an error is then a JSON object on stdout as well. `-h` shows help. There is no colour where the output is no "
        "terminal. `dask dataops ...` is the same command.",
        *sections,
        "## Exit codes",
        *_table(
            ("code", "family", "meaning"),
            [
                ("0", "", "Done."),
                ("1", "", "Unexpected: a bug in dataops. The message has the place in the code and no values."),
                *codes,
                ("130", "", "Interrupted (Ctrl-C). `dataops job resume RUN` goes on with what is missing."),
            ],
        ),
        "click's own usage errors (an unknown verb or option) are code 2 too. [Errors](errors.md) says what to do "
        "about each family.",
    )


def verbs(group: click.Group, path: tuple[str, ...] = ("dataops",)) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb with the words that call it, in the order of the help."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command


def families() -> list[tuple[str, int, str]]:
    """Name, exit code and first line of each error family, by code."""
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.DataopsError)]
    named = [
        (one.__name__, one.exit_code, inspect.getdoc(one) or "") for one in found if one is not errors.DataopsError
    ]
    return sorted(named, key=lambda family: family[1])


def _verb(path: Sequence[str], command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path[1:]), parent=parent)
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield f"## {' '.join(path)}"
    yield f"```text\n{' '.join([*path, *pieces])}\n```"
    prose, _, example = inspect.cleandoc(command.help or "").partition("\b\n")
    yield _wrap(" ".join(prose.split()))
    if example:
        lines = inspect.cleandoc("\n".join(example.splitlines()[1:])).splitlines()
        yield _example("console", "\n".join(f"$ {line}" for line in lines) + "\n")
    options = [one for one in command.params if isinstance(one, click.Option)]
    yield from _table(("option", "meaning"), [(_option_name(one), _option_help(one)) for one in options])


def _option_name(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
    if option.is_flag:
        return names
    return f"{names} {option.metavar or _kind(option.type)}"


def _kind(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return " or ".join(f"`{choice}`" for choice in kind.choices)
    if isinstance(kind, click.IntRange):
        return f"{kind.min} to {kind.max}"
    return kind.name.upper()


def _option_help(option: click.Option) -> str:
    default = f" Default: `{option.default}`." if option.show_default and option.default else ""
    return f"{option.help or ''}{' Required.' if option.required else ''}{default}"


def _model(model: type[BaseModel], place: str = "", shown: set[tuple[str, type]] | None = None) -> Iterator[str]:
    """A table of the keys of `model`, then one for each model inside it that isn't `shown` at its place already."""
    shown = set() if shown is None else shown
    if (place, model) in shown:
        return
    shown.add((place, model))
    yield _wrap(" ".join((inspect.getdoc(model) or "").split())) if not place else f"`{place}`: {_first(model)}"
    fields = [(field.alias or name, field) for name, field in model.model_fields.items()]
    meanings = meanings_of(model)
    rows = [
        (f"`{field.alias or name}`", _value(field.alias or name, field), meanings.get(name, ""))
        for name, field in model.model_fields.items()
    ]
    yield from _table(("key", "value", "meaning"), rows)
    for name, field in fields:
        for below, many in _models(field.annotation):
            yield from _model(below, f"{place}.{name}{many}".lstrip("."), shown)


def _first(model: type[BaseModel]) -> str:
    text = " ".join((inspect.getdoc(model) or "").split())
    return text[0].lower() + text[1:]


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Models that `annotation` holds, with how often: one, one of a list (``[]``) or one of a mapping (``.NAME``)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
    origin = typing.get_origin(annotation)
    many = "[]" if origin is tuple else ".NAME" if origin is dict else ""
    for argument in typing.get_args(annotation):
        for model, _ in _models(argument):
            yield model, many


def _value(name: str, field: FieldInfo) -> str:
    spelled = _spell(field.annotation)
    # the kind of a job is what its document is recognised by, so the file has to say it
    is_kind = name == "job" and typing.get_origin(field.annotation) is typing.Literal
    return f"{spelled}, required" if field.is_required() or is_kind else spelled


def _spell(annotation: Any) -> str:  # noqa: PLR0911 - one line a kind of type
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin is typing.Annotated:
        return _spell(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_spell(one) for one in arguments if one is not type(None)))
    if origin is tuple:
        return "list"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{one}`" for one in annotation)
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[annotation]


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """What the text below each key says: read here, so that no start of the program has to."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not issubclass(one, BaseModel) or one is BaseModel:
            continue
        body: Any = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        for key, text in pairwise(body.body):
            if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(key.target)] = " ".join(str(text.value.value).split())
    return found


def _parameters(known: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (f"`{name}`", _expected(one), "" if one.default is None else f"`{_as_written(one.default)}`")
        for name, one in known.items()
    ]
    yield from _table(("parameter", "value", "default"), rows)


def _of_regressions(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """What boosting of numbers takes that boosting of classes doesn't."""
    return {name: one for name, one in boosting_library.of_numbers(known).items() if name not in known}


def _estimators(known: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """The estimators of a trainer of scikit-learn, each with all that a job may set."""
    yield f"`estimator`, required: {_and([f'`{name}`' for name in known])}."
    yield from _parameters(ours)
    for name, one in known.items():
        yield f"With `estimator: {name}` (`{one.kind}`):"
        yield from _parameters(one.known())


def _as_written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _and(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]])


def _expected(parameter: Any) -> str:
    """What a parameter takes, in the words in which it refuses anything else."""
    try:
        parameter.parse(object())
    except ValueError as error:
        return str(error)
    raise AssertionError("a parameter that takes anything")


def _attributes(values: type) -> dict[str, str]:
    """The lines of a docstring's Attributes section, by name."""
    text = (inspect.getdoc(values) or "").partition("Attributes\n----------\n")[2]
    found = re.findall(r"^(\w+) : (.*(?:\n .*)*)", text, re.MULTILINE)
    plain = {name: " ".join(meaning.replace("``", "`").split()) for name, meaning in found}
    return {name: meaning[0].upper() + meaning[1:] for name, meaning in plain.items()}


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    yield "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _example(language: str, text: str) -> str:
    return f"```{language}\n{text}```"


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False))


def _page(*sections: str) -> str:
    wrapped = [one if one.startswith(("#", "|", "```")) or "\n" in one else _wrap(one) for one in sections]
    return "\n\n".join(one.strip("\n") for one in wrapped) + "\n"


def write() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
    sys.stdout.write(f"{len(pages())} pages in {FOLDER.parent.name}/{FOLDER.name}\n")
