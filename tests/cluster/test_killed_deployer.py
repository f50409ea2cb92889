"""The deployer is killed at each point of its way: a proven model serves all the while, and the next one puts everything in order."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from core import registry
from tests.cluster import driver as drivers
from tests.cluster import traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import PIPELINE, SERVING
from tests.cluster.rig import Cluster, Object, wait_until
from tests.cluster.serving import NAME, require_only

# Runs beside the deployer, to be quick enough: kills it as soon as the cluster is in a certain state, and tells what it left.
KILL = """
import json, pathlib, subprocess, sys
from components.deploy.cluster.objects import labels, settings
from core import cluster, registry

cluster.act_as(pathlib.Path(cluster.TOKEN_FOLDER))
point, name, version = sys.argv[1:]
namespace = settings().namespace

def selected():
    return cluster.get("Service", namespace, name)["spec"]["selector"]["app.kubernetes.io/instance"].startswith(f"{name}-v{version}-")

def new():
    return [item for item in cluster.find("Deployment", namespace, labels(name)) if item["metadata"]["name"].startswith(f"{name}-v{version}-")]

reached = {
    "the traffic has moved": selected,
    "the alias has moved": lambda: registry.champion(name).version == version,
}[point]
deployer = subprocess.Popen([sys.executable, "-m", "components.deploy", "deploy", name, version], stdout=subprocess.DEVNULL)
while not reached():
    assert deployer.poll() is None, f"it ended before {point}"
deployer.kill()
deployer.wait()
print(json.dumps({"killed": deployer.returncode == -9, "servers": bool(new()), "traffic": selected(), "champion": registry.champion(name).version}))
"""
LEFT = {
    "the traffic has moved": {"killed": True, "servers": True, "traffic": True, "champion": "1"},
    "the alias has moved": {"killed": True, "servers": True, "traffic": True, "champion": "2"},
}


@pytest.mark.parametrize(
    ("point", "following", "serves"),
    [
        pytest.param("the traffic has moved", "resume", "1", id="switched, resume"),
        pytest.param("the traffic has moved", "deploy 3", "3", id="switched, another version"),
        pytest.param("the alias has moved", "resume", "2", id="promoted, resume"),
    ],
)
def test_a_killed_deployer_leaves_what_the_next_one_puts_in_order(
    cluster: Cluster, driver: Driver, name: str, point: str, following: str, serves: str
) -> None:
    first = versions.publish(name, 0)
    assert driver.deploy("deploy", name, first.number).code == 0
    published = [first, versions.publish(name, 1, first.number), versions.publish(name, 2, first.number)]

    with traffic.load(cluster, name, {each.number: each.bundle for each in published}) as counts:
        killed = driver.python(KILL, point, name, "2")
        assert killed.code == 0, killed.err
        command, *version = following.split()
        ended = driver.deploy(command, name, *version)

    assert json.loads(killed.out) == LEFT[point]
    assert ended.code == 0, ended.err
    assert counts.failures == {}
    assert "1" in counts.versions
    require_only(cluster, name, serves)
    assert registry.reigns(name)[-1].version == serves


def evict(cluster: Cluster, pod: str) -> None:
    """Evict it, as a drain of its node does."""
    cluster.evict(PIPELINE, pod)


def remove(cluster: Cluster, pod: str) -> None:
    """Delete it at once, as the end of a spot node does."""
    cluster.kubectl("delete", "pod", pod, "-n", PIPELINE, "--grace-period=0", "--force")


@pytest.mark.parametrize("end", [evict, remove], ids=["evicted", "deleted at once"])
def test_a_deploying_pod_that_is_evicted_and_run_again_ends_in_the_new_version(
    cluster: Cluster, driver: Driver, name: str, end: Callable[[Cluster, str], None]
) -> None:
    first = versions.publish(name, 0)
    assert driver.deploy("deploy", name, first.number).code == 0
    second = versions.publish(name, 1, first.number)
    pods = [f"deploy-{name}-{attempt}" for attempt in (1, 2)]

    with traffic.load(cluster, name, {each.number: each.bundle for each in (first, second)}) as counts:
        cluster.apply(deploying(cluster, pods[0], name, second.number))
        wait_until(lambda: len(cluster.names("deployment", SERVING, f"{NAME}={name}")) > 1, 60, "its servers", pause=0.2)
        end(cluster, pods[0])
        cluster.kubectl("wait", "--for=delete", f"pod/{pods[0]}", "-n", PIPELINE, "--timeout=60s")
        assert registry.champion(name) == registry.get(name, first.number)
        cluster.apply(deploying(cluster, pods[1], name, second.number))
        wait_until(lambda: phase(cluster, pods[1]) in ("Succeeded", "Failed"), 120, "the second attempt")

    assert phase(cluster, pods[1]) == "Succeeded", cluster.kubectl("logs", pods[1], "-n", PIPELINE).out
    assert counts.failures == {}
    assert set(counts.versions) == {first.number, second.number}
    require_only(cluster, name, second.number)
    cluster.delete("pod", PIPELINE, pods[1], wait=False)


def deploying(cluster: Cluster, pod: str, usecase: str, version: str) -> Object:
    """Give a pod that deploys, of the template of every Job."""
    return drivers.pod(cluster, pod, ["python", "-m", "components.deploy", "deploy", usecase, version])


def phase(cluster: Cluster, pod: str) -> str:
    """Tell in which phase a pod is."""
    return str((cluster.get("pod", PIPELINE, pod) or {}).get("status", {}).get("phase"))
