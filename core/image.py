"""The image that the checked-in YAML and manifests name, until another one is set."""

REPOSITORY = "localhost/kubeflow-mlops-template"
DEFAULT = f"{REPOSITORY}:0.1.0"


def repository(image: str) -> str:
    """Return an image's name without its tag and digest."""
    name, _, _ = image.partition("@")
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"
