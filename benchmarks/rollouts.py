"""Measure rollouts in a cluster: requests lost in a hundred of them, and the time of one against `kubectl rollout` alone.

`python -m benchmarks.rollouts` needs the cluster of the tests (KUBECONFIG, MLOPS_TEST_IMAGE). It starts the platform there unless it is running.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.table import Table

from tests.cluster import driver as drivers
from tests.cluster import overlay, rig, traffic, versions
from tests.cluster.conftest import clear, connected
from tests.cluster.driver import Driver
from tests.cluster.overlay import SERVING
from tests.cluster.rig import Cluster, Object
from tests.cluster.serving import INSTANCE, release
from tests.cluster.versions import Published

ROLLOUTS, REPEATS = 100, 5
GOAL = 5  # seconds more than kubectl


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollouts", description=__doc__)
    parser.add_argument("--times", action="store_true", help="leave the hundred rollouts out")
    options = parser.parse_args()
    with prepared() as (cluster, driver):
        seconds = times(cluster, driver)
        Console().print(seconds)
        if not options.times:
            Console().print(losses(cluster, driver))


@contextmanager
def prepared() -> Iterator[tuple[Cluster, Driver]]:
    """Give a cluster with the platform, and a driver; this process has its object storage and registry."""
    try:
        cluster = rig.find()
    except rig.Missing as error:
        raise SystemExit(str(error)) from None
    began = time.monotonic()
    overlay.bring_up(cluster)
    print(f"the platform is ready after {time.monotonic() - began:.0f} s")
    with ExitStack() as stack:
        os.environ.pop("MLOPS_HOME", None)
        os.environ |= stack.enter_context(connected(cluster))
        yield cluster, stack.enter_context(drivers.started(cluster, "benchmark"))


def times(cluster: Cluster, driver: Driver) -> Table:
    """Roll the same objects out by the deployer, and by kubectl without any proof."""
    name, following = _two_versions(driver)
    table = Table("rollout", "kubectl alone", "the deployer", "more", "ratio", title=f"until a new version serves; at most {GOAL} s more")
    alone, proven = [], []
    for number in range(REPEATS):
        began = time.monotonic()
        _next(driver, name, following if number == 0 else None)
        proven.append(time.monotonic() - began)
        alone.append(_by_kubectl(cluster, name))
        table.add_row(str(number + 1), *_row(alone[-1], proven[-1]))
    table.add_row("median", *_row(statistics.median(alone), statistics.median(proven)))
    clear(cluster, name)
    return table


def losses(cluster: Cluster, driver: Driver) -> Table:
    """Roll to and fro between two versions under constant load."""
    name, following = _two_versions(driver)
    began = time.monotonic()
    with traffic.load(cluster, name, {"1": versions.bundle(name, 0), following.number: following.bundle}) as counts:
        for number in range(ROLLOUTS):
            _next(driver, name, following if number == 0 else None)
    seconds = (time.monotonic() - began) / ROLLOUTS
    clear(cluster, name)
    table = Table(
        "rollouts", "requests", "failed", "over kept connections", "slowest", "seconds a rollout", title="under constant load; none may fail"
    )
    figures = [f"{counts.requests:,}", str(counts.failed), f"{counts.reused:,}", f"{counts.slowest:.2f} s", f"{seconds:.1f}"]
    table.add_row(str(ROLLOUTS), *figures)
    for reason, number in counts.failures.items():
        table.add_row("", "", str(number), reason, "", "")
    return table


def _two_versions(driver: Driver) -> tuple[str, Published]:
    """Let a first version serve; return the use case and the version that may follow."""
    name = versions.usecase()
    _next(driver, name, versions.publish(name, 0))
    return name, versions.publish(name, 1, "1")


def _next(driver: Driver, name: str, version: Published | None) -> None:
    """Deploy a version, or go back to the one before."""
    ended = driver.deploy("deploy", name, version.number) if version else driver.deploy("rollback", name)
    if ended.code:
        raise SystemExit(ended.err)


def _by_kubectl(cluster: Cluster, name: str) -> float:
    """Apply the Deployment that serves under another name, and wait for `kubectl rollout status`: nothing is proven but readiness."""
    copied = _copy(cluster.find("deployment", SERVING, f"{INSTANCE}={release(cluster, name)}")[0])
    began = time.monotonic()
    cluster.apply(copied)
    cluster.kubectl("rollout", "status", "deployment", copied["metadata"]["name"], "-n", SERVING, "--timeout=120s")
    seconds = time.monotonic() - began
    cluster.delete("deployment", SERVING, copied["metadata"]["name"])
    return seconds


def _copy(deployment: Object) -> Object:
    name = f"{deployment['metadata']['name']}-alone"
    labels = deployment["spec"]["selector"]["matchLabels"] | {INSTANCE: name}
    spec = copy.deepcopy(deployment["spec"])
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"]["labels"] |= labels
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SERVING, "labels": labels}, "spec": spec}


def _row(alone: float, proven: float) -> list[str]:
    return [f"{alone:.1f} s", f"{proven:.1f} s", f"{proven - alone:+.1f} s", f"{proven / alone:.2f}"]


if __name__ == "__main__":
    main()
