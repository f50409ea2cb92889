"""What each option changes, and that the manifests agree with the code."""

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.deploy.cluster.objects import A_USECASE
from components.deploy.cluster.routes import KINDS, PUBLIC_PATHS, ROLE
from components.transform.engines.spark.pods import TEMPLATE
from core.config import RESERVED, Serving
from core.pod_template import POD_TEMPLATE, parsed
from core.resources import LEAST
from core.storage import BUCKETS
from pipelines.steps import CERTIFICATES_FOLDER, SECRETS, SERVING, SOURCES, SOURCES_FOLDER
from tests.manifests.build import KUBERNETES, OPTIONS, Document, build, containers, named, pod
from tests.manifests.conftest import SETTINGS

Built = Callable[[str], list[Document]]


def _find(documents: list[Document], name: str) -> Any:
    return next(document for document in documents if named(document) == name)


def test_the_buckets_of_the_cluster_are_those_of_the_code() -> None:
    script = runpy.run_path(str(KUBERNETES / "base/buckets/provision.py"))
    assert set(script["VERSIONED"]) == set(BUCKETS)


def test_a_config_gives_a_server_no_less_memory_than_it_requests(built: Built) -> None:
    server = _find(built("base/serving"), "Deployment mlops-serving/model")["spec"]["template"]["spec"]["containers"][0]

    assert server["resources"]["requests"]["memory"] == LEAST


def test_an_idle_connection_outlives_that_of_a_usual_load_balancer(built: Built) -> None:
    server = _find(built("base/serving"), "Deployment mlops-serving/model")["spec"]["template"]["spec"]["containers"][0]

    assert {"name": "KEEP_ALIVE_SECONDS", "value": str(Serving().keep_alive)} in server["env"]
    assert Serving().keep_alive > 60


def test_kubeflow_finds_the_storage_where_the_steps_do(built: Built) -> None:
    # given
    documents = built("overlays/kubeflow-profile")
    settings, launcher = (_find(documents, f"ConfigMap mlops/{name}")["data"] for name in ("mlops", "kfp-launcher"))
    # then
    provider = yaml.safe_load(launcher["providers"])["s3"]["default"]
    assert settings["AWS_ENDPOINT_URL_S3"] == f"http://{provider['endpoint']}"
    assert settings["AWS_REGION"] == provider["region"]
    keys = {provider["credentials"]["secretRef"][key] for key in ("accessKeyKey", "secretKeyKey")}
    assert keys == set(_find(documents, "Secret mlops/mlops-s3")["stringData"])


@pytest.mark.parametrize(
    ("option", "chosen"),
    [
        ("gateway", {"SERVING_ROUTE": "HTTPRoute", "SERVING_GATEWAY": "edge/web/tls"}),
        ("ingress", {"SERVING_ROUTE": "Ingress", "SERVING_INGRESS_CLASS": "traefik", "SERVING_TLS_SECRET": "models-tls"}),
    ],
)
def test_models_are_outside_by_settings_rights_and_a_way_in(built: Built, option: str, chosen: dict[str, str]) -> None:
    documents = built(f"overlays/{option}")

    settings = _find(documents, "ConfigMap mlops/mlops")["data"]
    assert settings.items() >= (chosen | {"SERVING_HOST": "models.example.org"}).items()
    assert {name for name in settings if name.startswith("SERVING_")} <= set(SERVING)
    (peer,) = _find(documents, "NetworkPolicy mlops-serving/ingress")["spec"]["ingress"][0]["from"]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge-proxies"}}}
    more, deployer = (_find(documents, f"RoleBinding mlops-serving/{name}") for name in (ROLE, "deployer"))
    assert (more["roleRef"]["name"], more["subjects"]) == (ROLE, deployer["subjects"])
    allowed = {
        (group, resource)
        for rule in _find(documents, f"Role mlops-serving/{ROLE}")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert allowed == {("gateway.networking.k8s.io", "httproutes"), ("networking.k8s.io", "ingresses")}


def test_nothing_is_outside_by_default(built: Built) -> None:
    documents = [*built("overlays/local"), *built("overlays/gateway")]

    settings = _find(documents, "ConfigMap mlops/mlops")["data"]
    assert (settings["SERVING_ROUTE"], settings["SERVING_PUBLIC_PATHS"]) == ("none", ",".join(PUBLIC_PATHS))
    assert "NetworkPolicy mlops-serving/ingress" not in map(named, built("overlays/local"))
    assert not {"Ingress", "HTTPRoute", "Gateway"} & {document["kind"] for document in documents}


@pytest.mark.parametrize("option", ["mlflow-route", "mlflow-ingress"])
def test_mlflow_has_a_host_of_its_own_with_tls(built: Built, option: str) -> None:
    documents = built(f"overlays/{option}")

    (route,) = [document["spec"] for document in documents if document["kind"] in KINDS]
    if option == "mlflow-route":
        assert route["hostnames"] == ["mlflow.example.org"]
        (parent,) = route["parentRefs"]
        assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("edge", "web", "tls")
    else:
        assert (route["ingressClassName"], route["rules"][0]["host"]) == ("traefik", "mlflow.example.org")
        assert route["tls"] == [{"hosts": ["mlflow.example.org"], "secretName": "mlflow-tls"}]
    (peer,) = _find(documents, "NetworkPolicy mlops-platform/ingress")["spec"]["ingress"][0]["from"]
    assert peer == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge-proxies"}}}
    assert _variables(documents) == _variables(built("overlays/local")) | {"HOST": "mlflow.example.org"}
    assert _find(documents, "ConfigMap mlops/mlops")["data"]["SERVING_ROUTE"] == "none"


def _variables(documents: list[Document]) -> dict[str, str]:
    server = _find(documents, "Deployment mlops-platform/mlflow")["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value", "") for each in server["env"]}


