"""Constant requests to a use case's Service from a pod in the cluster, each answer checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.bundle import Bundle
from tests.cluster import driver
from tests.cluster.overlay import PIPELINE, SERVING
from tests.cluster.rig import Cluster, wait_until

PROGRAM = Path(__file__).with_name("load.py")
THREADS, RATE = 8, 50  # half of the threads keep their connections


@dataclass
class Counts:
    """What came of the requests; filled when the load has ended.

    Attributes:
        requests: How many were sent.
        reused: How many over a connection that an earlier one had opened.
        failures: How many had no right answer, by reason.
        examples: The circumstances of the first failures.
        versions: How many right answers each version gave.
        slowest: Seconds of the slowest.
        seconds: How long it lasted.
        first: When each version gave its first right answer, in seconds since 1970.
        last: And its last.
    """

    requests: int = 0
    reused: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0
    seconds: float = 0.0
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many requests had no right answer."""
        return sum(self.failures.values())


@contextmanager
def load(cluster: Cluster, usecase: str, allowed: Mapping[str, Bundle], rate: int = RATE, threads: int = THREADS) -> Iterator[Counts]:
    """Ask a use case's Service all the while, from before the block until after it.

    Args:
        cluster: Where.
        usecase: The Service's name.
        allowed: The versions that may answer, and what they hold: all of the same rows.
        rate: Requests a second.
        threads: Clients.

    Yields:
        The counts, filled at the end.
    """
    name, counts = f"load-{usecase}", Counts()
    config = {"host": f"{usecase}.{SERVING}", "port": 80, "path": f"/v2/models/{usecase}/infer", "threads": threads, "rate": rate}
    data = {"load.py": PROGRAM.read_text(), "config.json": json.dumps(config | {"body": _body(allowed), "answers": _answers(allowed)})}
    cluster.delete("pod", PIPELINE, name)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": PIPELINE}, "data": data}, _pod(cluster, name))
    try:
        wait_until(lambda: "under way" in _log(cluster, name), 90, f"pod {name}", pause=0.5)
        yield counts
        _stop(cluster, name, counts)
    finally:
        cluster.kubectl("delete", "pod", name, "-n", PIPELINE, "--grace-period=1", "--ignore-not-found", "--wait=false")
        cluster.delete("configmap", PIPELINE, name)


def _stop(cluster: Cluster, name: str, counts: Counts) -> None:
    def written() -> str:
        cluster.exec(PIPELINE, name, "sh", "-c", "kill -TERM 1")
        lines = _log(cluster, name).splitlines()
        return lines[-1] if lines and lines[-1].startswith("{") else ""

    for key, value in json.loads(wait_until(written, 60, f"the counts of {name}", pause=0.5)).items():
        setattr(counts, key, value)
    for example in counts.examples:  # shown with a test that fails
        print(example)


def _log(cluster: Cluster, name: str) -> str:
    return cluster.kubectl("logs", name, "-n", PIPELINE, check=False).out


def _pod(cluster: Cluster, name: str) -> dict[str, Any]:
    made = driver.pod(cluster, name, ["python", "/load/load.py", "/load/config.json"])
    container = made["spec"]["containers"][0]
    container["volumeMounts"].append({"name": "load", "mountPath": "/load"})
    container["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    made["spec"]["volumes"].append({"name": "load", "configMap": {"name": name}})
    return made


def _body(allowed: Mapping[str, Bundle]) -> str:
    bundles = list(allowed.values())
    rows = bundles[0].golden.rows
    assert all(bundle.golden.rows == rows for bundle in bundles), "the versions must answer the same rows"
    inputs = [
        {"name": item.name, "shape": [len(rows)], "datatype": item.datatype, "data": [row[item.name] for row in rows]}
        for item in bundles[0].manifest.inputs
    ]
    return json.dumps({"inputs": inputs})


def _answers(allowed: Mapping[str, Bundle]) -> dict[str, dict[str, list[Any]]]:
    return {version: _golden(bundle) for version, bundle in allowed.items()}


def _golden(bundle: Bundle) -> dict[str, list[Any]]:
    proba = bundle.golden.predict_proba
    return {"predict": list(bundle.golden.predict)} | ({"predict_proba": [value for row in proba for value in row]} if proba else {})
