"""The pod of a Job: its log as it is written, its end, and why it does not begin."""

import time
from collections.abc import Callable
from contextlib import suppress

from kubernetes import client
from kubernetes.client import ApiClient, ApiException, V1ContainerState, V1Pod
from urllib3.exceptions import HTTPError

from core.cluster import NO_IMAGE
from core.errors import UserError

POLL = 0.2
PATIENCE = 60.0  # seconds that the cluster may be silent
START = 300.0  # seconds until a pod must have begun: a node may have to be made for it
GRACE = 45.0  # seconds that a stopped pod may go on
QUIET = (5.0, 60.0)  # seconds to connect, and without a line until we look at the pod again
KILLED = 137  # exit code of a process that was killed: 128 + SIGKILL
NO_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")


class Follower:
    """Follows the one pod of a Job."""

    def __init__(self, api: ApiClient, namespace: str, job: str, say: Callable[[str], None]) -> None:
        self._core, self._batch = client.CoreV1Api(api), client.BatchV1Api(api)
        self._namespace, self._job, self._say = namespace, job, say
        self._shown = 0
        self._told = ""
        self._seen: V1Pod | None = None

    def outcome(self) -> int:
        """Tell every line of the log until the pod has ended; return its exit code.

        Raises:
            UserError: It cannot begin, or was killed.
        """
        begun = heard = time.monotonic()
        while True:
            try:
                pod = self._pod()
                code = self._look(pod, time.monotonic() - begun)
                heard = time.monotonic()
            except (HTTPError, ApiException) as error:
                if time.monotonic() - heard > PATIENCE or (isinstance(error, ApiException) and 0 < (error.status or 0) < 500):
                    raise
                code = None
            if code is not None:
                return code
            time.sleep(POLL)

    def drain(self) -> None:
        """Tell what a pod that is being stopped still has to say."""
        end = time.monotonic() + GRACE
        with suppress(HTTPError, ApiException):
            while time.monotonic() < end and (pod := self._pod()):
                state = _state(pod)
                if state is None or state.waiting:
                    return
                self._tell(pod, follow=state.running is not None)
                if state.terminated:
                    return
                time.sleep(POLL)

    def _look(self, pod: V1Pod | None, seconds: float) -> int | None:
        if pod is None:
            self._explain_absence()
            return None
        self._seen = pod
        state = _state(pod)
        if state and (state.running or state.terminated):
            self._tell(pod, follow=state.running is not None)
        if state and state.terminated:
            _explain_kill(pod, state)
            return int(state.terminated.exit_code)
        if pod.status.phase == "Failed":
            raise UserError(f"the pod {pod.metadata.name} ended as {pod.status.reason}: {pod.status.message}")
        if state is None or state.waiting:
            self._explain_wait(pod, state, seconds)
        return None

    def _pod(self) -> V1Pod | None:
        pods = self._core.list_namespaced_pod(self._namespace, label_selector=f"batch.kubernetes.io/job-name={self._job}").items
        return pods[0] if pods else None

    def _tell(self, pod: V1Pod, follow: bool) -> None:
        """Tell the lines that were not told yet: of an ended pod all, of a running one until it ends or says nothing for long."""
        response = self._core.read_namespaced_pod_log(
            pod.metadata.name, self._namespace, container="mlops", follow=follow, _preload_content=False, _request_timeout=QUIET
        )
        number, rest = 0, b""
        try:
            with suppress(HTTPError):  # silence or a break: the next look goes on after the last line told
                for part in response.stream(decode_content=False):
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        number = self._line(number, line)
            if rest and not follow:
                self._line(number, rest)
        finally:
            response.close()

    def _line(self, number: int, line: bytes) -> int:
        if number >= self._shown:
            self._say(line.decode(errors="replace"))
            self._shown = number + 1
        return number + 1

    def _explain_absence(self) -> None:
        """Explain why there is no pod, if something says so."""
        try:
            job = self._batch.read_namespaced_job(self._job, self._namespace)
        except ApiException as error:
            if error.status == 404:
                raise UserError(f"the Job {self._job} was deleted by somebody: run again") from error
            raise
        for condition in job.status.conditions or []:
            if condition.type == "Failed" and condition.reason == "BackoffLimitExceeded" and self._seen:
                why = _disruption(self._seen) or "somebody deleted it, or its node is gone"
                raise UserError(f"the pod {self._seen.metadata.name} was removed before it had ended ({why}): run again")
            if condition.type == "Failed":
                raise UserError(f"the Job {self._job} ended as {condition.reason}: {condition.message}")
        refused = self._events("Job", self._job, "FailedCreate")
        if refused:
            raise UserError(_refused(refused[-1]))

    def _explain_wait(self, pod: V1Pod, state: V1ContainerState | None, seconds: float) -> None:
        """Raise for what does not mend itself; tell once what may."""
        reason, message = (state.waiting.reason, state.waiting.message or "") if state else ("", "")
        if reason in NO_IMAGE:
            image = pod.spec.containers[0].image
            cure = "build and push it, or correct `images:` of the overlay and apply it again"
            raise UserError(f"cannot pull the image {image} ({reason}: {message.rpartition(': ')[2]}): {cure}")
        if reason in NO_CONTAINER:
            raise UserError(
                f"the pod cannot start ({message}): make what is missing (kubectl apply -k k8s/overlays/..., make secrets), then run again"
            )
        unschedulable = next((each.message for each in pod.status.conditions or [] if each.type == "PodScheduled" and each.status == "False"), "")
        warned = unschedulable or next(reversed(self._events("Pod", pod.metadata.name)), "")
        if warned and warned != self._told and (unschedulable or seconds > 10):
            self._told = warned
            self._say(f"waiting: {warned}")
        if seconds > START:
            raise UserError(
                f"the pod did not start in {START:.0f} s: {warned or reason or 'the cluster does not say why'}: make room, then run again"
            )

    def _events(self, kind: str, name: str, reason: str | None = None) -> list[str]:
        selector = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning{f',reason={reason}' if reason else ''}"
        return [str(event.message) for event in self._core.list_namespaced_event(self._namespace, field_selector=selector).items]


