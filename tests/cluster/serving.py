"""What is in the models' namespace, and in what state a use case has to be."""

from __future__ import annotations

from dataclasses import dataclass

from core import registry
from tests.cluster.driver import Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Cluster, Ended
from tests.cluster.versions import Published

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
OF_A_RELEASE = ("deployment", "horizontalpodautoscaler", "poddisruptionbudget")
OF_A_USECASE = ("service", "serviceaccount", "networkpolicy")


@dataclass(frozen=True)
class Old:
    """A use case, and the version that serves it."""

    cluster: Cluster
    driver: Driver
    name: str
    published: Published
    release: str

    @property
    def number(self) -> str:
        """Its number in the registry."""
        return self.published.number


def release(cluster: Cluster, name: str) -> str:
    """Which release the Service names, empty without one."""
    service = cluster.get("service", SERVING, name)
    return str(service["spec"]["selector"][INSTANCE]) if service else ""


def require_only(cluster: Cluster, name: str, version: str, served: str = "") -> None:
    """Require that one version serves, is the champion, and that nothing else of the use case is there.

    Args:
        cluster: Where.
        name: The use case.
        version: The version's number.
        served: The release, if it has to be a certain one.
    """
    named = release(cluster, name)
    assert named.startswith(f"{name}-v{version}-")
    assert not served or named == served
    for kind in OF_A_RELEASE:
        assert cluster.names(kind, SERVING, f"{NAME}={name}") == [named], kind
    for kind in OF_A_USECASE:
        assert cluster.names(kind, SERVING, f"{NAME}={name}") == [name], kind
    assert cluster.get("lease", SERVING, name) is None
    champion = registry.champion(name)
    assert champion and champion.version == version


def require_nothing(cluster: Cluster, name: str) -> None:
    """Require that nothing of a use case is there."""
    for kind in (*OF_A_RELEASE, *OF_A_USECASE):
        assert cluster.names(kind, SERVING, f"{NAME}={name}") == [], kind
    assert cluster.get("lease", SERVING, name) is None
    assert registry.champion(name) is None


def sentence(ended: Ended) -> str:
    """The one sentence with which a command has ended badly."""
    assert ended.code == 1, ended
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), ended.err
    return lines[0].removeprefix("error: ")
