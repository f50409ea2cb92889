"""`mlops apply`: an overlay of k8s/overlays on kubectl's cluster, with an image that no tracked file names."""

import tempfile
from pathlib import Path

import yaml

from cli.kubectl import kubectl
from cli.restart import restart_outdated
from core.errors import UserError
from core.image import REPOSITORY, repository

OVERLAYS = Path(__file__).resolve().parents[1] / "k8s" / "overlays"


def apply(name: str, image: str | None) -> None:
    """Apply an overlay, and restart what runs with passwords that it changed; kubectl prints what changed.

    Args:
        name: A folder of k8s/overlays.
        image: Image of the steps and servers; the one that the overlay names if None.

    Raises:
        UserError: There is no such overlay or no kubectl, Secrets are missing, or the cluster refuses.
    """
    folder = OVERLAYS / name
    if not (folder / "kustomization.yaml").exists():
        overlays = sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))
        raise UserError(f"there is no overlay {name}: choose one of {', '.join(overlays)}, or add k8s/overlays/{name}/kustomization.yaml")
    if "secrets.yaml" in yaml.safe_load((folder / "kustomization.yaml").read_text()).get("resources", []) and not (folder / "secrets.yaml").exists():
        raise UserError(f"{name} has no Secrets yet: run `make secrets OVERLAY={name}` first")
    with tempfile.TemporaryDirectory(dir=OVERLAYS, prefix=".apply-") as above:  # kustomize refuses absolute paths
        overlay = {"resources": [f"../{name}"], "images": [_image(image)] if image else []}
        Path(above, "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        text = kubectl("kustomize", above)
    objects = [document for document in yaml.safe_load_all(text) if document]
    jobs = [document for document in objects if document["kind"] == "Job"]
    try:
        for job in jobs:  # a Job cannot be changed, and this one brings changed passwords to MinIO
            kubectl("delete", "job", job["metadata"]["name"], "-n", job["metadata"]["namespace"], "--ignore-not-found")
        kubectl("apply", "--server-side", "-f", "-", stdin=text, shown=True)
    except UserError as error:
        raise UserError(f"the cluster did not take {name}: {error}") from error
    restart_outdated([document["metadata"]["name"] for document in objects if document["kind"] == "Namespace"], jobs)


def _image(image: str) -> dict[str, str]:
    """Return an image as kustomize names it."""
    name, (tagged, _, digest) = repository(image), image.partition("@")
    version = {"digest": digest} if digest else {"newTag": tagged.removeprefix(name).removeprefix(":")}
    return {"name": REPOSITORY, "newName": name} | version
