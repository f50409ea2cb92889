"""What an overlay sets in all pods (k8s/components/pods), for the pods that kustomize does not make."""

import os
from typing import Any

import yaml

from core.errors import UserError, first_line

Object = dict[str, Any]

POD_TEMPLATE = "POD_TEMPLATE"  # the file, as a key of the ConfigMap `mlops`
# Keys by which Kubernetes merges lists; it replaces others
KEYS = {"imagePullSecrets": "name", "topologySpreadConstraints": "topologyKey"}


def pod_template() -> Object:
    """Return what the ConfigMap `mlops` sets in all pods, nothing if it has no such key."""
    text = os.environ.get(POD_TEMPLATE)
    return parsed(text, f"{POD_TEMPLATE} of the ConfigMap mlops") if text else {}


def parsed(text: str, origin: str) -> Object:
    """Return the pod template of a file such as k8s/components/pods/pods.yaml.

    Args:
        text: The file's contents.
        origin: Its name, for the error.

    Raises:
        UserError: It has no pod template.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{origin} is not YAML ({first_line(error)}): compare it with k8s/components/pods/pods.yaml") from error
    spec = document.get("spec") if isinstance(document, dict) else None
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(template, dict):
        raise UserError(f"{origin} has no spec.template: compare it with k8s/components/pods/pods.yaml")
    return template


def merged(base: Object, patch: Object) -> Object:
    """Merge a patch as kustomize does: null removes a key, and `KEYS` names the lists that are merged."""
    result = dict(base)
    for key, value in patch.items():
        present = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(present if isinstance(present, dict) else {}, value)
        elif key in KEYS and present:
            entries = {entry[KEYS[key]]: entry for entry in present}
            for entry in value:
                entries[entry[KEYS[key]]] = merged(entries.get(entry[KEYS[key]], {}), entry)
            result[key] = list(entries.values())
        else:
            result[key] = value
    return result