def test_every_volume_gets_the_chosen_class(built: Built) -> None:
    sets = [document for document in built("overlays/storage-class") if document["kind"] == "StatefulSet"]
    assert len(sets) == 2
    assert all(claim["spec"]["storageClassName"] == "fast" for one in sets for claim in one["spec"]["volumeClaimTemplates"])


def test_a_distributed_minio_names_each_of_its_pods(built: Built) -> None:
    # given
    documents = built("overlays/minio-distributed")
    minio = _find(documents, "StatefulSet mlops-platform/minio")["spec"]
    # then
    assert minio["replicas"] == 4
    assert minio["podManagementPolicy"] == "Parallel"
    assert minio["template"]["spec"]["containers"][0]["args"] == ["server", "$(SCHEME)://minio-{0...3}.minio-headless:9000/data"]
    assert _find(documents, "Service mlops-platform/minio-headless")["spec"]["publishNotReadyAddresses"]


PODS = """
kind: PodTemplate
metadata: {name: pods}
spec:
  template: &pod
    metadata: {labels: {team: travel}, annotations: {example.com/owner: ada}}
    spec:
      nodeSelector: {pool: ml}
      tolerations: [{key: ml, operator: Exists}]
      imagePullSecrets: [{name: registry}]
      priorityClassName: high
      runtimeClassName: gvisor
  jobTemplate: {spec: {template: *pod}}
"""


@pytest.mark.parametrize("namespace_first", [False, True])
def test_one_file_of_an_overlay_is_in_all_pods(checkout: Path, namespace_first: bool) -> None:
    # given: a copy of the component, with a file of its own
    overlay = checkout / f"overlays/scheduled-{namespace_first}"
    shutil.copytree(checkout / "components/pods", overlay / "pods")
    (overlay / "pods/pods.yaml").write_text(PODS)
    order = ["../../components/pipeline-namespace", "pods"] if namespace_first else ["pods", "../../components/pipeline-namespace"]
    shutil.copy(checkout / "overlays/kubeflow-standalone/settings.yaml", overlay)
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["../../base", "settings.yaml"], "components": order}))
    # when
    documents = build(overlay)
    # then
    template = parsed(PODS, "pods.yaml")
    pods = [(document, found) for document in documents if (found := pod(document))]
    assert len(pods) == 5
    for document, found in pods:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        assert found["spec"].items() >= template["spec"].items()
        assert found["metadata"]["labels"].items() >= {"team": "travel", "app.kubernetes.io/part-of": "mlops"}.items()
        assert found["metadata"]["annotations"].items() >= template["metadata"]["annotations"].items()
    assert parsed(_find(documents, "ConfigMap kubeflow/mlops")["data"][POD_TEMPLATE], "pods.yaml") == template
    assert POD_TEMPLATE not in _find(documents, "ConfigMap mlops-serving/mlops")["data"]
    assert "pods" not in [document["metadata"]["name"] for document in documents]


def test_on_openshift_no_pod_names_its_user_or_groups(built: Built) -> None:
    pods = [*built("overlays/openshift"), *built("base/serving")]
    contexts = [found["spec"]["securityContext"] for document in pods if (found := pod(document))]
    contexts.append(yaml.safe_load(TEMPLATE.read_text())["spec"]["securityContext"])

    assert len(contexts) == 7
    assert not [context for context in contexts if context.keys() & {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}]


