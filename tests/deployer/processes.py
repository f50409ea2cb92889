"""The contract's bench on this machine: a server process a version."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import requests

from components.deploy import commands
from components.deploy.local import STARTING, LocalDeployer, stop
from components.deploy.status import history, status
from core.bundle import Bundle, Golden, Label
from core.config import Serving
from core.errors import UserError
from core.registry import Version
from tests.deployer.contract import Refused
from tests.unit import models


@dataclass
class Begun:
    """The deployer as a process of its own."""

    process: subprocess.Popen[str]

    def finish(self) -> None:
        """Wait for its end."""
        _, said = self.process.communicate(timeout=60)
        if self.process.returncode:
            raise Refused(said)

    def kill(self) -> None:
        """Kill the deployer alone: its server lives in a session of its own."""
        self.process.kill()
        self.process.wait()


@dataclass
class ProcessBench:
    """One use case on the platform that the environment names."""

    bundle: Bundle
    begun: list[Begun] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The use case."""
        return self.bundle.manifest.name

    def publish(self, judged_against: str = "", right: bool = True) -> Version:
        """Register a version."""
        return models.published(self.bundle if right else wrong(self.bundle), judged_against)

    def deploy(self, version: str, reason: str = "") -> None:
        """Deploy in this process."""
        with refusals():
            commands.deploy(self.name, version, reason)

    def begin(self, version: str) -> Begun:
        """Deploy in a process of its own, and wait until that has started a server."""
        command = [sys.executable, "-m", "components.deploy", "deploy", self.name, version]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())})
        begun = Begun(process)
        self.begun.append(begun)
        record = Path(os.environ["MLOPS_HOME"], "serving", f"{self.name}{STARTING}")
        while not record.exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        return begun

    def resume(self) -> str:
        """Put in order what is there."""
        with refusals():
            return commands.resume(self.name)

    def rollback(self) -> None:
        """Go back to the champion before."""
        with refusals():
            commands.rollback(self.name, None, "a test")

    def history(self) -> str:
        """What served when."""
        with refusals():
            return "\n".join(history(self.name))

    def status(self) -> str:
        """What serves."""
        return status(self.name)

    def answering(self) -> str:
        """The version that answers."""
        served = LocalDeployer(self.name, Serving()).serving()
        return requests.get(f"{served.address}/v2/models/{self.name}", timeout=10).headers["x-model-version"] if served else ""

    def servers(self) -> set[str]:
        """Their pids."""
        every = psutil.process_iter(["cmdline"])
        return {str(each.pid) for each in every if {"serving", self.name} <= set(each.info["cmdline"] or [])}

    def end_servers(self) -> None:
        """Kill them."""
        for pid in self.servers():
            process = psutil.Process(int(pid))
            process.kill()
            psutil.wait_procs([process], timeout=5)

    def clear(self) -> None:
        """End whatever is left."""
        for begun in self.begun:
            begun.kill()
        with LocalDeployer(self.name, Serving()).change():  # ends what was started and not proven
            served = LocalDeployer(self.name, Serving()).serving()
            if served:
                stop(served)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a user's error into the contract's."""
    try:
        yield
    except UserError as error:
        raise Refused(str(error)) from error


def wrong(bundle: Bundle) -> Bundle:
    """The same model, with golden answers that it does not give."""
    answers: list[Label] = [1 - int(label) for label in bundle.golden.predict]
    return replace(bundle, golden=Golden(bundle.golden.rows, answers, bundle.golden.predict_proba))
