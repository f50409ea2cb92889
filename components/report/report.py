"""Collect what the steps left in MLflow and write one page of it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from components.report.page import write
from core import mlflow_api, tracking
from core.config import LIMITED_AS, STEPS, UseCase
from core.configtext import parse
from core.errors import UserError, shown

ORDER: list[str] = [name for name in STEPS if name != "report"]  # which has no MLflow run of its own
ORDER.insert(ORDER.index("register"), "refit")


@dataclass
class Step:
    """How one step went. Its status is MLflow's, and KILLED where it left its run open: no step runs beside the report."""

    name: str
    status: str
    metrics: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: str = ""


def report(config: str, failed: bool, path: str) -> None:
    """Write the report, keep a copy in MLflow, end the run there.

    Without MLflow the page still says what is known.

    Args:
        config: The use case, as YAML text.
        failed: Whether a step is known to have failed. Kubeflow does not know it of one whose pod was killed whole.
        path: Where the page is written.
    """
    usecase = parse(config)
    try:
        steps = collect(usecase)
        failed = failed or not succeeded(usecase, steps)
        verdict = outcome(usecase, steps, failed)
        page = write(usecase, steps, verdict, failed, _plots(steps), _about(usecase))
        Path(path).write_text(page, encoding="utf-8")
        _close(usecase, page, verdict, failed, steps)
    except (UserError, mlflow_api.NotFound) as error:
        if not Path(path).exists():
            Path(path).write_text(write(usecase, [], f"what the steps did is not known: {error}", True, {}, _about(usecase)), encoding="utf-8")
        print(f"failed: {error}", flush=True)
        raise SystemExit(1) from error
    _conclude(usecase, steps, verdict)
    print(f"done: {sum(step.metrics.get('seconds', 0) for step in steps):.0f} s in {len(steps)} steps", flush=True)


def collect(usecase: UseCase) -> list[Step]:
    """Return the steps that left something behind, in the order of the pipeline."""
    found = {}
    for run in tracking.steps(usecase):
        notes = tracking.notes(run)
        name = tracking.step_of(run)
        status = "KILLED" if tracking.was_killed(run) else run["info"]["status"]
        found[name] = Step(name, status, notes["metrics"], notes["params"], notes["tags"], run["info"]["artifact_uri"])
    return [found[name] for name in ORDER if name in found]


def succeeded(usecase: UseCase, steps: list[Step]) -> bool:
    """Tell whether the run came to its end: each of its last steps has ended well, and no step was killed."""
    ended = {step.name for step in steps if step.status != "KILLED"}
    last = bool(ended & {"deploy", "serve"}) and ("load" in ended or not usecase.load)
    return last and len(ended) == len(steps) and all(step.status != "FAILED" for step in steps)


def outcome(usecase: UseCase, steps: list[Step], failed: bool) -> str:
    """Say in one sentence what the run came to."""
    known = {step.name: step for step in steps}
    broken = next((step for step in steps if step.status == "FAILED"), None)
    if broken:
        return f"{broken.name} failed: {broken.tags.get('error', 'it left no word why')}"
    killed = next((step.name for step in steps if step.status == "KILLED"), None)
    if killed:
        return f"{killed} was killed: {_memory(usecase, killed)}"
    if failed:
        silent = _silent(steps)
        return f"{silent} was killed or could not start: {_memory(usecase, silent)}"
    reason = known["evaluate"].tags.get("reason", "") if "evaluate" in known else "the run did not come to a verdict"
    served = known.get("deploy") or known.get("serve")
    return f"{reason}; {served.tags.get('summary', '')}" if served else reason


def _memory(usecase: UseCase, step: str) -> str:
    """Say what to do about a step that was killed: mostly it is the memory."""
    name = LIMITED_AS.get(step, step)
    limits = next((limits for key, limits in usecase.limits.steps.items() if key == name), None)
    memory = f"if it needs more than its limit of {limits.memory}, raise limits.steps.{name}.memory, else " if limits else ""
    return f"{memory}look at its log and its pod's events"


def _silent(steps: list[Step]) -> str:
    """Name the step that left nothing: the one after the last; steps before it may come from Kubeflow's cache."""
    following = ORDER[ORDER.index(steps[-1].name) + 1 :] if steps else ORDER
    return next((name for name in following if name != "refit"), "a step")  # refit is in few pipelines


def _plots(steps: list[Step]) -> dict[str, str]:
    """Fetch the drawings of the evaluation."""
    evaluation = next((step for step in steps if step.name == "evaluate" and step.status == "FINISHED"), None)
    if evaluation is None:
        return {}
    listed = json.loads(evaluation.tags.get("plots", "[]"))
    try:
        return {name: mlflow_api.get_artifact(evaluation.artifacts, f"plots/{name}.svg").decode() for name in listed}
    except (UserError, mlflow_api.NotFound):  # S3 is gone: better a page without plots than none
        return {}


def _conclude(usecase: UseCase, steps: list[Step], verdict: str) -> None:
    """Print what `mlops submit --wait` shows at the end: the verdict and the addresses."""
    known = {step.name: step for step in steps}
    served = known.get("deploy") or known.get("serve")
    lines = {
        "verdict": verdict,
        "server": served.tags.get("address", "") if served else "",
        "MLflow": tracking.page(usecase),
        "report": "report.html on the run's page in MLflow",
    }
    for name, value in lines.items():
        if value:
            print(f"{name}: {shown(value)}", flush=True)


def _about(usecase: UseCase) -> dict[str, str]:
    return (
        tracking.identity()
        | {"config": tracking.config_source(usecase)}
        | {"run": tracking.run_id(), "written": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
    )


def _close(usecase: UseCase, page: str, verdict: str, failed: bool, steps: list[Step]) -> None:
    """Leave the outcome, the metrics, the data's hash and the page on the pipeline run's MLflow run, and end it."""
    run = tracking.parent(usecase)
    tracking.end_killed(usecase)
    data = next((step.tags["data.sha256"] for step in steps if "data.sha256" in step.tags), "unknown")
    headline = {name: value for step in steps for name, value in step.metrics.items() if name.startswith(("test.", "validation."))}
    tracking.publish(run, {}, headline, {"outcome": verdict, "data.sha256": data})
    if not tracking.is_joined():
        tracking.end(run, "FAILED" if failed else "FINISHED")
    mlflow_api.put_artifact(tracking.get(run)["info"]["artifact_uri"], "report.html", page.encode())  # last: it needs S3, too
