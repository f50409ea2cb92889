"""`mlops run`: the platform, the data, the compiled pipeline, and what came of it."""

import json
import os
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.revision import revision
from components.deploy.deployer import Served
from core.bundle import Bundle, unpack
from core.configfile import load
from core.storage import read
from local import platform, samples
from local.conclusion import execute, tell_failure, tell_success
from local.display import Display
from local.environment import curl, enter
from local.state import private
from pipelines.build import compile_one

PRINTED = 30  # inputs of a request that is printed whole


def run(name: str, overrides: list[str], console: Console, *, caching: bool = True) -> bool:
    """Run a use case's training pipeline on this machine.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        console: Where the progress is shown.
        caching: Whether steps may take their outputs from the cache.

    Returns:
        Whether the run succeeded: a champion that stays is success.

    Raises:
        UserError: It could not start, or was cut short.
    """
    started, run_id = time.monotonic(), str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool, tempfile.TemporaryDirectory() as workplace:
        servers = pool.submit(platform.up, wait=False)
        usecase = load(name, overrides)
        package = compile_one(usecase, Path(workplace), caching=caching)
        enter(servers.result())
        os.environ["GIT_SHA"] = revision()
        delivered = samples.deliver(name)
        folder = private("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{run_id[:4]}"
        console.print(
            f"{usecase.description}\n{name}, run {folder.name}{f'; delivered {delivered}' if delivered else ''}",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
        steps = execute(usecase, package, run_id, folder, Display(console))
    page = {"report": _report(folder)}
    if any(step.error for step in steps):
        tell_failure(steps, console, time.monotonic() - started, page, lambda step: str(step.log))
        return False
    served = tell_success(usecase, console, time.monotonic() - started, page)
    if served:
        console.print(f"\n{_curl(served, folder)}", markup=False, soft_wrap=True)
    return True


def _report(folder: Path) -> str:
    path = folder / "report.html"
    return path.as_uri() if path.exists() else "none: the report step did not run"


def _curl(served: Served, folder: Path) -> str:
    """Write a request that works when pasted, with the row that was made up at registration."""
    bundle: Bundle = unpack(read(served.uri), served.digest)
    return f"{curl()} {served.address}/invocations -H 'Content-Type: application/json' -d {request(bundle.manifest.example, folder)}"


def request(example: dict[str, Any], folder: Path) -> str:
    """Return a request's body for a shell; that of very many inputs as a file.

    Args:
        example: One row.
        folder: Where the file is written.
    """
    text = json.dumps({"dataframe_records": [example]}, ensure_ascii=False)
    if len(example) > PRINTED:
        path = folder / "request.json"
        path.write_text(text, encoding="utf-8")
        text = f"@{path}"
    quoted = text.replace("'", "'\\''")
    return f"'{quoted}'"
