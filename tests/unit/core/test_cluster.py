"""What is said when the Kubernetes API refuses, or is not there."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from core import cluster
from core.errors import UserError
from tests.https_server import Answer, Server

REFUSAL = (
    'deployments.apps "flights-v3" is forbidden: User "system:serviceaccount:mlops:pipeline" cannot patch resource "deployments" '
    'in API group "apps" in the namespace "mlops-serving"'
)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kubeconfig of an API server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    document = {
        "clusters": [{"name": "gone", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "me"}}],
        "current-context": "gone",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(cluster, "PATIENCE", 0.0)
    cluster._api.cache_clear()
    return address


RULE = 'the rule {apiGroups: ["apps"], resources: [deployments], verbs: [patch]} is missing: '
BIND = "bind the Role deployer: `kubectl -n mlops-serving create rolebinding deployer-{0} --role=deployer --serviceaccount=mlops:{0}`"


@pytest.mark.parametrize(
    ("account", "cure"),
    [
        ("deployer", f"apply k8s/overlays/... again, or {BIND}"),
        (
            "pipeline",
            "the pod has no token of the ServiceAccount deployer, which may: apply k8s/overlays/..., which makes the Secret mlops-deployer",
        ),
        (
            "default-editor",
            f"use the ServiceAccount deployer, whose token is in the Secret mlops-deployer (apply k8s/overlays/...), or {BIND}",
        ),
    ],
)
def test_a_missing_right_is_named_with_the_rule_and_what_grants_it(account: str, cure: str) -> None:
    error = str(cluster.forbidden(REFUSAL.replace("mlops:pipeline", f"mlops:{account}")))

    assert error == f"mlops/{account} may not patch deployments in namespace mlops-serving: {RULE}{cure.format(account)}"


def test_refusal_of_an_admission_policy_is_its_own_sentence() -> None:
    error = cluster.forbidden(
        "networkpolicies.networking.k8s.io \"default-deny\" is forbidden: ValidatingAdmissionPolicy 'mlops-deployer' "
        "with binding 'mlops-deployer' denied request: default-deny (networkpolicies) is not of a release"
    )

    assert str(error) == "the cluster's admission policy refuses: default-deny (networkpolicies) is not of a release"


def test_the_deployer_asks_with_the_token_that_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path)
    for name in ("pod", "deployer"):
        (tmp_path / name).mkdir()
        shutil.copy(server.certificate, tmp_path / name / "ca.crt")
    (tmp_path / "pod" / "token").write_text("of-the-pod")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setattr(cluster, "_account", tmp_path / "pod")
    path = "/apis/apps/v1/namespaces/models/deployments/flights"
    server.say(path, Answer(b"{}", headers={"Content-Type": "application/json"}))
    cluster._api.cache_clear()

    with server.running():
        for token in ("", "of-the-deployer"):
            if token:
                (tmp_path / "deployer" / "token").write_text(token)
            cluster.act_as(tmp_path / "deployer")
            cluster.get("Deployment", "models", "flights")
    cluster._api.cache_clear()

    assert [headers["Authorization"] for headers in server.seen[path]] == ["Bearer of-the-pod", "Bearer of-the-deployer"]


def test_another_refusal_is_told_as_it_is() -> None:
    assert str(cluster.forbidden("exceeded quota: models")) == "the Kubernetes API refuses: exceeded quota: models"


def test_an_api_server_that_is_away_is_one_sentence_without_the_token(nowhere: str) -> None:
    with pytest.raises(UserError, match=r"the Kubernetes API does not answer .*: look whether the cluster is up") as caught:
        cluster.get("Deployment", "models", "flights")

    assert "secret-token" not in str(caught.value)


def test_without_a_kubeconfig_it_is_said_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    cluster._api.cache_clear()

    with pytest.raises(UserError, match=r"no Kubernetes is configured .*: set KUBECONFIG"):
        cluster.find("Pod", "models")


def test_a_pod_uses_its_mounted_certificate_and_the_token_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path)
    server.say("/api/v1/namespaces/models/pods", Answer(b'{"items": [{"kind": "Pod"}]}'))
    (tmp_path / "certificate.pem").rename(tmp_path / "ca.crt")
    monkeypatch.setattr(cluster, "_account", tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    cluster._api.cache_clear()

    with server.running():
        for token in ("first", "renewed"):
            (tmp_path / "token").write_text(token)
            assert cluster.find("Pod", "models", {"app": "wine"}) == [{"kind": "Pod"}]

    assert [headers["Authorization"] for headers in server.seen["/api/v1/namespaces/models/pods"]] == ["Bearer first", "Bearer renewed"]
    cluster._api.cache_clear()


def test_a_status_in_a_cluster_imports_nothing_that_takes_long() -> None:
    program = "import sys, components.deploy.__main__, components.deploy.status, components.deploy.cluster.deployer; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert sorted({"kubernetes", "pydantic", "numpy", "pandas", "ibis", "core.config"} & set(imported)) == []


class Settling(BaseHTTPRequestHandler):
    """An API server that has just started: it refuses two requests before it has read its roles."""

    refusals = 2

    def do_GET(self) -> None:
        refused = type(self).refusals > 0
        type(self).refusals -= 1
        body = json.dumps({"message": REFUSAL} if refused else {"kind": "Deployment"}).encode()
        self.send_response(403 if refused else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def serve(address: str) -> HTTPServer:
    Settling.refusals = 2
    server = HTTPServer(("127.0.0.1", int(address.rpartition(":")[2])), Settling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_refusal_right_after_the_api_server_was_away_passes(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 30.0)
    monkeypatch.setattr(cluster, "_away_at", -math.inf)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(cluster.get, "Deployment", "models", "flights")
        time.sleep(0.5)
        server = serve(nowhere)
        found = asked.result(30)
    server.shutdown()
    server.server_close()

    assert found == {"kind": "Deployment"}


def test_a_refusal_of_an_api_server_that_was_there_is_told_at_once(nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 30.0)
    monkeypatch.setattr(cluster, "_away_at", -math.inf)
    server = serve(nowhere)

    with pytest.raises(cluster.Forbidden, match="may not patch deployments"):
        cluster.get("Deployment", "models", "flights")
    server.shutdown()
    server.server_close()

    assert Settling.refusals == 1
