"""A compiled pipeline inside one pod of a cluster: `python -m local.job FOLDER`, where the folder holds the YAML, config.yaml and code.sha256."""

import contextlib
import sys
import tempfile
import time
import uuid
from pathlib import Path

from rich.console import Console

from core import storage
from core.configtext import parse
from core.errors import UserError
from core.featurecode import code_digest
from core.signals import heed_sigterm
from local.conclusion import execute, tell_failure, tell_success
from local.display import Display
from local.runner import Step

INTERRUPTED = 130
TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes gives its text to `mlops submit` when the container has ended


def main() -> int:
    """Run the pipeline; return 0 if it succeeded: a champion that stays is success."""
    heed_sigterm()  # as the pod's first process we would not hear it otherwise
    try:
        return 0 if train(Path(sys.argv[1]), Console(file=sys.stdout, highlight=False)) else 1
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}")
        return 1
    except KeyboardInterrupt:
        print("stopped")
        return INTERRUPTED


def train(folder: Path, console: Console) -> bool:
    """Run the training pipeline that lies in a folder.

    Args:
        folder: `<use case>-training.yaml`, `config.yaml`, and `code.sha256` of the use case's code where the run was submitted.
        console: Where the progress is shown.

    Returns:
        Whether the run succeeded.

    Raises:
        UserError: It could not start, or was cut short.
    """
    started = time.monotonic()
    usecase, run_id = parse((folder / "config.yaml").read_text(encoding="utf-8")), str(uuid.uuid4())
    package = folder / f"{usecase.name}-training.yaml"
    if (folder / "code.sha256").read_text() != code_digest(usecase.name):
        raise UserError(
            f"the code in usecases/{usecase.name} is another one in this image than where the run was submitted: "
            "build an image of that commit (make image), push it, and name it with --image"
        )
    console.print(f"{usecase.description}\n{usecase.name}, run {run_id}", style="dim", markup=False, soft_wrap=True)
    steps = execute(usecase, package, run_id, Path(tempfile.gettempdir(), "run", run_id), NotedDisplay(console))
    page = {"report": "report.html on the run's page in MLflow"}
    if any(step.error for step in steps):
        logs = _kept([step for step in steps if step.error], f"{storage.artifacts()}/{package.stem}/{run_id}")
        tell_failure(steps, console, time.monotonic() - started, page, lambda step: logs[step.name])
        return False
    tell_success(usecase, console, time.monotonic() - started, page)
    return True


class NotedDisplay(Display):
    """Also notes which step runs, or failed first: a container that is killed cannot say it any more."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._failed = False

    def started(self, name: str) -> None:
        """Show it, and note it."""
        super().started(name)
        self._note(name)

    def ended(self, step: Step) -> None:
        """Show how it went; the first that failed stays noted."""
        super().ended(step)
        self._failed = self._failed or bool(step.error)
        self._note("")

    def _note(self, step: str) -> None:
        if not self._failed and TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(step)


def _kept(broken: list[Step], root: str) -> dict[str, str]:
    """Copy the logs of the failed steps to S3: the pod's disk goes with the pod."""
    kept = {}
    for step in broken:
        kept[step.name] = f"{root}/{step.name}/{uuid.uuid4()}/executor-logs-0"
        with contextlib.suppress(UserError):
            storage.upload(step.log, kept[step.name])
    return kept


if __name__ == "__main__":
    sys.exit(main())
