"""The API server goes away in the middle of a deployment and comes back."""

from __future__ import annotations

import time

import pytest

from tests.cluster import apiserver, traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Cluster, wait_until
from tests.cluster.serving import INSTANCE, NAME, require_only

pytestmark = pytest.mark.alone  # without the API server no other test goes on

AWAY = 5  # seconds


def test_a_deployment_goes_on_after_the_api_server_was_restarted(node: Cluster, driver: Driver, name: str) -> None:
    first = versions.publish(name, 0)
    assert driver.deploy("deploy", name, first.number).code == 0
    second = versions.publish(name, 1, first.number)

    with (
        traffic.load(node, name, {each.number: each.bundle for each in (first, second)}) as counts,
        driver.background("python", "-m", "components.deploy", "deploy", name, second.number) as job,
    ):
        wait_until(lambda: len(node.names("deployment", SERVING, f"{NAME}={name},{INSTANCE}")) == 2, 60, "the new Deployment")
        command = apiserver.kill(node)
        time.sleep(AWAY)
        apiserver.start(node, command)
        ended = job.wait(180)

    assert ended.code == 0, ended.err
    assert counts.failures == {}
    assert set(counts.versions) == {first.number, second.number}
    require_only(node, name, second.number)
