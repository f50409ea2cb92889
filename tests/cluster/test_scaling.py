"""More servers under load, fewer after it, a rollout in between, and room for two releases side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import traffic, versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import ROOT, Cluster, Object, wait_until

pytestmark = pytest.mark.alone  # it takes the whole node

LIMITED = "mlops-test-quota"  # a namespace as production's for models is
COPIED = ("ConfigMap", "LimitRange", "NetworkPolicy", "ResourceQuota", "Role", "RoleBinding")
RATE = 400  # requests a second, which take far more of a core than the manifest lets one server have
PATIENCE = 150  # seconds for the autoscaler, which looks every 15 s


@pytest.fixture(scope="module")
def metrics(cluster: Cluster) -> None:
    """The figures by which the autoscaler decides."""
    served = ("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
    if cluster.kubectl(*served, check=False).code:
        if cluster.rig is None:
            pytest.skip("this cluster has no metrics-server: install one to see the autoscaler at work")
        cluster.kubectl("apply", "-f", str(cluster.rig / "extras" / "metrics-server.yaml"))
    wait_until(lambda: cluster.kubectl(*served, check=False).code == 0, 90, "the metrics-server", pause=1)


def test_servers_come_under_load_go_after_it_and_a_rollout_keeps_their_number(cluster: Cluster, driver: Driver, metrics: None, name: str) -> None:
    first = versions.publish(name, 0)
    following = versions.publish(name, 1, judged_against=first.number)
    _deploy(driver, name, first.number)
    assert _servers(cluster, name) == {first.number: 1}

    with traffic.load(cluster, name, {each.number: each.bundle for each in (first, following)}, rate=RATE) as counts:
        wait_until(lambda: _servers(cluster, name)[first.number] > 1, PATIENCE, "a second server", pause=1)
        before = _servers(cluster, name)[first.number]
        _deploy(driver, name, following.number)
        after = _servers(cluster, name)

    assert set(after) == {following.number}
    assert after[following.number] >= before
    assert counts.failures == {}
    _change_autoscaler(cluster, name, {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}})  # not five minutes, as by default
    wait_until(lambda: _servers(cluster, name) == {following.number: 1}, PATIENCE, "a single server again", pause=1)


@pytest.fixture
def production(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A namespace with all that production puts into that of the models, and the settings of production's steps."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "k8s" / "overlays" / "production")).out))
    copied = [each | {"metadata": {"name": each["metadata"]["name"], "namespace": LIMITED}} for each in built if _belongs(each)]
    (settings,) = (each["data"] for each in built if each["kind"] == "ConfigMap" and "SERVING_NAMESPACE" in each["data"])
    (namespace,) = (each for each in built if each["kind"] == "Namespace" and each["metadata"]["name"] == SERVING)
    namespace["metadata"]["name"] = LIMITED
    secret = cluster.get("secret", SERVING, "mlops-s3")
    assert secret
    cluster.apply(namespace, *copied, secret | {"metadata": {"name": "mlops-s3", "namespace": LIMITED}})
    wait_until(lambda: cluster.find("resourcequota", LIMITED)[0].get("status"), 30, "the quota")
    own = {"SERVING_NAMESPACE": LIMITED, "SERVING_MIN_READY_SECONDS": "2"}
    yield settings | own | {"SERVING_ROUTE": "none", "SERVING_IMAGES": ""}  # this cluster has neither its Gateway nor its registry
    cluster.kubectl("delete", "namespace", LIMITED, "--wait=false")


def test_the_quota_of_production_has_room_for_two_releases_side_by_side(
    cluster: Cluster, driver: Driver, production: dict[str, str], name: str
) -> None:
    first = versions.publish(name, 0)
    following = versions.publish(name, 1, judged_against=first.number)

    _deploy(driver, name, first.number, production)
    _deploy(driver, name, following.number, production)

    assert _servers(cluster, name, LIMITED) == {following.number: int(production["SERVING_MIN_REPLICAS"])}
    (quota,) = cluster.find("resourcequota", LIMITED)
    assert int(quota["spec"]["hard"]["pods"]) >= 2 * int(production["SERVING_MAX_REPLICAS"])


def _belongs(each: Object) -> bool:
    return each["kind"] in COPIED and each["metadata"].get("namespace") == SERVING


def _deploy(driver: Driver, name: str, version: str, settings: dict[str, str] | None = None) -> None:
    ended = driver.deploy("deploy", name, version, environment=settings)
    assert ended.code == 0, ended.err


def _servers(cluster: Cluster, name: str, namespace: str = SERVING) -> dict[str, int]:
    """How many servers each version shall have."""
    found = cluster.find("deployment", namespace, f"app.kubernetes.io/name={name}")
    return {each["metadata"]["labels"]["app.kubernetes.io/version"]: each["spec"]["replicas"] for each in found}


def _change_autoscaler(cluster: Cluster, name: str, change: Object) -> None:
    for autoscaler in cluster.names("hpa", SERVING, f"app.kubernetes.io/name={name}"):
        cluster.patch("hpa", SERVING, autoscaler, {"spec": change})
