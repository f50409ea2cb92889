"""The rig's API server, killed and started again as it was."""

from __future__ import annotations

import shlex
from pathlib import Path

import psutil

from tests.cluster.rig import Cluster, wait_until


def kill(cluster: Cluster) -> list[str]:
    """Kill it; returns the command that starts it again."""
    assert cluster.rig
    holder = cluster.enter("/usr/bin/pgrep", "-o", "-f", "^kube-apiserver ")
    inside = holder.out.strip()
    found = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "kube-apiserver" and _pid_inside(each.pid) == inside]
    assert len(found) == 1, f"which of {found} is the rig's API server?"
    command = found[0].cmdline()
    found[0].kill()
    found[0].wait(10)
    return command


def start(cluster: Cluster, command: list[str]) -> None:
    """Start it, and wait until it answers."""
    log = Path(cluster.environment["KUBECONFIG"]).parents[1] / "logs" / "apiserver.log"
    cluster.enter("/bin/sh", "-c", f"exec setsid {shlex.join(command)} >>{log} 2>&1 </dev/null &")
    wait_until(lambda: cluster.kubectl("get", "--raw=/readyz", check=False).code == 0, 90, "the API server", pause=1)


def _pid_inside(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[-1] for line in status if line.startswith("NSpid:"))
