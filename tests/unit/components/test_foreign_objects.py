"""The deployer on a cluster that has objects of a use case's name which it has not made."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from components.deploy.cluster import objects
from components.deploy.cluster.deployer import ClusterDeployer
from core import cluster
from core.config import Serving
from core.errors import UserError
from core.registry import Version

VERSION = Version("wine", "1", "s3://models/wine/ab.zip", "sha256:ab", "")
PLACES = {"HTTPRoute": "httproutes", "NetworkPolicy": "networkpolicies", "Service": "services", "ServiceAccount": "serviceaccounts"}


class Api(BaseHTTPRequestHandler):
    """Answers with the objects that it has; notes every other request."""

    there: ClassVar[dict[str, Any]] = {}
    changes: ClassVar[list[str]] = []
    refusal: ClassVar[tuple[int, str]] = (500, "")  # of every change

    def do_GET(self) -> None:
        found = self.there.get("/".join(self.path.split("?")[0].split("/")[-2:]))
        body = json.dumps(found or {"message": "not found"}).encode()
        self._answer(200 if found else 404, body)

    def do_PATCH(self) -> None:
        self.changes.append(f"{self.command} {self.path}")
        status, message = self.refusal
        self._answer(status, json.dumps({"message": message}).encode())

    do_DELETE = do_PATCH  # noqa: N815

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Api]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        document = {
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "here",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        for name, value in {"NAMESPACE": "models", "ROUTE": "HTTPRoute", "HOST": "models.example.com", "GATEWAY": "infra/public"}.items():
            monkeypatch.setenv(f"SERVING_{name}", value)
        monkeypatch.setattr(cluster, "PATIENCE", 0.0)
        monkeypatch.setattr(cluster, "_away_at", -math.inf)
        cluster._api.cache_clear()
        Api.there, Api.changes = {}, []
        yield Api
        server.shutdown()
    cluster._api.cache_clear()


@pytest.mark.parametrize("kind", [*objects.A_USECASE, "HTTPRoute"])
def test_a_foreign_object_is_neither_taken_over_nor_deleted(kind: str, api: type[Api]) -> None:
    labels = {"app.kubernetes.io/name": "wine", "app.kubernetes.io/component": "database"}
    api.there[f"{PLACES[kind]}/wine"] = {"metadata": {"name": "wine", "labels": labels}, "spec": {}}
    deployer = ClusterDeployer("wine", Serving())

    with pytest.raises(UserError, match=f"the {kind} wine in models is not of the use case wine .*: rename the use case"):
        deployer.start(VERSION)

    assert api.changes == []


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        pytest.param(404, "the server could not find the requested resource", "the cluster has no HTTPRoute: install the Gateway", id="kind"),
        pytest.param(404, 'namespaces "models" not found', "there is no namespace models .*: apply k8s/overlays", id="namespace"),
        pytest.param(
            403,
            'httproutes "wine" is forbidden: User "system:serviceaccount:mlops:pipeline" cannot patch resource "httproutes" '
            'in API group "gateway.networking.k8s.io" in the namespace "models"',
            "mlops/pipeline may not patch httproutes in namespace models: SERVING_ROUTE=HTTPRoute needs the Role deployer-routes: apply",
            id="rights",
        ),
        pytest.param(422, 'HTTPRoute "wine" is invalid: metadata.annotations', "refuses .*/httproutes/wine: .*metadata.annotations", id="content"),
    ],
)
def test_a_route_that_cannot_be_made_is_refused_before_anything_changes(status: int, message: str, sentence: str, api: type[Api]) -> None:
    api.refusal = status, message

    with pytest.raises(UserError, match=sentence):
        ClusterDeployer("wine", Serving()).start(VERSION)

    (asked,) = api.changes
    assert "dryRun=All" in asked
