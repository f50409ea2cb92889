"""The compiled YAML: what the code gives, byte for byte, and fit for a cluster."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from core.cluster import TOKEN, TOKEN_FOLDER
from core.config import STEPS
from core.configfile import load, load_serving, names, unfinished
from core.errors import UserError
from core.featurecode import FOLDER
from pipelines.build import build
from pipelines.package import COMPILED
from pipelines.steps import CONNECTION, SECRETS, SERVING, SOURCES
from tests.contract.compiling import compile_wine, in_a_thread

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cli", "components", "core", "local", "pipelines", "serving", "usecases")
EXECUTORS = [pytest.param(name, f"exec-{step}", id=f"{name}-{step}") for name in names() for step in sorted(set(STEPS) - {"load"})]
DEPLOYERS = ("exec-deploy", "exec-serve")
DIGEST = "registry.example/mlops@sha256:" + 64 * "0"


@cache
def compiled(name: str, folder: Path = COMPILED) -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.load_all((folder / f"{name}-training.yaml").read_text(), yaml.CSafeLoader)
    return pipeline, platform


def compile_with(folder: Path, checkout: Path = ROOT, cwd: Path = ROOT, **environment: str) -> dict[str, bytes]:
    command = [sys.executable, "-c", "from cli.main import main; main()", "compile", "--output", str(folder)]
    inherited = {name: value for name, value in os.environ.items() if name != "IMAGE"} | {"PYTHONPATH": str(checkout)}
    subprocess.run(command, cwd=cwd, env=inherited | environment, check=True, capture_output=True)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.yaml")}


def tasks(pipeline: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every task as the graph it is in, its name and itself."""
    yield from (("root", name, task) for name, task in pipeline["root"]["dag"]["tasks"].items())
    for graph, component in pipeline["components"].items():
        yield from ((graph, name, task) for name, task in component.get("dag", {}).get("tasks", {}).items())


def upstream(pipeline: dict[str, Any], wanted: str) -> set[str]:
    """Every task that must have ended well before this one starts, through the groups that it is in."""
    every = {name: (graph, task) for graph, name, task in tasks(pipeline)}
    holders = {task["componentRef"]["name"]: name for _, name, task in tasks(pipeline)}
    found: set[str] = set()
    pending = [wanted]
    while pending:
        graph, task = every[pending.pop()]
        following = {*task.get("dependentTasks", []), *([holders[graph]] if graph in holders else [])}
        pending += following - found
        found |= following
    return found


# The bytes


def test_any_folder_and_hash_seed_give_the_bytes_that_are_checked_in(tmp_path: Path) -> None:
    copy = tmp_path / "a copy"
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "compiled"))

    written = compile_with(copy / "pipelines" / "compiled", checkout=copy, cwd=copy, PYTHONHASHSEED="4711")

    assert written == contents(COMPILED)
    assert written.keys() == {f"{name}-training.yaml" for name in names()}


def test_an_unfinished_folder_stops_no_other_use_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FOLDER / "wine", tmp_path / "usecases" / "wine")
    (tmp_path / "usecases" / "draft").mkdir()
    (tmp_path / "usecases" / "draft" / "config.yaml").write_text("name: draft\nsources: {rows: rows.csv}\nserving: {memory: 1Gi}\n")
    monkeypatch.setattr("core.configfile.FOLDER", tmp_path / "usecases")

    with pytest.raises(UserError) as refused:
        in_a_thread(list, build(tmp_path / "compiled"))

    assert [path.name for path in (tmp_path / "compiled").iterdir()] == ["wine-training.yaml"]
    (line,) = str(refused.value).splitlines()
    assert line.startswith("draft was not compiled, its folder is unfinished: usecases/draft/config.yaml line 1: ")
    assert line.endswith(" more)")
    assert unfinished("draft") == line.partition("its folder is ")[2]
    assert unfinished("wine") == ""
    assert load_serving("draft").memory == "1Gi"


