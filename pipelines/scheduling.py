"""Puts what an overlay sets in all pods into the pods of a run, as far as Kubeflow Pipelines has a setting for it."""

from pathlib import Path

import yaml

from core.errors import UserError
from core.pod_template import Object, merged, parsed
from pipelines.package import written


def read(path: Path) -> Object:
    """Return the pod template of the overlay's pods.yaml.

    Raises:
        UserError: There is no such file, or it has no pod template.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): --pods or MLOPS_PODS names the overlay's pods.yaml") from error


def schedule(package: Path, template: Object) -> None:
    """Put a pod template into each step of a compiled pipeline; what the pipeline itself says stays.

    Args:
        package: The YAML, which is changed.
        template: The pod template.
    """
    text = package.read_text(encoding="utf-8")
    pipeline, platform = yaml.load_all(text, yaml.CSafeLoader)
    deployment, settings = platform["platforms"]["kubernetes"]["deploymentSpec"], _settings(template)
    deployment["executors"] = {name: merged(settings, own) for name, own in deployment["executors"].items()}
    package.write_text(written(text, [pipeline, platform]), encoding="utf-8")


def _settings(template: Object) -> Object:
    """Return a pod template's settings under the names of KFP's KubernetesExecutorConfig."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    settings = {
        "podMetadata": {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)},
        "nodeSelector": {"labels": spec["nodeSelector"]} if spec.get("nodeSelector") else {},
        "tolerations": spec.get("tolerations"),
        "imagePullSecret": [_pull_secret(each["name"]) for each in spec.get("imagePullSecrets") or []],
        "nodeAffinity": _node_affinity((spec.get("affinity") or {}).get("nodeAffinity") or {}),
    }
    return {key: value for key, value in settings.items() if value}


def _pull_secret(name: str) -> Object:
    return {"secretName": name, "secretNameParameter": {"runtimeValue": {"constant": name}}}


def _node_affinity(affinity: Object) -> list[Object]:
    required = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return [*required, *({**each["preference"], "weight": each["weight"]} for each in preferred)]