def test_a_load_balancer_is_a_setting_of_the_deploy_step(built: Built) -> None:
    documents = built("overlays/loadbalancer")
    assert _find(documents, "ConfigMap mlops/mlops")["data"]["SERVING_SERVICE_TYPE"] == "LoadBalancer"
    assert _find(documents, "NetworkPolicy mlops-serving/clients")


def test_grpc_is_a_setting_of_the_deploy_step_and_a_way_in(built: Built) -> None:
    # given
    documents = built("overlays/grpc")
    without = built("overlays/local")
    # then
    assert _find(documents, "ConfigMap mlops/mlops")["data"]["SERVING_GRPC_PORT"] == "8081"
    assert _find(documents, "NetworkPolicy mlops-serving/grpc")["spec"]["ingress"][0]["ports"] == [{"port": "grpc"}]
    assert _find(without, "ConfigMap mlops/mlops")["data"]["SERVING_GRPC_PORT"] == "0"
    assert "NetworkPolicy mlops-serving/grpc" not in map(named, without)


def test_prometheus_reads_the_metrics_of_the_servers(built: Built) -> None:
    # given
    policy = _find(built("overlays/prometheus"), "NetworkPolicy mlops-serving/prometheus")["spec"]
    pod = yaml.safe_load((KUBERNETES / "base/serving/deployment.yaml").read_text())["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    # then
    assert policy["ingress"][0]["ports"] == [{"port": "http"}]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"])


def test_sources_are_reached_only_where_the_option_says_so(built: Built) -> None:
    # given
    ports = [{"port": 5432}, {"port": 9092}, {"port": 9093}, {"port": 8081}]
    # then
    assert _find(built("overlays/sources"), "NetworkPolicy mlops/sources")["spec"]["egress"] == [{"ports": ports}]
    assert "NetworkPolicy mlops/sources" not in map(named, built("overlays/local"))


def test_a_job_has_the_addresses_of_the_sources_if_there_are_any(built: Built) -> None:
    # given
    pod = _find(built("overlays/local"), "CronJob mlops/mlops")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    # then
    assert {"secretRef": {"name": SOURCES, "optional": True}} in pod["containers"][0]["envFrom"]
    assert {"name": "sources", "secret": {"secretName": SOURCES, "optional": True}} in pod["volumes"]
    assert {"name": "sources", "mountPath": SOURCES_FOLDER, "readOnly": True} in pod["containers"][0]["volumeMounts"]


def test_production_runs_more_than_one_of_each(built: Built) -> None:
    documents = built("overlays/production")
    assert _find(documents, "Deployment mlops-platform/mlflow")["spec"]["replicas"] == 2
    assert _find(documents, "ConfigMap mlops/mlops")["data"]["SERVING_MIN_REPLICAS"] == "2"
    assert [named(document) for document in documents if document["kind"] == "Secret"] == ["Secret mlops/mlops-deployer"]


def test_a_policy_names_peers_that_are_there(built: Built) -> None:
    # given: labels of a kustomization may take the place of a peer's
    documents = [*built("overlays/local"), *built("base/serving")]
    there = {document["metadata"]["labels"]["app.kubernetes.io/name"] for document in documents if document["kind"] in ("StatefulSet", "Deployment")}
    # when
    peers: dict[str, set[str]] = {}
    for document in documents:
        if document["kind"] == "NetworkPolicy":
            rules = [*document["spec"].get("ingress", []), *document["spec"].get("egress", [])]
            peers[named(document)] = {name for rule in rules for peer in (*rule.get("from", []), *rule.get("to", [])) for name in _names(peer)}
    # then
    assert set().union(*peers.values()) <= there | {"buckets"}
    assert peers["NetworkPolicy mlops-platform/postgres"] == {"mlflow"}
    assert peers["NetworkPolicy mlops-platform/mlflow"] == {"postgres", "minio"}
    assert peers["NetworkPolicy mlops-serving/model"] == {"minio"}


def _names(peer: Document) -> set[str]:
    selector = peer.get("podSelector", {})
    key = "app.kubernetes.io/name"
    listed = {value for expression in selector.get("matchExpressions", []) if expression["key"] == key for value in expression["values"]}
    return listed | ({selector["matchLabels"][key]} if key in selector.get("matchLabels", {}) else set())


def test_no_use_case_is_called_as_an_object_of_the_platform(built: Built) -> None:
    options = [option for option in OPTIONS if option != "external-secrets"]
    every = [item for folder in ("local", *options) for item in built(f"overlays/{folder}") if item["metadata"].get("namespace") == "mlops-serving"]

    names = {item["metadata"]["name"] for item in every if item["kind"] in (*A_USECASE, *KINDS)}

    assert "default-deny" in names
    assert names <= set(RESERVED)


@pytest.mark.parametrize(("overlay", "namespace"), [("kubeflow-standalone", "kubeflow"), ("kubeflow-profile", "mlops")])
def test_overlay_for_kubeflow_leaves_kubeflows_own_objects_alone(built: Built, overlay: str, namespace: str) -> None:
    documents = built(f"overlays/{overlay}")
    shared = [document for document in documents if document["metadata"].get("namespace") == namespace]

    policies = [document["spec"]["podSelector"] for document in shared if document["kind"] == "NetworkPolicy"]
    assert all(selector["matchLabels"] for selector in policies)
    assert not [document for document in documents if document["kind"] == "Namespace" and document["metadata"]["name"] == namespace]
    assert set(_find(documents, f"ConfigMap {namespace}/kfp-launcher")["data"]) == {"providers"}


def test_every_reference_to_the_namespace_of_runs_follows_the_setting(built: Built) -> None:
    text = yaml.safe_dump_all(built("overlays/kubeflow-standalone"))

    accounts = [subject for each in built("overlays/kubeflow-standalone") for subject in each.get("subjects", [])]
    assert {account["namespace"] for account in accounts} == {"kubeflow"}
    assert "kubernetes.io/metadata.name: mlops\n" not in text
    assert "namespace: mlops\n" not in text


@pytest.mark.parametrize("folder", ["overlays/object-storage", "overlays/kubeflow-object-storage"])
def test_object_storage_of_others_is_set_in_one_place(built: Built, folder: str) -> None:
    documents = built(folder)

    settings = [document["data"] for document in documents if document["kind"] == "ConfigMap" and document["metadata"]["name"] == "mlops"]
    assert len(settings) == 2
    for each in settings:
        assert each["AWS_ENDPOINT_URL_S3"] == SETTINGS["S3_ENDPOINT"]
        assert each["AWS_REGION"] == SETTINGS["S3_REGION"]
        assert each["MLOPS_STORAGE"] == SETTINGS["MLOPS_STORAGE"]
    server = _find(documents, "Deployment mlops-platform/mlflow")["spec"]["template"]["spec"]["containers"][0]
    values = {variable["name"]: variable.get("value") for variable in server["env"]}
    assert values["MLFLOW_S3_ENDPOINT_URL"] == SETTINGS["S3_ENDPOINT"]
    assert values["MLOPS_STORAGE"] == SETTINGS["MLOPS_STORAGE"]
    assert list(values).index("MLOPS_STORAGE") < list(values).index("MLFLOW_ARTIFACTS_DESTINATION"), "$(MLOPS_STORAGE) expands backwards only"
    assert "minio" not in {document["metadata"]["labels"]["app.kubernetes.io/name"] for document in documents if document["kind"] != "Secret"}


def test_kubeflows_launcher_takes_the_storage_of_others(built: Built) -> None:
    launcher = _find(built("overlays/kubeflow-object-storage"), "ConfigMap mlops/kfp-launcher")["data"]

    provider = yaml.safe_load(launcher["providers"])["s3"]["default"]

    assert provider == {"endpoint": SETTINGS["S3_ENDPOINT"], "region": SETTINGS["S3_REGION"], "credentials": {"fromEnv": True}}


def test_private_ca_is_mounted_where_the_setting_says(built: Built) -> None:
    documents = [*built("overlays/private-ca"), *built("base/serving")]

    folders = {
        name: [mount["mountPath"] for mount in containers(template)[-1]["volumeMounts"] if mount["name"] == "certificates"]
        for name in ("CronJob mlops/mlops", "Deployment mlops-platform/mlflow", "Deployment mlops-serving/model")
        if (template := pod(_find(documents, name)))
    }

    assert all(folder == [CERTIFICATES_FOLDER] for folder in folders.values())
    assert {_find(documents, f"ConfigMap {namespace}/mlops")["data"]["SSL_CERT_FILE"] for namespace in ("mlops", "mlops-serving")} == {
        f"{CERTIFICATES_FOLDER}/ca.crt"
    }


def test_job_has_the_environment_of_a_kubeflow_step(built: Built) -> None:
    source = _find(built("overlays/local"), "CronJob mlops/mlops")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["envFrom"]

    secrets = {each["secretRef"]["name"]: each["secretRef"].get("optional") for each in source if "secretRef" in each}

    assert secrets == dict.fromkeys([*SECRETS, SOURCES], True)
