"""The Kubeflow faces of deploy, and of serve, which takes its place when the champion stays."""

from typing import NamedTuple

from kfp import dsl

from components.step import step


@step
def deploy(
    config: str,
    version: str,
    endpoint: dsl.Output[dsl.Markdown],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", [("address", str)]):  # type: ignore[valid-type]
    """Bring a version into service and make it the champion.

    Args:
        config: The use case, as YAML text.
        version: The registered version's number.
        endpoint: The server's address; its metadata have version and number of servers.
        summary: What came out, in one line.

    Returns:
        The address of the server.
    """
    from components.deploy.deploy import deploy, describe
    from core.tracking import record

    with record("deploy", config, summary.path) as run:
        address = deploy(run, version)
        endpoint.metadata.update(describe(run, endpoint.path))
        return (address,)


@step
def serve(
    config: str,
    endpoint: dsl.Output[dsl.Markdown],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", [("address", str)]):  # type: ignore[valid-type]
    """Let the champion serve, and nothing else: a deployment that was killed may have left it otherwise.

    Args:
        config: The use case, as YAML text.
        endpoint: The server's address; its metadata have version and number of servers.
        summary: What came out, in one line.

    Returns:
        The address of the server, empty if there is no champion.
    """
    from components.deploy.deploy import describe, serve
    from core.tracking import record

    with record("serve", config, summary.path) as run:
        address = serve(run)
        endpoint.metadata.update(describe(run, endpoint.path))
        return (address,)
