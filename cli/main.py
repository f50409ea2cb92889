"""The front door: `mlops`. Every error that a user can cause ends here, as one sentence and exit code 1."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import serve
from cli.options import Image, NoCache, Overrides, RegisterAnyway, Usecase, every_override
from cli.platform import app as platform_app
from core.cluster import ACCOUNT
from core.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

INTERRUPTED = 130  # what typer makes of Ctrl-C, without a word


def main() -> None:
    """Run the command line."""
    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("stopped", file=sys.stderr)
        raise


@app.command()
def run(usecase: Usecase = "flights", overrides: Overrides = None, register_anyway: RegisterAnyway = False, no_cache: NoCache = False) -> None:
    """Run a training pipeline on this machine, from the data to a served model."""
    from cli.run import run as start

    if not start(usecase, every_override(overrides, register_anyway), Console(file=sys.stdout, highlight=False), caching=not no_cache):
        sys.exit(1)


for command in (serve.deploy, serve.rollback, serve.history, serve.status):
    app.command()(command)
app.add_typer(platform_app, name="platform")


@app.command()
def compile(image: Image = None, output: Annotated[Path | None, typer.Option(help="Another folder than pipelines/compiled.")] = None) -> None:  # noqa: A001
    """Compile every use case's pipelines to YAML."""
    from pipelines.build import build
    from pipelines.package import COMPILED

    for path in build(output or COMPILED, image):
        print(os.path.relpath(path))


@app.command()
def submit(
    usecase: Usecase = "flights",
    overrides: Overrides = None,
    register_anyway: RegisterAnyway = False,
    image: Image = None,
    host: Annotated[str | None, typer.Option(envvar="KFP_ENDPOINT", help="Address of Kubeflow Pipelines.")] = None,
    namespace: Annotated[
        str | None,
        typer.Option(help="Namespace of the run: your profile's (KFP_NAMESPACE) on a multi-user Kubeflow; with --job by default mlops."),
    ] = None,
    service_account: Annotated[str, typer.Option(envvar="KFP_SERVICE_ACCOUNT", help="ServiceAccount of the run's pods.")] = ACCOUNT,
    login_as: Annotated[
        str | None,
        typer.Option(envvar="KFP_LOGIN_AS", help="Log in with a token for this ServiceAccount (default-editor), made with kubectl's credentials."),
    ] = None,
    pipeline_root: Annotated[
        str | None, typer.Option(envvar="KFP_PIPELINE_ROOT", help="Where Kubeflow stores the run's artifacts; s3://pipelines/kfp if not set.")
    ] = None,
    pods: Annotated[
        Path | None,
        typer.Option(envvar="MLOPS_PODS", help="The overlay's pods.yaml: node selectors, tolerations, pull Secrets and labels of the run's pods."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the steps to the run's end.")] = False,
    no_cache: NoCache = False,
    job: Annotated[bool, typer.Option("--job", help="Run it inside one Job of kubectl's cluster instead, and follow it: without Kubeflow.")] = False,
) -> None:
    """Start a run of a pipeline on Kubeflow, or in a cluster without it."""
    from cli import submit as start

    changes = every_override(overrides, register_anyway)
    if job:
        sys.exit(start.submit_job(usecase, changes, image, namespace or os.environ.get("MLOPS_NAMESPACE") or "mlops", caching=not no_cache))
    target = start.Target(host, namespace or os.environ.get("KFP_NAMESPACE"), service_account, login_as, pipeline_root, pods)
    start.submit(usecase, changes, image, target, wait=wait, caching=not no_cache)


@app.command()
def contract(usecase: Usecase = "flights") -> None:
    """Read a use case's sources and propose the contract of their data, to paste into its config.yaml."""
    from cli.contract import propose

    print(propose(usecase), end="")


@app.command()
def schema() -> None:
    """Print the JSON schema of config.yaml, for editors."""
    from core.configfile import schema as text

    print(text(), end="")


@app.command()
def apply(overlay: Annotated[str, typer.Argument(help="A folder of k8s/overlays.")] = "local", image: Image = None) -> None:
    """Apply an overlay to kubectl's cluster, with another image than the one that it names."""
    from cli.apply import apply as start
    from pipelines.images import use_image

    start(overlay, use_image(image) if image else None)


@app.command()
def secrets(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("k8s/overlays/local/secrets.yaml"),
    rotate: Annotated[bool, typer.Option("--rotate", help="Replace the passwords of an existing file by new ones.")] = False,
) -> None:
    """Write random Secrets for a cluster to a file that git ignores."""
    from cli import secrets as file

    if rotate:
        print(f"{file.rotate(path)} new passwords in {path}: `make apply` brings them into the cluster")
    else:
        file.write(path)
        print(f"made {path}")
