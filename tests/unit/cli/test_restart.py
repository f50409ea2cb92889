"""Which servers run with an old password."""

from typing import Any

import pytest

from cli.restart import outdated_pods

OLD, NOW, NEW = "2026-11-30T09:59:59Z", "2026-11-30T10:00:00Z", "2026-11-30T10:00:01Z"
FROM_KEY = {"containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]}]}
FROM_ALL = {"containers": [{}], "initContainers": [{"envFrom": [{"secretRef": {"name": "keys"}}]}]}
FROM_FILES = {"containers": [{}], "volumes": [{"name": "files", "secret": {"secretName": "keys"}}]}
OURS = {"app.kubernetes.io/part-of": "mlops"}


def _pod(spec: dict[str, Any], owner: str = "StatefulSet", labels: dict[str, str] = OURS, **more: str) -> dict[str, Any]:
    metadata = {"namespace": "a", "name": "pod", "creationTimestamp": NOW, "labels": labels, **more}
    return {"kind": "Pod", "metadata": metadata | {"ownerReferences": [{"kind": owner, "name": "o"}]}, "spec": spec}


def _secret(changed: str, namespace: str = "a", name: str = "keys") -> dict[str, Any]:
    fields = [{"manager": "kubectl", "time": OLD}, {"manager": "vault", "time": changed}]
    return {"kind": "Secret", "metadata": {"namespace": namespace, "name": name, "managedFields": fields}}


@pytest.mark.parametrize("spec", [FROM_KEY, FROM_ALL, FROM_FILES], ids=["one key", "all keys", "files"])
def test_pod_older_than_its_secret_is_outdated(spec: dict[str, Any]) -> None:
    pod = _pod(spec)

    assert outdated_pods([pod, _secret(NEW)]) == [pod]
    assert outdated_pods([pod, _secret(NOW)]) == []


@pytest.mark.parametrize(
    ("pod", "secret"),
    [
        pytest.param(_pod(FROM_KEY), _secret(NEW, namespace="b"), id="of another namespace"),
        pytest.param(_pod(FROM_KEY), _secret(NEW, name="other"), id="of another name"),
        pytest.param(_pod(FROM_KEY, owner="Job"), _secret(NEW), id="a run"),
        pytest.param(_pod(FROM_KEY, labels={}), _secret(NEW), id="not ours"),
        pytest.param(_pod(FROM_KEY, deletionTimestamp=NEW), _secret(NEW), id="ending already"),
    ],
)
def test_other_pods_are_left_alone(pod: dict[str, Any], secret: dict[str, Any]) -> None:
    assert outdated_pods([pod, secret]) == []
