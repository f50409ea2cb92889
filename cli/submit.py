"""`mlops submit`: compile for an image that never changes its meaning, send it to Kubeflow, say where to look."""

import tempfile
from pathlib import Path

from cli.revision import revision
from core.configfile import load
from core.errors import UserError

REPOSITORY = "localhost/kubeflow-mlops-template"


def submit(name: str, overrides: list[str], image: str | None, host: str | None, namespace: str | None, wait: bool) -> None:
    """Start a run of a use case on Kubeflow.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        image: Image of the steps; the one of this commit if None.
        host: Address of Kubeflow Pipelines.
        namespace: Where the run belongs, if Kubeflow has several users.
        wait: Whether to wait for the run's end.

    Raises:
        UserError: The config is wrong, the commit has no image, or Kubeflow refuses or cannot be reached.
    """
    _, document = load(name, overrides)
    commit = revision()
    if not image and (commit == "unknown" or commit.endswith("-dirty")):
        raise UserError(
            "this checkout differs from its commit, so no image has its code: commit the changes and build the image, or name one with --image"
        )
    from pipelines.build import compile_one, use_image
    from pipelines.submit import submit as send
    from pipelines.submit import wait as wait_for

    use_image(image or f"{REPOSITORY}:{commit}")
    with tempfile.TemporaryDirectory() as folder:
        package = compile_one(name, Path(folder))
        submitted = send(name, package, document, experiment=name, version=commit, host=host, namespace=namespace)
    print(f"submitted {name} as run {submitted.run_id}\n{submitted.link}")
    if wait:
        wait_for(submitted, host=host, namespace=namespace, progress=print)
