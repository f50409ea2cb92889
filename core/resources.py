"""Sizes, and what a pod requests: a share of its limits."""

from math import ceil

LEAST = "256Mi"  # a step or a server with its libraries loaded


def count(size: str) -> int:
    """Return the bytes of a size such as 512MB, a thousand thousands each, or 512Mi, 1024 times 1024 each."""
    return int(size[:-2]) * {"MB": 10**6, "GB": 10**9, "Mi": 2**20, "Gi": 2**30}[size[-2:]]


def requests(cpu: str, memory: str, share: float) -> dict[str, str]:
    """Return the requests of a container.

    Args:
        cpu: Its limit, in cores or thousandths.
        memory: Its limit.
        share: Of the limits. Memory is at least what every pod of ours needs, unless the limit is less.
    """
    cores = int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    size = max(count(memory) * share, min(count(LEAST), count(memory)))
    return {"cpu": f"{_up(cores * share * 1000)}m", "memory": f"{_up(size / 2**20)}Mi"}


def _up(number: float) -> int:
    return ceil(round(number, 6))
