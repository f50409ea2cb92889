"""`mlops submit --wait`: the steps of a run on Kubeflow, on the same display as those of a local run."""

import os
from pathlib import Path

from rich.console import Console

from core.errors import UserError
from core.storage import ENVIRONMENT
from local.display import Display, tail
from local.runner import Step, last_words
from local.state import private
from pipelines import follow as kubeflow
from pipelines.follow import Ended
from pipelines.submit import Submitted


def follow(submitted: Submitted, package: Path, console: Console, *, host: str | None = None, namespace: str | None = None, poll: float = 3) -> None:
    """Show each step as it ends, with its own words if its log can be had.

    Args:
        submitted: The run.
        package: Its compiled YAML.
        console: Where the progress is shown.
        host: Address of Kubeflow Pipelines.
        namespace: The user's namespace where Kubeflow is multi-user.
        poll: Seconds between two looks.

    Raises:
        UserError: The run did not succeed: the error of the step that failed.
    """
    display = Display(console)
    logs = _Logs(package.stem, submitted.run_id)
    steps: list[Step] = []

    def ended(end: Ended) -> None:
        steps.append(logs.step(end))
        display.ended(steps[-1])

    try:
        state = kubeflow.follow(submitted, package, started=display.started, ended=ended, host=host, namespace=namespace, poll=poll)
    except KeyboardInterrupt:
        console.print(f"the run goes on: {submitted.link}", markup=False, soft_wrap=True)
        raise
    finally:
        display.close()
    _conclude(steps, state, submitted, console)


def _conclude(steps: list[Step], state: str, submitted: Submitted, console: Console) -> None:
    broken = [step for step in steps if step.error]
    for step in broken:
        if step.log.exists():
            console.print(tail(step), style="dim", markup=False, soft_wrap=True)
            console.print(f"log  {step.log}", markup=False, soft_wrap=True)
    if broken:
        raise UserError(f"{broken[0].name}: {broken[0].error.splitlines()[0]}")
    if state != "SUCCEEDED":
        raise UserError(f"the run ended as {state} without a step that failed: look at {submitted.link}")
    console.print(f"\nthe run succeeded: {submitted.link}", style="bold", markup=False, soft_wrap=True)


class _Logs:
    """The steps' logs: copied from S3 to where a local run has them."""

    def __init__(self, pipeline: str, run_id: str) -> None:
        self._pipeline, self._run = pipeline, run_id
        self._folder = private("runs") / run_id

    def step(self, end: Ended) -> Step:
        """Return how a step went, by its own words; the API has none."""
        path = self._folder / f"{end.name}.log"
        text, problem = self._fetch(end.name)
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        summary, error = last_words(text)
        if end.state == "SUCCEEDED":
            return Step(end.name, end.seconds, summary or ("taken from the cache" if not problem and not text else ""), "", path)
        where = problem or (f"its log is {path}" if text else "it left no log: its pod may have been refused (kubectl get events)")
        return Step(end.name, end.seconds, "", error or f"it ended as {end.state} and left no word why: {where}", path)

    def _fetch(self, name: str) -> tuple[str, str]:
        """Return the log, or what keeps us from having it."""
        where = kubeflow.folder(self._pipeline, self._run, name)
        missing = [variable for variable in ENVIRONMENT if not os.environ.get(variable)]
        if missing:
            return "", f"its log lies at {where}: set {', '.join(missing)} to have it shown"
        try:
            return kubeflow.executor_log(self._pipeline, self._run, name) or "", ""
        except UserError as error:
            return "", f"its log lies at {where}, but {error}"
