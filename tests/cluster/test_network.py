"""Which pods may reach what: each edge that is used, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import driver as drivers
from tests.cluster import versions
from tests.cluster.conftest import clear
from tests.cluster.driver import Driver
from tests.cluster.overlay import PIPELINE, PLATFORM, SERVING
from tests.cluster.rig import ROOT, Cluster, Object, wait_until
from tests.cluster.test_rights import hardened

pytestmark = pytest.mark.alone  # its pods have the labels of the servers that every test uses

FOREIGN = "mlops-test-foreign"  # a namespace that is none of ours
NODE = "172.30.0.1"  # the rig's, where it serves Ingress
SERVICES = {
    "minio": f"minio.{PLATFORM}.svc.cluster.local:9000",
    "mlflow": f"mlflow.{PLATFORM}.svc.cluster.local:5000",
    "postgres": f"postgres.{PLATFORM}.svc.cluster.local:5432",
}
STAND_INS = {  # pods with the labels of those in which no program of ours can be run, and of none
    "minio": {"app.kubernetes.io/name": "minio", "app.kubernetes.io/component": "platform", "app.kubernetes.io/part-of": "mlops"},
    "postgres": {"app.kubernetes.io/name": "postgres", "app.kubernetes.io/component": "platform", "app.kubernetes.io/part-of": "mlops"},
    "buckets": {"app.kubernetes.io/name": "buckets", "app.kubernetes.io/component": "platform", "app.kubernetes.io/part-of": "mlops"},
    "unlabelled": {"run": "unlabelled"},
}
REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(address):
    host, _, port = address.rpartition(":")
    try:
        place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][4]
    except socket.gaierror:
        return "unknown name"
    try:
        socket.create_connection(place, timeout=3).close()
    except OSError:
        return "closed"
    return "open"

with ThreadPoolExecutor(16) as pool:
    print(json.dumps(dict(zip(sys.argv[1:], pool.map(reached, sys.argv[1:])))))
"""
LISTEN = """
import http.server as h, threading
for port in (8443, 8080):
    threading.Thread(target=h.HTTPServer(("", port), h.SimpleHTTPRequestHandler).serve_forever).start()
"""


@pytest.fixture(scope="module")
def model(cluster: Cluster, driver: Driver, stores: None) -> Iterator[str]:
    """A use case that is served."""
    name = versions.usecase()
    versions.publish(name)
    deployed = driver.deploy("deploy", name, "1")
    assert deployed.code == 0, deployed.err
    yield name
    clear(cluster, name)


@pytest.fixture(scope="module")
def pods(cluster: Cluster, driver: Driver, model: str) -> Iterator[dict[str, tuple[str, str]]]:
    """Who asks: namespace and pod of each."""
    stand_ins = [_pod(cluster, PLATFORM, f"network-{name}", labels) for name, labels in STAND_INS.items()]
    foreign = [_pod(cluster, FOREIGN, name, {"run": name}) for name in ("stranger", "elsewhere")]
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FOREIGN}}, *stand_ins, *foreign)
    for made in (*stand_ins, *foreign):
        name, namespace = made["metadata"]["name"], made["metadata"]["namespace"]
        cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Running", f"pod/{name}", "-n", namespace, "--timeout=90s")
    servers = cluster.names("pod", SERVING, f"app.kubernetes.io/name={model}")
    mlflow = cluster.names("pod", PLATFORM, "app.kubernetes.io/name=mlflow")
    found = {"step": (PIPELINE, driver.pod), "model": (SERVING, servers[0]), "mlflow": (PLATFORM, mlflow[0]), "stranger": (FOREIGN, "stranger")}
    yield found | {name: (PLATFORM, f"network-{name}") for name in STAND_INS}
    cluster.delete("pod", PLATFORM, *(f"network-{name}" for name in STAND_INS), wait=False)
    cluster.kubectl("delete", "namespace", FOREIGN, "--wait=false")


@pytest.fixture(scope="module")
def places(cluster: Cluster, model: str, pods: dict[str, tuple[str, str]]) -> dict[str, str]:
    """What is asked: the address of each."""
    (server,) = cluster.find("pod", SERVING, f"app.kubernetes.io/name={model}")
    elsewhere = cluster.get("pod", FOREIGN, "elsewhere")
    assert elsewhere
    return SERVICES | {
        "model": f"{model}.{SERVING}.svc.cluster.local:80",
        "model's pod": f"{server['status']['podIP']}:8080",
        "elsewhere": f"{elsewhere['status']['podIP']}:8080",
    }


