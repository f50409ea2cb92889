"""What several commands take."""

from typing import Annotated

import typer

Usecase = Annotated[str, typer.Argument(help="A folder of usecases/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override the config for this run, such as train.max_trials=3. May be repeated."),
]
RegisterAnyway = Annotated[
    bool, typer.Option("--register-anyway", help="Register the challenger even if it loses: --set evaluate.register_anyway=true.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run transform and train even if the same data, code and config were run before.")]
Image = Annotated[str | None, typer.Option(envvar="IMAGE", help="Image of the steps: registry/name:tag or registry/name@sha256:...")]
Version = Annotated[str | None, typer.Argument(help="A registered version's number.")]
Namespace = Annotated[
    str | None,
    typer.Option(envvar="MLOPS_NAMESPACE", help="Do it in this namespace of kubectl's cluster, as a Job, and not on this machine."),
]


def every_override(overrides: list[str] | None, register_anyway: bool) -> list[str]:
    """Return the overrides of a run, with those that have an option of their own."""
    return [*(overrides or []), *(["evaluate.register_anyway=true"] if register_anyway else [])]
