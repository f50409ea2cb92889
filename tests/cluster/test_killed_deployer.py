"""The deployer is killed at each point of its way: a proven model serves all the while, and the next one puts everything in order."""

from __future__ import annotations

import json

import pytest

from core import registry
from tests.cluster import traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.rig import Cluster
from tests.cluster.serving import require_only

# Runs beside the deployer, to be quick enough: kills it as soon as the cluster is in a certain state, and tells what it left.
KILL = """
import json, subprocess, sys
from components.deploy.cluster.objects import labels, settings
from core import cluster, registry

point, name, version = sys.argv[1:]
namespace = settings().namespace

def selected():
    return cluster.get("Service", namespace, name)["spec"]["selector"]["app.kubernetes.io/instance"].startswith(f"{name}-v{version}-")

def new():
    return [item for item in cluster.find("Deployment", namespace, labels(name)) if item["metadata"]["name"].startswith(f"{name}-v{version}-")]

reached = {
    "its servers start": new,
    "its servers are ready": lambda: any(item.get("status", {}).get("readyReplicas") for item in new()),
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
    "its servers start": {"killed": True, "servers": True, "traffic": False, "champion": "1"},
    "its servers are ready": {"killed": True, "servers": True, "traffic": False, "champion": "1"},
    "the traffic has moved": {"killed": True, "servers": True, "traffic": True, "champion": "1"},
    "the alias has moved": {"killed": True, "servers": True, "traffic": True, "champion": "2"},
}


@pytest.mark.parametrize(
    ("point", "following", "serves"),
    [
        pytest.param("its servers start", "deploy 2", "2", id="starting, the same again"),
        pytest.param("its servers are ready", "resume", "1", id="ready, resume"),
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
