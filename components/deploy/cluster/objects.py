"""The objects of a release, made of the files in k8s/base/serving: names, labels, image, version and replicas are set here, all else stands there."""

import copy
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from core.cluster import Object
from core.errors import UserError
from core.pod_template import merged, pod_template
from core.registry import Version
from core.resources import requests

if TYPE_CHECKING:
    from core.config import Serving

FOLDER = Path(__file__).resolve().parents[3] / "k8s" / "base" / "serving"
PREFIX = "app.kubernetes.io"
A_RELEASE = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")  # the kinds of which each release has its own
BUSY = 40  # percent of its CPU limit that a server uses when another one is started
A_USECASE = ("NetworkPolicy", "ServiceAccount", "Service")


@dataclass(frozen=True)
class Settings:
    """What the operators decide for all use cases, by the ConfigMap `mlops` of the pipelines' namespace.

    Attributes:
        namespace: Where the models are served.
        min_replicas: Fewest servers of a use case.
        max_replicas: Most servers of a use case.
        min_ready_seconds: How long a new server is watched before it gets traffic.
        timeout_seconds: How long a rollout may take.
        service_type: ClusterIP, or LoadBalancer for addresses outside the cluster.
        grpc_port: Where the servers listen for gRPC beside HTTP, 0 for not at all.
        account_annotations: Of the servers' ServiceAccounts, such as the role of a cloud by which they read object storage.
        pipeline_namespace: Namespace of the deploy step, whose pods may ask the servers for their golden rows.
        images: Repositories whose images may serve; empty for the one of the deploy step's own image.
        pod_template: What the overlay sets in all pods.
    """

    namespace: str
    min_replicas: int
    max_replicas: int
    min_ready_seconds: int
    timeout_seconds: int
    service_type: str
    grpc_port: int = 0
    account_annotations: Mapping[str, str] = field(default_factory=dict)
    pipeline_namespace: str = "mlops"
    images: tuple[str, ...] = ()
    pod_template: Object = field(default_factory=dict)


def settings() -> Settings:
    """Read the settings from the environment."""
    return Settings(
        os.environ.get("SERVING_NAMESPACE") or _serving_namespace(),
        _number("SERVING_MIN_REPLICAS", 1),
        _number("SERVING_MAX_REPLICAS", 3),
        _number("SERVING_MIN_READY_SECONDS", 10, least=0),
        _number("SERVING_TIMEOUT_SECONDS", 300),
        os.environ.get("SERVING_SERVICE_TYPE") or "ClusterIP",
        _number("SERVING_GRPC_PORT", 0, least=0),
        annotations("SERVING_ACCOUNT_ANNOTATIONS"),
        _own_namespace() or Settings.pipeline_namespace,
        tuple(os.environ.get("SERVING_IMAGES", "").split()),
        pod_template(),
    )


class Release:
    """One version with all that it runs by; the same content has the same name."""

    def __init__(self, version: Version, image: str, serving: "Serving", settings: Settings) -> None:
        self.usecase, self.version, self.settings = version.name, version.version, settings
        self._serving, self._template = serving, _deployment(version, image, serving, settings)
        content = json.dumps(self._template, sort_keys=True).encode()
        self.name = f"{version.name}-v{version.version}-{hashlib.sha256(content).hexdigest()[:6]}"

    @property
    def labels(self) -> dict[str, str]:
        """By which its pods are known."""
        return labels(self.usecase, self.name)

    def deployment(self, replicas: int) -> Object:
        """Return the Deployment."""
        made = copy.deepcopy(self._template)
        made["spec"]["replicas"] = replicas
        made["spec"]["selector"] = {"matchLabels": self.labels}
        pod = made["spec"]["template"]
        own = self.labels | {f"{PREFIX}/part-of": "mlops", f"{PREFIX}/version": self.version}
        pod["metadata"]["labels"] = pod["metadata"].get("labels", {}) | own
        for constraint in pod["spec"]["topologySpreadConstraints"]:
            constraint["labelSelector"] = {"matchLabels": self.labels}
        return self._named(made)

    def autoscaler(self) -> Object:
        """Return the HorizontalPodAutoscaler."""
        made = manifest("horizontalpodautoscaler")
        made["spec"] |= {"minReplicas": self.settings.min_replicas, "maxReplicas": self.settings.max_replicas}
        made["spec"]["scaleTargetRef"]["name"] = self.name
        target = made["spec"]["metrics"][0]["resource"]["target"]
        target["averageUtilization"] = round(BUSY / self._serving.requests)
        return self._named(made)

    def disruption_budget(self) -> Object:
        """Return the PodDisruptionBudget."""
        made = manifest("poddisruptionbudget")
        made["spec"]["selector"] = {"matchLabels": self.labels}
        return self._named(made)

    def _named(self, made: Object) -> Object:
        made["metadata"] = {
            "name": self.name,
            "namespace": self.settings.namespace,
            "labels": self.labels | {f"{PREFIX}/part-of": "mlops", f"{PREFIX}/version": self.version},
        }
        return made


