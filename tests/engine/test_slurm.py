"""Jobs of Slurm, as far as that needs no Slurm: the words of the command, what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dataops.declarations.clusters import SlurmFile, read_cluster
from dataops.engine.certs import new_certificates, write_certificates
from dataops.engine.slurm import command, start
from dataops.errors import Compute, InvalidInput
from dataops.records import now_utc
from tests.engine.test_agent import wait_until


def slurm_file(**keys: object) -> SlurmFile:
    return SlurmFile.model_validate({"kind": "slurm", "host": "10.0.0.1", **keys})


def test_a_job_asks_for_what_the_file_says() -> None:
    words = command(slurm_file(queue="long", account="lab", walltime="02:00:00", cores=4, memory="8G"))
    asked = {"--partition=long", "--account=lab", "--time=02:00:00", "--cpus-per-task=4", "--mem=8G", "--nodes=1"}
    assert asked <= set(words)
    assert words[-2:] == ["-m", "dataops.engine.agent"]


def test_what_the_file_does_not_say_is_up_to_slurm() -> None:
    assert not [word for word in command(slurm_file()) if word.startswith(("--partition", "--time", "--mem", "--acc"))]


def test_without_slurm_nothing_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Compute, match="there is no `srun`"), start(slurm_file(), slurm_file().score):
        pass


def test_with_a_folder_of_certificates_no_key_goes_through_srun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm encrypts nothing that goes through it; also where a standing cluster brings its certificates along."""
    certs = new_certificates(at=now_utc())
    write_certificates(tmp_path / "certs", certs)
    srun, told = tmp_path / "bin" / "srun", tmp_path / "told"
    srun.parent.mkdir()
    srun.write_text(
        f"#!/bin/sh\nread line\nprintf '%s' \"$line\" > {told}.new && mv {told}.new {told}\nexec cat >/dev/null\n"
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    cluster = slurm_file(host="127.0.0.1", certs=str(tmp_path / "certs"))
    with start(cluster, cluster.score, certs=certs) as found:
        wait_until(told.exists)
        assert json.loads(told.read_text())["certs"] == str(tmp_path / "certs")
        assert "PRIVATE" not in told.read_text()
        assert str(found.scheduler).startswith("tls://127.0.0.1:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: slurm}", "host: a required key is missing"),
        ("{kind: slurm, host: h, walltime: long}", "walltime: 'long' is no time of Slurm's"),
        ("{kind: slurm, host: h, memory: 8 GB}", "memory: '8 GB' is no amount of memory of Slurm's"),
        ("{kind: slurm, host: h, queue: '--wrap'}", "queue: '--wrap': expected a word"),
        ("{kind: slurm, host: h, jobs: 0}", "jobs: expected a number of at least 1"),
        ("{kind: slurm, host: h, partition: x}", "partition: unknown key"),
    ],
)
def test_mistakes_are_found(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_cluster(tmp_path / "c.yaml")
    assert message in str(caught.value)
