"""Rollouts under constant load: not one request is lost, whichever way they go."""

from __future__ import annotations

import re

from core import registry
from tests.cluster import traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.rig import Cluster
from tests.cluster.serving import require_only

ROLLOUTS = 10


def test_ten_rollouts_between_two_versions_lose_no_request(cluster: Cluster, driver: Driver, name: str) -> None:
    first = versions.publish(name, 0)
    assert driver.deploy("deploy", name, first.number).code == 0
    second = versions.publish(name, 1, first.number)

    with traffic.load(cluster, name, {each.number: each.bundle for each in (first, second)}) as counts:
        assert driver.deploy("deploy", name, second.number).code == 0
        for _ in range(ROLLOUTS - 1):
            ended = driver.deploy("rollback", name)
            assert ended.code == 0, ended.err

    assert counts.failures == {}
    assert set(counts.versions) == {first.number, second.number}
    assert counts.reused > counts.requests / 3, "half of the clients keep their connections"
    require_only(cluster, name, first.number)
    assert [reign.version for reign in registry.reigns(name)] == [first.number, second.number] * (ROLLOUTS // 2) + [first.number]


def test_history_and_status_tell_what_served_and_serves(cluster: Cluster, driver: Driver, name: str) -> None:
    first = versions.publish(name, 0)
    driver.deploy("deploy", name, first.number)
    second = versions.publish(name, 1, first.number)
    driver.deploy("deploy", name, second.number)
    ended = driver.deploy("rollback", name, "--reason", "it was slow")
    assert ended.out.splitlines()[-1] == f"{name} version {first.number} serves at http://{name}.mlops-serving.svc.cluster.local"

    history, status = driver.deploy("history", name).out.splitlines(), driver.deploy("status", name).out.strip()

    latest, middle, earliest = history[1:]
    run = first.version.run[:8]
    assert re.match(rf"20\S+Z 1 +{run} +0123456789ab +it was slow$", latest)
    assert re.match(r"20\S+Z 2 +.*; replaced by version 1: it was slow$", middle)
    assert re.match(rf"20\S+Z 1 +{run}.*; replaced by version 2: ", earliest)
    assert re.fullmatch(rf"{name}: version 1 serves since 20\S+Z at http://{name}\S+local, 1 of 1 servers", status)


def test_nothing_is_left_to_roll_back_to_before_the_first_champion(driver: Driver, name: str) -> None:
    nothing = driver.deploy("rollback", name)
    driver.deploy("deploy", name, versions.publish(name).number)

    first = driver.deploy("rollback", name)

    assert nothing.err == f"error: {name} has no champion, so there is nothing to roll back: run its pipeline first\n"
    assert first.err == f"error: {name} version 1 is its first champion: there is none to roll back to\n"