def _state(pod: V1Pod) -> V1ContainerState | None:
    return next((status.state for status in pod.status.container_statuses or [] if status.name == "mlops"), None)


def _explain_kill(pod: V1Pod, state: V1ContainerState) -> None:
    """Raise if the container was killed: it could not say so itself. Its termination message names the step that ran."""
    ended = state.terminated
    if ended.exit_code == 0:
        return
    what = f"the step {ended.message}" if ended.message else "the command"
    memory = (pod.spec.containers[0].resources.limits or {}).get("memory")
    limit = f"the pod's memory limit of {memory}" if memory else "the memory that its node has free"
    cure = "raise it in the CronJob mlops (k8s/base/pipeline)"
    if ended.reason == "OOMKilled":
        raise UserError(f"{what} was killed at {limit}: {cure}, then run again")
    if pod.status.reason or (removed := _disruption(pod)):
        why = f"{pod.status.reason}: {pod.status.message}" if pod.status.reason else removed
        raise UserError(f"{what} was ended with its pod ({why}): run again, on a node with room")
    if ended.exit_code == KILLED:
        raise UserError(f"{what} was killed (exit code {KILLED}): if it needs more than {limit}, {cure}, then run again")


def _disruption(pod: V1Pod) -> str:
    """Say why the cluster removes a pod, such as for a drain of its node."""
    return next((str(each.message) for each in pod.status.conditions or [] if each.type == "DisruptionTarget" and each.status == "True"), "")


def _refused(message: str) -> str:
    """Say why the cluster makes no pod of the Job."""
    _, _, why = message.partition("is forbidden: ")
    if "exceeded quota" in message:
        return f"the namespace's quota has no room for the pod ({why}): wait until another run has ended, or raise the quota"
    if "violates PodSecurity" in message:
        return f"Pod Security refuses the pod ({why}): correct the CronJob mlops (k8s/base/pipeline) and apply it again"
    return f"the cluster makes no pod of the Job ({message}): put that right, then run again"
