"""The console command as a user starts it, and what it leaves."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

import psutil
import requests

from components.deploy.local import LocalDeployer, stop
from core import champion_record, mlflow_api, storage
from core.config import Serving
from local.state import home

Found = TypeVar("Found")
MLOPS = Path(sys.executable).parent / "mlops"
LINE = re.compile(r"^([✓✗])  ([\w-]+) +(\d+\.\d) s  (.*)$", re.MULTILINE)
ORDER = ["extract", "validate", "transform", "train", "evaluate", "register", "deploy", "report"]


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def steps(self) -> dict[str, str]:
        """What the line of each step says."""
        return {name: text for _, name, _, text in LINE.findall(self.out)}

    @property
    def folder(self) -> Path:
        """Where the run's logs lie."""
        name: str = re.findall(r", run (\S+?);?(?: |$)", self.out, re.MULTILINE)[0]
        return home() / "runs" / name

    @property
    def report(self) -> Path:
        return Path(unquote(urlsplit(self.link("report")).path))

    def link(self, name: str) -> str:
        (found,) = re.findall(rf"^{name} +(\S+)$", self.out, re.MULTILINE)
        return str(found)


class Running:
    """A command that still runs."""

    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, *arguments: str, **environment: str) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([MLOPS, *arguments], env=os.environ | environment, text=True, start_new_session=True, **pipes)
        self.pid = self.process.pid
        Running.started.append(self.process)

    @classmethod
    def end_all(cls) -> None:
        """Stop what a failed test has left running."""
        while cls.started:
            process = cls.started.pop()
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=240)
        return Ended(self.process.returncode, out, err)

    def at(self, step: str) -> psutil.Process:
        """Wait until a step's Python runs, and return it."""
        return wait_for(lambda: next((each for each in self.family() if is_step(each, step)), None), 120)

    def family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def mlops(*arguments: str, **environment: str) -> Ended:
    return Running(*arguments, **environment).end()


def once(name: str, make: Callable[[], list[Ended]]) -> list[Ended]:
    """Let the first worker that needs these runs start them; the others get what they printed."""
    path = home() / f"{name}.story.json"
    with reserved(name):
        if not path.exists():
            path.write_text(json.dumps([asdict(ended) for ended in make()]))
    return [Ended(**ended) for ended in json.loads(path.read_text())]


@contextmanager
def reserved(name: str) -> Iterator[None]:
    """Keep other workers' runs of a use case away: of two that promote at once, one fails."""
    with (home() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_step(process: psutil.Process, step: str) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return command[-2:] == ["--function_to_execute", step] and command[1:3] == ["-m", "components.executor"]


def wait_for(ready: Callable[[], Found | None], seconds: float = 60) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def forget(name: str) -> None:
    """Take a use case back to the day before its first champion."""
    served = LocalDeployer(name, Serving()).serving()
    if served:
        stop(served)
    with suppress(mlflow_api.NotFound):
        mlflow_api.call("DELETE", "registered-models/delete", {"name": name})
    storage.client().remove_object(*storage.split(champion_record.address(name)))


def ask(address: str, row: dict[str, Any]) -> Any:
    """Ask a model server for a prediction."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{address}/invocations", json={"dataframe_records": [row]}, timeout=10)
    assert answer.ok, answer.text
    return answer.json()["predictions"]


def mlflow_run(run_id: str) -> tuple[str, dict[str, str], dict[str, float]]:
    """Return status, tags and metrics of a run."""
    found = mlflow_api.call("GET", "runs/get", {"run_id": run_id})["run"]
    data = found["data"]
    tags, metrics = ({item["key"]: item["value"] for item in data.get(kind, [])} for kind in ("tags", "metrics"))
    return found["info"]["status"], tags, metrics


def below(run_id: str) -> list[dict[str, Any]]:
    """Return the runs nested in a run, in the order of their start."""
    experiment = mlflow_api.call("GET", "runs/get", {"run_id": run_id})["run"]["info"]["experiment_id"]
    body = {"experiment_ids": [experiment], "filter": f"tags.`mlflow.parentRunId` = '{run_id}'", "max_results": 1000}
    found: list[dict[str, Any]] = mlflow_api.call("POST", "runs/search", body).get("runs", [])
    return sorted(found, key=lambda run: run["info"]["start_time"])
