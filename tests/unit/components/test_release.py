"""The objects of a release, and what is said of a rollout that stalls: no cluster is needed for either."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from components.deploy.cluster import objects, rollout
from components.deploy.cluster.objects import Release, Settings, settings
from core.config import Serving
from core.errors import UserError
from core.pod_template import parsed
from core.registry import Version

VERSION = Version("flights", "7", "s3://models/flights/ab.zip", "sha256:ab", "6", run="r")
IMAGE = "example/image:1f3a"
SETTINGS = Settings("models", 2, 5, 12, 100, "ClusterIP")
RESOURCES = Serving(cpu="750m", memory="640Mi", log_predictions=0.05)


def release(version: Version = VERSION, image: str = IMAGE, resources: Serving = RESOURCES, settings: Settings = SETTINGS) -> Release:
    return Release(version, image, resources, settings)


def container(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_deployment_is_the_file_with_the_exact_version_in_it() -> None:
    made = release().deployment(3)

    values = {item["name"]: item.get("value") for item in container(made)["env"]}
    assert {name: values[name] for name in ("MODEL_NAME", "MODEL_VERSION", "MODEL_URI", "MODEL_DIGEST", "PREDICTION_LOG")} == {
        "MODEL_NAME": "flights",
        "MODEL_VERSION": "7",
        "MODEL_URI": "s3://models/flights/ab.zip",
        "MODEL_DIGEST": "sha256:ab",
        "PREDICTION_LOG": "0.05",
    }
    assert container(made)["image"] == "example/image:1f3a"
    assert container(made)["resources"]["limits"] | {"ephemeral-storage": ""} == {"cpu": "750m", "memory": "640Mi", "ephemeral-storage": ""}
    assert (made["spec"]["replicas"], made["spec"]["minReadySeconds"], made["metadata"]["namespace"]) == (3, 12, "models")
    assert container(made)["securityContext"] == container(objects.manifest("deployment"))["securityContext"]


def test_grpc_is_there_when_it_is_asked_for_and_not_before() -> None:
    asked = dataclasses.replace(SETTINGS, grpc_port=8081)

    without, made = (container(release(settings=settings).deployment(1)) for settings in (SETTINGS, asked))
    ports = [objects.service("flights", "release", settings)["spec"]["ports"] for settings in (SETTINGS, asked)]

    assert made["env"] == [*without["env"], {"name": "GRPC_PORT", "value": "8081"}]
    assert made["ports"] == [{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 8081}]
    assert without["ports"] == made["ports"][:1]
    assert ports[0] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert ports[1] == [*ports[0], {"name": "grpc", "port": 8081, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"}]


PODS = """
spec:
  template:
    metadata:
      labels: {team: travel, app.kubernetes.io/name: other}
      annotations: {prometheus.io/scrape: "false"}
    spec:
      nodeSelector: {pool: ml}
      priorityClassName: high
      enableServiceLinks: null
      imagePullSecrets: [{name: registry}]
      tolerations: [{key: ml, operator: Exists}]
      topologySpreadConstraints:
        - {topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule}
        - {topologyKey: topology.kubernetes.io/zone, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway}