@pytest.mark.parametrize(
    ("who", "reaches"),
    [
        pytest.param("step", {"minio", "mlflow", "model", "model's pod"}, id="a step: storage, registry, servers"),
        pytest.param("model", {"minio", "model's pod"}, id="a model server: storage, and itself"),
        pytest.param("mlflow", {"minio", "postgres"}, id="MLflow: its database and storage"),
        pytest.param("buckets", {"minio"}, id="the Job that makes buckets: storage"),
        pytest.param("minio", set(), id="MinIO: nothing"),
        pytest.param("postgres", set(), id="PostgreSQL: nothing"),
        pytest.param("unlabelled", set(), id="a pod that no policy knows: nothing"),
        pytest.param("stranger", {"elsewhere"}, id="a pod of another namespace: nothing of ours"),
    ],
)
def test_a_pod_reaches_what_it_needs_and_nothing_else(
    cluster: Cluster, pods: dict[str, tuple[str, str]], places: dict[str, str], who: str, reaches: set[str]
) -> None:
    namespace, pod = pods[who]

    asked = cluster.exec(namespace, pod, "python", "-c", REACH, *places.values())

    assert asked.code == 0, asked.err
    answers = json.loads(asked.out)
    found = {name: answers[address] for name, address in places.items()}
    assert found == {name: "open" if name in reaches else "closed" for name in places}


def test_a_step_reaches_only_configured_addresses_with_egress(cluster: Cluster, driver: Driver, pods: dict[str, tuple[str, str]]) -> None:
    base = yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "k8s" / "base" / "pipeline")).out)
    policy, before = (
        next(each for each in built if (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "pipeline"))
        for built in (hardened(cluster), base)
    )
    elsewhere = cluster.get("pod", FOREIGN, "elsewhere")
    assert elsewhere
    places = ["kubernetes.default.svc.cluster.local:443", f"{elsewhere['status']['podIP']}:8443"]

    def apply(policy: Object) -> None:
        """Apply it as its overlay was: another field manager would own the policy, and the next overlay conflict with it."""
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(policy))

    def answers() -> list[str]:
        return list(json.loads(driver.python(REACH, *places).out).values())

    assert answers() == ["open", "open"]
    apply(policy)
    try:
        wait_until(lambda: answers() == ["open", "closed"], 15, "the policy to be in force")
    finally:
        apply(before)


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[list[Object]]:
    """The objects of the platform with both ways in: Ingresses, and Services of type LoadBalancer."""
    if cluster.rig is None:
        pytest.skip("this needs the rig, whose node serves Ingress and LoadBalancer addresses")
    yield list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "tests" / "cluster" / "overlays" / "outside")).out))


@pytest.fixture(scope="module")
def pair(cluster: Cluster, driver: Driver, stores: None, outside: list[Object]) -> Iterator[tuple[str, str]]:
    """Two use cases side by side, deployed with the settings of the built ConfigMap, and what these need."""
    names = versions.usecase(), versions.usecase()
    (settings,) = (each["data"] for each in outside if each["kind"] == "ConfigMap" and "SERVING_NAMESPACE" in each["data"])
    quick = settings | {"SERVING_MIN_READY_SECONDS": "2"}
    ways = [each for each in outside if each["metadata"]["name"] in ("deployer-routes", "ingress", "clients")]
    cluster.apply(*ways)
    for name in names:
        versions.publish(name)
        deployed = driver.deploy("deploy", name, "1", environment=quick)
        assert deployed.code == 0, deployed.err
    yield names
    for each in ways:
        cluster.delete(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"])
    for name in names:
        clear(cluster, name)


def test_two_use_cases_share_one_host_each_by_its_path(cluster: Cluster, pair: tuple[str, str]) -> None:
    def asked(path: str, host: str = "models.example.com") -> str:
        return cluster.enter("/usr/bin/curl", "-sS", "-H", f"Host: {host}", f"http://{NODE}{path}").out

    def answers(name: str) -> bool:
        return f'"name":"{name}"' in asked(f"/{name}/v2/models/{name}")

    first, second = pair
    wait_until(lambda: answers(first) and answers(second), 15, "both paths of the Ingress")
    assert f'"name":"{second}"' not in asked(f"/{first}/v2/models/{second}")
    assert "model_requests" not in asked(f"/{first}/metrics")
    assert f'"name":"{first}"' not in asked(f"/{first}/v2/models/{first}", host="another.example.net")


def test_two_use_cases_each_have_an_address_of_their_own(cluster: Cluster, pair: tuple[str, str]) -> None:
    def address(name: str) -> str:
        service = cluster.get("service", SERVING, name)
        assert service
        assert service["spec"]["type"] == "LoadBalancer"
        return "".join(each["ip"] for each in service["status"]["loadBalancer"].get("ingress", []))

    def asked(name: str, model: str) -> str:
        return cluster.enter("/usr/bin/curl", "-sS", f"http://{wait_until(lambda: address(name), 15, 'an address')}/v2/models/{model}").out

    first, second = pair
    assert address(first) != address(second)
    for name, other in ((first, second), (second, first)):
        assert f'"name":"{name}"' in asked(name, name)
        assert f'"name":"{other}"' not in asked(name, other)


def _pod(cluster: Cluster, namespace: str, name: str, labels: dict[str, str]) -> Object:
    """Give a pod that is never ready, so that no Service sends it requests, and that listens on port 8080."""
    made = drivers.pod(cluster, name, ["python", "-c", LISTEN])
    made["metadata"] |= {"namespace": namespace, "labels": labels}
    made["spec"] |= {"serviceAccountName": "default", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1}
    (container,) = made["spec"]["containers"]
    container |= {"readinessProbe": {"exec": {"command": ["false"]}}, "envFrom": []}
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}
    return made
