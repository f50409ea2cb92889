"""What must hold of every set of objects that we apply: each rule returns the sentences of what breaks it."""

import re
from collections.abc import Iterator
from itertools import chain

from core.image import REPOSITORY
from tests.manifests.build import Document, containers, named, pod

LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/part-of", "app.kubernetes.io/version")
NO_USER = "no numeric user, and its image may have none either"
PROBE_SECONDS = 3  # a server that is busy with the largest request answers in less


def violations(documents: list[Document]) -> list[str]:
    """List everything that breaks a rule."""
    rules = (labels, pods, images, selectors, references, namespaces, isolation, volumes)
    return list(chain.from_iterable(rule(documents) for rule in rules))


def labels(documents: list[Document]) -> Iterator[str]:
    """Every object says what it belongs to, and of which version it is."""
    for document in documents:
        for label in LABELS:
            if label not in document["metadata"].get("labels", {}):
                yield f"{named(document)}: no label {label}"


def pods(documents: list[Document]) -> Iterator[str]:
    """Every pod runs under `restricted`, with a read-only root, limits and probes."""
    for document in documents:
        template = pod(document)
        if template is None:
            continue
        security = template["spec"].get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("runAsUser") == 0:
            yield f"{named(document)}: may run as root"
        if "runAsUser" not in security and any(not is_ours(container["image"]) for container in containers(template)):
            yield f"{named(document)}: {NO_USER}"
        if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{named(document)}: no seccomp profile"
        if template["spec"].get("automountServiceAccountToken") is not False and template["spec"].get("serviceAccountName") != "pipeline":
            yield f"{named(document)}: a token of the Kubernetes API that it does not need"
        for container in containers(template):
            yield from (f"{named(document)}, {container['name']}: {sentence}" for sentence in _container(container, document["kind"], template))


def is_ours(image: str) -> bool:
    """Whether it is the image of this repository, which has a numeric user and runs with any other, too."""
    return image.rpartition(":")[0] in (REPOSITORY, "registry.example.com/team/mlops")


def _container(container: Document, kind: str, template: Document) -> Iterator[str]:
    security = container.get("securityContext", {})
    if not security.get("readOnlyRootFilesystem"):
        yield "its root can be written"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities are not dropped"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "privileges may escalate"
    for what in ("requests", "limits"):
        for resource in ("cpu", "memory", "ephemeral-storage"):
            if resource not in container.get("resources", {}).get(what, {}):
                yield f"no {what} of {resource}"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind in ("Deployment", "StatefulSet") and container in template["spec"]["containers"] and probe not in container:
            yield f"no {probe}"
        if probe != "startupProbe" and container.get(probe, {"timeoutSeconds": PROBE_SECONDS}).get("timeoutSeconds", 1) < PROBE_SECONDS:
            yield f"{probe} waits less than {PROBE_SECONDS} seconds: one large request would take the server out of its Service"


def images(documents: list[Document]) -> Iterator[str]:
    """Every image is of a registry, and has a tag that does not move, or a digest."""
    for document in documents:
        for container in containers(pod(document) or {"spec": {"containers": []}}):
            image = container["image"]
            if not re.fullmatch(r"[a-z0-9.-]+(:\d+)?/[a-z0-9./_-]+(:[\w.-]+|@sha256:[0-9a-f]{64})", image) or image.endswith(":latest"):
                yield f"{named(document)}: image {image} has no fixed tag or no registry"


def selectors(documents: list[Document]) -> Iterator[str]:
    """Every selector finds pods of its own name, a Service no others, a workload its own."""
    made = [(document, template) for document in documents if (template := pod(document))]
    for document in documents:
        selector = _selector(document)
        if selector is None:
            continue
        if "spark-role" in selector:
            continue  # the pods of a run, which Spark makes
        found = [named(owner) for owner, template in made if _space(owner) == _space(document) and _match(selector, template)]
        own = named(document)
        if not selector or not found:
            yield f"{own}: selects no pod"
        if document["kind"] in ("Deployment", "StatefulSet") and found != [own]:
            yield f"{own}: selects {', '.join(found)}"
        if document["kind"] == "Service" and len(found) > 1:
            yield f"{own}: selects {', '.join(found)}"