def test_the_chosen_image_reaches_every_step_and_nothing_else_changes(tmp_path: Path) -> None:
    written = compile_with(tmp_path, IMAGE=DIGEST)

    containers = [executor["container"] for name in names() for executor in compiled(name, tmp_path)[0]["deploymentSpec"]["executors"].values()]
    assert {container["image"] for container in containers} == {DIGEST}
    assert [item["value"] for container in containers for item in container["env"] if item["name"] == "IMAGE"] == [DIGEST] * len(containers)
    assert without_image(written) == without_image(contents(COMPILED))


def without_image(written: dict[str, bytes]) -> dict[str, bytes]:
    return {name: re.sub(rb"(image|(?<=IMAGE\n)          value): .*", b"X", data) for name, data in written.items()}


# The form


@pytest.mark.parametrize("name", names())
def test_both_documents_are_of_the_form_that_a_cluster_reads(name: str) -> None:
    pipeline, platform = compiled(name)

    ParseDict(pipeline, PipelineSpec())
    ParseDict(platform, PlatformSpec())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for executor in executors.values():
        ParseDict(executor, KubernetesExecutorConfig())

    assert executors.keys() == pipeline["deploymentSpec"]["executors"].keys() == {f"exec-{step}" for step in STEPS if step != "load"}


@pytest.mark.parametrize("name", names())
def test_the_only_parameter_is_the_use_case_as_its_file_says(name: str) -> None:
    pipeline, _ = compiled(name)

    parameters = pipeline["root"]["inputDefinitions"]["parameters"]

    assert parameters.keys() == {"config"}
    assert parameters["config"]["parameterType"] == "STRING"
    assert parameters["config"]["defaultValue"] == (FOLDER / name / "config.yaml").read_text()


# The policy


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_a_steps_image_never_changes_its_meaning(name: str, executor: str) -> None:
    image = compiled(name)[0]["deploymentSpec"]["executors"][executor]["container"]["image"]

    assert re.fullmatch(r"\S+(:[\w.-]+|@sha256:[0-9a-f]{64})", image)
    assert not image.endswith(":latest")


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_a_step_has_requests_and_limits(name: str, executor: str) -> None:
    resources = compiled(name)[0]["deploymentSpec"]["executors"][executor]["container"]["resources"]

    assert resources.keys() >= {"resourceCpuLimit", "resourceCpuRequest", "resourceMemoryLimit", "resourceMemoryRequest"}
    assert 0 < resources["cpuRequest"] <= resources["cpuLimit"]
    assert 0 < resources["memoryRequest"] <= resources["memoryLimit"]


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_a_step_runs_as_the_images_user_who_is_not_root(name: str, executor: str) -> None:
    settings = compiled(name)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]

    assert settings["securityContext"] == {"runAsNonRoot": True}
    assert [mount["mountPath"] for mount in settings["emptyDirMounts"]] == ["/tmp"]


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_a_step_that_hangs_is_stopped_after_the_minutes_of_the_config(name: str, executor: str) -> None:
    settings = compiled(name)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]

    assert int(settings["activeDeadlineSeconds"]) == 60 * load(name).limits.steps[cast(Any, executor.removeprefix("exec-"))].minutes


@pytest.mark.parametrize("name", names())
def test_no_step_has_a_retry_policy_that_kubeflow_does_not_keep(name: str) -> None:
    assert not [task for _, task, body in tasks(compiled(name)[0]) if "retryPolicy" in body]