def labels(usecase: str, release: str = "") -> dict[str, str]:
    """Return the labels by which the pods of a use case, or of one release, are selected."""
    return {f"{PREFIX}/name": usecase, f"{PREFIX}/component": "serving"} | ({f"{PREFIX}/instance": release} if release else {})


def is_release(usecase: str, name: str) -> bool:
    """Whether a Deployment of this name is one of ours."""
    return bool(re.fullmatch(f"{usecase}-v[0-9]+-[0-9a-f]{{6}}", name))


def service(usecase: str, release: str, settings: Settings) -> Object:
    """Return the Service, with its traffic going to a release."""
    made = manifest("service")
    made["spec"] |= {"selector": labels(usecase, release), "type": settings.service_type}
    if settings.grpc_port:
        made["spec"]["ports"].append({"name": "grpc", "port": settings.grpc_port, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"})
    return shared(made, usecase, settings)


def account(usecase: str, settings: Settings) -> Object:
    """Return the ServiceAccount of a use case's servers."""
    made = shared(manifest("serviceaccount"), usecase, settings)
    if settings.account_annotations:
        made["metadata"]["annotations"] = dict(settings.account_annotations)
    return made


def network_policy(usecase: str, settings: Settings) -> Object:
    """Return the NetworkPolicy of a use case's servers."""
    made = manifest("networkpolicy")
    made["spec"]["podSelector"] = {"matchLabels": labels(usecase)}
    deployer = made["spec"]["ingress"][0]["from"][0]["namespaceSelector"]
    deployer["matchLabels"]["kubernetes.io/metadata.name"] = settings.pipeline_namespace
    return shared(made, usecase, settings)


def manifest(kind: str) -> Object:
    """Read an object of k8s/base/serving."""
    made: Object = yaml.safe_load((FOLDER / f"{kind}.yaml").read_text())
    return made


def shared(made: Object, usecase: str, settings: Settings) -> Object:
    """Give an object the name and labels of a use case."""
    made["metadata"] = {"name": usecase, "namespace": settings.namespace, "labels": labels(usecase) | {f"{PREFIX}/part-of": "mlops"}}
    return made


def _deployment(version: Version, image: str, serving: "Serving", settings: Settings) -> Object:
    """Return the Deployment without what is named after it."""
    made = manifest("deployment")
    made["spec"] |= {"minReadySeconds": settings.min_ready_seconds, "progressDeadlineSeconds": settings.timeout_seconds + settings.min_ready_seconds}
    made["spec"]["template"] = merged(made["spec"]["template"], settings.pod_template)
    pod = made["spec"]["template"]["spec"]
    pod["serviceAccountName"] = version.name
    container = pod["containers"][0]
    container["image"] = image
    container["resources"]["limits"] |= {"cpu": serving.cpu, "memory": serving.memory}
    container["resources"]["requests"] |= requests(serving.cpu, serving.memory, serving.requests)
    values = {"MODEL_NAME": version.name, "MODEL_VERSION": version.version, "MODEL_URI": version.uri, "MODEL_DIGEST": version.digest}
    values |= serving.variables
    for variable in container["env"]:
        if variable["name"] in values:
            variable["value"] = values[variable["name"]]
    if settings.grpc_port:
        container["env"].append({"name": "GRPC_PORT", "value": str(settings.grpc_port)})
        container["ports"].append({"name": "grpc", "containerPort": settings.grpc_port})
    return made


def _number(name: str, default: int, least: int = 1) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name}={text} is not a whole number from {least} on: correct it in the ConfigMap mlops")
    return int(text)


def annotations(name: str) -> dict[str, str]:
    """Read annotations, a YAML map of texts, from the environment."""
    text = os.environ.get(name, "")
    try:
        value = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        value = text
    if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise UserError(f"{name}={text} is not a map of texts such as {{example.com/key: 'value'}}: correct it in the ConfigMap mlops")
    return value


def _serving_namespace() -> str:
    namespace = _own_namespace()
    if not namespace:
        raise UserError("no namespace to serve in: set SERVING_NAMESPACE")
    return namespace


def _own_namespace() -> str:
    """Return the namespace of this pod, empty outside a cluster."""
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return path.read_text().strip() if path.exists() else ""
