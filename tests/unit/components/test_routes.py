"""The route of a use case: its settings and its objects; no cluster is needed for either."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from components.deploy.cluster import routes
from components.deploy.cluster.objects import Settings
from components.deploy.cluster.routes import Outside, outside, route
from core.errors import UserError
from serving.questions import questions

SETTINGS = Settings("models", 1, 3, 10, 300, "ClusterIP")
GATEWAY = {"SERVING_ROUTE": "HTTPRoute", "SERVING_HOST": "models.example.com", "SERVING_GATEWAY": "infra/public/https"}
INGRESS = {"SERVING_ROUTE": "Ingress", "SERVING_HOST": "models.example.com"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUTE", "HOST", "GATEWAY", "INGRESS_CLASS", "TLS_SECRET", "PUBLIC_PATHS", "ROUTE_ANNOTATIONS"):
        monkeypatch.delenv(f"SERVING_{name}", raising=False)


def read(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Outside | None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return outside()


def made(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> dict[str, Any]:
    found = read(monkeypatch, values)
    assert found
    return route("wine", found, SETTINGS)


@pytest.mark.parametrize("value", ["", "none"])
def test_nothing_is_outside_unless_it_is_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, GATEWAY | {"SERVING_ROUTE": value}) is None


def test_httproute_leads_public_paths_of_the_host_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    object_ = made(monkeypatch, GATEWAY)

    assert (object_["kind"], object_["metadata"]["name"], object_["metadata"]["namespace"]) == ("HTTPRoute", "wine", "models")
    assert object_["metadata"]["labels"]["app.kubernetes.io/name"] == "wine"
    assert object_["spec"]["hostnames"] == ["models.example.com"]
    (parent,), (rule,) = object_["spec"]["parentRefs"], object_["spec"]["rules"]
    assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("infra", "public", "https")
    assert [match["path"]["value"] for match in rule["matches"]] == ["/wine/invocations", "/wine/v1/models", "/wine/v2/models"]
    assert [(each["name"], each["port"]) for each in rule["backendRefs"]] == [("wine", 80)]


def test_httproute_without_a_listener_is_for_all_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    (parent,) = made(monkeypatch, GATEWAY | {"SERVING_GATEWAY": "infra/public"})["spec"]["parentRefs"]

    assert parent == {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "public"}


def test_ingress_has_class_certificate_and_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {
        "SERVING_INGRESS_CLASS": "nginx",
        "SERVING_TLS_SECRET": "models-tls",
        "SERVING_ROUTE_ANNOTATIONS": '{nginx.org/client-max-body-size: 16m, nginx.org/proxy-read-timeout: "90s"}',
    }
    object_ = made(monkeypatch, INGRESS | more)

    kubernetes_validate.validate(object_, kubernetes_validate.latest_version(), strict=True)
    assert object_["metadata"]["annotations"] == {"nginx.org/client-max-body-size": "16m", "nginx.org/proxy-read-timeout": "90s"}
    assert object_["spec"]["ingressClassName"] == "nginx"
    assert object_["spec"]["tls"] == [{"hosts": ["models.example.com"], "secretName": "models-tls"}]
    (rule,) = object_["spec"]["rules"]
    assert rule["host"] == "models.example.com"
    assert [path["path"] for path in rule["http"]["paths"]] == ["/wine/invocations", "/wine/v1/models", "/wine/v2/models"]
    assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == {"wine"}


def test_ingress_without_settings_is_for_the_default_class_and_still_has_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = made(monkeypatch, INGRESS)["spec"]

    assert "ingressClassName" not in spec
    assert spec["tls"] == [{"hosts": ["models.example.com"]}]


def test_public_paths_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, INGRESS | {"SERVING_PUBLIC_PATHS": "/invocations, /docs,/"})
    assert found

    paths = route("wine", found, SETTINGS)["spec"]["rules"][0]["http"]["paths"]
    assert [path["path"] for path in paths] == ["/wine/invocations", "/wine/docs", "/wine"]


def test_nothing_that_a_server_says_of_itself_is_public_by_default() -> None:
    served = {path.format(name="wine", version="1") for path in questions()}

    public = {path for path in served if any(path == prefix or path.startswith(f"{prefix}/") for prefix in routes.PUBLIC_PATHS)}

    assert served - public == {
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics",
        "/ping",
        "/health",
        "/version",
        "/v2",
        "/",
        "/docs",
        "/openapi.json",
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        pytest.param({"SERVING_ROUTE": "httproute"}, "SERVING_ROUTE=httproute is none of none, HTTPRoute, Ingress", id="kind"),
        pytest.param({"SERVING_HOST": ""}, "SERVING_HOST= is not a host name such as", id="no host"),
        pytest.param({"SERVING_HOST": "https://a.example.com/"}, "SERVING_HOST=https://a.example.com/ is not a host name", id="an address"),
        pytest.param({"SERVING_HOST": "a.example.com:8443"}, "is not a host name", id="a port"),
        pytest.param({"SERVING_GATEWAY": ""}, "SERVING_GATEWAY= is not a Gateway such as infra/public/https", id="no gateway"),
        pytest.param({"SERVING_GATEWAY": "public"}, "SERVING_GATEWAY=public is not a Gateway", id="no namespace"),
        pytest.param({"SERVING_PUBLIC_PATHS": "invocations"}, "SERVING_PUBLIC_PATHS=invocations is not a path", id="path"),
        pytest.param({"SERVING_PUBLIC_PATHS": "/docs/../metrics"}, "is not a path", id="dots"),
        pytest.param({"SERVING_ROUTE_ANNOTATIONS": "16m"}, "SERVING_ROUTE_ANNOTATIONS=16m is not a map of texts", id="annotations"),
        pytest.param({"SERVING_ROUTE_ANNOTATIONS": "{example.com/size: 16}"}, "is not a map of texts", id="a number"),
        pytest.param({"SERVING_ROUTE_ANNOTATIONS": "{example.com/size: "}, "is not a map of texts", id="no YAML"),
        pytest.param(INGRESS | {"SERVING_INGRESS_CLASS": "a b"}, "SERVING_INGRESS_CLASS=a b is not an IngressClass", id="class"),
        pytest.param(INGRESS | {"SERVING_TLS_SECRET": "Tls"}, "SERVING_TLS_SECRET=Tls is not the name of a Secret", id="secret"),
    ],
)
def test_a_wrong_setting_is_one_sentence(values: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=f"^.*{sentence.replace('.', '[.]')}.*: correct it in the ConfigMap mlops$"):
        read(monkeypatch, GATEWAY | values)
