"""Follows a run on Kubeflow: its steps as they begin and end, why a pod waits, and the logs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from kfp_server_api import ApiException, RunServiceApi
from urllib3.exceptions import HTTPError

from core import storage
from core.errors import UserError
from pipelines.kubeflow import Kubeflow
from pipelines.submit import ENDED, Submitted
from pipelines.workflow import Workflow

NOT_BEGUN = (None, "PENDING", "SKIPPED")  # a step behind a closed gate is skipped
LATE = 5  # looks at a run that has ended until its last tasks say so, too
WORKFLOW_SECONDS = 10.0  # between two looks at the Workflow


@dataclass(frozen=True)
class Ended:
    """A step that has ended.

    Attributes:
        name: The task.
        state: SUCCEEDED, SKIPPED, FAILED, CANCELED, or RUNNING if Kubeflow never said how it ended.
        seconds: Between its start and its end, as far as Kubeflow knows.
        pod: Name of its pod, empty if Kubeflow does not know it.
        message: Why its pod was ended, in Argo's words; empty if that cannot be read.
    """

    name: str
    state: str
    seconds: float
    pod: str = ""
    message: str = ""


def follow(
    kubeflow: Kubeflow,
    submitted: Submitted,
    package: Path,
    *,
    started: Callable[[str], None],
    ended: Callable[[Ended], None],
    waiting: Callable[[str, str], None],
    poll: float = 3,
    timeout: float = 86400,
) -> tuple[str, str]:
    """Tell of each step as it begins and as it ends, and why a pod waits, until the run has ended.

    Args:
        kubeflow: Where it runs.
        submitted: The run.
        package: Its compiled YAML.
        started: Is told the name of each step that begins.
        ended: Is told how each step ended.
        waiting: Is told a step and why its pod does not begin, again and again while that lasts.
        poll: Seconds between two looks.
        timeout: Seconds after which we give up.

    Returns:
        The run's last state, and why a pod of Kubeflow's own, such as a driver, failed; empty if none did.

    Raises:
        UserError: Kubeflow stopped answering, or the run took longer than `timeout` seconds.
    """
    names = steps(package)
    workflow = Workflow(kubeflow.namespace or "kubeflow", submitted.run_id, names)
    watch, deadline, looks = _Watch(names, started, ended), time.monotonic() + timeout, 0
    next_look = 0.0
    runs = RunServiceApi(kubeflow.api)
    while True:
        with kubeflow.errors():
            run = runs.run_service_get_run(submitted.run_id)
        has_ended = run.state in ENDED
        tasks = (run.run_details.task_details if run.run_details else None) or []
        if has_ended or time.monotonic() >= next_look or watch.will_fail(tasks):
            nodes = workflow.nodes()
            next_look = time.monotonic() + WORKFLOW_SECONDS
            watch.messages = {node.step: node.message for node in nodes if not node.is_waiting}
            for node in nodes:
                if node.is_waiting and not has_ended:
                    waiting(node.step, node.message)
        watch.look(tasks)
        if has_ended:
            looks += 1
            if looks > LATE or not watch.running:
                watch.close(run.state)
                failed = next((name for name in watch.messages if name not in names), "")
                return str(run.state), f"{failed}: {workflow.driver_error(failed) or watch.messages[failed]}" if failed else ""
        elif time.monotonic() > deadline:
            raise UserError(f"the run is still {run.state} after {timeout:.0f} s: follow it at {submitted.link}")
        time.sleep(poll if not has_ended else min(poll, 1))


def stop(kubeflow: Kubeflow, submitted: Submitted) -> None:
    """End a run."""
    with kubeflow.errors():
        RunServiceApi(kubeflow.api).run_service_terminate_run(submitted.run_id)


class _Watch:
    """Remembers which steps were told of. Kubeflow lists drivers and groups among them, in any order, and a step anew for each try."""

    def __init__(self, names: set[str], started: Callable[[str], None], ended: Callable[[Ended], None]) -> None:
        self._names, self._started, self._ended = names, started, ended
        self._begun: dict[str, Any] = {}
        self._told: set[str] = set()
        self.messages: dict[str, str] = {}

    @property
    def running(self) -> set[str]:
        return self._begun.keys() - self._told

    def will_fail(self, tasks: list[Any]) -> bool:
        """Tell whether a step has failed that was not told of yet."""
        return any(task.state == "FAILED" for name, task in self._newest(tasks).items() if name not in self._told)

    def look(self, tasks: list[Any]) -> None:
        newest = self._newest(tasks)
        for name in newest.keys() - self._begun.keys():
            self._started(name)
        self._begun |= newest
        for name in sorted(self.running & newest.keys(), key=lambda name: _end(newest[name])):
            if newest[name].state in ENDED:
                self._tell(name, newest[name].state)

    def _newest(self, tasks: list[Any]) -> dict[str, Any]:
        return {task.display_name: task for task in sorted(tasks, key=_begin) if task.display_name in self._names and task.state not in NOT_BEGUN}

    def close(self, state: str) -> None:
        """Tell of what Kubeflow has forgotten to end: as the whole run ended, if that was well."""
        for name in sorted(self.running):
            self._tell(name, "SUCCEEDED" if state == "SUCCEEDED" else "RUNNING")

    def _tell(self, name: str, state: str) -> None:
        task = self._begun[name]
        self._told.add(name)
        pod = next((child.pod_name for child in reversed(task.child_tasks or []) if child.pod_name), task.pod_name or "")
        seconds = max(0.0, (_end(task) - _begin(task)).total_seconds())
        self._ended(Ended(name, state, seconds, pod, self.messages.get(name, "")))


def _begin(task: Any) -> datetime:
    return _time(task.start_time) or _time(task.create_time) or datetime.now(UTC)


def _end(task: Any) -> datetime:
    return _time(task.end_time) or datetime.now(UTC)


def _time(given: datetime | None) -> datetime | None:
    """Return a time of the API; what has not happened yet is missing or was in 1970."""
    return given if given and given.year > 1970 else None


def steps(package: Path) -> set[str]:
    """Name the steps of a compiled pipeline, without the groups around them."""
    pipeline = next(yaml.load_all(package.read_text(), yaml.CSafeLoader))
    executed = {name for name, component in pipeline["components"].items() if "executorLabel" in component}
    dags = [pipeline["root"], *(component for component in pipeline["components"].values() if "dag" in component)]
    return {name for dag in dags for name, task in dag["dag"]["tasks"].items() if task["componentRef"]["name"] in executed}


def memory_limit(package: Path, step: str) -> str:
    """Return a step's memory limit in a compiled pipeline, such as `2Gi`; empty if it has none."""
    pipeline = next(yaml.load_all(package.read_text(encoding="utf-8"), yaml.CSafeLoader))
    container = pipeline["deploymentSpec"]["executors"].get(f"exec-{step}", {}).get("container", {})
    return str(container.get("resources", {}).get("resourceMemoryLimit", ""))