"""


def test_what_the_overlay_sets_in_all_pods_is_in_a_server() -> None:
    patched = release(settings=dataclasses.replace(SETTINGS, pod_template=parsed(PODS, "pods.yaml")))

    pod, usual = (each.deployment(1)["spec"]["template"] for each in (patched, release()))
    assert pod["metadata"]["labels"] == usual["metadata"]["labels"] | patched.labels | {"team": "travel"}
    assert pod["metadata"]["annotations"] == usual["metadata"]["annotations"] | {"prometheus.io/scrape": "false"}
    selected = {"labelSelector": {"matchLabels": patched.labels}, "maxSkew": 1}
    assert pod["spec"].pop("topologySpreadConstraints") == [
        {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"} | selected,
        {"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"} | selected,
    ]
    kept = {key: value for key, value in usual["spec"].items() if key not in ("enableServiceLinks", "topologySpreadConstraints")}
    added = {"nodeSelector": {"pool": "ml"}, "priorityClassName": "high", "imagePullSecrets": [{"name": "registry"}]}
    assert pod["spec"] == kept | added | {"tolerations": [{"key": "ml", "operator": "Exists"}]}


@pytest.mark.parametrize("text", ["spec: {nodeSelector: {pool: ml}}", "[]", "{", "spec: {template: x}"])
def test_a_file_without_a_pod_template_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"pods\.yaml (has no spec\.template|is not YAML .*): compare it with k8s/components/pods/pods\.yaml"):
        parsed(text, "pods.yaml")


@pytest.mark.parametrize(
    ("resources", "requested", "busy"),
    [
        pytest.param(Serving(), {"cpu": "100m", "memory": "256Mi"}, 400, id="as in the file"),
        pytest.param(Serving(cpu="2", memory="4Gi", requests=0.5), {"cpu": "1000m", "memory": "2048Mi"}, 80, id="half"),
        pytest.param(Serving(cpu="0.25", requests=1), {"cpu": "250m", "memory": "512Mi"}, 40, id="all"),
    ],
)
def test_a_server_requests_a_share_of_its_limits(resources: Serving, requested: dict[str, str], busy: int) -> None:
    made = release(resources=resources)

    assert container(made.deployment(1))["resources"]["requests"] | requested == container(made.deployment(1))["resources"]["requests"]
    assert made.autoscaler()["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == busy


def test_everything_that_selects_pods_selects_those_of_the_release() -> None:
    made = release()

    pods = made.deployment(1)["spec"]["template"]["metadata"]["labels"].items()
    service = objects.service("flights", made.name, SETTINGS)
    assert made.labels.items() <= pods
    assert service["spec"]["selector"] == made.deployment(1)["spec"]["selector"]["matchLabels"] == made.labels
    assert made.disruption_budget()["spec"]["selector"]["matchLabels"] == made.labels
    assert made.autoscaler()["spec"]["scaleTargetRef"]["name"] == made.deployment(1)["metadata"]["name"]
    assert objects.network_policy("flights", SETTINGS)["spec"]["podSelector"]["matchLabels"].items() <= pods


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"version": dataclasses.replace(VERSION, version="8")}, id="version"),
        pytest.param({"version": dataclasses.replace(VERSION, digest="sha256:cd")}, id="digest"),
        pytest.param({"image": "example/image:2"}, id="image"),
        pytest.param({"resources": Serving(memory="1Gi")}, id="resources"),
        pytest.param({"resources": Serving(cpu="750m", memory="640Mi", log_predictions=0.5)}, id="prediction log"),
        pytest.param({"resources": Serving(cpu="750m", memory="640Mi", log_predictions=0.05, keep_alive=620)}, id="keep-alive"),
        pytest.param({"settings": dataclasses.replace(SETTINGS, min_ready_seconds=1)}, id="settings"),
        pytest.param({"settings": dataclasses.replace(SETTINGS, grpc_port=8081)}, id="gRPC"),
        pytest.param({"settings": dataclasses.replace(SETTINGS, pod_template={"spec": {"priorityClassName": "high"}})}, id="pods"),
    ],
)
def test_other_content_has_another_name(other: dict[str, Any]) -> None:
    assert release(**other).name != release().name
    assert release().name == release().name


def test_the_number_of_servers_changes_no_name() -> None:
    scaled = dataclasses.replace(SETTINGS, min_replicas=4, max_replicas=9)

    assert release(settings=scaled).name == release().name
    assert objects.is_release("flights", release().name)
    assert not objects.is_release("flight", release().name)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"SERVING_NAMESPACE": "models", "SERVING_MIN_REPLICAS": "2", "SERVING_SERVICE_TYPE": "LoadBalancer", "SERVING_GRPC_PORT": "8081"}
    values["SERVING_IMAGES"] = "example/image  example/other"
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    assert settings() == Settings("models", 2, 3, 10, 300, "LoadBalancer", 8081, images=("example/image", "example/other"))


@pytest.mark.parametrize(("name", "value", "least"), [("SERVING_MAX_REPLICAS", "many", 1), ("SERVING_TIMEOUT_SECONDS", "0", 1)])
def test_a_setting_that_cannot_be_meant_is_named(name: str, value: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_NAMESPACE", "models")
    monkeypatch.setenv(name, value)

    with pytest.raises(UserError, match=f"{name}={value} is not a whole number from {least} on: correct it in the ConfigMap mlops"):
        settings()


def test_account_of_the_servers_has_the_annotations_of_a_cloud_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_NAMESPACE", "models")
    monkeypatch.setenv("SERVING_ACCOUNT_ANNOTATIONS", "eks.amazonaws.com/role-arn: arn:aws:iam::1:role/serving")

    assert objects.account("flights", settings())["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/serving"}


@pytest.mark.parametrize("text", ["arn:aws:iam::1:role/serving", "[a]", "a: 1", "a: {"])
def test_annotations_that_are_no_mapping_of_texts_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_NAMESPACE", "models")
    monkeypatch.setenv("SERVING_ACCOUNT_ANNOTATIONS", text)

    with pytest.raises(UserError, match=r"SERVING_ACCOUNT_ANNOTATIONS=.* is not a map of texts"):
        settings()


def pod(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    status = {"containerStatuses": [{"name": "server", "image": "example/image:1f3a", "state": state, "restartCount": 0}]}
    return {"metadata": {"name": "flights-v7-x"}, "spec": {"containers": [{"resources": {"limits": {"memory": "640Mi"}}}]}, "status": status} | more


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        pytest.param({"waiting": {"reason": "ImagePullBackOff"}}, r"the image example/image:1f3a cannot be pulled .*: push it", id="image"),
        pytest.param(
            {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "mlops-s3" not found'}},
            r'pod flights-v7-x cannot be made .*"mlops-s3" not found.*: apply the Secret',
            id="secret",
        ),
        pytest.param(
            {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "want of memory, its limit is 640Mi: raise serving.memory", id="memory"
        ),
    ],
)
def test_a_pod_that_does_not_run_says_why(state: dict[str, Any], sentence: str) -> None:
    (problem,) = rollout.pod_problems(pod(state), "models")

    with pytest.raises(UserError, match=sentence):
        raise UserError(problem.sentence)


@pytest.mark.parametrize("state", [{"waiting": {"reason": "ContainerCreating"}}, {"waiting": {"reason": "ErrImagePull"}}, {"running": {}}])
def test_a_pod_on_its_way_has_no_problem(state: dict[str, Any]) -> None:
    assert list(rollout.pod_problems(pod(state), "models")) == []


def deployment(**status: int) -> dict[str, Any]:
    return {"metadata": {"name": "flights-v7", "generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2} | status}


@pytest.mark.parametrize(
    ("found", "complete"),
    [
        pytest.param(deployment(replicas=2, updatedReplicas=2, readyReplicas=2, availableReplicas=2), True, id="there"),
        pytest.param(deployment(replicas=2, updatedReplicas=2, readyReplicas=2, availableReplicas=1), False, id="watched"),
        pytest.param(deployment(replicas=3, updatedReplicas=2, readyReplicas=3, availableReplicas=3), False, id="old ones left"),
        pytest.param(deployment(observedGeneration=1, replicas=2, updatedReplicas=2, readyReplicas=2, availableReplicas=2), False, id="not seen yet"),
    ],
)
def test_a_rollout_is_complete_when_every_server_is_new_and_available(found: dict[str, Any], complete: bool) -> None:
    assert rollout.is_complete(found) is complete
