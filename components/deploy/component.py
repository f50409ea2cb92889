"""The Kubeflow faces of deploy, and of serve, which takes its place when the champion stays."""

from components.step import step


@step
def deploy(config: str, version: str) -> str:
    """Bring a version into service and make it the champion.

    Args:
        config: The use case, as YAML text.
        version: The registered version's number.

    Returns:
        The address of the server.
    """
    from components.deploy.deploy import deploy
    from core.tracking import record

    with record("deploy", config) as run:
        return deploy(run, version)


@step
def serve(config: str) -> str:
    """Let the champion serve, and nothing else: a deployment that was killed may have left it otherwise.

    Args:
        config: The use case, as YAML text.

    Returns:
        The address of the server, empty if there is no champion.
    """
    from components.deploy.deploy import serve
    from core.tracking import record

    with record("serve", config) as run:
        return serve(run)
