"""The steps' rights in the models' namespace: every one is used, and none is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from core.image import repository
from tests.cluster import versions
from tests.cluster.driver import Driver
from tests.cluster.overlay import IMAGE, PIPELINE, SERVING
from tests.cluster.rig import ROOT, Cluster, Object, wait_until

ACCOUNT = "test-rights"  # with a copy of the Role that lacks one rule
KUBECONFIG = "/tmp/rights.yaml"  # in the driver
AUDIT = """
import sys
import requests
from components.deploy.__main__ import main

ask = requests.Session.request

def audited(self, method, url, **settings):
    answer = ask(self, method, url, **settings)
    if "/namespaces/" in url:  # of the Kubernetes API
        print(f"asked {method} {url} {answer.status_code}", file=sys.stderr, flush=True)
    return answer

requests.Session.request = audited
sys.exit(main())
"""
ASKED = re.compile(r"^asked (\w+) (\S+) (\d+)$", re.MULTILINE)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str


def test_the_deployer_has_the_rights_that_it_uses_and_no_others(cluster: Cluster, driver: Driver, name: str) -> None:
    wrong = versions.publish(name, like=versions.wrong(versions.bundle(name)))
    first = versions.publish(name, 0)
    following = versions.publish(name, 1, judged_against=first.number)
    late = versions.publish(name, 2, judged_against=following.number)
    impatient = {"SERVING_TIMEOUT_SECONDS": "1", "SERVING_MIN_READY_SECONDS": "0"}

    used = _used(driver, "deploy", name, wrong.number, fails="answers its golden rows differently")
    used |= _used(driver, "deploy", name, first.number, environment={"SERVING_MIN_READY_SECONDS": "6"})  # longer than the Lease goes without renewal
    used |= _used(driver, "deploy", name, following.number)
    used |= _used(driver, "deploy", name, late.number, fails="is not ready after", environment=impatient)
    used |= _used(driver, "rollback", name) | _used(driver, "status", name) | _used(driver, "resume", name) | _used(driver, "history", name)

    granted = _granted(cluster)
    used = {right for right in used if right.resource not in ("httproutes", "ingresses")}  # without k8s/components/routes it asks in vain
    assert sorted(granted - used) == [], "nothing needs these rights: take them out of k8s/base/deployer/role.yaml"
    assert sorted(used - granted) == [], "a deployment needs these rights, too"


@pytest.fixture(scope="module")
def lesser(cluster: Cluster, driver: Driver) -> Iterator[dict[str, str]]:
    """The environment in which the driver asks the API as an account of its own."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": PIPELINE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
    account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": PIPELINE}}
    cluster.apply(account, _role(set()), _object("RoleBinding") | {"roleRef": role, "subjects": [subject]})
    token = cluster.kubectl("create", "token", ACCOUNT, "-n", PIPELINE).out.strip()
    written = cluster.exec(PIPELINE, driver.pod, "tee", KUBECONFIG, stdin=yaml.safe_dump(_kubeconfig(token)))
    assert written.code == 0, written.err
    yield {"KUBECONFIG": KUBECONFIG}
    cluster.kubectl("delete", "role,rolebinding", ACCOUNT, "-n", SERVING)
    cluster.delete("serviceaccount", PIPELINE, ACCOUNT)


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(Right("coordination.k8s.io", "leases", "create"), id="taking the Lease"),
        pytest.param(Right("", "services", "get"), id="seeing what serves"),
        pytest.param(Right("networking.k8s.io", "networkpolicies", "create"), id="making the NetworkPolicy"),
        pytest.param(Right("autoscaling", "horizontalpodautoscalers", "create"), id="making the HorizontalPodAutoscaler"),
        pytest.param(Right("", "pods", "list"), id="watching the servers"),
    ],
)
def test_a_missing_right_is_named_with_the_rule_that_grants_it(
    cluster: Cluster, driver: Driver, lesser: dict[str, str], name: str, missing: Right
) -> None:
    versions.publish(name)
    cluster.apply(_role(_granted(cluster) - {missing}))

    refused = driver.deploy("deploy", name, "1", environment=lesser)

    rule = f'{{apiGroups: ["{missing.group}"], resources: [{missing.resource}], verbs: [{missing.verb}]}}'
    assert refused.code == 1
    assert f"{PIPELINE}/{ACCOUNT} may not {missing.verb} {missing.resource} in namespace {SERVING}: the rule {rule} is missing" in refused.err
    assert "Traceback" not in refused.err
    assert cluster.names("deployment", SERVING, f"app.kubernetes.io/name={name}") == []


def test_the_steps_have_no_right_where_models_are_served(cluster: Cluster) -> None:
    def rights(account: str) -> str:
        return cluster.kubectl("auth", "can-i", "--list", "-n", SERVING, f"--as=system:serviceaccount:{PIPELINE}:{account}").out

    assert sorted(rights("pipeline").split()) == sorted(rights("default").split())
    assert "deployments.apps" in rights("deployer")