def test_a_pod_has_the_limits_of_the_config_and_requests_a_share_of_them(tmp_path: Path) -> None:
    overrides = ["limits.steps.train={memory: 8Gi, gpus: 2, gpu: amd.com/gpu}", "limits.steps.deploy.cpu=0.1", "limits.steps.report.memory=128Mi"]

    package = compile_wine(tmp_path, "limits.requests=0.5", *overrides)

    executors = compiled("wine", package.parent)[0]["deploymentSpec"]["executors"]
    train, deploy, report = (executors[f"exec-{step}"]["container"]["resources"] for step in ("train", "deploy", "report"))
    assert (train["resourceCpuLimit"], train["resourceCpuRequest"]) == ("2", "1000m")
    assert (train["resourceMemoryLimit"], train["resourceMemoryRequest"]) == ("8Gi", "4096Mi")
    assert (deploy["resourceCpuLimit"], deploy["resourceCpuRequest"]) == ("0.1", "50m")
    assert (report["resourceMemoryLimit"], report["resourceMemoryRequest"]) == ("128Mi", "128Mi")
    assert train["accelerator"] == {"count": "2", "resourceCount": "2", "resourceType": "amd.com/gpu", "type": "amd.com/gpu"}
    assert "accelerator" not in deploy


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_a_step_learns_addresses_credentials_and_the_runs_id_from_its_pod(name: str, executor: str) -> None:
    settings = compiled(name)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]
    literal = compiled(name)[0]["deploymentSpec"]["executors"][executor]["container"]["env"]

    items = [item for kind in ("configMapAsEnv", "secretAsEnv") for item in settings[kind] if item.get("secretName") != SOURCES]
    variables = {pair["envVar"] for item in items for pair in item["keyToEnv"]}
    referred = {pair.get("configMapKey") or pair["secretKey"] for item in items for pair in item["keyToEnv"]}
    secrets = {key for keys in SECRETS.values() for key in keys}
    assert variables == {"MLOPS_MLFLOW_URI", "POD_TEMPLATE", *CONNECTION, *(SERVING if executor in DEPLOYERS else ())} | secrets
    options = {"AWS_ENDPOINT_URL_STS", "SSL_CERT_FILE", "POD_TEMPLATE", *SERVING}
    assert referred - set(yaml.safe_load((ROOT / "k8s/base/pipeline/configmap.yaml").read_text())["data"]) - options == secrets
    assert all(item["optional"] for kind in ("configMapAsEnv", "secretAsEnv") for item in settings[kind])
    assert settings["fieldPathAsEnv"] == [{"name": "KFP_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}]
    assert {item["name"] for item in literal}.isdisjoint(variables)


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_only_what_reads_sources_learns_their_addresses_and_credentials(name: str, executor: str) -> None:
    settings = compiled(name)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]

    known = [item for item in (*settings["secretAsEnv"], *settings.get("secretAsVolume", [])) if item["secretName"] == SOURCES]
    assert len(known) == (2 if executor == "exec-extract" else 0)
    assert all(item["optional"] for item in known)


@pytest.mark.parametrize(("name", "executor"), EXECUTORS)
def test_only_deploy_and_serve_mount_the_token_that_may_deploy(name: str, executor: str) -> None:
    settings = compiled(name)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]

    mounts = {
        item["secretName"]: (item["mountPath"], item["optional"]) for item in settings.get("secretAsVolume", []) if item["secretName"] != SOURCES
    }
    assert mounts == ({TOKEN: (TOKEN_FOLDER, True)} if executor in DEPLOYERS else {})


def test_every_setting_that_the_deployment_reads_reaches_the_step() -> None:
    folder = ROOT / "components" / "deploy" / "cluster"

    assert {name for path in folder.glob("*.py") for name in re.findall(r"SERVING_[A-Z_]+", path.read_text())} == set(SERVING)


@pytest.mark.parametrize("name", names())
def test_kubeflows_own_cache_is_off(name: str) -> None:
    assert not [task for _, task, body in tasks(compiled(name)[0]) if body.get("cachingOptions", {}).get("enableCache")]


def test_without_caching_every_step_does_its_work(tmp_path: Path) -> None:
    compile_wine(tmp_path, caching=False)

    executors = compiled("wine", tmp_path)[0]["deploymentSpec"]["executors"].values()
    assert all({"name": "MLOPS_CACHE", "value": "off"} in executor["container"]["env"] for executor in executors)


