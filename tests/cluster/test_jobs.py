"""Jobs whose pods cannot begin or are killed: the command line says why, and what to do, within seconds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
import yaml

from cli.submit import submit_job
from core.errors import UserError
from pipelines import jobs
from tests.cluster.overlay import IMAGE, PIPELINE
from tests.cluster.rig import ROOT, Cluster, Object, wait_until
from tests.cluster.test_end_to_end import MLOPS

pytestmark = pytest.mark.usefixtures("kubeconfig")

SPACE = f"mlops-test-jobs-{os.urandom(2).hex()}"
GONE = "localhost/no-such-image:1"
LIMIT = "64Mi"
SECONDS = 30  # within which a user hears why nothing happens
LIMITED = f"the pod's memory limit of {LIMIT}"
CURE = "raise it in the CronJob mlops (k8s/base/pipeline), then run again"
SCANT = "200Mi"  # enough for the runner and small steps, not for transform and train
BEGIN = "printf train >/dev/termination-log; echo begun; exec "  # as local.job notes its step
HEEDS = "sh -c \"trap 'exit 130' TERM; sleep 60 & wait\""  # as a step heeds the request to end


@pytest.fixture(scope="module")
def space(bare_cluster: Cluster) -> Iterator[Cluster]:
    """A namespace with the template of Jobs and a small limit: these pods need no platform."""
    (cronjob,) = yaml.safe_load_all((ROOT / "k8s/base/pipeline/cronjob.yaml").read_text())
    container = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": IMAGE, "envFrom": [], "resources": {"limits": {"memory": LIMIT}}}
    cronjob["metadata"]["namespace"] = SPACE
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline", "namespace": SPACE}}
    bare_cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, account, cronjob)
    yield bare_cluster
    bare_cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


def refused(act: Callable[[], object]) -> str:
    """Return the sentence with which it ends, which must come soon."""
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        act()
    assert time.monotonic() - began < SECONDS
    return str(caught.value)


def test_a_submitted_job_whose_image_is_missing_is_named(space: Cluster) -> None:
    said = refused(lambda: submit_job("wine", [], GONE, SPACE))

    assert said.startswith(f"cannot pull the image {GONE} (")
    assert "build and push it" in said
    assert space.names("job", SPACE) == []


def test_a_submitted_job_that_a_quota_refuses_is_named(space: Cluster) -> None:
    with space.full(SPACE):
        said = refused(lambda: submit_job("wine", [], None, SPACE))

    assert said.startswith("the namespace's quota has no room for the pod (exceeded quota: full, requested: pods=1")
    assert space.names("job", SPACE) == []


def evict(cluster: Cluster, pod: Object) -> None:
    """Evict it, as a drain of its node does."""
    cluster.evict(SPACE, pod["metadata"]["name"])


def leave(cluster: Cluster, pod: Object) -> None:
    """Do nothing: it ends by itself."""


@pytest.mark.parametrize(
    ("program", "end", "said"),
    [
        pytest.param("sleep 60", Cluster.kill, f"killed (exit code 137): if it needs more than {LIMITED}, {CURE}", id="killed"),
        pytest.param(HEEDS, evict, "ended with its pod (Eviction API: evicting): run again", id="evicted"),
        pytest.param("python -c 'list(range(10**8))'", leave, f"killed at {LIMITED}: {CURE}", id="memory"),
    ],
)
def test_a_killed_job_names_its_step_and_what_to_do(space: Cluster, program: str, end: Callable[[Cluster, Object], None], said: str) -> None:
    def heard(line: str) -> None:
        (pod,) = space.find("pod", SPACE, "batch.kubernetes.io/job-name")
        assert line == "begun"
        end(space, pod)

    sentence = refused(lambda: jobs.run(SPACE, "killed", ["sh", "-c", BEGIN + program], say=heard))

    assert sentence.startswith(f"the step train was {said}")
    wait_until(lambda: space.find("pod", SPACE, "batch.kubernetes.io/job-name") == [], 60, "the end of its pod")


@pytest.mark.alone  # every Job of the command line is made of that CronJob
def test_a_step_that_needs_more_memory_than_the_pod_has_is_named(cluster: Cluster) -> None:
    cronjob = cluster.get("cronjob", PIPELINE, "mlops")
    assert cronjob
    before = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    _set_resources(cluster, {"limits": {"memory": SCANT}, "requests": {"memory": SCANT}})
    try:
        command = [MLOPS, "submit", "wine", "--job", "--namespace", PIPELINE, "--no-cache"]
        done = subprocess.run(command, env=dict(cluster.environment), capture_output=True, text=True, timeout=300)
    finally:
        _set_resources(cluster, before)

    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert re.search(r"(transform|train) was killed", said), said
    assert "in the CronJob mlops (k8s/base/pipeline), then run again" in said


def _set_resources(cluster: Cluster, resources: Object) -> None:
    change = {"op": "replace", "path": "/spec/jobTemplate/spec/template/spec/containers/0/resources", "value": resources}
    cluster.kubectl("patch", "cronjob", "mlops", "-n", PIPELINE, "--type=json", "-p", json.dumps([change]))
