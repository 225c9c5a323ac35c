from __future__ import annotations

from unittest.mock import patch

from distributed import Client

from dataops.engine.workers import known_workers


def test_all_workers_are_known_also_just_when_the_client_forgets_them(cluster: Client) -> None:
    async def forget(**_: object) -> None:  # what the client's periodic look at the scheduler leaves behind
        cluster._scheduler_identity = {"workers": {}}

    with patch.object(cluster, "_update_scheduler_info", forget):
        assert not cluster.scheduler_info(n_workers=-1)["workers"]
        found = known_workers(cluster)
    assert set(found) == set(cluster.nthreads())
    assert all(worker["memory_limit"] and worker["status"] == "running" for worker in found.values())
