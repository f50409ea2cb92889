"""What was measured, as JSON, and the medians of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.serving.load import Measurement
from cli.revision import revision

CPU = Path("/proc/cpuinfo")
RECORD, PROFILE = (Path(__file__).with_name(name) for name in ("results.json", "layers.json"))
Profile = list[list[str]]  # where the time of a request goes: a header, and a line a layer


@dataclass(frozen=True)
class Start:
    """One start of a server: seconds to its first right answer, and its memory then and after the load, in MB."""

    server: str
    seconds: float
    rss_started: float
    rss_loaded: float


class Series(NamedTuple):
    """A server in a protocol."""

    server: str
    protocol: str


@dataclass
class Results:
    """Everything that a run of the benchmark showed.

    Attributes:
        machine: Where, when and of what.
        titles: How each server is called.
        batching: The peers that put requests together.
        measurements: Each stretch of load, one round after the other.
        starts: Each start.
        differences: How far a server's answers were from scikit-learn's, at most.
        missing: Servers and protocols that could not be measured, and why.
        growth: Rows that this server had answered, and its memory then, in MB.
    """

    machine: dict[str, str]
    titles: dict[str, str]
    batching: list[str]
    measurements: list[Measurement] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    growth: list[tuple[int, float]] = field(default_factory=list)

    def series(self) -> list[Series]:
        """List what was measured, in order."""
        return list(dict.fromkeys(Series(each.server, each.protocol) for each in self.measurements))

    def find(self, series: Series, rows: int, connections: int) -> Measurement | None:
        """Return the medians of all rounds, of each figure by itself; none if a request failed in one of them, or none was answered."""
        key = (*series, rows, connections)
        found = [each for each in self.measurements if (each.server, each.protocol, each.rows, each.connections) == key]
        if not found or any(each.failed or not each.requests for each in found):
            return None
        names = [item.name for item in fields(Measurement)][len(key) :]
        return Measurement(*key, **{name: statistics.median(getattr(each, name) for each in found) for name in names})

    def start(self, server: str) -> Start | None:
        """Return the medians of a server's starts."""
        found = [each for each in self.starts if each.server == server]
        names = [item.name for item in fields(Start)][1:]
        return Start(server, **{name: statistics.median(getattr(each, name) for each in found) for name in names}) if found else None

    def title(self, series: Series) -> str:
        """Return how a server in a protocol is called."""
        return f"{self.titles[series.server]}, {series.protocol}" if series.protocol else self.titles[series.server]

    def failures(self) -> Iterator[str]:
        """Say which figures are refused."""
        for each in self.measurements:
            if each.failed or not each.requests:
                name, what = self.title(Series(each.server, each.protocol)), f"{each.rows} rows a request, {each.connections} connections"
                yield f"no figure: {name}, {what}: {each.failed} of {each.requests} requests failed in {each.seconds:.0f} s"

    def save(self, path: Path) -> None:
        """Write them as JSON, a line a measurement."""
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = [f"{json.dumps(name)}: {_lines(value)}" for name, value in asdict(self).items()]
        path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    items = [
        {name: round(each, 4) if isinstance(each, float) else each for name, each in item.items()} if isinstance(item, dict) else item
        for item in value
    ]
    return "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"


def load(path: Path) -> Results:
    """Read what `Results.save` wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    document["measurements"] = [Measurement(**item) for item in document["measurements"]]
    document["starts"] = [Start(**item) for item in document["starts"]]
    document["growth"] = [(rows, rss) for rows, rss in document["growth"]]
    return Results(**document)


def machine(**more: str) -> dict[str, str]:
    """Describe where and when this runs."""
    names = [line.partition(":")[2].strip() for line in CPU.read_text().splitlines() if line.startswith("model name")] if CPU.exists() else []
    packages = {name: version(name) for name in ("scikit-learn", "onnxruntime", "starlette", "uvicorn")}
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "revision": revision(),
        **packages,
        **more,
    }


def save_profile(profile: Profile) -> None:
    """Keep where the time goes."""
    PROFILE.write_text(json.dumps(profile, indent=1, ensure_ascii=False) + "\n")


def load_profile() -> Profile:
    """Read where the time goes."""
    found: Profile = json.loads(PROFILE.read_text())
    return found
