"""Transform on Spark with executors as pods: the same bytes as DuckDB's, whatever happens to a pod, with no more rights than it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from core import storage
from local import samples
from pipelines.images import with_spark
from tests.cluster import driver as drivers
from tests.cluster.conftest import clear
from tests.cluster.driver import Driver
from tests.cluster.overlay import IMAGE, PIPELINE, PLATFORM
from tests.cluster.rig import ROOT, Cluster, Object, wait_until
from tests.cluster.test_end_to_end import ANY, submit
from tests.cluster.test_network import REACH

EXECUTORS = "spark-role=executor"
JANUARY = "sources.flights=s3://data/flights/flights-2013-01.parquet"
SPARK = "spark={master: k8s, executors: 2, memory: 512MB}"
TABLES = """
import sys
from core.configfile import load
from core.tracking import Run
from components.extract.extract import extract
extract(Run("extract", load("flights", sys.argv[1:])), "/tmp/raw")
"""
TRANSFORM = """
import hashlib, sys
from pathlib import Path
from core.configfile import load
from core.errors import UserError
from core.tracking import Run
from components.transform.table import transform
try:
    transform(Run("transform", load("flights", sys.argv[2:])), "/tmp/raw", "/tmp/table", sys.argv[1])
except UserError as error:
    sys.exit(str(error))
print(hashlib.sha256(Path("/tmp/table").read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def option(cluster: Cluster) -> Iterator[None]:
    """The namespace has the component `spark`."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "tests" / "cluster" / "overlays" / "spark")).out))
    names = {"spark", "spark-driver", "spark-executor"}
    before = cluster.get("networkpolicy", PIPELINE, "pipeline")
    assert before
    cluster.apply(
        *(each for each in built if each["metadata"]["name"] in names or (each["kind"], each["metadata"]["name"]) == ("NetworkPolicy", "pipeline"))
    )
    yield
    for each in built:
        if each["metadata"]["name"] in names:
            cluster.delete(each["kind"], PIPELINE, each["metadata"]["name"])
    cluster.patch("networkpolicy", PIPELINE, "pipeline", {"spec": {"podSelector": before["spec"]["podSelector"] | {"matchExpressions": None}}})


@pytest.fixture(scope="module")
def step(cluster: Cluster, stores: None, option: None) -> Iterator[Driver]:
    """A pod as transform's, with the raw tables of flights."""
    samples.deliver("flights")
    with drivers.started(cluster, "driver-spark", spark=with_spark(IMAGE)) as running:
        extracted = running.python(TABLES, JANUARY)
        assert extracted.code == 0, extracted.err
        yield running


@pytest.fixture(scope="module")
def right(step: Driver) -> str:
    """The hash of the table that DuckDB makes."""
    made = step.python(TRANSFORM, "", "spark=null")
    assert made.code == 0, made.err
    return made.out


def executors(cluster: Cluster) -> list[Object]:
    """The executors that run."""
    return [
        pod for pod in cluster.find("pod", PIPELINE, EXECUTORS) if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


def left(cluster: Cluster) -> list[str]:
    """What Spark has left on the cluster and in the bucket."""
    objects = storage.client().list_objects("pipelines", "spark/", recursive=True)
    return cluster.names("pod", PIPELINE, EXECUTORS) + [str(item.object_name) for item in objects]


def test_it_gives_the_bytes_of_duckdb_also_when_an_executor_is_killed(cluster: Cluster, step: Driver, right: str) -> None:
    lie = "s3://pipelines/kfp/test-spark/raw"  # where Kubeflow puts them
    uploaded = step.python(f"from pathlib import Path; from core.storage import upload; upload(Path('/tmp/raw'), '{lie}')")
    assert uploaded.code == 0, uploaded.err
    before = left(cluster)

    with step.background("python", "-c", TRANSFORM, lie, SPARK) as job:
        both = wait_until(lambda: found if len(found := executors(cluster)) == 2 else [], 120, "two executors")
        reached = cluster.exec(PIPELINE, both[0]["metadata"]["name"], "python", "-c", REACH, *PEERS)
        cluster.kubectl("delete", "pod", both[1]["metadata"]["name"], "-n", PIPELINE, "--grace-period=0", "--force")
        ended = job.wait(300)

    assert (ended.code, ended.out) == (0, right), ended.err
    assert left(cluster) == before
    assert json.loads(reached.out) == PEERS
    assert_restricted(both[0]["spec"])


PEERS = {
    f"minio.{PLATFORM}.svc.cluster.local:9000": "open",
    f"mlflow.{PLATFORM}.svc.cluster.local:5000": "closed",
}


def assert_restricted(spec: Object) -> None:
    (container,) = spec["containers"]
    assert spec["serviceAccountName"] == "spark-executor"
    assert not [volume for volume in spec["volumes"] if "projected" in volume]  # no token
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    hardened = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == hardened
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    assert not [variable for variable in container["env"] if "AWS" in variable["name"]]


def test_executors_of_a_killed_driver_end(cluster: Cluster, step: Driver) -> None:
    with step.background("python", "-c", TRANSFORM, "", SPARK):
        wait_until(lambda: len(executors(cluster)) == 2, 120, "two executors")

    wait_until(lambda: not cluster.names("pod", PIPELINE, EXECUTORS), 60, "the end of the executors")


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        pytest.param(
            {"SPARK_IMAGE": "localhost/nowhere:1"},
            r"Spark gets no executor on the cluster \((ErrImagePull|ImagePullBackOff): localhost/nowhere:1\)",
            id="image",
        ),
        pytest.param({"SPARK_IMAGE": ""}, r"spark\.master is k8s, which needs a cluster", id="no cluster"),
    ],
)
def test_without_executors_it_says_why(cluster: Cluster, step: Driver, environment: dict[str, str], sentence: str) -> None:
    made = step.run("python", "-c", TRANSFORM, "", SPARK, environment=environment)

    assert made.code == 1
    assert re.search(sentence, made.err)
    assert len(made.err.splitlines()) == 1
    wait_until(lambda: not cluster.names("pod", PIPELINE, EXECUTORS), 60, "the end of the executors")


def test_a_job_runs_transform_on_executors(cluster: Cluster, step: Driver) -> None:
    said = submit(cluster, "diabetes", ANY, SPARK)

    clear(cluster, "diabetes")
    assert "transform" in said
    assert cluster.names("pod", PIPELINE, EXECUTORS) == []


def test_without_its_option_it_says_so(cluster: Cluster, step: Driver) -> None:
    cluster.delete("rolebinding", PIPELINE, "spark")

    made = step.python(TRANSFORM, "", SPARK)

    assert made.code == 1
    assert "k8s/components/spark" in made.err
    assert len(made.err.splitlines()) == 1
