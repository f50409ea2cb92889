"""The front door: `mlops`. Every error that a user can cause ends here, as one sentence and exit code 1."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
platform_app = typer.Typer(no_args_is_help=True, help="The servers of this machine: S3, MLflow, and those of the models.")
app.add_typer(platform_app, name="platform")

INTERRUPTED = 130  # what typer makes of Ctrl-C, without a word

Usecase = Annotated[str, typer.Argument(help="A folder of usecases/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override the config for this run, such as train.max_trials=3. May be repeated."),
]
Image = Annotated[str | None, typer.Option(envvar="IMAGE", help="Image of the steps: registry/name:tag or registry/name@sha256:...")]


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
def run(usecase: Usecase = "flights", overrides: Overrides = None) -> None:
    """Run a training pipeline on this machine, from the data to a served model."""
    from cli.run import run as start

    if not start(usecase, overrides or [], Console(file=sys.stdout, highlight=False)):
        sys.exit(1)


@app.command()
def compile(image: Image = None, output: Annotated[Path | None, typer.Option(help="Another folder than pipelines/compiled.")] = None) -> None:  # noqa: A001
    """Compile every use case's pipelines to YAML."""
    from pipelines.build import COMPILED, build

    for path in build(output or COMPILED, image):
        print(os.path.relpath(path))


@app.command()
def submit(
    usecase: Usecase = "flights",
    overrides: Overrides = None,
    image: Image = None,
    host: Annotated[str | None, typer.Option(envvar="KFP_ENDPOINT", help="Address of Kubeflow Pipelines.")] = None,
    namespace: Annotated[str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the run, where Kubeflow has several users.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the run's end.")] = False,
) -> None:
    """Upload a pipeline to Kubeflow and start a run of it."""
    from cli.submit import submit as send

    send(usecase, overrides or [], image, host, namespace, wait)


@app.command()
def schema() -> None:
    """Print the JSON schema of config.yaml, for editors."""
    from core.configfile import schema as text

    print(text(), end="")


@platform_app.command()
def up() -> None:
    """Start the servers that do not run yet."""
    from local import platform

    platform.up()
    status()


@platform_app.command()
def down() -> None:
    """End all servers of this checkout."""
    from local import platform

    stopped = platform.down()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@platform_app.command()
def status() -> None:
    """Tell which servers run, and where."""
    from local import platform

    for server in platform.status():
        print(f"{server.name:20} {server.state:9} {server.address:28} {f'pid {server.pid}' if server.pid else ''}".rstrip())


@platform_app.command()
def env() -> None:
    """Print the variables by which other programs find the servers: eval "$(mlops platform env)"."""
    import shlex

    from local import platform
    from local.state import load

    for name, value in platform.environment(load()).items():
        print(f"export {name}={shlex.quote(value)}")
