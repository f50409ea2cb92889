"""What an overlay sets in all pods, in the compiled YAML: as KFP's own functions write it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp import compiler, dsl, kubernetes
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from cli.submit import Target, submit
from core.errors import UserError
from pipelines.package import COMPILED
from pipelines.scheduling import read, schedule
from tests.contract.compiling import in_a_thread
from tests.contract.kubeflow import Kubeflow
from tests.manifests.build import KUBERNETES

PODS = """
spec:
  template:
    metadata:
      labels: {team: travel, app.kubernetes.io/name: other}
      annotations: {example.com/owner: ada}
    spec:
      nodeSelector: {pool: ml}
      tolerations: [{key: ml, operator: Equal, value: "yes", effect: NoExecute, tolerationSeconds: 60}]
      imagePullSecrets: [{name: registry}]
      priorityClassName: high
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a, b]}]}]
          preferredDuringSchedulingIgnoredDuringExecution:
            - {weight: 10, preference: {matchExpressions: [{key: disk, operator: Exists}]}}
"""


def by_kfp(task: dsl.PipelineTask) -> None:
    kubernetes.add_pod_label(task, "team", "travel")
    kubernetes.add_pod_annotation(task, "example.com/owner", "ada")
    kubernetes.add_node_selector(task, "pool", "ml")
    kubernetes.add_toleration(task, "ml", "Equal", "yes", "NoExecute", 60)
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.add_node_affinity(task, match_expressions=[{"key": "zone", "operator": "In", "values": ["a", "b"]}])
    kubernetes.add_node_affinity(task, match_expressions=[{"key": "disk", "operator": "Exists"}], weight=10)


def executors(package: Path) -> dict[str, KubernetesExecutorConfig]:
    _, platform = yaml.load_all(package.read_text(), yaml.CSafeLoader)
    found: dict[str, Any] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name: ParseDict(settings, KubernetesExecutorConfig()) for name, settings in found.items()}


def compile_step(target: Path, *, patched: bool) -> Path:
    def train() -> float:
        return 1.0

    step = dsl.component(train, base_image="localhost/python:1", install_kfp_package=False)

    def pipeline() -> None:
        task = step()
        kubernetes.add_pod_label(task, "app.kubernetes.io/name", "pipeline")
        if patched:
            by_kfp(task)

    in_a_thread(lambda: compiler.Compiler().compile(dsl.pipeline(pipeline, name="p"), str(target)))
    return target


def test_a_step_gets_what_kfp_itself_would_write(tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(PODS)
    wanted = executors(compile_step(tmp_path / "wanted.yaml", patched=True))
    package = compile_step(tmp_path / "package.yaml", patched=False)

    schedule(package, read(tmp_path / "pods.yaml"))

    assert executors(package) == wanted


def test_every_step_of_a_pipeline_is_scheduled_and_nothing_else_changes(tmp_path: Path) -> None:
    usual = COMPILED / "wine-training.yaml"
    package = tmp_path / "package.yaml"
    package.write_text(usual.read_text())

    schedule(package, read(KUBERNETES / "components/pods/pods.yaml"))

    added = "          nodeSelector:\n            labels:\n              kubernetes.io/os: linux\n"
    assert package.read_text().count(added) == len(executors(usual))
    assert package.read_text().replace(added, "") == usual.read_text()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*/pods\.yaml \(No such file or directory\): --pods or MLOPS_PODS names"):
        read(tmp_path / "pods.yaml")


def test_a_run_with_pods_yaml_is_another_version_of_the_pipeline(kubeflow: Kubeflow) -> None:
    for pods in (None, KUBERNETES / "components/pods/pods.yaml"):
        target = Target(kubeflow.url, None, "pipeline", None, pods=pods)
        in_a_thread(submit, "wine", [], "localhost/mlops:1", target)

    assert len({version["name"] for version in kubeflow.versions.values()}) == 2
