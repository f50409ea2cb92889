"""What a step costs before its first line and after its last: kfp's executor, the runner, the log's copy on S3."""

import subprocess
import sys
import time
from pathlib import Path

from kfp import compiler, dsl

from components.step import step
from local.runner import Step, run

STEPS = 5


@step
def nothing(config: str) -> None:
    """Do nothing."""
    del config


# With the name of its step, kfp would take the pipeline for that component.
@dsl.pipeline(name="empty-steps")  # type: ignore[untyped-decorator]
def pipeline(config: str = "") -> None:
    """Run several empty steps."""
    for _ in range(STEPS):
        nothing(config=config)


class _Silent:
    def started(self, name: str) -> None:
        """Nothing to show."""

    def ended(self, step: Step) -> None:
        """Nothing to show."""


def overhead(folder: Path) -> float:
    """Return the seconds of an empty step less those of Python's start and the executor's import."""
    folder.mkdir(parents=True)
    compiler.Compiler().compile(pipeline, str(folder / "nothing.yaml"))
    steps = run(folder / "nothing.yaml", "", "overhead", folder / "run", _Silent())
    started = time.perf_counter()
    for _ in range(STEPS):
        subprocess.run([sys.executable, "-c", "import components.executor"], env={"_KFP_RUNTIME": "true"}, check=True)
    return min(step.seconds for step in steps) - (time.perf_counter() - started) / STEPS
