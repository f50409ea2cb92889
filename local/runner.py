"""Run a compiled pipeline on this machine: the same YAML that a cluster gets, by kfp's own local runner, its traps closed.

kfp's runner prints whole logs, takes a condition that it cannot evaluate for a closed gate, and does not miss an output that was
never written. So this module puts its own handler in the place of kfp's `SubprocessTaskHandler`, the one seam that sees every task;
kfp is pinned to a minor version, and a test runs it.
"""

import contextlib
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from core import processes, storage
from core.errors import UserError
from core.processes import Process
from core.signals import terminable

PATIENCE = 10  # seconds that a step has to take back what it has begun
BELONGING = ("bad data: ", "page: ")  # how the lines begin that belong to an error
CONCLUSION = ("verdict", "server", "MLflow", "report")  # what the report says of the run
CONDITION_TRAPS = ("Condition evaluation failed", "Could not resolve", "Failed to resolve")


@dataclass(frozen=True)
class Step:
    """How one step ended.

    Attributes:
        name: The task.
        seconds: Wall time.
        summary: What came out, empty when it failed.
        error: Why it failed, in a sentence; empty when it succeeded.
        log: The step's whole output.
    """

    name: str
    seconds: float
    summary: str
    error: str
    log: Path


class Observer(Protocol):
    """Is told of each step."""

    def started(self, name: str) -> None:
        """Hear that a step has begun."""

    def ended(self, step: Step) -> None:
        """Hear how it went."""


def run(package: Path, config: str, run_id: str, folder: Path, observer: Observer) -> list[Step]:
    """Run a compiled pipeline to its end.

    The environment of this process is the steps' environment.

    Args:
        package: The compiled YAML.
        config: The use case, as YAML text.
        run_id: The run's name among artifacts and in MLflow.
        folder: Where logs and, until the run has succeeded, artifacts lie.
        observer: Is told of each step.

    Returns:
        How each step went, in order. The run has succeeded if none has an error.

    Raises:
        UserError: The pipeline could not be run to its end.
    """
    from kfp import components, local
    from kfp.local import subprocess_task_handler

    folder.mkdir(parents=True)
    session = _Session(f"{storage.artifacts()}/{package.stem}/{run_id}", folder, observer)
    subprocess_task_handler.SubprocessTaskHandler = _handler(session)
    os.environ["KFP_RUN_ID"] = run_id
    # raise_on_error stays off: the exit handler has to run
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "artifacts"), raise_on_error=False)
    with _logged(folder / "run.log"), terminable(), _conditions_watched() as problems:
        try:
            pipeline = components.load_component_from_file(str(package))
            session.names = {name: task.task_info.name for name, task in _tasks(pipeline)}
            pipeline(config=config)
        except Exception as error:  # kfp raises whatever it meets, such as KeyError
            problems.append(f"the pipeline could not be run to its end: {type(error).__name__}: {error} (whole log: {folder / 'run.log'})")
        finally:
            session.kill()
    if problems and not any(step.error for step in session.steps):
        raise UserError(problems[0])
    if not any(step.error for step in session.steps):
        shutil.rmtree(folder / "artifacts", ignore_errors=True)  # they are on S3
    return session.steps


