"""A run, as the terminal tells it: its steps, what was decided and why, and where to look."""

import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from components.deploy.deployer import Served, deployer
from core import tracking
from core.config import UseCase
from core.errors import UserError, shown
from core.mlflow_api import NotFound
from local.display import Display, tail
from local.runner import Step, run


def execute(usecase: UseCase, package: Path, run_id: str, folder: Path, display: Display) -> list[Step]:
    """Run a compiled pipeline and show each step; one that is cut short leaves nothing open in MLflow.

    Args:
        usecase: The use case, whose text is the pipeline's parameter.
        package: The compiled YAML.
        run_id: The run's name among artifacts and in MLflow.
        folder: Where logs and, until the run has succeeded, artifacts lie.
        display: Where the progress is shown; closed at the end.

    Returns:
        How each step went, in order.

    Raises:
        UserError: The pipeline could not be run to its end.
    """
    try:
        return run(package, usecase.text, run_id, folder, display)
    except (KeyboardInterrupt, UserError):
        _abandon(usecase)
        raise
    finally:
        display.close()


def tell_failure(steps: list[Step], console: Console, seconds: float, links: dict[str, str], log: Callable[[Step], str]) -> None:
    """Show the last lines of the steps that failed, and the first one's own error.

    Args:
        steps: How each step went; one at least failed.
        console: Where it is shown.
        seconds: How long the run took.
        links: Where else to look.
        log: Says where a step's log is.
    """
    broken = [step for step in steps if step.error]
    for step in broken:
        if last := tail(step):
            console.print(last, style="dim", markup=False, soft_wrap=True)
        console.print(f"log  {log(step)}", markup=False, soft_wrap=True)
    sentence = f"failed after {seconds:.0f} s: {broken[0].name}: {broken[0].error.splitlines()[0]}"
    console.print(f"\n{sentence}", style="red", markup=False, soft_wrap=True)
    _tell(console, {"MLflow": os.environ["MLFLOW_TRACKING_URI"]} | links)


def tell_success(usecase: UseCase, console: Console, seconds: float, links: dict[str, str]) -> Served | None:
    """Say which model serves now, and why.

    Returns:
        What serves; None if the use case has no champion yet.
    """
    served: Served | None = deployer(usecase.name, usecase.serving).serving()
    console.print(f"\n{shown(_reason(usecase))} ({seconds:.0f} s)", style="bold", markup=False, soft_wrap=True)
    _tell(console, {"server": served.address if served else "nothing serves", "MLflow": tracking.page(usecase)} | links)
    return served


def _abandon(usecase: UseCase) -> None:
    """End the MLflow run of a pipeline that was cut short, and what is open below it."""
    try:
        tracking.end_killed(usecase)
        tracking.end(tracking.parent(usecase), "KILLED")
    except (UserError, NotFound):
        pass  # MLflow is down: nothing more can be done for its run


def _tell(console: Console, links: dict[str, str]) -> None:
    for name, link in links.items():
        console.print(f"{name:8}{shown(link)}", markup=False, soft_wrap=True)


def _reason(usecase: UseCase) -> str:
    notes = {tracking.step_of(step): tracking.notes(step)["tags"] for step in tracking.steps(usecase)}
    return str(notes.get("evaluate", {}).get("reason", "the run came to no verdict"))
