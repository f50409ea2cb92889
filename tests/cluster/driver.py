"""A pod in the pipelines' namespace that is as a step's: same image, ServiceAccount, environment and NetworkPolicies."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.images import DRIVER
from tests.cluster.overlay import PIPELINE
from tests.cluster.rig import Cluster, Ended, Object, wait_until

SOURCE = os.environ.get("MLOPS_TEST_SOURCE", "")  # a checkout whose code the driver runs in place of the image's
SHIPPED = ("components", "core", "serving", "usecases", "local", "k8s/base/serving")


@dataclass(frozen=True)
class Driver:
    """Where tests run the deployer, and small programs."""

    cluster: Cluster
    pod: str
    folder: str

    def run(self, *command: str, environment: Mapping[str, str] | None = None, seconds: float = 400) -> Ended:
        """Run a command to its end: `driver.run("python", "-m", "components.deploy", "status", "flights")`."""
        return self.cluster.exec(PIPELINE, self.pod, *self._line(command, environment), seconds=seconds)

    def deploy(self, *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 400) -> Ended:
        """Run an operator's command: `driver.deploy("rollback", "flights")`."""
        return self.run("python", "-m", "components.deploy", *arguments, environment=environment, seconds=seconds)

    def python(self, program: str, *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 120) -> Ended:
        """Run a small program."""
        return self.run("python", "-c", program, *arguments, environment=environment, seconds=seconds)

    @contextmanager
    def background(self, *command: str, environment: Mapping[str, str] | None = None) -> Iterator[Background]:
        """Run a command in the background; it is killed at the end."""
        job = self.start(*command, environment=environment)
        try:
            yield job
        finally:
            job.kill()

    def start(self, *command: str, environment: Mapping[str, str] | None = None) -> Background:
        """Start a command in the background, where it also outlives a restart of the API server."""
        job = Background(self, f"/tmp/job-{os.urandom(4).hex()}")
        line = shlex.join(self._line(command, environment))
        script = f"({line} >{job.path}.out 2>{job.path}.err & echo $! >{job.path}.pid; wait $!; echo $? >{job.path}.code) >/dev/null 2>&1 &"
        started = self.cluster.exec(PIPELINE, self.pod, "sh", "-c", script)
        assert started.code == 0, started.err
        return job

    def read(self, path: str) -> str:
        """Read a file of the pod, empty if it is not there."""
        return self.cluster.exec(PIPELINE, self.pod, "cat", path).out

    def _line(self, command: tuple[str, ...], environment: Mapping[str, str] | None) -> list[str]:
        set_first = [f"{key}={value}" for key, value in ({"PYTHONPATH": f"{self.folder}:/opt/spark"} | dict(environment or {})).items()]
        return ["env", f"--chdir={self.folder}", *set_first, *command]


@dataclass(frozen=True)
class Background:
    """A command in the background of the driver."""

    driver: Driver
    path: str

    def ended(self) -> Ended | None:
        """What came of it, None while it runs."""
        code = self.driver.read(f"{self.path}.code").strip()
        return Ended(int(code), self.driver.read(f"{self.path}.out"), self.driver.read(f"{self.path}.err")) if code else None

    def wait(self, seconds: float) -> Ended:
        """Wait for its end."""
        wait_until(self.ended, seconds, "the end of a command in the driver")
        ended = self.ended()
        assert ended
        return ended

    def kill(self) -> None:
        """Kill it, without a chance to clear up."""
        self.driver.cluster.exec(PIPELINE, self.driver.pod, "sh", "-c", f"kill -9 $(cat {self.path}.pid)")


@contextmanager
def started(cluster: Cluster, name: str, service_account: str = "", spark: str = "") -> Iterator[Driver]:
    """Start a driver, of the template of every Job that the command line starts.

    Args:
        cluster: Where.
        name: Of the pod.
        service_account: Another ServiceAccount than the steps', which must be there; it has no token of the deployer.
        spark: The image with Spark, for a driver of executors.
    """
    cluster.delete("pod", PIPELINE, name)
    cluster.apply(_pod(cluster, name, service_account, spark))
    try:
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", PIPELINE, "--timeout=120s")
        yield Driver(cluster, name, _ship(cluster, name) if SOURCE else "/app")
    finally:
        cluster.kubectl("delete", "pod", name, "-n", PIPELINE, "--grace-period=1", "--ignore-not-found", "--wait=false")


def pod(cluster: Cluster, name: str, command: list[str]) -> Object:
    """Give a pod of the template of every Job that the command line starts, with another command."""
    cronjob = cluster.get("cronjob", PIPELINE, "mlops")
    assert cronjob, "the CronJob mlops is missing"
    template = cronjob["spec"]["jobTemplate"]["spec"]["template"]
    container = template["spec"]["containers"][0]
    container |= {"command": command, "env": [{"name": "IMAGE", "value": container["image"]}]}
    metadata = {"name": name, "namespace": PIPELINE, "labels": template["metadata"].get("labels", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _pod(cluster: Cluster, name: str, service_account: str, spark: str) -> Object:
    made = pod(cluster, name, ["sleep", "infinity"])
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "50m"  # there may be several on a small node
    if service_account:
        made["spec"]["serviceAccountName"] = service_account
        for items in (made["spec"]["volumes"], made["spec"]["containers"][0]["volumeMounts"]):
            items[:] = [item for item in items if item["name"] != "deployer"]
    if spark:
        made["metadata"]["labels"] |= DRIVER
        made["spec"]["containers"][0] |= {"image": spark, "env": [{"name": "SPARK_IMAGE", "value": spark}]}
    return made


def _ship(cluster: Cluster, pod: str) -> str:
    """Put the code of SOURCE into the pod."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for part in SHIPPED:
            tar.add(Path(SOURCE, part), part, filter=lambda item: None if "__pycache__" in item.name else item)
    unpacked = cluster.exec(PIPELINE, pod, "sh", "-c", "mkdir -p /tmp/code && tar -x -C /tmp/code", stdin=archive.getvalue())
    assert unpacked.code == 0, unpacked.err
    return "/tmp/code"