def _selector(document: Document) -> Document | None:
    spec = document.get("spec") or {}
    if document["kind"] == "Service":
        return spec.get("selector") or {}
    if document["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        return (spec.get("selector") or {}).get("matchLabels") or {}
    return None


def _match(selector: Document, template: Document) -> bool:
    return bool(selector.items() <= template["metadata"]["labels"].items())


def references(documents: list[Document]) -> Iterator[str]:
    """Every Secret, ConfigMap, key and account that a pod names is there."""
    there = {(kind, _space(d), d["metadata"]["name"]): _keys(d) for d in documents if (kind := d["kind"].removeprefix("External")) in KINDS}
    for document in documents:
        for kind, name, key in _named(pod(document)):
            keys = there.get((kind, _space(document), name))
            if keys is None and name in YOURS:
                continue
            if keys is None:
                yield f"{named(document)}: there is no {kind} {name}"
            elif key and key not in keys:
                yield f"{named(document)}: {kind} {name} has no key {key}"


KINDS = ("Secret", "ConfigMap", "ServiceAccount")
YOURS = ("minio-tls", "mlflow-tls", "mlops-ca")  # certificates come from an authority


def _keys(document: Document) -> set[str]:
    if document["kind"] == "ExternalSecret":
        template = document["spec"].get("target", {}).get("template", {}).get("data")
        return set(template) if template else {entry["secretKey"] for entry in document["spec"]["data"]}
    return {*document.get("data", {}), *document.get("stringData", {})}


def _named(template: Document | None) -> Iterator[tuple[str, str, str]]:
    if template is None:
        return
    if account := template["spec"].get("serviceAccountName"):
        yield "ServiceAccount", account, ""
    for volume in template["spec"].get("volumes", []):
        for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
            if field in volume and not volume[field].get("optional"):
                yield kind, volume[field][name], ""
    for container in containers(template):
        yield from _variables(container)


def _variables(container: Document) -> Iterator[tuple[str, str, str]]:
    for kind, field in (("ConfigMap", "configMap"), ("Secret", "secret")):
        for source in container.get("envFrom", []):
            if (reference := source.get(f"{field}Ref")) and not reference.get("optional"):
                yield kind, reference["name"], ""
        for variable in container.get("env", []):
            if (reference := variable.get("valueFrom", {}).get(f"{field}KeyRef")) and not reference.get("optional"):
                yield kind, reference["name"], reference["key"]


def namespaces(documents: list[Document]) -> Iterator[str]:
    """Every namespace enforces `restricted`, and every object lives in one that is there or, for runs, in one of Kubeflow's."""
    for document in documents:
        wanted = document["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if document["kind"] == "Namespace" and wanted != "restricted":
            yield f"{named(document)}: does not enforce restricted"
    there = {document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"}
    there |= {_space(document) for document in documents if named(document).endswith("/kubeflow-runs")}
    for document in documents:
        if document["kind"] not in CLUSTERS_OWN and _space(document) not in there:
            yield f"{named(document)}: its namespace is not there"


CLUSTERS_OWN = ("Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")  # kinds that are in no namespace
MADE_LATER = {"spark-role", "pipelines.kubeflow.org/v2_component"}  # labels of pods that only exist during a run


def isolation(documents: list[Document]) -> Iterator[str]:
    """In every namespace all traffic is denied that no policy lets through, and every pod that listens has one."""
    policies = [document for document in documents if document["kind"] == "NetworkPolicy"]
    for document in documents:
        inside = [policy["spec"] for policy in policies if _space(policy) == document["metadata"]["name"]]
        everything = [spec for spec in inside if spec["podSelector"] == {} and set(spec["policyTypes"]) == {"Ingress", "Egress"}]
        if document["kind"] == "Namespace" and not everything:
            yield f"{named(document)}: no policy denies by default"
    for policy in policies:
        selector = policy["spec"].get("podSelector", {}).get("matchLabels", {})
        local = [d for d in documents if (template := pod(d)) and _space(d) == _space(policy) and _match(selector, template)]
        made_later = selector.get("app.kubernetes.io/component") == "serving" or MADE_LATER & selector.keys()
        if selector and not local and not made_later:
            yield f"{named(policy)}: selects no pod"


def volumes(documents: list[Document]) -> Iterator[str]:
    """What is stored is on claims with a size, and an emptyDir has a limit."""
    for document in documents:
        for claim in document.get("spec", {}).get("volumeClaimTemplates", []) if document["kind"] == "StatefulSet" else []:
            if not claim["spec"]["resources"]["requests"].get("storage"):
                yield f"{named(document)}: claim {claim['metadata']['name']} has no size"
        if document["kind"] == "StatefulSet" and not document["spec"].get("volumeClaimTemplates"):
            yield f"{named(document)}: no claim of a volume"
        for volume in (pod(document) or {"spec": {}})["spec"].get("volumes", []):
            if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
                yield f"{named(document)}: emptyDir {volume['name']} has no limit"


def _space(document: Document) -> str:
    return str(document["metadata"].get("namespace", ""))