@pytest.mark.alone  # the policy is of the whole cluster
def test_the_cluster_refuses_to_the_deployer_what_is_not_of_a_release(cluster: Cluster, driver: Driver, name: str) -> None:
    versions.publish(name)
    following = versions.publish(name, 1, judged_against="1")
    foreign = f"{repository(IMAGE)}-of-somebody:1"
    policies = [each for each in hardened(cluster) if each["kind"].startswith("ValidatingAdmissionPolicy")]
    deployer = f"--as=system:serviceaccount:{PIPELINE}:deployer"
    delete = ("delete", "networkpolicy", "default-deny", "-n", SERVING, deployer)
    cluster.apply(*policies)
    try:
        wait_until(lambda: cluster.kubectl(*delete, "--dry-run=server", check=False).code, 20, "the policy to be in force")
        first = driver.deploy("deploy", name, "1")
        refused = driver.deploy("deploy", name, following.number, environment={"IMAGE": foreign, "SERVING_IMAGES": repository(foreign)})
        deleted = cluster.kubectl(*delete, check=False)
    finally:
        for each in policies:
            cluster.kubectl("delete", each["kind"], each["metadata"]["name"])

    assert first.code == 0, first.err
    assert refused.err.startswith(f"error: the cluster's admission policy refuses: {foreign} is not an image of {repository(IMAGE)}: ")
    assert refused.err.endswith("; version 1 serves on\n")
    assert "default-deny (networkpolicies) is not of a release" in deleted.err
    assert cluster.get("networkpolicy", SERVING, "default-deny")


def test_a_rollback_runs_the_image_that_the_version_served_with(cluster: Cluster, driver: Driver, name: str) -> None:
    versions.publish(name)
    following = versions.publish(name, 1, judged_against="1")
    for number in ("1", following.number):
        deployed = driver.deploy("deploy", name, number)
        assert deployed.code == 0, deployed.err

    back = driver.deploy("rollback", name, environment={"IMAGE": f"{repository(IMAGE)}:none"})

    assert back.code == 0, back.err
    (deployment,) = cluster.find("deployment", SERVING, f"app.kubernetes.io/name={name}")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert deployment["metadata"]["name"].startswith(f"{name}-v1-")


def hardened(cluster: Cluster) -> list[Object]:
    """Build the platform with the components `admission` and `egress`, for this cluster."""
    text = cluster.kubectl("kustomize", str(ROOT / "tests" / "cluster" / "overlays" / "hardened")).out
    slices = cluster.find("endpointslice", "default", "kubernetes.io/service-name=kubernetes")
    api = slices[0]["endpoints"][0]["addresses"][0]
    return list(yaml.safe_load_all(text.replace("localhost/kubeflow-mlops-template", repository(IMAGE)).replace("192.0.2.1/32", f"{api}/32")))


def _used(driver: Driver, *command: str, fails: str = "", environment: dict[str, str] | None = None) -> set[Right]:
    """Run an operator's command and list the rights that its requests needed."""
    ended = driver.python(AUDIT, *command, environment=environment, seconds=300)

    assert (ended.code, fails in ended.err) == (int(bool(fails)), True), f"{command}: {ended.out}{ended.err}"
    return {right for method, url, status in ASKED.findall(ended.err) for right in _needed(method, urlsplit(url).path, status)}


def _needed(method: str, path: str, status: str) -> set[Right]:
    """Tell which rights a request needs; applying an object that is not there yet takes two."""
    parts = path.strip("/").split("/")
    group = parts[1] if parts[0] == "apis" else ""
    namespace, resource, *rest = parts[parts.index("namespaces") + 1 :]
    assert namespace == SERVING
    verb = VERBS.get(method) or ("get" if rest else "list")
    made = method == "PATCH" and status == "201"
    return {Right(group, "/".join([resource, *rest[1:]]), each) for each in ({verb, "create"} if made else {verb})}


def _granted(cluster: Cluster) -> set[Right]:
    """List what the manifests give the deployer in the models' namespace, and nobody else."""
    objects = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(ROOT / "k8s" / "base")).out))
    subject = {"kind": "ServiceAccount", "name": "deployer", "namespace": PIPELINE}
    bound = [each["roleRef"]["name"] for each in objects if each["kind"] == "RoleBinding" and each["metadata"]["namespace"] == SERVING]
    assert [each["subjects"] for each in objects if each["kind"] == "RoleBinding" and each["metadata"]["namespace"] == SERVING] == [[subject]]
    roles = [each for each in objects if each["kind"] == "Role" and each["metadata"]["namespace"] == SERVING and each["metadata"]["name"] in bound]
    rules = [rule for role in roles for rule in role["rules"]]
    return {Right(group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


def _role(rights: set[Right]) -> Object:
    return _object("Role") | {
        "rules": [{"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]} for right in sorted(rights)]
    }


def _object(kind: str) -> Object:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": ACCOUNT, "namespace": SERVING}}


def _kubeconfig(token: str) -> Object:
    server = {"server": "https://kubernetes.default.svc", "certificate-authority": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": ACCOUNT}}],
        "current-context": "here",
    }
