"""A served model is reached from outside through a real gateway, by its public paths and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import edge as edges
from tests.cluster import versions
from tests.cluster.driver import Driver
from tests.cluster.edge import Edge
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Cluster, wait_until

GATEWAY = {"SERVING_ROUTE": "HTTPRoute", "SERVING_HOST": edges.HOST, "SERVING_GATEWAY": f"{edges.NAMESPACE}/public/https"}
INGRESS = {"SERVING_ROUTE": "Ingress", "SERVING_HOST": edges.HOST, "SERVING_INGRESS_CLASS": "traefik", "SERVING_TLS_SECRET": "edge-tls"}


@pytest.fixture(scope="module")
def edge(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    if cluster.rig is None:
        pytest.skip("this needs the rig, on whose node Traefik runs")
    with edges.started(cluster, tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.mark.parametrize("settings", [pytest.param(GATEWAY, id="HTTPRoute"), pytest.param(INGRESS, id="Ingress")])
def test_a_model_is_reached_by_its_public_paths_alone(edge: Edge, driver: Driver, name: str, settings: dict[str, str]) -> None:
    published = versions.publish(name)
    deployed = driver.deploy("deploy", name, published.number, environment=settings)
    assert deployed.code == 0, deployed.err
    golden = published.bundle.golden
    rows = json.dumps({"dataframe_records": golden.rows})

    wait_until(lambda: edge.ask(f"/{name}/v2/models/{name}")[0] == 200, 20, "the route")

    status, answer = edge.ask(f"/{name}/invocations", rows)
    assert (status, json.loads(answer)["predictions"]) == (200, list(golden.predict))
    assert edge.ask(f"/{name}/v1/models/{name}:predict", json.dumps({"instances": golden.rows}))[0] == 200
    assert "JSON" in edge.ask(f"/{name}/invocations", "x" * 15_000_000)[1]  # refused by the server, not on the way
    around = (
        "metrics",
        "docs",
        "openapi.json",
        "version",
        "v2/models/../../metrics",
        "v2/models/%2e%2e/%2e%2e/metrics",
        "v2/models%2f..%2f..%2fmetrics",
    )
    assert {edge.ask(f"/{name}/{path}")[0] for path in around} <= {400, 404}
    assert {edge.ask(path)[0] for path in ("/", "/metrics", "/invocations", f"/{name}", f"/{name}x/invocations")} == {404}
    assert edge.ask(f"/{name}/invocations", rows, host="another.example.com")[0] == 404


def test_the_route_follows_the_settings_and_ends_with_them(edge: Edge, cluster: Cluster, driver: Driver, name: str) -> None:
    published = versions.publish(name)

    def kinds() -> list[str]:
        return [kind for kind in ("httproute", "ingress") if cluster.get(kind, SERVING, name)]

    wrong = driver.deploy("deploy", name, published.number, environment=GATEWAY | {"SERVING_GATEWAY": f"{edges.NAMESPACE}/private"})
    assert (wrong.code, "does not take its HTTPRoute" in wrong.out) == (0, True)
    resumed = driver.deploy("resume", name, environment=GATEWAY)
    assert (resumed.code, f"reached at https://{edges.HOST}/{name}" in resumed.out) == (0, True)
    assert kinds() == ["httproute"]
    assert driver.deploy("resume", name, environment=INGRESS).code == 0
    assert kinds() == ["ingress"]
    wait_until(lambda: edge.ask(f"/{name}/v2/models/{name}")[0] == 200, 20, "the Ingress")

    assert driver.deploy("resume", name).code == 0
    assert kinds() == []
    wait_until(lambda: edge.ask(f"/{name}/v2/models/{name}")[0] == 404, 20, "the end of the route")
