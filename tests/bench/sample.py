"""A result that is made up."""

from __future__ import annotations

from dataops.bench.results import COUNTED, MADE, Check, Phase, Result

RATES = (1e6, 1e5, 1e4, 1e3, 1e4, 1e5)


def a_result() -> Result:
    counted = [
        Phase(
            name=name,
            rows=int(rate * 2),
            seconds=2.0,
            startup_seconds=3.5,
            tries=(2.0, 1.5) if name == "rescore" else (),
            runs=(f"{name.replace(' ', '_')}-20260131t120000-1a2b3c",),
        )
        for name, rate in zip(COUNTED, RATES, strict=True)
    ]
    return Result(
        measured_at="2026-01-31T12:00:00.000000Z",
        scale=0.01,
        seed=0,
        streams=2,
        phases=(Phase(name=MADE, rows=150_000, seconds=1.0, startup_seconds=3.0), *counted),
        checks=(Check(name="ROC AUC, logistic", found="0.8012", asked="at least 0.74", holds=True),),
        seconds=61.0,
        data={
            "digest": "sha256:" + "1a" * 32,
            "rows": {"customers": 50_000, "payments_past": 60_000, "payments_new": 40_000},
            "files": 12,
            "size_bytes": 5_000_000,
            "decoded_bytes": 20_000_000,
        },
        cluster={"kind": "local", "workers": 2, "threads": 1},
        machine={"system": "Linux", "processor": "x86_64", "cores": 2, "memory_bytes": 8_000_000_000, "python": "3.11"},
        versions={"dask": "2026.8.0", "numpy": "2.4.0"},
        code={"version": "0.1.0", "digest": "sha256:" + "2b" * 32},
    )
