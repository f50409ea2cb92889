"""Follows a run on Kubeflow, step by step, and finds the logs that its steps left on S3."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from core import storage
from core.errors import UserError
from pipelines.kubeflow import address, check, connect, errors
from pipelines.submit import ENDED, Submitted

NOT_BEGUN = (None, "PENDING", "SKIPPED")  # a step behind a closed gate is skipped
LATE = 5  # looks at a run that has ended until its last tasks say so, too


@dataclass(frozen=True)
class Ended:
    """A step that has ended.

    Attributes:
        name: The task.
        state: SUCCEEDED, SKIPPED, FAILED, CANCELED, or RUNNING if Kubeflow never said how it ended.
        seconds: Between its start and its end, as far as Kubeflow knows.
    """

    name: str
    state: str
    seconds: float


def follow(
    submitted: Submitted,
    package: Path,
    *,
    started: Callable[[str], None],
    ended: Callable[[Ended], None],
    host: str | None = None,
    namespace: str | None = None,
    poll: float = 3,
    timeout: float = 86400,
) -> str:
    """Tell of each step as it begins and as it ends, until the run has ended.

    Returns:
        The run's last state.

    Raises:
        UserError: Kubeflow stopped answering, or the run took longer than `timeout` seconds.
    """
    endpoint = address(host)
    check(endpoint, namespace)
    watch, deadline, looks = _Watch(steps(package), started, ended), time.monotonic() + timeout, 0
    with errors(endpoint):
        client = connect(endpoint, namespace)
        while True:
            run = client.get_run(submitted.run_id)
            watch.look((run.run_details.task_details if run.run_details else None) or [])
            if run.state in ENDED:
                looks += 1
                if looks > LATE or not watch.running:
                    watch.close(run.state)
                    return str(run.state)
            elif time.monotonic() > deadline:
                raise UserError(f"the run is still {run.state} after {timeout:.0f} s: follow it at {submitted.link}")
            time.sleep(poll if run.state not in ENDED else min(poll, 1))


class _Watch:
    """Remembers which steps were told of. Kubeflow lists drivers and groups among them, in any order, and a step anew for each try."""

    def __init__(self, names: set[str], started: Callable[[str], None], ended: Callable[[Ended], None]) -> None:
        self._names, self._started, self._ended = names, started, ended
        self._begun: dict[str, Any] = {}
        self._told: set[str] = set()

    @property
    def running(self) -> set[str]:
        return self._begun.keys() - self._told

    def look(self, tasks: list[Any]) -> None:
        newest = {task.display_name: task for task in sorted(tasks, key=_begin) if task.display_name in self._names and task.state not in NOT_BEGUN}
        for name in newest.keys() - self._begun.keys():
            self._started(name)
        self._begun |= newest
        for name in sorted(self.running & newest.keys(), key=lambda name: _end(newest[name])):
            if newest[name].state in ENDED:
                self._tell(name, newest[name].state)

    def close(self, state: str) -> None:
        """Tell of what Kubeflow has forgotten to end: as the whole run ended, if that was well."""
        for name in sorted(self.running):
            self._tell(name, "SUCCEEDED" if state == "SUCCEEDED" else "RUNNING")

    def _tell(self, name: str, state: str) -> None:
        task = self._begun[name]
        self._told.add(name)
        self._ended(Ended(name, state, max(0.0, (_end(task) - _begin(task)).total_seconds())))


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


def folder(pipeline: str, run_id: str, step: str) -> str:
    """Return where a step's outputs and logs lie."""
    return f"{storage.ARTIFACTS}/{pipeline}/{run_id}/{step}/"


def executor_log(pipeline: str, run_id: str, step: str) -> str | None:
    """Fetch what a step wrote at its last try; None if nothing lies there, as of a step that was taken from the cache.

    Raises:
        UserError: S3 is not configured, or refuses.
    """
    address = folder(pipeline, run_id, step)
    bucket, prefix = storage.split(address)
    with storage.errors(address):
        found = [item for item in storage.client().list_objects(bucket, prefix=prefix, recursive=True) if _is_log(str(item.object_name))]
    newest = max(found, key=lambda item: (item.last_modified, _try(str(item.object_name))), default=None)
    return storage.read(f"s3://{bucket}/{newest.object_name}").decode(errors="replace") if newest else None


def _is_log(key: str) -> bool:
    return _try(key) >= 0


def _try(key: str) -> int:
    """Return which try of a step wrote a log; -1 if it is none."""
    _, _, number = key.rpartition("/")[2].partition("executor-logs-")
    return int(number) if number.isdecimal() else -1
