"""`mlops run`: the platform, the data, the compiled pipeline, and what came of it."""

import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.revision import revision
from components.deploy.deploy import serve_champion
from components.deploy.local import Served
from core import tracking
from core.bundle import Bundle, unpack
from core.config import UseCase
from core.configfile import load
from core.errors import UserError
from core.mlflow_api import NotFound
from core.storage import read
from local import platform, samples
from local.display import Display, tail
from local.runner import Step
from local.runner import run as execute
from pipelines.build import compile_one


def run(name: str, overrides: list[str], console: Console) -> bool:
    """Run a use case's training pipeline on this machine.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        console: Where the progress is shown.

    Returns:
        Whether the run succeeded: a champion that stays is success.

    Raises:
        UserError: It could not start, or was cut short.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        servers = pool.submit(platform.up, wait=False)
        usecase, document = load(name, overrides)
        package = compile_one(name)
        os.environ |= platform.environment(servers.result()) | {"GIT_SHA": revision()}
    delivered = samples.deliver(name)
    run_id = str(uuid.uuid4())
    folder = platform.home() / "runs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{run_id[:4]}"
    console.print(
        f"{usecase.description}\n{name}, run {folder.name}{f'; delivered {delivered}' if delivered else ''}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    display = Display(console)
    try:
        steps = execute(package, document, run_id, folder, display)
    except (KeyboardInterrupt, UserError):
        _abandon(usecase)
        raise
    finally:
        display.close()
    return _conclude(usecase, steps, folder, console, time.monotonic() - started)


def _abandon(usecase: UseCase) -> None:
    """End the MLflow run of a pipeline that was cut short, and what is open below it."""
    try:
        for step in tracking.steps(usecase):
            if step["info"]["status"] == "RUNNING":
                tracking.end(step["info"]["run_id"], "KILLED")
        tracking.end(tracking.parent(usecase), "KILLED")
    except (UserError, NotFound):
        pass  # MLflow is down: nothing more can be done for its run


def _conclude(usecase: UseCase, steps: list[Step], folder: Path, console: Console, seconds: float) -> bool:
    """Say what was decided and why, and where to look."""
    broken = [step for step in steps if step.error]
    for step in broken:
        if "\n" not in step.error:
            console.print(tail(step), style="dim", markup=False, soft_wrap=True)
        console.print(f"log  {step.log}", markup=False, soft_wrap=True)
    report = _report(folder)
    if broken:
        console.print(
            f"\nfailed after {seconds:.0f} s: {broken[0].name}: {broken[0].error.splitlines()[0]}", style="red", markup=False, soft_wrap=True
        )
        _links(console, {"MLflow": os.environ["MLFLOW_TRACKING_URI"], "report": report})
        return False
    served = serve_champion(usecase.name)
    console.print(f"\n{_reason(usecase)} ({seconds:.0f} s)", style="bold", markup=False, soft_wrap=True)
    _links(console, {"server": served.address if served else "nothing serves", "MLflow": _mlflow_page(usecase), "report": report})
    if served:
        console.print(f"\n{_curl(served)}", markup=False, soft_wrap=True)
    return True


def _links(console: Console, links: dict[str, str]) -> None:
    for name, link in links.items():
        console.print(f"{name:8}{link}", markup=False, soft_wrap=True)


def _report(folder: Path) -> str:
    path = folder / "report.html"
    return path.as_uri() if path.exists() else "none: the report step did not run"


def _reason(usecase: UseCase) -> str:
    notes = {step["info"]["run_name"]: tracking.notes(step)["tags"] for step in tracking.steps(usecase)}
    return str(notes.get("evaluate", {}).get("reason", "the run came to no verdict"))


def _mlflow_page(usecase: UseCase) -> str:
    run = tracking.get(tracking.parent(usecase))["info"]
    return f"{os.environ['MLFLOW_TRACKING_URI']}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}"


def _curl(served: Served) -> str:
    """Write a request that works when pasted, with a golden row."""
    bundle: Bundle = unpack(read(served.uri), served.digest)
    body: dict[str, Any] = {"dataframe_records": bundle.golden.rows[-1:]}
    text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s {served.address}/invocations -H 'Content-Type: application/json' -d '{text}'"
