"""The deployer on a cluster that has objects of a use case's name which it has not made."""

from __future__ import annotations

import json
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
PLACES = {"NetworkPolicy": "networkpolicies", "Service": "services", "ServiceAccount": "serviceaccounts"}


class Api(BaseHTTPRequestHandler):
    """Answers with the objects that it has; notes every other request."""

    there: ClassVar[dict[str, Any]] = {}
    changes: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        found = self.there.get("/".join(self.path.split("?")[0].split("/")[-2:]))
        body = json.dumps(found or {"message": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self) -> None:
        self.changes.append(f"{self.command} {self.path}")
        self.send_response(500)
        self.end_headers()

    do_DELETE = do_PATCH  # noqa: N815

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
        monkeypatch.setenv("SERVING_NAMESPACE", "models")
        monkeypatch.setattr(cluster, "PATIENCE", 0.0)
        cluster._client.cache_clear()
        Api.there, Api.changes = {}, []
        yield Api
        server.shutdown()
    cluster._client.cache_clear()


@pytest.mark.parametrize("kind", objects.A_USECASE)
def test_a_foreign_object_is_neither_taken_over_nor_deleted(kind: str, api: type[Api]) -> None:
    labels = {"app.kubernetes.io/name": "wine", "app.kubernetes.io/component": "database"}
    api.there[f"{PLACES[kind]}/wine"] = {"metadata": {"name": "wine", "labels": labels}, "spec": {}}
    deployer = ClusterDeployer("wine", Serving())

    with pytest.raises(UserError, match=f"the {kind} wine in models is not of the use case wine .*: rename the use case"):
        deployer.start(VERSION)

    assert api.changes == []
