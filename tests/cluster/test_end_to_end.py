"""The compiled pipelines in the cluster: what they find better is registered, deployed and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.deploy.cluster.deployer import DIGEST, RUN, VERSION
from core import registry
from local import samples
from tests.cluster.conftest import forget
from tests.cluster.driver import Driver
from tests.cluster.overlay import PIPELINE, SERVING
from tests.cluster.rig import Cluster
from tests.cluster.serving import release, require_only
from tests.deployer.kubernetes import ASK

MLOPS = str(Path(sys.executable).with_name("mlops"))
ANY = "evaluate.floor=2"  # a first model may be as bad as it likes
WEAK = (ANY, "train.max_trials=1", "train.candidates={weak: {estimator: sklearn.linear_model.LogisticRegression, parameters: {C: 0.001}}}")


@pytest.fixture
def submitted(cluster: Cluster, stores: None) -> None:
    """No model of an earlier run is there."""
    for usecase in ("wine", "flights"):
        forget(cluster, usecase)


def submit(cluster: Cluster, usecase: str, *overrides: str) -> str:
    """Run a use case's pipeline in a Job, as a user does, and return what is shown."""
    began = time.monotonic()
    changes = [part for override in overrides for part in ("--set", override)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MLFLOW_"))} | dict(cluster.environment)
    command = [MLOPS, "submit", usecase, "--job", "--namespace", PIPELINE, *changes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{usecase} in the cluster: {time.monotonic() - began:.0f} s")
    return done.stdout


def require_agreement(cluster: Cluster, driver: Driver, usecase: str, version: str) -> None:
    """Require that the Service answers with the version, and that the registry and the Deployment say the same."""
    require_only(cluster, usecase, version)
    champion, deployment = registry.champion(usecase), cluster.get("deployment", SERVING, release(cluster, usecase))
    assert champion and deployment
    notes = deployment["metadata"]["annotations"]
    assert {key: notes[key] for key in (VERSION, DIGEST, RUN)} == {VERSION: version, DIGEST: champion.digest, RUN: champion.run}
    assert driver.python(ASK, f"{usecase}.{SERVING}", usecase).out.strip() == version
    assert driver.deploy("status", usecase).out.startswith(f"{usecase}: version {version} serves since ")


def test_the_flights_pipeline_ends_in_a_model_that_serves(cluster: Cluster, driver: Driver, submitted: None) -> None:
    samples.deliver("flights")

    submit(cluster, "flights", "train.max_trials=2")

    require_agreement(cluster, driver, "flights", "1")
    assert json.loads(driver.python(METADATA, "flights").out)["versions"] == ["1"]


def test_a_better_model_rolls_over_and_an_equal_one_does_not(cluster: Cluster, driver: Driver, submitted: None) -> None:
    submit(cluster, "wine", *WEAK)
    require_agreement(cluster, driver, "wine", "1")

    submit(cluster, "wine", ANY)
    require_agreement(cluster, driver, "wine", "2")
    serving = release(cluster, "wine")

    cluster.delete("deployment", SERVING, serving)  # which the next run mends, although it brings no better model
    submit(cluster, "wine", ANY)
    require_agreement(cluster, driver, "wine", "2")
    assert release(cluster, "wine") == serving
    assert [reign.version for reign in registry.reigns("wine")] == ["1", "2"]


METADATA = "import sys, requests; print(requests.get(f'http://{sys.argv[1]}.mlops-serving/v2/models/{sys.argv[1]}', timeout=5).text)"
