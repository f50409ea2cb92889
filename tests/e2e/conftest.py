"""A platform that may be broken, with a champion that every other model beats."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.deploy.deploy import serve_champion
from components.deploy.local import Served
from core import registry, storage
from core.bundle import unpack
from core.config import Serving
from local import platform as embedded
from local.environment import environment
from local.platform import Platform
from tests import disks
from tests.e2e.command import Running, mlops
from tests.e2e.outcomes import WEAK, serving

DISK = 800  # MB


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk where this system lets us mount one; else a folder."""
    folder = tmp_path_factory.mktemp("disk")
    is_mounted = disks.mount(folder, DISK)
    yield folder
    if is_mounted:
        disks.unmount(folder)


@pytest.fixture(scope="module")
def own(disk: Path) -> Iterator[Platform]:
    """A platform with a champion that every other model beats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_HOME", str(disk / "home"))
        started = embedded.up()
        for variable, value in environment(started).items():
            patch.setenv(variable, value)
        assert mlops("run", "wine", *WEAK).code == 0
        yield started
        embedded.down()


@pytest.fixture
def champion(own: Platform) -> Iterator[Served]:
    """The weak champion, in service."""
    registry.set_alias("wine", "champion", "1")
    serve_champion("wine", Serving())
    served = serving("wine")
    assert served
    assert served.version == "1"
    yield served
    Running.end_all()


@pytest.fixture
def question(champion: Served) -> dict[str, Any]:
    """A golden row, for times when S3 cannot be asked for it."""
    return dict(unpack(storage.read(champion.uri), champion.digest).golden.rows[0])
