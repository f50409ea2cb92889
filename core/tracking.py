"""What a step leaves in MLflow: one parent run a pipeline run, a nested run a step, a nested run a trial.

With KFP's own MLflow plugin (MLFLOW_RUN_ID is set) a step joins the run that the plugin made for it, in the plugin's experiment.
Between that run and the pipeline run's the plugin has a run for each group of the pipeline, such as `exit-handler-1`.
"""

import errno
import json
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import psutil

from core import failure_page
from core.config import LIMITED_AS, STEPS, UseCase
from core.configtext import is_of_image, parse
from core.errors import UserError, show_traceback, shown
from core.markdown import escaped
from core.mlflow_api import TAG_LIMIT, AlreadyExists, NotFound, call, get_artifact, put_artifact
from core.mlflow_connection import uri
from core.signals import heed_sigterm, no_orphan

Status = Literal["FINISHED", "FAILED", "KILLED"]
ORPHAN_MARGIN = 3600  # seconds beyond the longest time limit of a step
BATCH = 1000  # metrics of one call


@dataclass
class Run:
    """A step's notes, published when the step ends. A test may read them without a server."""

    name: str
    usecase: UseCase
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    summary: str = ""
    page: str = ""  # the artifact that explains a failure, such as `data.html`
    live: bool = False

    @cached_property
    def id(self) -> str:
        """The MLflow run of this step: the one that KFP's plugin made, or a new one below the pipeline run's."""
        return os.environ.get("MLFLOW_RUN_ID") or create(
            self.usecase, self.name, parent=parent(self.usecase), started=_started(), tags={"step": self.name}
        )

    def trial(self, name: str, started: float, parameters: dict[str, Any], metrics: dict[str, float]) -> None:
        """Publish one trial of a search as a nested run."""
        if self.live:
            child = create(self.usecase, name, parent=self.id, started=started, tags={"trial": "true"})
            publish(child, parameters, metrics, {})
            end(child, "FINISHED")

    def accepted(self, path: str) -> bytes | None:
        """Return an artifact that this step left in the last pipeline run that succeeded, if there is one."""
        return _accepted(self.usecase, self.name, path) if self.live else None

    def dataset(self, name: str, digest: str, source: dict[str, Any], columns: dict[str, str], rows: int, context: str) -> None:
        """Note a dataset that the step used, for MLflow's lineage; `source` has its `uri`, and whatever else is known of where it came from."""
        schema = json.dumps({"mlflow_colspec": [{"name": key, "type": kind} for key, kind in columns.items()]})
        data = {
            "name": name,
            "digest": digest[:36],
            "source_type": source["uri"].partition("://")[0] if "://" in source["uri"] else "local",
            "source": json.dumps(source),
        }
        self.datasets.append(
            {
                "tags": [{"key": "mlflow.data.context", "value": context}],
                "dataset": data | {"schema": schema, "profile": json.dumps({"num_rows": rows})},
            }
        )

    def close(self, status: Status) -> None:
        """Publish everything."""
        publish(
            self.id,
            self.parameters,
            self.metrics | _resources(),
            self.tags | {"summary": self.summary, "step": self.name, "usecase": self.usecase.name},
        )
        if self.datasets:
            self._log_inputs()
        try:
            self._put_artifacts()
        finally:  # also without S3 the run ends
            if not is_joined():
                end(self.id, status)

    def _log_inputs(self) -> None:
        body = {"run_id": self.id, "datasets": self.datasets}
        try:
            call("POST", "runs/log-inputs", body)
        except UserError:  # MLflow refuses a dataset that another run logs at the same moment; then it has it
            call("POST", "runs/log-inputs", body)

    def _put_artifacts(self) -> None:
        address = get(self.id)["info"]["artifact_uri"] if self.artifacts else ""
        for path, data in self.artifacts.items():
            put_artifact(address, path, data)


