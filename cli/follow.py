"""`mlops submit --wait`: the steps of a run on Kubeflow, on the same display as those of a local run."""

import re
import sys
from pathlib import Path

import typer
from rich.console import Console

from core.cluster import NO_IMAGE
from core.errors import UserError, shown
from local.display import Display, tail
from local.runner import Step, conclusion, last_words
from local.state import private
from pipelines import follow as kubeflow_run
from pipelines.follow import Ended, memory_limit, pod_log, stored_log
from pipelines.kubeflow import Kubeflow
from pipelines.submit import Submitted
from pipelines.workflow import Workflow

REPORT = "report"  # the step whose log ends with the verdict and the addresses


def follow(kubeflow: Kubeflow, submitted: Submitted, package: Path, console: Console, *, pipeline_root: str, poll: float = 3) -> None:
    """Show each step as it ends, with its own words, and at the end the verdict and the addresses.

    Args:
        kubeflow: Where it runs.
        submitted: The run.
        package: Its compiled YAML.
        console: Where the progress is shown.
        pipeline_root: Where the run's artifacts are stored.
        poll: Seconds between two looks.

    Raises:
        UserError: The run did not succeed: the error of the step that failed.
    """
    display = Display(console)
    logs = _Logs(kubeflow, submitted, package, pipeline_root)
    steps: list[Step] = []

    def ended(end: Ended) -> None:
        steps.append(logs.step(end))
        display.ended(steps[-1])

    def waiting(step: str, message: str) -> None:
        line = _explained(step, message)
        if line not in told:
            told.add(line)
            display.close()
            console.print(f"waiting  {shown(line)}", style="yellow", markup=False, soft_wrap=True)

    told = set[str]()

    try:
        state, reason = kubeflow_run.follow(kubeflow, submitted, package, started=display.started, ended=ended, waiting=waiting, poll=poll)
    except KeyboardInterrupt:
        display.close()
        _leave(kubeflow, submitted, console)
        raise
    finally:
        display.close()
    _conclude(steps, state, reason, submitted, console)


def _explained(step: str, message: str) -> str:
    """Say why a pod waits, in the words of a person for what people meet most."""
    if message.startswith(NO_IMAGE):
        image = re.search(r'image "([^"]+)"', message)
        return f"{step}: cannot pull the image{f' {image[1]}' if image else ''}: push it or correct --image, and end this run with Ctrl-C"
    if "exceeded quota" in message:
        return f"{step}: the namespace's quota has no room for its pod ({message.rpartition('exceeded quota: ')[2]})"
    if "violates PodSecurity" in message:
        return f"{step}: Pod Security refuses its pod ({message.rpartition('is forbidden: ')[2]})"
    return f"{step}: {message}"


def _leave(kubeflow: Kubeflow, submitted: Submitted, console: Console) -> None:
    """Ask whether the run shall end, too, where somebody can answer."""
    if console.is_terminal and sys.stdin.isatty() and typer.confirm("End the run on Kubeflow, too?"):
        kubeflow_run.stop(kubeflow, submitted)
        console.print("the run is being ended", markup=False)
    else:
        console.print(f"the run goes on: {submitted.link}", markup=False, soft_wrap=True)


def _conclude(steps: list[Step], state: str, reason: str, submitted: Submitted, console: Console) -> None:
    broken = [step for step in steps if step.error]
    for step in broken:
        if step.log.exists():
            if last := tail(step):
                console.print(last, style="dim", markup=False, soft_wrap=True)
            console.print(f"log  {step.log}", markup=False, soft_wrap=True)
    report = next((step.log for step in steps if step.name == REPORT and step.log.exists()), None)
    said = conclusion(report.read_text(encoding="utf-8")) if report else {}
    verdict = said.pop("verdict", "")
    if state == "SUCCEEDED" and not broken:
        console.print(f"\n{shown(verdict or 'the run succeeded')}", style="bold", markup=False, soft_wrap=True)
    for name, value in {**said, "run": submitted.link}.items():
        console.print(f"{name:8}{shown(value)}", markup=False, soft_wrap=True)
    if broken:
        raise UserError(verdict or f"{broken[0].name}: {broken[0].error.splitlines()[0]}")
    if state != "SUCCEEDED":
        raise UserError(f"the run ended as {state}: {reason or f'no step failed, look at {submitted.link}'}")


class _Logs:
    """The steps' logs: copied to where a local run has them."""

    def __init__(self, kubeflow: Kubeflow, submitted: Submitted, package: Path, pipeline_root: str) -> None:
        self._kubeflow, self._submitted, self._package, self._root = kubeflow, submitted, package, pipeline_root
        self._folder = private("runs") / submitted.run_id

    def step(self, end: Ended) -> Step:
        """Return how a step went, by its own words; the API has none."""
        path = self._folder / f"{end.name}.log"
        text = stored_log(self._root, self._package.stem, self._submitted.run_id, end.name)
        if not text and end.pod:
            text = pod_log(self._kubeflow, self._submitted, end.pod)
        if not text and end.state != "SUCCEEDED":
            text = Workflow(self._kubeflow.namespace or "kubeflow", self._submitted.run_id, {end.name}).log(end.name)
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        summary, error = last_words(text)
        if end.state == "SUCCEEDED":
            return Step(end.name, end.seconds, summary or ("" if text else "its log is not there"), "", path)
        return Step(end.name, end.seconds, "", error or self._without_words(end, summary, path if text else None), path)

    def _without_words(self, end: Ended, summary: str, log: Path | None) -> str:
        """Say why a step ended that did not say so itself."""
        if "OOMKilled" in end.message:
            limit = memory_limit(self._package, end.name)
            return f"it was killed at its memory limit of {limit}: raise limits.steps.{end.name}.memory in config.yaml"
        if "exit code 137" in end.message:
            limit = memory_limit(self._package, end.name)
            return f"its container was killed: if it needs more than its limit of {limit}, raise limits.steps.{end.name}.memory in config.yaml"
        if end.message:
            return f"its pod ended with: {end.message}"
        if summary:
            return f"it had done its work ({summary}) when the run was ended"
        if end.state == "RUNNING":
            return f"its pod was killed: look at its events (kubectl get events){f', its log is {log}' if log else ''}"
        where = f"its log is {log}" if log else "it left no log, its pod may have been refused: look at its events (kubectl get events)"
        return f"it ended as {end.state} without an error message: {where}"
