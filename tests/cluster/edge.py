"""A gateway at the edge of the rig: Traefik on its node, for the Gateway API and for Ingress."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.cluster.overlay import SERVING
from tests.cluster.rig import ROOT, Cluster, Object, wait_until
from tests.https_server import write_certificate

NAMESPACE = "mlops-test-edge"
HOST, PORT = "localhost", 18443
GROUP = "gateway.networking.k8s.io"
# What Traefik watches. Their schemas take anything: the API server here only stores them.
KINDS = {
    "GatewayClass": ("gatewayclasses", "v1"),
    "Gateway": ("gateways", "v1"),
    "HTTPRoute": ("httproutes", "v1"),
    "GRPCRoute": ("grpcroutes", "v1"),
    "TLSRoute": ("tlsroutes", "v1"),
    "ReferenceGrant": ("referencegrants", "v1beta1"),
    "BackendTLSPolicy": ("backendtlspolicies", "v1"),
}


class Edge:
    """What can be asked from outside, over TLS."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder

    def ask(self, path: str, body: str | None = None, host: str = HOST) -> tuple[int, str]:
        """Ask for a path, with a body if there is one; give status and answer."""
        command = ["/usr/bin/curl", "-sS", "--path-as-is", "--max-time", "20", "--cacert", f"{self._folder}/certificate.pem"]
        command += ["-H", f"Host: {host}", "-w", "\n%{http_code}", f"https://{HOST}:{PORT}{path}"]
        if body is not None:
            (self._folder / "body").write_text(body)
            command += ["-H", "Content-Type: application/json", "--data-binary", f"@{self._folder}/body"]
        answer, _, status = self._cluster.enter(*command).out.rpartition("\n")
        return int(status or 0), answer


@contextmanager
def started(cluster: Cluster, folder: Path) -> Iterator[Edge]:
    """Start Traefik with a Gateway that allows routes of the models' namespace, and give the deployer its Role."""
    write_certificate(folder)
    crds = [_crd(kind, *names) for kind, names in KINDS.items()]
    cluster.apply(*crds)
    names = [crd["metadata"]["name"] for crd in crds]
    cluster.kubectl("wait", "--for=condition=Established", *(f"crd/{name}" for name in names), "--timeout=30s")
    cluster.apply(*_objects(folder), *(_read(kind) for kind in ("role", "rolebinding")))
    process = subprocess.Popen(_command(cluster), env=dict(cluster.environment), stdout=(folder / "log").open("w"), stderr=subprocess.STDOUT)
    edge = Edge(cluster, folder)
    try:
        wait_until(lambda: edge.ask("/")[0] == 404, 30, f"Traefik: see {folder}/log")
        yield edge
    finally:
        for each in psutil.Process(process.pid).children(recursive=True):
            each.terminate()
        process.wait(20)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false", check=False)
        cluster.kubectl("delete", "crd", *names, check=False)
        cluster.kubectl("delete", "ingressclass", "traefik", check=False)


def _command(cluster: Cluster) -> list[str]:
    options = {
        "entrypoints.https.address": f":{PORT}",
        "entrypoints.https.http.tls": "true",
        "providers.kubernetesgateway": "true",
        "providers.kubernetesingress": "true",
        "providers.kubernetesingress.ingressclass": "traefik",
        "global.checknewversion": "false",
        "global.sendanonymoususage": "false",
    }
    traefik = Path(sys.executable).with_name("traefik")
    if not traefik.exists():
        pytest.skip("Traefik is not installed: uv sync --group cluster")
    return [f"{cluster.rig}/enter.sh", str(traefik), *(f"--{name}={value}" for name, value in options.items())]


def _crd(kind: str, plural: str, version: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Cluster" if kind == "GatewayClass" else "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "subresources": {"status": {}}, "schema": schema}],
        },
    }


def _objects(folder: Path) -> Iterator[Object]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    pair = {key: base64.b64encode((folder / file).read_bytes()).decode() for key, file in (("tls.crt", "server.pem"), ("tls.key", "key.pem"))}
    for namespace in (NAMESPACE, SERVING):
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "edge-tls", "namespace": namespace},
            "data": pair,
        }
    yield {
        "apiVersion": f"{GROUP}/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "traefik"},
        "spec": {"controllerName": "traefik.io/gateway-controller"},
    }
    listener = {
        "name": "https",
        "port": PORT,
        "protocol": "HTTPS",
        "hostname": HOST,
        "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": "edge-tls"}]},
        "allowedRoutes": {
            "namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": SERVING}}},
        },
    }
    spec = {"gatewayClassName": "traefik", "listeners": [listener]}
    yield {"apiVersion": f"{GROUP}/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": NAMESPACE}, "spec": spec}
    controller = {"controller": "traefik.io/ingress-controller"}
    yield {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "traefik"}, "spec": controller}


def _read(kind: str) -> Object:
    found: Object = yaml.safe_load((ROOT / "k8s" / "components" / "routes" / f"{kind}.yaml").read_text())
    return found