@pytest.mark.parametrize("name", names())
def test_no_parameter_carries_an_address_or_a_credential(name: str) -> None:
    pipeline, _ = compiled(name)

    parameters = {key for component in [pipeline["root"], *pipeline["components"].values()] for key in given(component)}
    values = yaml.safe_dump([task.get("inputs", {}).get("parameters") for _, _, task in tasks(pipeline)])

    own = {key for key in parameters if not key.startswith("pipelinechannel--")}
    assert own == {"config", "version", "status"}
    assert not re.search(r"https?://|password|secret|access.?key|token", values, re.IGNORECASE)


def given(component: dict[str, Any]) -> set[str]:
    return set(component.get("inputDefinitions", {}).get("parameters", {}))


@pytest.mark.parametrize("name", names())
def test_what_must_hold_before_deploy_is_upstream_of_it(name: str) -> None:
    assert upstream(compiled(name)[0], "deploy") >= {"extract", "validate", "transform", "train", "evaluate", "register"}
    assert "validate" in upstream(compiled(name)[0], "train")


@pytest.mark.parametrize("name", names())
def test_a_run_ends_with_the_new_version_or_the_champion_in_service(name: str) -> None:
    pipeline, _ = compiled(name)
    groups = {graph: component["dag"]["tasks"] for graph, component in pipeline["components"].items() if "condition" in graph}
    gates = {
        (task["triggerPolicy"]["condition"].partition("Output']")[2], step)
        for _, _, task in tasks(pipeline)
        if "condition" in task.get("triggerPolicy", {})
        for step in groups[task["componentRef"]["name"]]
        if "condition" not in step
    }

    assert gates == {(" == 'deploy'", "register"), (" == 'deploy'", "deploy"), (" != 'deploy'", "serve")}


def test_challenger_that_is_registered_anyway_is_promoted_only_if_it_is_better(tmp_path: Path) -> None:
    pipeline, _ = compiled("wine", compile_wine(tmp_path, "evaluate.register_anyway=true").parent)

    conditions = {
        tuple(step for step in pipeline["components"][task["componentRef"]["name"]]["dag"]["tasks"] if "condition" not in step): (
            task["taskInfo"]["name"],
            task["triggerPolicy"]["condition"].partition("Output']")[2],
        )
        for _, _, task in tasks(pipeline)
        if "condition" in task.get("triggerPolicy", {})
    }
    assert conditions == {
        ("register",): ("register", " != 'drop'"),
        ("deploy",): ("promote", " == 'deploy'"),
        ("serve",): ("keep champion", " != 'deploy'"),
    }


@pytest.mark.parametrize("name", names())
def test_the_report_is_written_whatever_happened(name: str) -> None:
    tasks = compiled(name)[0]["root"]["dag"]["tasks"]

    assert tasks["report"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert tasks["report"]["dependentTasks"] == [task for task in tasks if task != "report"]


def test_with_refit_all_the_model_of_the_last_fit_is_registered(tmp_path: Path) -> None:
    pipeline, _ = compiled("wine", compile_wine(tmp_path, "train.refit=all").parent)

    tasks = {name: task for part in pipeline["components"].values() for name, task in part.get("dag", {}).get("tasks", {}).items()}
    inputs = {
        name: artifact["taskOutputArtifact"] for name, artifact in tasks["register"]["inputs"]["artifacts"].items() if name in ("model", "golden")
    }
    assert {(item["producerTask"], item["outputArtifactKey"]) for item in inputs.values()} == {("refit", "model"), ("refit", "golden")}
    limits = [pipeline["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"] for step in ("refit", "train")]
    assert limits[0] == limits[1]
    assert "refit" not in {name for part in compiled("wine")[0]["components"].values() for name in part.get("dag", {}).get("tasks", {})}