class _Session:
    """What the steps of one run have in common."""

    def __init__(self, root: str, folder: Path, observer: Observer) -> None:
        self.root, self.folder, self.observer = root, folder, observer
        self.steps: list[Step] = []
        self.names: dict[str, str] = {}  # of the tasks, as people see them
        self.process: subprocess.Popen[bytes] | None = None

    def execute(self, command: list[str], executor_input: dict[str, Any], variables: dict[str, str]) -> Step:
        """Run one step's command, look whether its outputs are there, and copy them to S3."""
        task = Path(executor_input["outputs"]["outputFile"]).parent.name
        name = self.names[task]  # of a step that is there twice the same, so files have the task's
        log, started = self.folder / f"{task}.log", time.monotonic()
        self.observer.started(name)
        with log.open("wb") as output:
            # a session of its own: Ctrl-C reaches the runner, which then ends the step; and a pipe, whose end says that the runner was killed
            self.process = subprocess.Popen(
                command, env=_environment(variables), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
            code = self.process.wait()
        summary, error = last_words(log.read_text(errors="replace"))
        self._show(task, executor_input)
        error = _explain(name, code, error) if code else _missing(name, executor_input) or self._keep(task, executor_input, log)
        step = Step(name, time.monotonic() - started, "" if error else summary, error, log)
        self.steps.append(step)
        self.observer.ended(step)
        return step

    def kill(self) -> None:
        """End the step that still runs, with all that it started."""
        if self.process and self.process.poll() is None:
            processes.stop(Process("step", self.process.pid, psutil.Process(self.process.pid).create_time(), ""), PATIENCE)
            self.process.wait()

    def _show(self, task: str, executor_input: dict[str, Any]) -> None:
        """Put the step's pages beside its log, even if it failed or S3 does not answer."""
        for _, kind, path in _artifacts(executor_input):
            if kind == "system.HTML" and path.exists():
                with contextlib.suppress(OSError):
                    shutil.copyfile(path, self.folder / f"{task}.html")

    def _keep(self, task: str, executor_input: dict[str, Any], log: Path) -> str:
        """Copy outputs and log to where a cluster has them; return what went wrong."""
        base = f"{self.root}/{task}/{uuid.uuid4()}"
        try:
            for output, _, path in _artifacts(executor_input):
                storage.upload(path, f"{base}/{output}")
            storage.upload(log, f"{base}/executor-logs-0")
        except (UserError, OSError) as error:
            return f"the outputs of {task} could not be copied to S3: {error}"
        return ""


def _tasks(pipeline: Any) -> Iterator[tuple[str, Any]]:
    """Yield each task of a pipeline under the name that kfp gives it: one that is there twice gets a number."""
    spec = pipeline.component_spec.implementation.graph
    for component in (spec.root, *spec.components.values()):
        yield from component.dag.tasks.items()


def _handler(session: _Session) -> type:
    from kfp.local import status
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    class Handler(SubprocessTaskHandler):  # type: ignore[misc]
        def validate_image(self, image: str) -> None:
            """Any image: the steps run in this environment, which the image is made of."""

        def validate_not_container_component(self, full_command: list[str]) -> None:
            """Any command: ours runs kfp's executor by another module (components/executor.py)."""

        def run(self) -> Any:
            shell, option, script, *arguments = self.full_command
            command = [shell, option, script.replace("python3", shlex.quote(sys.executable)), *arguments]
            executor_input = json.loads(command[command.index("--executor_input") + 1])
            return status.Status.FAILURE if session.execute(command, executor_input, self.env_vars).error else status.Status.SUCCESS

    return Handler


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write what kfp prints to a file."""
    try:
        with path.open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): make room on its disk, then run again") from error


@contextlib.contextmanager
def _conditions_watched() -> Iterator[list[str]]:
    """Collect what kfp only warns of: a gate that could not be evaluated is no closed gate."""
    problems: list[str] = []

    def watch(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message.startswith(CONDITION_TRAPS):
            problems.append(f"a condition of the pipeline could not be evaluated, so what follows from it is unknown: {message}")
        return True

    root = logging.getLogger()
    root.addFilter(watch)
    try:
        yield problems
    finally:
        root.removeFilter(watch)


def _artifacts(executor_input: dict[str, Any]) -> list[tuple[str, str, Path]]:
    """Name, type and place of each declared output artifact."""
    found = {output: item["artifacts"][0] for output, item in executor_input["outputs"].get("artifacts", {}).items()}
    return [(output, item["type"]["schemaTitle"], Path(item["uri"])) for output, item in found.items()]


def _missing(name: str, executor_input: dict[str, Any]) -> str:
    """Say which declared output the step did not write."""
    outputs = executor_input["outputs"]
    report = Path(outputs["outputFile"])
    given = json.loads(report.read_text()).get("parameterValues", {}) if report.exists() else {}
    lost = [output for output, _, path in _artifacts(executor_input) if not path.exists()] + [
        key for key in outputs.get("parameters", {}) if key not in given
    ]
    return f"{name} ended well but did not write its declared output {', '.join(lost)}: write it to the path that the step is given" if lost else ""


def last_words(log: str) -> tuple[str, str]:
    """Read what `core.tracking.record` prints when a step ends: its summary, or its error with the lines that belong to it."""
    lines = log.splitlines()
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith("done: "):
            return lines[index].removeprefix("done: "), ""
        if lines[index].startswith("failed: "):
            following = [line for line in lines[index + 1 :] if line.startswith(BELONGING)]
            return "", "\n".join([lines[index].removeprefix("failed: "), *following])
    return "", ""


def conclusion(log: str) -> dict[str, str]:
    """Read what the report prints before its summary: the verdict and the addresses of the run."""
    lines = [line.partition(": ") for line in log.splitlines()]
    return {name: value for name, _, value in lines if name in CONCLUSION and value}


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Return a step's environment. Here it runs in no image, or in this pod's, whatever image the YAML names for its pods."""
    return os.environ | {name: value for name, value in variables.items() if name not in ("IMAGE", "SPARK_IMAGE")}


def _explain(name: str, code: int, error: str) -> str:
    if error:
        return error
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        in_pod = "raise the memory limit in the CronJob mlops (k8s/base/pipeline), then run again"
        cure = in_pod if "KUBERNETES_SERVICE_HOST" in os.environ else "look at the free memory, lower limits.memory, and run again"
        return f"{name} was killed (signal 9), perhaps for want of memory: {cure}"
    return f"{name} ended with exit code {code} and left no word why: see its log"
