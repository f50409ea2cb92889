"""Waits until a Deployment's servers are there, and says why when they do not come."""

import time
from collections.abc import Callable, Iterator

from core import cluster
from core.cluster import Object
from core.errors import UserError

POLL = 0.4
GRACE = 10.0  # seconds for what may pass by itself: a quota that an ending pod still uses, a registry that is slow once

WRONG_IMAGE = ("ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff")
WRONG_SETTINGS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


def wait(deployment: Object, labels: dict[str, str], seconds: float, proceed: Callable[[], None]) -> None:
    """Wait until all servers of a Deployment are available.

    Args:
        deployment: As it was applied.
        labels: Of its pods.
        seconds: How long to wait at most, besides the time for which a new server is watched.
        proceed: Called again and again; raises if the waiting makes no sense any more.

    Raises:
        UserError: They do not come, with the reason.
    """
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    end = time.monotonic() + seconds + deployment["spec"].get("minReadySeconds", 0)
    told, since = "", dict[str, float]()
    while True:
        proceed()
        found = cluster.get("Deployment", namespace, name)
        state, complete = _progress(found), is_complete(found)
        if complete and not told:
            return  # it was there before
        if state != told:
            told = state
            print(f"{name}: {state}", flush=True)
        if complete:
            return
        pods = cluster.find("Pod", namespace, labels)
        for problem in [*_failures(found), *(problem for pod in pods for problem in pod_problems(pod, namespace))]:
            if time.monotonic() - since.setdefault(problem.sentence, time.monotonic()) >= problem.grace:
                raise UserError(problem.sentence)
        if time.monotonic() > end:
            raise UserError(_late(name, pods, namespace, seconds))
        time.sleep(POLL)


def is_complete(deployment: Object) -> bool:
    """Whether all servers of a Deployment are new and available."""
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status", {})
    new, every, available = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
    return _is_seen(deployment) and new == every == wanted and bool(available >= wanted)


class Problem:
    """Why a server does not come, and for how long that may pass by itself."""

    def __init__(self, sentence: str, grace: float = 0.0) -> None:
        self.sentence, self.grace = sentence, grace


def pod_problems(pod: Object, namespace: str) -> Iterator[Problem]:
    """Yield what keeps a pod from running."""
    name = pod["metadata"]["name"]
    for container in pod["status"].get("containerStatuses", []):
        waiting = container["state"].get("waiting", {})
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in WRONG_IMAGE:
            yield Problem(f"the image {container['image']} cannot be pulled ({reason}): push it, or correct its name and the pull Secret")
        elif reason in WRONG_SETTINGS:
            yield Problem(f"pod {name} cannot be made ({reason}: {message}): apply the Secret and ConfigMap of its namespace", GRACE)
        ended = container["state"].get("terminated") or container.get("lastState", {}).get("terminated")
        if ended and "deletionTimestamp" not in pod["metadata"]:
            yield Problem(_ended(pod, container, ended, namespace))


def _ended(pod: Object, container: Object, ended: Object, namespace: str) -> str:
    name = pod["metadata"]["name"]
    if ended.get("reason") == "OOMKilled":
        limit = pod["spec"]["containers"][0]["resources"].get("limits", {}).get("memory")
        return f"the server was killed for want of memory, its limit is {limit}: raise serving.memory in config.yaml"
    written = cluster.logs(namespace, name, previous=bool(container.get("restartCount"))) or cluster.logs(namespace, name)
    last = next((line for line in reversed(written) if line.startswith("error: ")), next(iter(reversed(written)), "it wrote nothing"))
    return f"the server ended with exit code {ended.get('exitCode')}: {last.removeprefix('error: ')}"


def _is_seen(deployment: Object) -> bool:
    return bool(deployment.get("status", {}).get("observedGeneration", 0) >= deployment["metadata"]["generation"])


def _progress(deployment: Object) -> str:
    if not _is_seen(deployment):
        return "accepted"
    wanted, status = deployment["spec"].get("replicas", 1), deployment["status"]
    ready, available = (status.get(key, 0) for key in ("readyReplicas", "availableReplicas"))
    return f"{ready} of {wanted} servers ready{', watching them' if ready and available < ready else ''}"


def _failures(deployment: Object) -> Iterator[Problem]:
    """Yield what the Deployment's own conditions say: pods that may not even be made."""
    for condition in deployment.get("status", {}).get("conditions", []):
        if condition["type"] != "ReplicaFailure" or condition["status"] != "True":
            continue
        message = condition["message"]
        if "exceeded quota" in message:
            yield Problem(f"the namespace has no room for the new servers beside the old ones ({_tail(message)}): raise its ResourceQuota", GRACE)
        elif "violates PodSecurity" in message:
            yield Problem(f"Pod Security refuses the server ({_tail(message)}): correct the securityContext in k8s/base/serving/deployment.yaml")
        elif "serviceaccount" in message:
            yield Problem(f"the server's pods cannot be made ({_tail(message)})", GRACE)
        else:
            yield Problem(f"the server's pods cannot be made: {message}", GRACE)


def _tail(message: str) -> str:
    """Leave out the name of the pod, which is another one at each try."""
    return message.partition("forbidden: ")[2] or message


def _late(name: str, pods: list[Object], namespace: str, seconds: float) -> str:
    """Say what the servers are waiting for."""
    for pod in pods:
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                said = condition.get("message")
                return f"no node has room for the server after {seconds:.0f} s ({said}): add nodes or lower serving.cpu and serving.memory"
    written = [line for pod in pods for line in cluster.logs(namespace, pod["metadata"]["name"], lines=3)]
    found = [event for event in cluster.find("Event", namespace, fields="type=Warning") if event["involvedObject"]["name"].startswith(name)]
    events = [event["message"] for event in sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")]
    said = [*written[-1:], *events[-1:]] or ["neither its log nor its events say why"]
    return f"the server of {name} is not ready after {seconds:.0f} s: {'; '.join(said)}"
