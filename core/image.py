"""The image that the checked-in YAML and manifests name, until another one is set."""

REPOSITORY = "localhost/kubeflow-mlops-template"
DEFAULT = f"{REPOSITORY}:0.1.0"
