"""`mlops apply`: an overlay of k8s/overlays on kubectl's cluster, with an image that no tracked file names."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from core.errors import UserError
from core.image import REPOSITORY

OVERLAYS = Path(__file__).resolve().parents[1] / "k8s" / "overlays"


def apply(name: str, image: str | None) -> None:
    """Apply an overlay; kubectl prints what changed.

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
    kubectl = shutil.which("kubectl")
    if not kubectl:
        raise UserError("no kubectl on the PATH: install it")
    with tempfile.TemporaryDirectory(dir=OVERLAYS, prefix=".apply-") as above:  # kustomize refuses absolute paths
        overlay = {"resources": [f"../{name}"], "images": [_image(image)] if image else []}
        Path(above, "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        applied = subprocess.run([kubectl, "apply", "--server-side", "-k", above], stderr=subprocess.PIPE, text=True, check=False)
    if applied.returncode:
        raise UserError(f"the cluster did not take {name}: {_reason(applied.stderr)}")


def _image(image: str) -> dict[str, str]:
    """Return an image as kustomize names it."""
    name, _, digest = image.partition("@")
    head, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    named = {"name": REPOSITORY, "newName": f"{head}/{last}" if head else last}
    return named | ({"digest": digest} if digest else {"newTag": tag})


def _reason(stderr: str) -> str:
    if "field is immutable" in stderr and "buckets" in stderr:
        return "its Job `buckets` still has the old image: `kubectl -n mlops-platform delete job buckets`, then apply again"
    return stderr.strip().splitlines()[0] if stderr.strip() else "kubectl does not say why"
