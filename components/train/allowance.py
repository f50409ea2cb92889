"""How much memory this process may use: the least of what the config, the container, the shell and the machine allow."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from core.config import UseCase
from core.errors import NO_THREAD, UserError

CGROUPS = Path("/sys/fs/cgroup")
UNTOUCHED = 512 * 2**20  # what threads and allocators reserve on the way, which such a limit counts though nothing is written there
UNITS = {"Mi": 2**20, "Gi": 2**30}


class Allowance(NamedTuple):
    """Bytes, and how to get more of them."""

    bytes: int
    cure: str


def allowance(usecase: UseCase) -> Allowance:
    """Return what the step may use in all, with what it uses already."""
    said = usecase.limits.steps["train"].memory
    used = psutil.Process().memory_info()
    found = [
        Allowance(int(said[:-2]) * UNITS[said[-2:]], "raise limits.steps.train.memory"),
        *(Allowance(limit, "raise the memory limit of its container") for limit in _cgroup_limits()),
        *(Allowance(limit - used.vms + used.rss - UNTOUCHED, "raise the limit that ulimit -v shows") for limit in _own_limits()),
        Allowance(psutil.virtual_memory().available + used.rss, "free memory on this machine"),
    ]
    return min(found, key=lambda item: item.bytes)


@contextmanager
def kept_to(allowed: Allowance) -> Iterator[None]:
    """Say in a sentence that an allocation was refused, as under `ulimit -v`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and NO_THREAD not in str(error):
            raise
        raise UserError(f"the memory does not suffice, the step has {shown(allowed.bytes)}: {allowed.cure}, or set train.max_rows") from error


def shown(size: float) -> str:
    """Write a size with two digits: 4.3 GB."""
    unit, name = next(((10**power, name) for power, name in ((9, "GB"), (6, "MB")) if size >= 10**power), (10**3, "kB"))
    return f"{size / unit:,.0f} {name}" if size >= 10 * unit else f"{size / unit:.1f} {name}"


def _cgroup_limits() -> Iterator[int]:
    """Yield the limits of the container and of what it is in: version 2 of cgroups, and 1."""
    for line in Path("/proc/self/cgroup").read_text().splitlines() if Path("/proc/self/cgroup").exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (CGROUPS, "memory.max")
        for folder in (root / path.lstrip("/"), *Path(path.lstrip("/")).parents):
            file = root / folder / name
            if file.exists() and file.read_text().strip() != "max":
                yield int(file.read_text())


def _own_limits() -> Iterator[int]:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        if resource.getrlimit(kind)[0] != resource.RLIM_INFINITY:
            yield resource.getrlimit(kind)[0]
