"""The Kubeflow face of deploy."""

from components.step import step


@step
def deploy(config: dict, version: str) -> str:  # type: ignore[type-arg]
    """Bring a version into service and make it the champion.

    Args:
        config: The use case.
        version: The registered version's number.

    Returns:
        The address of the server.
    """
    from components.deploy.deploy import deploy
    from core.tracking import record

    with record("deploy", config) as run:
        return deploy(run, version)
