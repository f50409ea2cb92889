"""Where models are served: one interface, two forms of it."""

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from core.errors import UserError
from core.registry import Version

if TYPE_CHECKING:
    from core.config import Serving


class Served(Protocol):
    """A version on a server."""

    @property
    def usecase(self) -> str:
        """The model."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def uri(self) -> str:
        """Where its served form lies."""

    @property
    def digest(self) -> str:
        """SHA-256 of that."""

    @property
    def address(self) -> str:
        """Where requests are sent."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Addresses of its servers, each of which has to be proven."""

    @property
    def since(self) -> str:
        """When it was proven in service, empty before."""


S = TypeVar("S", bound=Served)


class Deployer(Protocol[S]):
    """Changes what serves one use case. The order of calls: change, start, switch, then settle or take_back."""

    def change(self) -> AbstractContextManager[None]:
        """Let one deployer at a time change what serves."""

    def serving(self) -> S | None:
        """Return what gets the requests now."""

    def start(self, version: Version) -> S:
        """Bring a version up beside what serves, ready but without requests."""

    def switch(self, served: S) -> None:
        """Let the requests go to it."""

    def take_back(self, before: S | None) -> None:
        """Let the requests go where they went before, and remove what was started."""

    def settle(self, served: S) -> None:
        """Make it what serves, and remove the one before."""

    def count(self, served: S) -> str:
        """Say how many servers it has."""


def deployer(name: str, serving: "Serving | None" = None) -> Deployer[Any]:
    """Return the form that this environment has: processes on a laptop, else Kubernetes.

    Args:
        name: The use case.
        serving: What its servers may use; the default if None.

    Raises:
        UserError: Neither is at hand.
    """
    if "MLOPS_HOME" in os.environ:
        from components.deploy.local import LocalDeployer

        return LocalDeployer(name, serving)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        from components.deploy.cluster.deployer import ClusterDeployer

        return ClusterDeployer(name, serving)
    raise UserError("there is nowhere to serve: MLOPS_HOME is not set, and this is no pod of a cluster; use `mlops run` or `mlops submit`")
