"""Where pods run, and as whom: what an overlay sets in all pods is in the servers that the deploy step makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Cluster
from tests.cluster.serving import NAME

PRIORITY = "mlops-test"
OPENSHIFT = {"runAsUser": 1000650000, "runAsGroup": 0, "fsGroup": 1000650000}  # as its SCC restricted-v2 assigns them
PODS = {
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "ml", "operator": "Exists"}],
    "priorityClassName": PRIORITY,
    "securityContext": OPENSHIFT,
}


@pytest.fixture
def priority(cluster: Cluster) -> Iterator[int]:
    """The value of a PriorityClass."""
    cluster.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": PRIORITY}, "value": 7})
    yield 7
    cluster.delete("priorityclass", SERVING, PRIORITY)


def test_server_runs_where_the_overlay_says_and_as_any_user(cluster: Cluster, driver: Driver, name: str, priority: int) -> None:
    published = versions.publish(name)
    template = yaml.safe_dump({"spec": {"template": {"metadata": {"labels": {"team": "travel"}}, "spec": PODS}}})

    ended = driver.deploy("deploy", name, published.number, environment={"POD_TEMPLATE": template})

    assert ended.code == 0, ended.err
    (pod,) = cluster.find("pod", SERVING, f"{NAME}={name},team=travel")
    assert pod["spec"]["priority"] == priority
    assert pod["spec"]["nodeSelector"] == PODS["nodeSelector"]
    assert PODS["tolerations"][0] in pod["spec"]["tolerations"]  # type: ignore[index]
    assert pod["spec"]["securityContext"].items() >= OPENSHIFT.items()
