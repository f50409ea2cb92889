"""Brings releases into service on Kubernetes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from components.deploy.agreement import is_version
from components.deploy.cluster import images, objects, rollout
from components.deploy.cluster.lease import Lease, held
from components.deploy.cluster.objects import PREFIX, Release
from components.deploy.cluster.ownership import require_own
from components.deploy.cluster.routes import Routes
from components.deploy.cluster.served import Served
from core import cluster
from core.cluster import Object
from core.errors import UserError
from core.registry import Version

if TYPE_CHECKING:
    from core.config import Serving

SWITCH_SECONDS = 15  # until the Service's new selector is in force on this node
SINCE, RUN, DIGEST, VERSION = "mlops/since", "mlops/run", "mlops/digest", "mlops/version"


class ClusterDeployer:
    """A Deployment a release, and one Service whose selector names the release that gets the traffic."""

    def __init__(self, name: str, serving: "Serving | None" = None) -> None:
        cluster.act_as(Path(cluster.TOKEN_FOLDER))
        self.name, self.resources, self.settings = name, serving, objects.settings()
        self.namespace = self.settings.namespace
        self._routes = Routes(name, self.settings)
        self._address = f"http://{self.name}.{self.namespace}.svc.cluster.local"
        self._lease: Lease | None = None

    @contextmanager
    def change(self) -> Iterator[None]:
        """Let one deployer at a time change what serves the use case: it holds the use case's Lease."""
        with held(self.namespace, self.name, 2 * self.settings.timeout_seconds) as self._lease:
            yield
        self._lease = None

    def serving(self) -> Served | None:
        """Return the release that the Service names."""
        try:
            selected = cluster.get("Service", self.namespace, self.name)["spec"]["selector"][f"{PREFIX}/instance"]
            return self._served(cluster.get("Deployment", self.namespace, selected))
        except (cluster.Gone, KeyError):
            return None

    def start(self, version: Version) -> Served:
        """Bring a release up beside what serves; it gets no traffic yet.

        Raises:
            UserError: Its servers do not come, with the reason.
        """
        from core.config import Serving

        for kind in objects.A_USECASE:
            require_own(kind, self.namespace, self.name)  # before anything is made
        self._routes.require()
        release = Release(version, self._image(version), self.resources or Serving(), self.settings)
        for shared in (objects.account(self.name, self.settings), objects.network_policy(self.name, self.settings)):
            cluster.apply(shared)
        deployment = cluster.apply(release.deployment(self._replicas(release)))
        for own in (release.autoscaler(), release.disruption_budget()):
            cluster.apply(own)
        rollout.wait(deployment, release.labels, self.settings.timeout_seconds, self._require)
        self._refuse_strangers(release)
        return replace(self._served(deployment), run=version.run)

    def switch(self, served: Served) -> None:
        """Give a release the traffic, in one step, and wait until that is in force."""
        self._require()
        require_own("Service", self.namespace, self.name)
        cluster.apply(objects.service(self.name, served.release, self.settings))
        self._routes.apply()
        end = time.monotonic() + SWITCH_SECONDS
        while self._answering() != served.version and time.monotonic() < end:
            time.sleep(0.2)

    def take_back(self, before: Served | None) -> None:
        """Let the traffic go where it went before, and remove whatever else there is."""
        now = self.serving()
        if before and (now is None or now.release != before.release):
            self.switch(before)
        self._require()
        self._remove_others(before.release if before else "")
        if before is None:
            self._routes.remove()
            for kind in objects.A_USECASE:
                require_own(kind, self.namespace, self.name)
                cluster.delete(kind, self.namespace, self.name)

    def settle(self, served: Served) -> None:
        """Note on the Deployment what it proved to be, and remove the release before."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        deployment = cluster.get("Deployment", self.namespace, served.release)
        if SINCE not in deployment["metadata"].get("annotations", {}):
            cluster.annotate(deployment, {VERSION: served.version, DIGEST: served.digest, RUN: served.run, SINCE: now})
        service = cluster.get("Service", self.namespace, self.name)
        cluster.annotate(service, images.noted(service, served.version, images.Image(served.image, served.digest)))
        self._remove_others(served.release)

    def count(self, served: Served) -> str:
        """Say how many servers a release has."""
        deployment = cluster.get("Deployment", self.namespace, served.release)
        return f"{deployment.get('status', {}).get('availableReplicas', 0)} of {deployment['spec']['replicas']} servers"

    def _image(self, version: Version) -> str:
        """Return the image for a version: of its servers if it serves, which a killed deployment may not have noted yet."""
        now = self.serving()
        if now and is_version(now, version):
            before = now.image
        else:
            try:
                before = images.served(cluster.get("Service", self.namespace, self.name), version)
            except cluster.Gone:
                before = ""
        return images.choose(version, before, self.settings.images)

    def _require(self) -> None:
        if self._lease:
            self._lease.require()

    def _replicas(self, release: Release) -> int:
        """As many servers as the release has; a new one gets as many as the one before, which its HorizontalPodAutoscaler knows how to change."""
        before = self.serving()
        for name in (release.name, before.release if before else ""):
            try:
                if name:
                    return max(self.settings.min_replicas, int(cluster.get("Deployment", self.namespace, name)["spec"]["replicas"]))
            except cluster.Gone:
                continue
        return self.settings.min_replicas

    def _served(self, deployment: Object) -> Served:
        release = deployment["metadata"]["name"]
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        values = {item["name"]: item.get("value", "") for item in container["env"]}
        return Served(
            self.name, values["MODEL_VERSION"], values["MODEL_URI"], values["MODEL_DIGEST"], release,
            self._address,
            tuple(f"http://{pod['status']['podIP']}:8080" for pod in self._pods(release) if _is_ready(pod)),
            deployment["metadata"].get("annotations", {}).get(SINCE, ""),
            image=container["image"],
        )  # fmt: skip

    def _pods(self, release: str) -> list[Object]:
        return cluster.find("Pod", self.namespace, objects.labels(self.name, release))

    def _refuse_strangers(self, release: Release) -> None:
        """Refuse a release whose traffic would also go to another Deployment's pods."""
        for pod in self._pods(release.name):
            owner = next((owner["name"] for owner in pod["metadata"].get("ownerReferences", [])), "nobody")
            if owner.rpartition("-")[0] != release.name:
                raise UserError(
                    f"the Service {self.name} would also send requests to pod {pod['metadata']['name']} of {owner}, which has the same labels: "
                    f"remove it, or give it other labels than {release.labels}"
                )

    def _answering(self) -> str:
        """Return the version that answers through the Service."""
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(f"{self._address}/v2/models/{self.name}", timeout=2).headers["x-model-version"]
            except (requests.RequestException, KeyError):
                return ""

    def _remove_others(self, release: str) -> None:
        for deployment in cluster.find("Deployment", self.namespace, objects.labels(self.name)):
            name = deployment["metadata"]["name"]
            if name != release and objects.is_release(self.name, name):
                for kind in objects.A_RELEASE:
                    cluster.delete(kind, self.namespace, name)


def _is_ready(pod: Object) -> bool:
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in pod["status"].get("conditions", []))
    return ready and "deletionTimestamp" not in pod["metadata"]
