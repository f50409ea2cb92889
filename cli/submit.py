"""`mlops submit`: the compiled pipeline on Kubeflow, or inside one Job of a cluster without it."""

import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from cli.revision import commit_page, revision, user
from core.errors import UserError, shown
from core.image import REPOSITORY

if TYPE_CHECKING:
    from core.config import UseCase

TITLE_OVERRIDES = 80  # characters of the overrides in a run's display name


@dataclass(frozen=True)
class Target:
    """The Kubeflow of a run.

    Attributes:
        host: Its address.
        namespace: Namespace of the run where Kubeflow is multi-user.
        service_account: ServiceAccount of the run's pods.
        login_as: ServiceAccount for which a token is made with kubectl's credentials.
        pipeline_root: Where artifacts are stored; where our steps look for them if None.
        pods: The overlay's pods.yaml, which says where the run's pods run.
    """

    host: str | None
    namespace: str | None
    service_account: str
    login_as: str | None
    pipeline_root: str | None = None
    pods: Path | None = None


def submit(name: str, overrides: list[str], image: str | None, target: Target, *, wait: bool = False, caching: bool = True) -> None:
    """Start a run of a use case on Kubeflow.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        image: Image of the steps; the one of this commit if None.
        target: The Kubeflow.
        wait: Whether to follow the steps to the run's end.
        caching: Whether steps may take their outputs from the cache.

    Raises:
        UserError: The config is wrong, the commit has no image, Kubeflow refuses or cannot be reached, or the run that was followed failed.
    """
    commit = revision()
    is_clean = commit != "unknown" and not commit.endswith("-dirty")
    if not image and not is_clean:
        raise UserError(
            "this checkout differs from its commit, so no image has its code: commit the changes and build the image, or name one with --image"
        )
    from pipelines.images import use_image

    image = use_image(image or f"{REPOSITORY}:{commit}")
    from core.storage import artifacts

    root = target.pipeline_root or artifacts()
    with tempfile.TemporaryDirectory() as folder:
        config, description, package = _package(name, overrides, image, Path(folder), caching=caching, compiled_is_current=is_clean)
        if target.pods:
            from pipelines.scheduling import read, schedule

            schedule(package, read(target.pods))
        from pipelines.kubeflow import connect
        from pipelines.submit import Submission
        from pipelines.submit import submit as send

        kubeflow = connect(target.host, target.namespace, target.login_as)
        submission = Submission(
            name,
            package,
            config,
            commit,
            title=_title(name, overrides),
            description=_description(commit, image, overrides),
            pipeline_description=description,
            version_description=_description(commit, image, []),
            service_account=target.service_account,
            pipeline_root=root,
        )
        submitted = send(kubeflow, submission)
        print(f"submitted {name} as run {submitted.run_id}\n{submitted.link}", flush=True)
        if wait:
            from cli.follow import follow

            follow(kubeflow, submitted, package, Console(file=sys.stdout, highlight=False), pipeline_root=root)


def _package(name: str, overrides: list[str], image: str, folder: Path, *, caching: bool, compiled_is_current: bool) -> tuple[str, str, Path]:
    """Return the config, the pipeline's description and the compiled YAML of a run.

    The YAML in pipelines/compiled is used where it is that of this commit: the config was checked when it was compiled.
    """
    from core.featurecode import FOLDER
    from pipelines.package import compiled_for

    path = FOLDER / name / "config.yaml"
    if compiled_is_current and caching and not overrides and path.exists():
        config = path.read_text(encoding="utf-8")
        if compiled := compiled_for(name, config, image):
            package = folder / f"{name}-training.yaml"
            package.write_text(compiled[0], encoding="utf-8")
            return config, compiled[1], package
    from core.configfile import load
    from pipelines.build import compile_one

    usecase = load(name, overrides)
    return usecase.text, usecase.description, compile_one(_committed(usecase, overrides) or usecase, folder, caching=caching)


def _committed(usecase: "UseCase", overrides: list[str]) -> "UseCase | None":
    """Return the use case as its file says, if the overrides leave its YAML as it is: then one version serves all such runs."""
    if not overrides:
        return usecase
    from core.configfile import load
    from pipelines.build import shape

    try:
        committed = load(usecase.name)
    except UserError:
        return None
    return committed if shape(committed) == shape(usecase) else None


def _title(name: str, overrides: list[str]) -> str:
    """Return the run's display name without its number, such as `flights, 30 Nov 14:05, by Ada, train.max_trials=3`."""
    changes = ", ".join(overrides)
    changes = changes if len(changes) <= TITLE_OVERRIDES else f"{changes[: TITLE_OVERRIDES - 1]}…"
    return ", ".join(filter(None, [name, f"{datetime.now():%d %b %H:%M}", f"by {user()}", changes]))


def _description(commit: str, image: str, overrides: list[str]) -> str:
    """Return Markdown that says what runs."""
    page = commit_page(commit)
    short = commit.removesuffix("-dirty")[:12]
    parts = [f"Commit [{short}]({page})" if page else f"Commit {short}"]
    if commit.endswith("-dirty"):
        parts[0] += " with uncommitted changes"
    parts.append(f"image `{image}`")
    if overrides:
        parts.append("overrides " + ", ".join(f"`{override}`" for override in overrides))
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", "")
    if mlflow.startswith("http") and "@" not in mlflow:
        parts.append(f"[MLflow]({mlflow})")
    return ", ".join(parts)


def submit_job(name: str, overrides: list[str], image: str | None, namespace: str, *, caching: bool = True) -> int:
    """Run a use case's pipeline inside one Job of the cluster that kubectl uses, to its end.

    Args:
        name: The use case.
        overrides: `train.max_trials=3` and the like.
        image: Image of the pod; that of the CronJob `mlops` if None.
        namespace: Where the CronJob is.
        caching: Whether steps may take their outputs from the cache.

    Returns:
        0 if the run succeeded.

    Raises:
        UserError: The config is wrong, the cluster refuses or cannot be reached, or the pod could not start.
    """
    from core.configfile import load
    from core.featurecode import code_digest
    from pipelines.build import compile_one
    from pipelines.images import use_image
    from pipelines.jobs import FOLDER, run

    usecase = load(name, overrides)
    if image:
        use_image(image)
    os.environ.pop("IMAGE", None)  # the YAML's images mean nothing here
    with tempfile.TemporaryDirectory() as folder:
        package = compile_one(usecase, Path(folder), caching=caching)
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
