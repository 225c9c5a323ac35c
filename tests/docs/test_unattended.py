"""The files that keep the scheduler script running are what their programs take, and run verbs that there are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim

from dataops.cli.main import main as command_line
from tests.docs.documents import ROOT
from tests.docs.test_documents import command_of

FOLDER = ROOT / "docs" / "guides" / "unattended"
GUIDE = (ROOT / "docs" / "guides" / "unattended.md").read_text()
UNITS = sorted([*FOLDER.glob("*.service"), *FOLDER.glob("*.timer")])
PROGRAM = "/opt/dataops/bin/dataops"


def require_verb(words: list[str]) -> None:
    """`words` behind the program's name are a verb with options that it has."""
    command, rest = command_of(words)
    with command.make_context("dataops", list(rest)):
        pass


def test_every_file_is_told_of_in_the_guide() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(re.findall(r"\(unattended/([^)]+)\)", GUIDE))


# cron


def crontab(text: str) -> Iterator[tuple[str, str]]:
    """The jobs of a crontab, as crontab(5) has it: five fields and a command; the other lines set variables."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if re.match(r"\s*\w+\s*=", line):
            continue
        fields = line.split(maxsplit=5)
        assert len(fields) == 6, f"line {number}: five fields and a command"
        assert "%" not in fields[5].replace(r"\%", ""), f"line {number}: a percent sign ends the command"
        yield " ".join(fields[:5]), fields[5]


def test_the_crontab_runs_verbs_at_times_that_come() -> None:
    text = (FOLDER / "crontab").read_text()
    assert text.endswith("\n"), "cron leaves out a last line that doesn't end"
    jobs = list(crontab(text))
    assert len(jobs) == 2
    for when, command in jobs:
        assert next(CronSim(when, datetime(2026, 1, 1)))  # noqa: DTZ001
        words = shlex.split(command)
        assert words[0] == PROGRAM
        require_verb(words[1:])
        assert f"{when} {command}" in GUIDE
    assert "DATAOPS_WORKSPACE=/srv/flights" in text


@pytest.mark.parametrize("line", ["* * * *", "* * * * * date +%F\n"])
def test_a_crontab_that_cron_reads_otherwise_would_be_found(line: str) -> None:
    with pytest.raises(AssertionError):
        list(crontab(line))


# systemd


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", [one for one in UNITS if one.suffix == ".service"], ids=lambda path: str(path.name))
def test_a_service_starts_a_verb_as_its_own_user_in_the_workspace(path: Path) -> None:
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert service["User"] == "flights"
    assert service["Environment"] == "DATAOPS_WORKSPACE=/srv/flights"
    if program == PROGRAM:
        require_verb(words)
        assert unit(path)["Unit"]["OnFailure"] == "dataops-alarm@%N.service"
    else:
        assert path.name == "dataops-alarm@.service"


def test_a_timer_starts_a_service_that_is_there_and_makes_up_for_what_it_missed() -> None:
    timers = [path for path in UNITS if path.suffix == ".timer"]
    assert len(timers) == 2
    assert all(path.with_suffix(".service").is_file() for path in timers)
    assert unit(FOLDER / "dataops-scheduler-once.timer")["Timer"]["Persistent"] == "true"


def verified(units: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `systemd-analyze verify` says of `units`, whose programs are put where there is one."""
    for path in units:
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text(), flags=re.MULTILINE)
        (folder / path.name).write_text(text)
    names = [str(folder / path.name) for path in units if "@" not in path.name]
    command = ["systemd-analyze", "verify", "--man=no", *names]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_systemd_takes_the_units_without_a_word(tmp_path: Path) -> None:
    said = verified(UNITS, tmp_path)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@needs_systemd
