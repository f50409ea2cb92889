"""A Kubernetes for tests: the one that KUBECONFIG names, else the rig beside the checkout, if it is up."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from core import processes

T = TypeVar("T")
Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
RIG = "MLOPS_TEST_RIG"  # the rig's folder, when it is not beside the checkout
BESIDE = ROOT.parent / "shared" / "cluster"
SAID_BY_KUBECTL = re.compile(r"command terminated with exit code \d+\n$")
STATE = '. "$1/env.sh" && alive holder init.sh && echo "$KUBECONFIG" && echo "$BIN"'


class Missing(Exception):
    """There is no cluster, with the sentence that says what to do."""


class Ended(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cluster:
    """A cluster, by its kubectl.

    Attributes:
        kubectl_command: kubectl's path.
        environment: With the right KUBECONFIG.
        rig: The folder of the rig's commands, None for any other cluster.
    """

    kubectl_command: str
    environment: Mapping[str, str] = field(repr=False)
    rig: Path | None

    @property
    def path(self) -> str:
        """A PATH with this kubectl before all others."""
        return f"{Path(self.kubectl_command).parent}{os.pathsep}{self.environment['PATH']}"

    def kubectl(self, *arguments: str, stdin: str | bytes | None = None, check: bool = True, seconds: float = 180) -> Ended:
        """Run kubectl to its end; a refusal fails the test unless `check` is False."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run([self.kubectl_command, *arguments], input=data, env=dict(self.environment), capture_output=True, timeout=seconds)
        ended = Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert not check or ended.code == 0, f"kubectl {' '.join(arguments)}: {ended.err or ended.out}"
        return ended

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start kubectl and leave it running."""
        return subprocess.Popen([self.kubectl_command, *arguments], env=dict(self.environment), **options)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Read one object, None if it is not there."""
        found = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found").out
        return json.loads(found) if found.strip() else None

    def find(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """List objects; `selector` is kubectl's: `app.kubernetes.io/name=minio`."""
        chosen = ("-l", selector) if selector else ()
        items: list[Object] = json.loads(self.kubectl("get", kind, "-n", namespace, *chosen, "-o", "json").out)["items"]
        return items

    def names(self, kind: str, namespace: str, selector: str = "") -> list[str]:
        """List the names of objects."""
        return sorted(item["metadata"]["name"] for item in self.find(kind, namespace, selector))

    def apply(self, *manifests: Object) -> None:
        """Apply objects as an administrator would."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=tests", "-f", "-", stdin=json.dumps(document))

    def delete(self, kind: str, namespace: str, *names: str, wait: bool = True) -> None:
        """Delete objects, if they are there, and wait until they are gone."""
        if names:
            self.kubectl("delete", kind, *names, "-n", namespace, "--ignore-not-found", f"--wait={str(wait).lower()}")

    def patch(self, kind: str, namespace: str, name: str, change: Object) -> None:
        """Merge a change into an object."""
        self.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", json.dumps(change))

    def evict(self, namespace: str, pod: str) -> None:
        """Evict a pod, as a drain of its node does: it is asked to end, and has its grace period."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def kill(self, pod: Object) -> None:
        """Kill a pod's container whole, as the kernel does."""
        container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        done = self.enter("/bin/sh", "-c", f"ctr -n k8s.io tasks kill -s SIGKILL {container}")
        assert done.code == 0, done.err

    @contextmanager
    def full(self, namespace: str) -> Iterator[None]:
        """Leave no room in a namespace for one more pod."""
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": namespace}}
        self.apply(quota | {"spec": {"hard": {"pods": "0"}}})
        wait_until(lambda: (self.get("resourcequota", namespace, "full") or {}).get("status", {}).get("hard"), 20, "the quota")
        yield
        self.delete("resourcequota", namespace, "full")

    def exec(self, namespace: str, pod: str, *command: str, stdin: str | bytes | None = None, seconds: float = 180) -> Ended:
        """Run a command in a pod to its end."""
        given = ("-i",) if stdin is not None else ()
        ended = self.kubectl("exec", *given, "-n", namespace, pod, "--", *command, stdin=stdin, check=False, seconds=seconds)
        return ended._replace(err=SAID_BY_KUBECTL.sub("", ended.err))

    def enter(self, *command: str, seconds: float = 60) -> Ended:
        """Run a command on the rig's node, from where pods and Services can be reached: absolute paths only."""
        assert self.rig, "only the rig's node can be entered: ask for the fixture `rig`"
        done = subprocess.run([str(self.rig / "enter.sh"), *command], capture_output=True, text=True, timeout=seconds)
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def forward(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """Reach a Service (`svc/minio`) or pod by a port of this machine, also after its pod or the API server was restarted."""
        local, ended = processes.free_port(), threading.Event()
        running: list[subprocess.Popen[bytes]] = []
        arguments = ("port-forward", "-n", namespace, target, f"{local}:{port}")

        def keep() -> None:
            while not ended.is_set():
                running[:] = [self.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
                while running[0].poll() is None and not ended.wait(0.2):
                    pass
                running[0].kill()
                running[0].wait()

        thread = threading.Thread(target=keep, daemon=True)
        thread.start()
        try:
            wait_until(lambda: _listens(local), 30, f"the port-forward to {namespace}/{target}")
            yield local
        finally:
            ended.set()
            thread.join()


def find() -> Cluster:
    """Find the cluster that tests may use.

    Raises:
        Missing: There is none.
    """
    folder = Path(os.environ.get(RIG) or BESIDE).resolve()
    given = os.environ.get("KUBECONFIG", "")
    state = subprocess.run(["bash", "-c", STATE, "bash", str(folder)], capture_output=True, text=True).stdout.split() if folder.is_dir() else []
    if state and given in ("", state[0]):
        return Cluster(f"{state[1]}/kubectl", os.environ | {"KUBECONFIG": state[0]}, folder)
    if not given:
        started = f"{folder}/up.sh" if folder.is_dir() else "a kind or minikube cluster"
        raise Missing(f"no Kubernetes: set KUBECONFIG, or start {started}")
    command = shutil.which("kubectl")
    if not command:
        raise Missing("no kubectl: install it to test against the cluster of KUBECONFIG")
    cluster = Cluster(command, dict(os.environ), None)
    answer = cluster.kubectl("version", "--request-timeout=10s", check=False)
    if answer.code:
        raise Missing(f"the cluster of KUBECONFIG={given} does not answer: {answer.err.strip().splitlines()[-1]}")
    return cluster


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], T], seconds: float, what: str, pause: float = 0.5) -> T:
    """Return what the condition gives as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"after {seconds:.0f} s still waiting for {what}"
        time.sleep(pause)
