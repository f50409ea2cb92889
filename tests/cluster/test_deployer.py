"""Kubernetes keeps the contract of a deployment."""

from __future__ import annotations

import pytest

from tests.cluster.driver import Driver

pytest.register_assert_rewrite("tests.deployer.contract")

from tests.deployer.contract import Bench, Contract  # noqa: E402
from tests.deployer.kubernetes import ClusterBench  # noqa: E402


@pytest.fixture
def bench(driver: Driver, name: str) -> Bench:
    return ClusterBench(driver, name)


class TestKubernetes(Contract):
    """See tests/deployer/contract.py."""