def test_systemd_would_find_a_slip(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong" / "dataops-scheduler.service"
    wrong.parent.mkdir()
    text = (FOLDER / "dataops-scheduler.service").read_text()
    wrong.write_text(text.replace("Restart=always", "Restart=evermore"))
    assert "evermore" in verified([wrong], tmp_path).stderr


# Kubernetes

# Fields of batch/v1 CronJob and what lies in it, as far as the file uses any of their kind.
# https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#cronjobspec-v1-batch
FIELDS: Mapping[str, set[str]] = {
    "": {"apiVersion", "kind", "metadata", "spec", "status"},
    "spec": {
        *("schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend"),
        *("successfulJobsHistoryLimit", "failedJobsHistoryLimit", "jobTemplate"),
    },
    "spec.jobTemplate": {"metadata", "spec"},
    "spec.jobTemplate.spec": {
        *("activeDeadlineSeconds", "backoffLimit", "completionMode", "completions", "parallelism", "podFailurePolicy"),
        *("selector", "suspend", "template", "ttlSecondsAfterFinished"),
    },
    "spec.jobTemplate.spec.template": {"metadata", "spec"},
    "spec.jobTemplate.spec.template.spec": {
        *("restartPolicy", "terminationGracePeriodSeconds", "automountServiceAccountToken", "securityContext"),
        *("containers", "initContainers", "volumes", "serviceAccountName", "nodeSelector", "tolerations", "affinity"),
        *("imagePullSecrets", "priorityClassName", "activeDeadlineSeconds"),
    },
    "spec.jobTemplate.spec.template.spec.securityContext": {
        *("runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"),
        *("supplementalGroups", "sysctls"),
    },
    "spec.jobTemplate.spec.template.spec.containers": {
        *("name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "resources", "securityContext"),
        *("volumeMounts", "workingDir"),
    },
    "spec.jobTemplate.spec.template.spec.containers.securityContext": {
        *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "privileged", "runAsUser"),
    },
    "spec.jobTemplate.spec.template.spec.containers.volumeMounts": {"name", "mountPath", "readOnly", "subPath"},
    "spec.jobTemplate.spec.template.spec.volumes": {
        *("name", "persistentVolumeClaim", "emptyDir", "secret", "configMap", "projected", "nfs"),
    },
}


def manifest() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "cronjob.yaml").read_text())
    return loaded


def strange(value: Any, place: str = "") -> list[str]:
    """The fields of `value` that Kubernetes doesn't know at `place`."""
    if isinstance(value, list):
        return [found for one in value for found in strange(one, place)]
    if not isinstance(value, dict):
        return []
    known = FIELDS.get(place)
    found = [f"{place}.{key}" for key in value if known is not None and key not in known]
    return found + [deep for key, one in value.items() for deep in strange(one, f"{place}.{key}".lstrip("."))]


def pod() -> dict[str, Any]:
    found: dict[str, Any] = manifest()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def test_the_cronjob_has_only_fields_that_kubernetes_knows() -> None:
    assert (manifest()["apiVersion"], manifest()["kind"]) == ("batch/v1", "CronJob")
    assert strange(manifest()) == []
    wrong = manifest()
    wrong["spec"]["concurencyPolicy"] = "Forbid"
    wrong["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    assert len(strange(wrong)) == 2


def test_the_cronjob_says_what_kubernetes_takes_and_the_guide_promises() -> None:
    spec = manifest()["spec"]
    assert next(CronSim(spec["schedule"], datetime(2026, 1, 1)))  # noqa: DTZ001
    assert spec["concurrencyPolicy"] in ("Allow", "Forbid", "Replace")
    assert isinstance(spec["startingDeadlineSeconds"], int)
    assert spec["startingDeadlineSeconds"] >= 10  # the controller looks every ten seconds
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod()["restartPolicy"] == "Never"  # Always isn't allowed in a Job
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", manifest()["metadata"]["name"])


def test_the_pod_runs_the_script_in_the_workspace_and_mounts_what_it_names() -> None:
    (container,) = pod()["containers"]
    assert container["command"][0] == command_line.name
    require_verb(container["command"][1:])
    assert {one["name"]: one["value"] for one in container["env"]} == {"DATAOPS_WORKSPACE": "/srv/flights"}
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod()["volumes"]}
    assert all(re.fullmatch(r"\d+(m|Mi|Gi)?", str(one)) for one in container["resources"]["limits"].values())


def test_kubernetes_own_schema_takes_it() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validate.validate(manifest(), "1.34", strict=True)
