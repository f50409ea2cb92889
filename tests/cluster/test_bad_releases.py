"""Bad releases: each is refused or taken back with one sentence, and the old version serves all the while."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.bundle import digest, pack
from core.image import repository
from tests.cluster import driver as drivers
from tests.cluster import traffic, versions
from tests.cluster.conftest import clear
from tests.cluster.driver import Driver
from tests.cluster.overlay import FAULTY, IMAGE, SERVING
from tests.cluster.rig import Cluster, Ended
from tests.cluster.serving import INSTANCE, Old, release, require_nothing, require_only, sentence
from tests.cluster.versions import Published
from tests.unit import models

MIN_READY, TIMEOUT = "SERVING_MIN_READY_SECONDS", "SERVING_TIMEOUT_SECONDS"
FAULTS = {"IMAGE": FAULTY}
QUOTA = "full"


@pytest.fixture(scope="module")
def old(cluster: Cluster, driver: Driver, stores: None) -> Iterator[Old]:
    """A version that serves; every bad release of this module has to leave it as it is."""
    name = versions.usecase()
    first = versions.publish(name)
    ended = driver.deploy("deploy", name, first.number)
    assert ended.code == 0, ended.err
    yield Old(cluster, driver, name, first, release(cluster, name))
    clear(cluster, name)


def refused(old: Old, bad: Published, environment: dict[str, str] | None = None, driver: Driver | None = None) -> str:
    """Deploy a bad version under load: nothing may come of it but a sentence."""
    with traffic.load(old.cluster, old.name, {old.number: old.published.bundle}) as counts:
        ended = (driver or old.driver).deploy("deploy", old.name, bad.number, environment=environment)
    assert counts.failures == {}
    assert set(counts.versions) == {old.number}
    require_only(old.cluster, old.name, old.number, old.release)
    assert restarts(old) == 0
    return sentence(ended)


@pytest.mark.parametrize(
    ("fault", "said", "settings"),
    [
        pytest.param("crash-at-start", "the server ended with exit code 1: this server crashes at its start", {}, id="crash at start"),
        pytest.param("crash-after-10s", "exit code 1: this server crashes after it was ready", {MIN_READY: "14"}, id="crash after 10 s"),
        pytest.param("never-ready", "is not ready after 8 s: ", {TIMEOUT: "8"}, id="never ready"),
        pytest.param("wrong-answers", "version {} of {name} answers otherwise than in training: row 0: ", {}, id="wrong answers"),
        pytest.param("slow", "version {} of {name} does not answer the smoke test: ReadTimeout", {}, id="slow"),
        pytest.param("wrong-version", "version {}0", {}, id="wrong version"),
        pytest.param("memory-hog", "the server was killed for want of memory, its limit is 512Mi: raise serving.memory", {}, id="memory limit"),
    ],
)
def test_a_server_that_misbehaves_gets_no_request(old: Old, fault: str, said: str, settings: dict[str, str]) -> None:
    bad = versions.publish_faulty(old.name, fault, old.number)

    found = refused(old, bad, settings | FAULTS)

    assert said.format(bad.number, name=old.name) in found


def test_a_missing_image_is_named(old: Old) -> None:
    bad, image = versions.publish(old.name, 1, old.number), f"{repository(IMAGE)}:none"

    assert re.search(rf"the image {re.escape(image)} cannot be pulled \(\w+\): push it", refused(old, bad, {"IMAGE": image}))


def test_an_image_of_another_repository_is_refused(old: Old) -> None:
    bad = versions.publish(old.name, 1, old.number)

    found = refused(old, bad, {"SERVING_IMAGES": "registry.example.com/team/mlops"})

    assert f"would run the image {IMAGE}, but SERVING_IMAGES allows only images of registry.example.com/team/mlops: " in found


def test_a_model_with_another_digest_is_refused(old: Old) -> None:
    good = versions.bundle(old.name, 1)
    uri = models.published(good, old.number).uri
    other = digest(b"another one")
    bad = Published(models.version(old.name, other, old.number, uri), good)

    assert f"the model's digest is {digest(pack(good))}, not {other}" in refused(old, bad)


def test_a_model_that_is_gone_is_refused(old: Old) -> None:
    content = versions.bundle(old.name, 2)
    bad = Published(models.version(old.name, digest(pack(content)), old.number, f"s3://models/{old.name}/gone.zip"), content)

    assert f"s3://models/{old.name}/gone.zip: there is no such object: correct the address" in refused(old, bad)


@pytest.mark.alone  # no test may start a pod meanwhile
def test_a_full_quota_is_explained(old: Old) -> None:
    bad = versions.publish(old.name, 1, old.number)
    running = [pod for pod in old.cluster.find("pod", SERVING) if pod["status"]["phase"] in ("Pending", "Running")]
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": QUOTA, "namespace": SERVING}, "spec": {"hard": {"pods": len(running)}}}
    old.cluster.apply(quota)
    try:
        found = refused(old, bad)
    finally:
        old.cluster.delete("resourcequota", SERVING, QUOTA)

    assert "the namespace has no room for the new servers beside the old ones (exceeded quota: full" in found
    assert "raise its ResourceQuota" in found


def test_a_server_that_pod_security_refuses_is_explained(old: Old) -> None:
    bad = versions.publish(old.name, 1, old.number)
    folder = "/tmp/privileged"
    file = f"{folder}/k8s/base/serving/deployment.yaml"
    made = old.driver.run("sh", "-c", f"cp -r {old.driver.folder} {folder} && sed -i 's/allowPrivilegeEscalation: false/privileged: true/' {file}")
    assert made.code == 0, made.err

    found = refused(old, bad, driver=replace(old.driver, folder=folder))

    assert re.search(r"^Pod Security refuses the server \(violates PodSecurity \"restricted:latest\": privileged.*correct the securityContext", found)


def test_a_deployer_without_rights_learns_which_rule_it_lacks(old: Old) -> None:
    bad = versions.publish(old.name, 1, old.number)
    with drivers.started(old.cluster, "driver-without-rights", service_account="default") as powerless:
        found = refused(old, bad, driver=powerless)

    assert found.startswith(f"mlops/default may not get leases in namespace {SERVING}: the rule ")
    assert '{apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [get]}' in found
    assert "create rolebinding" in found


def test_a_stranger_with_the_labels_of_the_release_is_noticed(old: Old) -> None:
    bad = versions.publish(old.name, 1, old.number)
    stranger = stranger_of(old, bad)
    old.cluster.apply(stranger)
    try:
        old.cluster.kubectl("rollout", "status", "deployment", "stranger", "-n", SERVING, "--timeout=60s")
        found = refused(old, bad)
    finally:
        old.cluster.delete("deployment", SERVING, "stranger")

    assert re.match(
        rf"the Service {old.name} would also send requests to pod stranger-\S+ of stranger-\S+, which has the same labels: remove it", found
    )


def test_a_first_deployment_that_fails_leaves_nothing_behind(cluster: Cluster, driver: Driver, name: str) -> None:
    bad = versions.publish_faulty(name, "wrong-answers", "")

    ended = driver.deploy("deploy", name, bad.number, environment=FAULTS)

    assert "answers otherwise than in training" in sentence(ended)
    require_nothing(cluster, name)


def test_an_old_server_that_does_not_go_holds_nothing_up(cluster: Cluster, driver: Driver, name: str) -> None:
    hanging = versions.publish_faulty(name, "hangs-on-term", "", kind=0)
    assert driver.deploy("deploy", name, hanging.number, environment=FAULTS).code == 0
    following = versions.publish(name, 1, hanging.number)

    with traffic.load(cluster, name, {each.number: each.bundle for each in (hanging, following)}) as counts:
        ended: Ended = driver.deploy("deploy", name, following.number, seconds=40)

    assert ended.code == 0, ended.err
    assert counts.failures == {}
    require_only(cluster, name, following.number)


def restarts(old: Old) -> int:
    """How often a server of the old version was started again."""
    pods = old.cluster.find("pod", SERVING, f"{INSTANCE}={old.release}")
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))


def stranger_of(old: Old, version: Published) -> dict[str, object]:
    """A Deployment of somebody else, whose pods have the labels of the release that a version is going to be."""
    program = (
        "import os, sys; from components.deploy.cluster.objects import Release, settings; "
        "from core.config import Serving; from core import registry; "
        "print(Release(registry.get(*sys.argv[1:]), os.environ['IMAGE'], Serving(), settings()).name)"
    )
    named = old.driver.python(program, old.name, version.number)
    assert named.code == 0, named.err
    deployment = old.cluster.get("deployment", SERVING, old.release)
    assert deployment
    template = deployment["spec"]["template"]
    template["metadata"]["labels"] |= {"app.kubernetes.io/instance": named.out.strip(), "app": "stranger"}
    spec = {"selector": {"matchLabels": {"app": "stranger"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "stranger", "namespace": SERVING}, "spec": spec}
