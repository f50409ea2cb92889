"""`mlops submit`: the compiled pipeline on Kubeflow, or inside one Job of a cluster without it."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from cli.revision import revision
from core.config import UseCase
from core.configfile import load
from core.errors import UserError, shown
from core.featurecode import code_digest

REPOSITORY = "localhost/kubeflow-mlops-template"


def submit(
    name: str, overrides: list[str], image: str | None, host: str | None, namespace: str | None, *, wait: bool = False, caching: bool = True
) -> None:
    """Start a run of a use case on Kubeflow.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        image: Image of the steps; the one of this commit if None.
        host: Address of Kubeflow Pipelines.
        namespace: Where the run belongs, if Kubeflow has several users.
        wait: Whether to follow the steps to the run's end.
        caching: Whether Kubeflow may reuse what a step gave for the same inputs.

    Raises:
        UserError: The config is wrong, the commit has no image, Kubeflow refuses or cannot be reached, or the run that was followed failed.
    """
    usecase = load(name, overrides)
    commit = revision()
    if not image and (commit == "unknown" or commit.endswith("-dirty")):
        raise UserError(
            "this checkout differs from its commit, so no image has its code: commit the changes and build the image, or name one with --image"
        )
    from pipelines.build import compile_one
    from pipelines.images import use_image
    from pipelines.submit import submit as send

    use_image(image or f"{REPOSITORY}:{commit}")
    committed = _committed(usecase, overrides)
    with tempfile.TemporaryDirectory() as folder:
        package = compile_one(committed or usecase, Path(folder), caching=caching)
        version = commit if committed and caching else f"{commit}-{hashlib.sha256(package.read_bytes()).hexdigest()[:8]}"
        submitted = send(name, package, usecase.text, experiment=name, version=version, host=host, namespace=namespace)
        print(f"submitted {name} as run {submitted.run_id}\n{submitted.link}", flush=True)
        if wait:
            from cli.follow import follow

            follow(submitted, package, Console(file=sys.stdout, highlight=False), host=host, namespace=namespace)


def _committed(usecase: UseCase, overrides: list[str]) -> UseCase | None:
    """Return the use case as its file says, if the overrides leave its YAML as it is: then the commit's version serves all such runs."""
    from pipelines.build import shape

    if not overrides:
        return usecase
    try:
        committed = load(usecase.name)
    except UserError:
        return None
    return committed if shape(committed) == shape(usecase) else None


def submit_job(name: str, overrides: list[str], image: str | None, namespace: str) -> int:
    """Run a use case's pipeline inside one Job of the cluster that kubectl uses, to its end.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        image: Image of the pod; that of the CronJob `mlops` if None.
        namespace: Where the CronJob is.

    Returns:
        0 if the run succeeded.

    Raises:
        UserError: The config is wrong, the cluster refuses or cannot be reached, or the pod could not start.
    """
    from pipelines.build import compile_one
    from pipelines.images import use_image
    from pipelines.jobs import FOLDER, run

    usecase = load(name, overrides)
    if image:
        use_image(image)
    os.environ.pop("IMAGE", None)  # the YAML's images mean nothing here
    with tempfile.TemporaryDirectory() as folder:
        package = compile_one(usecase, Path(folder))
        files = {package.name: package.read_text(), "config.yaml": usecase.text, "code.sha256": code_digest(name)}
    command = ["python", "-m", "local.job", FOLDER]
    return run(
        namespace,
        f"{name}-training",
        command,
        files=files,
        image=image,
        spark=usecase.spark is not None,
        say=lambda line: print(shown(line), flush=True),
    )
