"""What must hold after a run that failed, and after the next one."""

import os
import re

import psutil

from components.deploy.local import LocalDeployer, Served
from core import registry, storage
from core.bundle import unpack
from core.config import Serving
from tests.e2e.command import Ended, ask, mlops

STUMP = "train.candidates={stump: {estimator: sklearn.tree.DecisionTreeClassifier, parameters: {max_depth: 1}}}"
WEAK = ("--set", STUMP, "--set", "train.max_trials=1", "--set", "evaluate.floor=5")


def serving(name: str) -> Served | None:
    return LocalDeployer(name, Serving()).serving()


def answers_right(served: Served) -> bool:
    """Ask a server for its golden rows."""
    golden = unpack(storage.read(served.uri), served.digest).golden
    return bool([ask(served.address, dict(row))[0] for row in golden.rows[:3]] == list(golden.predict[:3]))


def assert_failed(shown: Ended, sentence: str) -> None:
    assert shown.code == 1, shown.out
    assert shown.err == ""
    assert "Traceback" not in shown.out
    found = re.findall(r"^failed after \d+ s: (.*)$", shown.out, re.MULTILINE)
    assert len(found) == 1, shown.out
    assert re.search(sentence, found[0]), found[0]


def assert_still_champion(served: Served) -> None:
    now = registry.champion("wine")
    assert now
    assert (now.version, serving("wine")) == (served.version, served)
    assert answers_right(served)


def assert_goes_through() -> None:
    """The next run makes its model champion, and nothing is left but its server."""
    shown = mlops("run", "wine")
    assert shown.code == 0, shown.out + shown.err
    assert "\nthe challenger becomes champion: " in shown.out
    now, served = registry.champion("wine"), serving("wine")
    assert now
    assert served
    assert now.version == served.version == shown.steps["deploy"].split()[1]
    assert answers_right(served)
    assert [each.pid for each in model_servers()] == [served.process.pid]


def model_servers() -> list[psutil.Process]:
    """Every server of this platform's models: they alone know its S3 address."""
    address = os.environ["AWS_ENDPOINT_URL_S3"]
    servers = [each for each in psutil.process_iter(["cmdline"]) if (each.info["cmdline"] or [])[1:3] == ["-m", "serving"]]
    return [each for each in servers if each.environ().get("AWS_ENDPOINT_URL_S3") == address]
