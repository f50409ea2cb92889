"""What serves a use case on a cluster, as its objects say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Served:
    """A release on the cluster.

    Attributes:
        usecase: The model.
        version: Its version.
        uri: Where its served form lies.
        digest: SHA-256 of that.
        release: The name of its Deployment.
        address: Of the Service.
        servers: Addresses of its pods.
        since: When it was proven in service, empty before.
        run: Which pipeline run registered it.
        image: That its servers run.
    """

    usecase: str
    version: str
    uri: str
    digest: str
    release: str
    address: str
    servers: tuple[str, ...] = ()
    since: str = ""
    run: str = ""
    image: str = ""