@contextmanager
def record(name: str, config: str, summary: str = "") -> Iterator[Run]:
    """Run a step's work, and leave in MLflow and on stdout how it went.

    A user's mistake ends the process with exit code 1 and one sentence, without a traceback.

    Args:
        name: The step.
        config: The use case, as YAML text.
        summary: Path of the step's Markdown artifact, which gets what came out as one line.
    """
    run, alone = None, threading.Event()
    sys.excepthook = show_traceback
    heed_sigterm()
    try:
        run = Run(name, parse(config), live=True)
        with no_orphan(alone):
            yield run
            run.close("FINISHED")
        if summary:
            Path(summary).write_text(escaped(run.summary), encoding="utf-8")
        print(f"done: {shown(run.summary)}", flush=True)
    except BaseException as error:
        sentence = _sentence(error)
        print(f"failed: {sentence}", flush=True)
        if run:
            _leave_behind(run, sentence, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", is_last=alone.is_set())
        if isinstance(error, UserError | KeyboardInterrupt):
            sys.exit(1)
        raise


def parent(usecase: UseCase) -> str:
    """Find the pipeline run's MLflow run, or make it."""
    if is_joined():
        return _root(os.environ["MLFLOW_RUN_ID"])
    found = _search(usecase, f"tags.`kfp.pipeline_run_id` = '{run_id()}'")
    if found:
        return str(found[0]["info"]["run_id"])
    tags = identity() | {"kfp.pipeline_run_id": run_id(), "config": usecase.text[:TAG_LIMIT], "seed": str(usecase.train.seed)}
    tags |= {"mlflow.note.content": usecase.description, "config.source": config_source(usecase)}
    return create(usecase, f"training-{time.strftime('%Y%m%d-%H%M%S')}", tags=tags)


def is_joined() -> bool:
    """Tell whether KFP's own plugin made this step's run: then the plugin ends it, too."""
    return "MLFLOW_RUN_ID" in os.environ


def steps(usecase: UseCase) -> list[dict[str, Any]]:
    """Return the runs of this pipeline run's steps, the newest of each, in the order of their start."""
    newest = {step_of(run): run for run in _attempts(usecase)}
    return sorted(newest.values(), key=lambda run: run["info"]["start_time"])


def _attempts(usecase: UseCase) -> list[dict[str, Any]]:
    """Return the runs of this pipeline run's steps, in the order of their start: several of a step that was tried again."""
    groups, runs = [parent(usecase)], list[dict[str, Any]]()
    while groups:
        for run in _children(usecase, groups.pop()):
            if step_of(run) in (*STEPS, *LIMITED_AS):
                runs.append(run)
            else:
                groups.append(run["info"]["run_id"])
    return sorted(runs, key=lambda run: run["info"]["start_time"])


def step_of(run: dict[str, Any]) -> str:
    """Return the step of a run. KFP's plugin names a run after its task, and a second task of a step has a number: `load-2`."""
    name: str = notes(run)["tags"].get("step") or run["info"]["run_name"]
    return re.sub(r"-\d+$", "", name)


def was_killed(run: dict[str, Any]) -> bool:
    """Tell of a run whose process is gone whether it left its run open: nobody else ends it any more.

    With KFP's plugin a run may still be open though the step has said how it went.
    """
    return run["info"]["status"] == "RUNNING" and not (is_joined() and "summary" in notes(run)["tags"])


def end_killed(usecase: UseCase) -> None:
    """End as KILLED what steps left open below this pipeline run, and their trials. For when no step runs any more."""
    for step in _attempts(usecase):
        if was_killed(step):
            _end_below(usecase, step["info"]["run_id"])


def end_orphans(usecase: UseCase) -> None:
    """End as KILLED the pipeline runs of which nothing is heard any more, such as one that was terminated on Kubeflow's page.

    No report follows there. A step cannot run longer than its limit, so nothing new for longer than any step may take means the end.
    """
    if is_joined():  # the plugin ends its own runs
        return
    longest = max(limits.minutes for limits in usecase.limits.steps.values()) * 60 + ORPHAN_MARGIN
    own = parent(usecase)
    for run in _search(usecase, "attributes.status = 'RUNNING' AND tags.`kfp.pipeline_run_id` != ''"):
        run_id, tags = run["info"]["run_id"], notes(run)["tags"]
        if run_id == own or "mlflow.parentRunId" in tags:
            continue
        heard = [run["info"]["start_time"], *(child["info"].get("end_time") or child["info"]["start_time"] for child in _children(usecase, run_id))]
        if time.time() - max(heard) / 1000 > longest:
            publish(run_id, {}, {}, {"outcome": "the run was terminated from outside, no report was written"})
            _end_below(usecase, run_id)


def _end_below(usecase: UseCase, run: str) -> None:
    """End a run as KILLED, and the open runs below it first."""
    for child in _children(usecase, run):
        if child["info"]["status"] == "RUNNING":
            _end_below(usecase, child["info"]["run_id"])
    end(run, "KILLED")


def _children(usecase: UseCase, run: str) -> list[dict[str, Any]]:
    return _search(usecase, f"tags.`mlflow.parentRunId` = '{run}'")


def _root(run: str) -> str:
    """Return the outermost run around a run."""
    above = notes(get(run))["tags"].get("mlflow.parentRunId")
    return _root(above) if above else run


def identity() -> dict[str, str]:
    """What makes the run repeatable: the code and the image."""
    return {"git.sha": os.environ.get("GIT_SHA", "unknown"), "image": os.environ.get("IMAGE") or "none, this machine's environment"}


def config_source(usecase: UseCase) -> str:
    """Say whether the run's config is the one of its image; overrides are named by the config itself."""
    return "the image" if is_of_image(usecase) else "the run: it differs from the image's, as that of an older recurring run does"


def run_id() -> str:
    """Return the pipeline run's id."""
    found = os.environ.get("KFP_RUN_ID")
    if not found:
        raise UserError("KFP_RUN_ID is not set: a step runs inside a pipeline; start one with `mlops run` or `mlops submit`")
    return found


def create(usecase: UseCase, name: str, *, tags: dict[str, str], parent: str | None = None, started: float | None = None) -> str:
    """Create a run in the use case's experiment and return its id."""
    every = tags | {"mlflow.user": os.environ.get("USER", "pipeline")} | ({"mlflow.parentRunId": parent} if parent else {})
    body = {
        "experiment_id": _experiment(usecase),
        "run_name": name,
        "start_time": int((started or time.time()) * 1000),
        "tags": [{"key": key, "value": value} for key, value in every.items()],
    }
    return str(call("POST", "runs/create", body)["run"]["info"]["run_id"])


def publish(run: str, parameters: dict[str, Any], metrics: dict[str, float], tags: dict[str, str]) -> None:
    """Log to a run in as few calls as there can be."""
    now = int(time.time() * 1000)
    body = {
        "run_id": run,
        "params": [{"key": key, "value": shown(str(value))[:TAG_LIMIT]} for key, value in parameters.items()],
        "metrics": [{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in metrics.items()][:BATCH],
        "tags": [{"key": key, "value": shown(value)[:TAG_LIMIT]} for key, value in tags.items()],
    }
    call("POST", "runs/log-batch", body)


def end(run: str, status: Status) -> None:
    """End a run."""
    call("POST", "runs/update", {"run_id": run, "status": status, "end_time": int(time.time() * 1000)})


def get(run: str) -> dict[str, Any]:
    """Return a run as MLflow's API gives it."""
    found: dict[str, Any] = call("GET", "runs/get", {"run_id": run})["run"]
    return found


def page(usecase: UseCase) -> str:
    """Return the address of the pipeline run's page in MLflow."""
    return _page(parent(usecase))


def _page(run: str) -> str:
    info = get(run)["info"]
    return f"{uri()}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}"


def notes(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a run's `metrics`, `params` and `tags` by their keys."""
    return {section: {item["key"]: item["value"] for item in run["data"].get(section, [])} for section in ("metrics", "params", "tags")}


def _accepted(usecase: UseCase, step: str, path: str) -> bytes | None:
    """Look among the ended runs of the step, the newest first, for one whose pipeline run succeeded."""
    condition = f"tags.step = '{step}' AND attributes.status = 'FINISHED'"
    if is_joined():  # the plugin's experiment has the runs of every use case
        condition += f" AND tags.usecase = '{usecase.name}'"
    for run in _search(usecase, condition):
        if get(_root(run["info"]["run_id"]))["info"]["status"] == "FINISHED" and path in _artifacts(run["info"]["run_id"]):
            return get_artifact(run["info"]["artifact_uri"], path)
    return None


def _artifacts(run: str) -> set[str]:
    return {file["path"] for file in call("GET", "artifacts/list", {"run_id": run}).get("files", [])}


def _search(usecase: UseCase, condition: str) -> list[dict[str, Any]]:
    """Return the experiment's runs that fulfil a condition, the one that ended last first."""
    body = {"experiment_ids": [_experiment(usecase)], "filter": condition, "max_results": 1000, "order_by": ["attributes.end_time DESC"]}
    found: list[dict[str, Any]] = call("POST", "runs/search", body).get("runs", [])
    return found


def _experiment(usecase: UseCase) -> str:
    """Return the id of the experiment: the use case's own, or the one in which KFP's plugin made this step's run."""
    if is_joined():
        return str(get(os.environ["MLFLOW_RUN_ID"])["info"]["experiment_id"])
    name = usecase.name
    for _ in range(2):
        try:
            found = call("GET", "experiments/get-by-name", {"experiment_name": name})["experiment"]
            if found["lifecycle_stage"] == "deleted":
                break
            return str(found["experiment_id"])
        except NotFound:
            try:
                return str(call("POST", "experiments/create", {"name": name})["experiment_id"])
            except AlreadyExists:  # another run made it in between
                continue
    raise UserError(f"MLflow cannot create the experiment {name}: it may have been deleted, restore it")


def _sentence(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped before it had ended: run again"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the disk{f' for {error.filename}' if error.filename else ''}: make room, then run again"
    return shown(f"{type(error).__name__}: {error}")


def _leave_behind(run: Run, sentence: str, status: Status, *, is_last: bool) -> None:
    """Say in MLflow why the step failed, if MLflow can be reached: the step's own error is the one to show.

    The last step ends the pipeline run, too: no report follows.
    """
    try:
        run.tags["error"] = sentence
        if run.page in run.artifacts:
            _link(run)
        run.close(status)
        if is_last and not is_joined():
            end(parent(run.usecase), status)
    except (UserError, NotFound) as error:
        print(f"not in MLflow either: {error}", flush=True)


def _link(run: Run) -> None:
    """Store the page that explains the failure, and print where it is."""
    copy = failure_page.keep(run.usecase.name, run_id(), run.name, run.page, run.artifacts[run.page])
    run.tags |= {"page": f"{_page(run.id)}/artifacts/{run.page}", "page.copy": copy}
    print(f"page: {run.tags['page']}{f' (copy: {copy})' if copy else ''}", flush=True)


def _started() -> float:
    return psutil.Process().create_time()


def _resources() -> dict[str, float]:
    """Wall and CPU seconds, and peak resident memory in MiB, of this process and its ended children."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": time.time() - _started(),
        "cpu_seconds": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        "peak_memory_mib": own.ru_maxrss * unit / 2**20,
    }
