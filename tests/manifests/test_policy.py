"""Every built set of objects keeps the rules; each rule is seen to break."""

import copy
import json
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from tests.manifests.build import OPTIONS, Document, named
from tests.manifests.policy import NO_USER, violations

KUBEFLOW = ("overlays/kubeflow-standalone", "overlays/kubeflow-profile")
OVERLAYS = ("overlays/local", "overlays/production", *KUBEFLOW, *(f"overlays/{option}" for option in OPTIONS))
Built = Callable[[str], list[Document]]
Breakage = Callable[[list[Document]], object]


@pytest.mark.parametrize("folder", OVERLAYS)
def test_an_overlay_keeps_every_rule(built: Built, folder: str) -> None:
    assert [each for each in violations(built(folder)) if not (folder == "overlays/openshift" and NO_USER in each)] == []


def test_every_object_matches_its_schema(built: Built) -> None:
    documents = [document for folder in (*OVERLAYS, "base/serving") for document in built(folder)]
    distinct = {json.dumps(document, sort_keys=True): document for document in documents}  # overlays share most

    for document in distinct.values():
        if not document["apiVersion"].startswith(("external-secrets.io/", "gateway.networking.k8s.io/")):
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_no_object_is_there_twice(built: Built) -> None:
    for folder in OVERLAYS:
        names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in built(folder)]
        assert len(names) == len(set(names))


def test_a_model_server_keeps_every_rule_beside_the_platform(built: Built) -> None:
    assert violations([*built("overlays/local"), *built("base/serving")]) == []


def test_a_key_that_no_schema_knows_is_refused(built: Built) -> None:
    document = copy.deepcopy(built("overlays/local")[0])
    document["specs"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def _find(documents: list[Document], name: str) -> Any:
    return next(document for document in documents if named(document) == name)


def _pod(documents: list[Document]) -> Any:
    return _find(documents, "Deployment mlops-platform/mlflow")["spec"]["template"]["spec"]


def _server(documents: list[Document]) -> Any:
    return _pod(documents)["containers"][0]


def _remove(name: str) -> Breakage:
    return lambda documents: documents.remove(_find(documents, name))


MINIO, NAME, VERSION = "mlops-platform/minio", "app.kubernetes.io/name", "app.kubernetes.io/version"

BREAKAGES: list[tuple[Breakage, str]] = [
    (lambda d: _pod(d)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    (lambda d: _pod(d)["securityContext"].update(runAsUser=0), "may run as root"),
    (lambda d: _find(d, f"StatefulSet {MINIO}")["spec"]["template"]["spec"]["securityContext"].pop("runAsUser"), NO_USER),
    (lambda d: _pod(d)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
    (lambda d: _pod(d).pop("automountServiceAccountToken"), "a token of the Kubernetes API"),
    (lambda d: _pod(d)["initContainers"][0]["securityContext"].pop("capabilities"), "migrate: capabilities are not dropped"),
    (lambda d: _server(d)["securityContext"].pop("readOnlyRootFilesystem"), "its root can be written"),
    (lambda d: _server(d)["securityContext"].pop("allowPrivilegeEscalation"), "privileges may escalate"),
    (lambda d: _server(d)["resources"]["limits"].pop("memory"), "no limits of memory"),
    (lambda d: _server(d)["resources"].pop("requests"), "no requests of cpu"),
    (lambda d: _server(d).pop("livenessProbe"), "no livenessProbe"),
    (lambda d: _server(d).update(image="docker.io/library/x:latest"), "x:latest has no fixed tag"),
    (lambda d: _server(d).update(image="docker.io/library/x"), "library/x has no fixed tag"),
    (lambda d: _server(d).update(image="x:1"), "x:1 has no fixed tag or no registry"),
    (lambda d: _pod(d)["volumes"][1]["emptyDir"].clear(), "emptyDir tmp has no limit"),
    (lambda d: _pod(d)["volumes"][0]["configMap"].update(name="other"), "there is no ConfigMap other"),
    (_remove("Secret mlops-platform/minio-users"), "there is no Secret minio-users"),
    (_remove("Secret mlops-platform/minio-root"), "there is no Secret minio-root"),
    (_remove("ServiceAccount mlops/pipeline"), "there is no ServiceAccount pipeline"),
    (lambda d: _find(d, "Secret mlops-platform/mlflow-s3")["stringData"].popitem(), "Secret mlflow-s3 has no key"),
    (lambda d: _find(d, f"Service {MINIO}")["spec"]["selector"].update(a="b"), f"Service {MINIO}: selects no pod"),
    (lambda d: _find(d, f"Service {MINIO}")["spec"]["selector"].pop(NAME), f"Service {MINIO}: selects Deployment"),
    (lambda d: _find(d, f"StatefulSet {MINIO}")["spec"]["selector"]["matchLabels"].pop(NAME), f"StatefulSet {MINIO}: selects Deployment"),
    (lambda d: _find(d, f"StatefulSet {MINIO}")["spec"].pop("volumeClaimTemplates"), "no claim of a volume"),
    (lambda d: _find(d, f"NetworkPolicy {MINIO}")["spec"]["podSelector"]["matchLabels"].update(a="b"), "minio: selects no pod"),
    (_remove("NetworkPolicy mlops-serving/default-deny"), "Namespace /mlops-serving: no policy denies by default"),
    (lambda d: _find(d, "Namespace /mlops")["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"), "does not enforce restricted"),
    (_remove("Namespace /mlops"), "its namespace is not there"),
    (lambda d: _find(d, f"Service {MINIO}")["metadata"]["labels"].pop(NAME), f"no label {NAME}"),
    (lambda d: _find(d, "Secret mlops-platform/postgres")["metadata"]["labels"].pop(VERSION), f"postgres: no label {VERSION}"),
]


@pytest.mark.parametrize(("breakage", "sentence"), BREAKAGES, ids=[sentence for _, sentence in BREAKAGES])
def test_a_breakage_is_named(built: Built, breakage: Breakage, sentence: str) -> None:
    # given
    documents = copy.deepcopy(built("overlays/local"))
    # when
    breakage(documents)
    # then
    assert any(sentence in violation for violation in violations(documents))
