"""What a pod requests: a share of its limits."""

from math import ceil

from core.frozen import count

LEAST = "256Mi"  # a step or a server with its libraries loaded


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