def pod_log(kubeflow: Kubeflow, submitted: Submitted, pod: str) -> str:
    """Fetch a pod's log from Kubeflow, which keeps it after the pod is gone; empty if Kubeflow does not have it."""
    paths = {
        f"/apis/v1alpha1/runs/{submitted.run_id}/nodes/{pod}/log": {},  # the API server
        "/k8s/pod/logs": {"podname": pod, "runid": submitted.run_id, "podnamespace": kubeflow.namespace or "kubeflow"},  # the server of its pages
    }
    for path, query in paths.items():
        try:
            text = kubeflow.api.call_api(
                path, "GET", query_params=list(query.items()), response_type="str", auth_settings=["Bearer"], _return_http_data_only=True
            )
        except (ApiException, HTTPError):
            continue
        if text and not text.lstrip().startswith(("<", '{"error')):
            return str(text)
    return ""


def stored_log(pipeline_root: str, pipeline: str, run_id: str, step: str) -> str:
    """Fetch the log that a step's last attempt left in object storage; empty if there is none or S3 is not configured."""
    if not storage.is_configured():
        return ""
    address = f"{pipeline_root}/{pipeline}/{run_id}/{step}/"
    bucket, prefix = storage.split(address)
    try:
        with storage.errors(address):
            found = [item for item in storage.client().list_objects(bucket, prefix=prefix, recursive=True) if _attempt(str(item.object_name)) >= 0]
        newest = max(found, key=lambda item: (item.last_modified, _attempt(str(item.object_name))), default=None)
        return storage.read(f"s3://{bucket}/{newest.object_name}").decode(errors="replace") if newest else ""
    except UserError:
        return ""


def _attempt(key: str) -> int:
    """Return which attempt of a step wrote a log; -1 if it is no log."""
    _, _, number = key.rpartition("/")[2].partition("executor-logs-")
    return int(number) if number.isdecimal() else -1
