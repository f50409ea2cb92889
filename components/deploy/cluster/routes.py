"""The route to a use case from outside the cluster: an HTTPRoute of the Gateway API, an Ingress, or none."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from components.deploy.cluster import objects
from components.deploy.cluster.ownership import require_own
from core import cluster
from core.cluster import Object
from core.errors import UserError

KINDS = ("HTTPRoute", "Ingress")
PUBLIC_PATHS = ("/invocations", "/v1/models", "/v2/models")  # predictions, and what describes the model
ANSWER_SECONDS = 10  # until the Gateway has answered to a new route
ROLE = "deployer-routes"  # of k8s/components/routes
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = rf"{LABEL}(\.{LABEL})*"  # a DNS subdomain: of hosts, and of objects
CORRECT = "correct it in the ConfigMap mlops"


@dataclass(frozen=True)
class Outside:
    """How models are reached from outside the cluster, by the ConfigMap `mlops` of the pipelines' namespace.

    Attributes:
        kind: HTTPRoute or Ingress.
        host: The host name of all use cases.
        paths: What is public below `/<use case>`, each with all that is below it.
        gateway: Namespace and name of an HTTPRoute's Gateway, and the name of its listener; without that, all listeners.
        ingress_class: Of an Ingress, empty for the cluster's default.
        tls_secret: An Ingress's certificate, empty for the controller's own.
        annotations: For the controller.
    """

    kind: str
    host: str
    paths: tuple[str, ...] = PUBLIC_PATHS
    gateway: tuple[str, ...] = ()
    ingress_class: str = ""
    tls_secret: str = ""
    annotations: Mapping[str, str] | None = None


class Routes:
    """The route of one use case."""

    def __init__(self, usecase: str, settings: objects.Settings) -> None:
        self.usecase, self.settings, self.outside = usecase, settings, outside()

    def require(self) -> None:
        """Refuse before anything is changed what could not be made later.

        Raises:
            UserError: The cluster has no such routes, or this one belongs to somebody else.
        """
        if self.outside is None:
            return
        kind = self.outside.kind
        try:
            require_own(kind, self.settings.namespace, self.usecase)
            cluster.apply(route(self.usecase, self.outside, self.settings), dry_run=True)
        except cluster.Gone as error:
            raise UserError(f"the cluster has no {kind}: install the Gateway API, or set SERVING_ROUTE=Ingress in the ConfigMap mlops") from error
        except cluster.Forbidden as error:
            refused = str(error).partition(": ")[0]
            raise UserError(f"{refused}: SERVING_ROUTE={kind} needs the Role {ROLE}: apply k8s/components/routes, and bind its Role") from error

    def apply(self) -> None:
        """Let the route be as the settings say, and remove one of another kind."""
        for kind in KINDS:
            if self.outside is None or kind != self.outside.kind:
                self._remove(kind)
        if self.outside:
            cluster.apply(route(self.usecase, self.outside, self.settings))
            print(f"{self.usecase}: {self._refusal() or f'reached at https://{self.outside.host}/{self.usecase}'}", flush=True)

    def remove(self) -> None:
        """Remove the route, if there is one."""
        for kind in KINDS:
            self._remove(kind)

    def _refusal(self) -> str:
        """Wait until the Gateway takes the route; say why if it does not. An Ingress has no such answer."""
        if self.outside is None or self.outside.kind != "HTTPRoute":
            return ""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            found = cluster.get("HTTPRoute", self.settings.namespace, self.usecase)
            conditions = list(_conditions(found))
            if conditions and all(each["status"] == "True" for each in conditions):
                return ""
            if time.monotonic() > end:
                gateway = "/".join(self.outside.gateway)
                refused = next((each for each in conditions if each["status"] != "True"), {"reason": "it does not answer"})
                said = ": ".join(filter(None, (refused["reason"], refused.get("message"))))
                return f"not reached from outside, the Gateway {gateway} does not take its HTTPRoute ({said}): correct SERVING_GATEWAY or the Gateway"
            time.sleep(0.5)

    def _remove(self, kind: str) -> None:
        try:
            for each in cluster.find(kind, self.settings.namespace, objects.labels(self.usecase)):
                cluster.delete(kind, self.settings.namespace, each["metadata"]["name"])
        except (cluster.Gone, cluster.Forbidden):
            return  # without the Gateway API, or without the Role, there never was one


def _conditions(httproute: Object) -> Iterator[Object]:
    """Yield what Gateways say of a route as it is now."""
    for parent in httproute.get("status", {}).get("parents", []):
        for each in parent["conditions"]:
            if each["type"] in ("Accepted", "ResolvedRefs") and each.get("observedGeneration") == httproute["metadata"]["generation"]:
                yield each


def route(usecase: str, outside: Outside, settings: objects.Settings) -> Object:
    """Return the HTTPRoute or Ingress of a use case."""
    made = objects.manifest(outside.kind.lower())
    paths = [f"/{usecase}{path.rstrip('/')}" for path in outside.paths]
    spec = made["spec"]
    rule = spec["rules"][0]
    if outside.kind == "HTTPRoute":
        spec["hostnames"] = [outside.host]
        spec["parentRefs"][0] |= dict(zip(("namespace", "name", "sectionName"), outside.gateway, strict=False))
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": path}} for path in paths]
        rule["backendRefs"][0]["name"] = usecase
    else:
        spec |= {"ingressClassName": outside.ingress_class} if outside.ingress_class else {}
        spec["tls"] = [{"hosts": [outside.host]} | ({"secretName": outside.tls_secret} if outside.tls_secret else {})]
        rule["host"] = outside.host
        (entry,) = rule["http"]["paths"]
        entry["backend"]["service"]["name"] = usecase
        rule["http"]["paths"] = [entry | {"path": path} for path in paths]
    made = objects.shared(made, usecase, settings)
    made["metadata"] |= {"annotations": dict(outside.annotations)} if outside.annotations else {}
    return made


def outside() -> Outside | None:
    """Read the settings from the environment; None if nothing is to be reached from outside.

    Raises:
        UserError: A setting is wrong, or missing.
    """
    kind = os.environ.get("SERVING_ROUTE") or "none"
    if kind == "none":
        return None
    if kind not in KINDS:
        raise UserError(f"SERVING_ROUTE={kind} is none of none, {', '.join(KINDS)}: {CORRECT}")
    host = _matching("SERVING_HOST", NAME, "a host name such as models.example.com", required=True)
    annotations = objects.annotations("SERVING_ROUTE_ANNOTATIONS")
    if kind == "HTTPRoute":
        gateway = _matching("SERVING_GATEWAY", rf"{LABEL}/{NAME}(/{NAME})?", "a Gateway such as infra/public/https", required=True)
        return Outside(kind, host, _paths(), tuple(gateway.split("/")), annotations=annotations)
    ingress_class = _matching("SERVING_INGRESS_CLASS", NAME, "an IngressClass such as traefik")
    secret = _matching("SERVING_TLS_SECRET", NAME, "the name of a Secret")
    return Outside(kind, host, _paths(), ingress_class=ingress_class, tls_secret=secret, annotations=annotations)


def _matching(name: str, pattern: str, what: str, *, required: bool = False) -> str:
    text = os.environ.get(name, "").strip()
    if (text or required) and not re.fullmatch(pattern, text):
        raise UserError(f"{name}={text} is not {what}: {CORRECT}")
    return text


def _paths() -> tuple[str, ...]:
    paths = tuple(os.environ.get("SERVING_PUBLIC_PATHS", "").replace(",", " ").split()) or PUBLIC_PATHS
    for path in paths:
        if not re.fullmatch(r"(/[A-Za-z0-9_:-][A-Za-z0-9._:-]*)+|/", path):
            raise UserError(f"SERVING_PUBLIC_PATHS={path} is not a path such as /invocations: {CORRECT}")
    return paths
