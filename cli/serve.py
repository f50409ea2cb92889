"""What serves: deploy, roll back, look; on this machine, or as a Job in a cluster's namespace."""

import sys
from typing import Annotated

import typer

from cli.options import Namespace, Usecase, Version
from core.errors import UserError, shown


def deploy(
    usecase: Usecase,
    version: Version = None,
    resume: Annotated[bool, typer.Option("--resume", help="Put in order what a killed deployment left: the champion alone serves.")] = False,
    reason: Annotated[str, typer.Option(help="Why this version serves although its verdict does not say so, for the history.")] = "",
    namespace: Namespace = None,
) -> None:
    """Bring a registered version into service, with the proofs of the deploy step."""
    if resume == bool(version):
        raise UserError(f"name the version that is to serve, or --resume: `mlops deploy {usecase} 3` or `mlops deploy {usecase} --resume`")
    if namespace:
        _start(namespace, ["resume", usecase] if version is None else ["deploy", usecase, version, *_reason(reason)])
    from components.deploy import commands

    _find_platform()
    _say(commands.resume(usecase) if version is None else commands.deploy(usecase, version, reason))


def rollback(
    usecase: Usecase,
    version: Version = None,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    namespace: Namespace = None,
) -> None:
    """Make the champion before the present one, or VERSION, the champion again; or restore a champion that MLflow has lost."""
    if namespace:
        _start(namespace, ["rollback", usecase, *([version] if version else []), *_reason(reason)])
    from components.deploy import commands

    _find_platform()
    _say(commands.rollback(usecase, version, reason))


def history(usecase: Usecase, namespace: Namespace = None) -> None:
    """Tell what served when, from which run and data, and why it was replaced."""
    if namespace:
        _start(namespace, ["history", usecase])
    from components.deploy.status import history as rows

    _find_platform()
    _say("\n".join(rows(usecase)))


def status(
    usecase: Annotated[str | None, typer.Argument(help="A folder of usecases/; all of this machine, and its servers, if none is named.")] = None,
    namespace: Namespace = None,
) -> None:
    """Tell what serves, and since when."""
    if namespace:
        if not usecase:
            raise UserError(f"name the use case whose state in namespace {namespace} you want: `mlops status flights --namespace {namespace}`")
        _start(namespace, ["status", usecase])
    from components.deploy.status import status as state_of

    if usecase:
        _find_platform()
        _say(state_of(usecase))
    elif _show_servers():
        from core.configfile import names, unfinished

        problems = []
        for name in names():
            try:
                state = state_of(name)
            except UserError as error:
                problems.append(f"{name}: {error}")
            else:
                _say("; ".join(filter(None, [state, unfinished(name)])))
        if problems:
            raise UserError("\n".join(problems))


def _reason(reason: str) -> list[str]:
    return ["--reason", reason] if reason else []


def _find_platform() -> None:
    """Start what is not running, and let this process find it."""
    from local import platform
    from local.environment import enter

    enter(platform.up())


def _show_servers() -> bool:
    """Print how the servers are doing, nothing is started; return whether those run that know the models."""
    from cli.platform import status as show
    from local import platform
    from local.environment import enter
    from local.state import load

    show()
    enter(load())
    return all(server.state == "up" for server in platform.status() if server.name in ("s3", "mlflow"))


def _start(namespace: str, arguments: list[str]) -> None:
    """Run the same command inside the cluster, and end as it ended."""
    from pipelines.jobs import run

    command, usecase = arguments[:2]
    sys.exit(run(namespace, f"{usecase}-{command}", ["python", "-m", "components.deploy", *arguments], say=_say))


def _say(text: str) -> None:
    print(shown(text), flush=True)
