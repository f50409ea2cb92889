"""Spark in the compiled pipeline: transform alone has its image, and only on a cluster's executors a label; manifests and code agree on the rest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.step import IMAGE
from components.transform.engines.spark import pods
from components.transform.engines.spark.executor import command
from core.config import Spark
from core.errors import UserError
from pipelines.images import DRIVER, with_spark
from pipelines.steps import CREDENTIALS, LABELS
from tests.contract.compiling import compile_wine

ROOT = Path(__file__).resolve().parents[2]
COMPONENT = ROOT / "k8s" / "components" / "spark"


def compiled(folder: Path, *overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The containers of the executors, and what Kubernetes adds to them."""
    pipeline, platform = yaml.load_all(compile_wine(folder, *overrides).read_text(), yaml.CSafeLoader)
    containers = {name: each["container"] for name, each in pipeline["deploymentSpec"]["executors"].items()}
    return containers, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.mark.parametrize(("spark", "labels"), [("spark={}", {}), ("spark={master: k8s}", DRIVER)])
def test_transform_alone_has_the_image_with_spark_and_a_label_where_executors_talk_to_it(tmp_path: Path, spark: str, labels: dict[str, str]) -> None:
    containers, platform = compiled(tmp_path, spark)

    transform = containers.pop("exec-transform")
    assert transform["image"] == with_spark(IMAGE)
    assert {"name": "SPARK_IMAGE", "value": with_spark(IMAGE)} in transform["env"]
    assert {container["image"] for container in containers.values()} == {IMAGE}
    assert platform["exec-transform"]["podMetadata"]["labels"] == LABELS | labels
    assert {name for name, settings in platform.items() if DRIVER.items() <= settings["podMetadata"]["labels"].items()} <= {"exec-transform"}


def test_an_image_named_by_its_digest_has_none_with_spark_beside_it() -> None:
    with pytest.raises(UserError, match="name it by a tag, which -spark can follow"):
        with_spark("registry.example/mlops@sha256:" + 64 * "0")


def test_outside_a_cluster_executors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_IMAGE", raising=False)

    with pytest.raises(UserError, match=r"^spark\.master is k8s, which needs a cluster: submit the run, or run it here by --set"):
        pods.settings(Spark(master="k8s"))


def test_an_executor_begins_as_spark_asks_by_its_environment() -> None:
    environment = {
        "SPARK_JAVA_OPT_10": "-Dten",
        "SPARK_JAVA_OPT_2": "-Dtwo=a b",
        "SPARK_EXECUTOR_MEMORY": "512m",
        "SPARK_DRIVER_URL": "spark://driver",
        "SPARK_EXECUTOR_ID": "7",
        "SPARK_EXECUTOR_CORES": "2",
        "SPARK_APPLICATION_ID": "application",
        "SPARK_EXECUTOR_POD_IP": "10.0.0.7",
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_EXECUTOR_POD_NAME": "pod",
    }

    line = command(environment, Path("/jars"))

    assert line[:6] == ["java", "-Dtwo=a b", "-Dten", "-Xms512m", "-Xmx512m", "-cp"]
    assert " ".join(line[6:]) == (
        "/jars/* org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend --driver-url spark://driver --executor-id 7 --cores 2 "
        "--app-id application --hostname 10.0.0.7 --resourceProfileId 0 --podName pod"
    )


def test_the_manifests_know_the_ports_labels_and_accounts_of_the_code() -> None:
    policies = list(yaml.safe_load_all((COMPONENT / "networkpolicy.yaml").read_text()))
    executor = yaml.safe_load(pods.TEMPLATE.read_text())["spec"]
    account = yaml.safe_load((COMPONENT / "serviceaccount.yaml").read_text())

    driver = next(policy["spec"] for policy in policies if policy["metadata"]["name"] == "spark-driver")
    assert driver["podSelector"]["matchLabels"] == DRIVER
    assert [port["port"] for port in driver["ingress"][0]["ports"]] == [pods.DRIVER_PORT, pods.BLOCKS_PORT]
    assert executor["containers"][0]["envFrom"] == [{"secretRef": {"name": CREDENTIALS}}]
    assert account["metadata"]["name"] == pods.EXECUTOR_ACCOUNT


def test_the_bucket_lets_spark_remove_its_own_files_and_removes_what_it_leaves() -> None:
    policy = json.loads((ROOT / "k8s/base/buckets/policies/pipeline.json").read_text())
    (scratch,) = (each for each in policy["Statement"] if "s3:DeleteObject" in each["Action"])

    assert scratch["Resource"] == [f"arn:aws:s3:::pipelines/{pods.SCRATCH}/*"]
    assert f'("spark", "{pods.SCRATCH}/", 1)' in (ROOT / "k8s/base/buckets/provision.py").read_text()


def test_hadoops_jars_are_of_the_version_in_pyspark() -> None:
    locked = re.search(r'name = "pyspark"\nversion = "(\d+\.\d+)', (ROOT / "uv.lock").read_text())
    pom = pods.TEMPLATE.with_name("pom.xml").read_text()

    assert locked
    assert HADOOP[locked[1]] in pom


HADOOP = {"4.3": "<version>3.5.0</version> <!-- of Hadoop in pyspark -->"}  # pyspark/jars/hadoop-client-api-*.jar


def test_executors_have_what_the_overlay_sets_in_all_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = yaml.safe_load(pods.TEMPLATE.read_text())
    monkeypatch.setenv("POD_TEMPLATE", "spec: {template: {metadata: {labels: {team: travel}}, spec: {priorityClassName: high}}}")

    template = yaml.safe_load(Path(pods.executor_template()).read_text())

    assert template["metadata"]["labels"] == usual["metadata"]["labels"] | {"team": "travel"}
    assert template["spec"] == usual["spec"] | {"priorityClassName": "high"}
