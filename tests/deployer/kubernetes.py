"""The contract's bench in a cluster: a Deployment a release."""

from __future__ import annotations

from dataclasses import dataclass

from core.registry import Version
from tests.cluster import versions
from tests.cluster.driver import Background, Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Ended, wait_until
from tests.cluster.serving import INSTANCE, NAME
from tests.deployer.contract import Refused

ASK = """
import sys, requests
try:
    print(requests.get(f"http://{sys.argv[1]}/v2/models/{sys.argv[2]}", timeout=5).headers["x-model-version"])
except requests.RequestException:
    pass
"""


@dataclass
class Begun:
    """The deployer in the background of the driver."""

    job: Background

    def finish(self) -> None:
        """Wait for its end."""
        _required(self.job.wait(120))

    def kill(self) -> None:
        """Kill the deployer."""
        self.job.kill()


@dataclass
class ClusterBench:
    """One use case in the cluster."""

    driver: Driver
    name: str

    def publish(self, judged_against: str = "", right: bool = True) -> Version:
        """Register a version."""
        content = versions.bundle(self.name)
        return versions.publish(self.name, judged_against=judged_against, like=content if right else versions.wrong(content)).version

    def deploy(self, version: str, reason: str = "") -> None:
        """Deploy in the driver."""
        _required(self.driver.deploy("deploy", self.name, version, "--reason", reason))

    def begin(self, version: str) -> Begun:
        """Deploy in the background, and wait until the new release's Deployment is there."""
        job = self.driver.start("python", "-m", "components.deploy", "deploy", self.name, version)
        label = f"{NAME}={self.name},app.kubernetes.io/version={version}"
        wait_until(lambda: job.ended() or self.driver.cluster.names("deployment", SERVING, label), 60, "the new Deployment")
        return Begun(job)

    def resume(self) -> str:
        """Put in order what is there."""
        return self._said("resume").splitlines()[-1]

    def rollback(self) -> None:
        """Go back to the champion before."""
        self._said("rollback")

    def history(self) -> str:
        """What served when."""
        return self._said("history")

    def status(self) -> str:
        """What serves."""
        return self._said("status")

    def answering(self) -> str:
        """The version that answers through the Service."""
        return self.driver.python(ASK, f"{self.name}.{SERVING}", self.name).out.strip()

    def servers(self) -> set[str]:
        """The Deployments, each by its name and the id that it got when it was made."""
        found = self.driver.cluster.find("deployment", SERVING, f"{NAME}={self.name}")
        return {f"{item['metadata']['labels'][INSTANCE]}/{item['metadata']['uid']}" for item in found}

    def end_servers(self) -> None:
        """Delete the Deployments."""
        self.driver.cluster.delete("deployment", SERVING, *(each.partition("/")[0] for each in self.servers()))

    def _said(self, command: str) -> str:
        return _required(self.driver.deploy(command, self.name)).out.strip()


def _required(ended: Ended) -> Ended:
    if ended.code:
        raise Refused(ended.err)
    return ended
