"""Which image serves a version: the one that it served with before, else that of the deploy step. MLflow has no say in it."""

import json
import os
from typing import NamedTuple

from core.cluster import Object
from core.errors import UserError
from core.image import repository
from core.registry import Version

SERVED = "mlops/served"  # annotation of the Service: which version served with which image
KEPT = 50  # versions


class Image(NamedTuple):
    """What a version served with."""

    image: str
    digest: str


def choose(version: Version, before: str, allowed: tuple[str, ...]) -> str:
    """Return the image for a release of a version.

    Args:
        version: The version.
        before: The image that it served with, empty if it never did.
        allowed: Repositories whose images may serve; empty for the one of the deploy step's own image.

    Raises:
        UserError: There is no image, or it is of another repository.
    """
    own = os.environ.get("IMAGE", "")
    image, repositories = before or own, allowed or (repository(own),)
    if not image:
        raise UserError(f"no image can serve version {version.version} of {version.name}: set IMAGE in the environment of the deploy step")
    if repository(image) not in repositories:
        raise UserError(
            f"version {version.version} of {version.name} would run the image {image}, but SERVING_IMAGES allows only images of "
            f"{', '.join(repositories)}: deploy with an image from there, or add {repository(image)} to SERVING_IMAGES in the ConfigMap mlops"
        )
    return image


def served(service: Object, version: Version) -> str:
    """Return the image that a version served with; empty if the Service of its use case knows none."""
    before = _read(service).get(version.version)
    return before.image if before and before.digest == version.digest else ""


def noted(service: Object, version: str, image: Image) -> dict[str, str]:
    """Return the annotations by which the Service of a use case knows what serves now; the oldest versions are forgotten."""
    others = [item for item in _read(service).items() if item[0] != version]
    return {SERVED: json.dumps(dict([*others, (version, image)][-KEPT:]))}


def _read(service: Object) -> dict[str, Image]:
    """Read what served, the latest at the end; what somebody has damaged counts as nothing."""
    try:
        found = json.loads(service["metadata"]["annotations"][SERVED])
        return {version: Image(*image) for version, image in found.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
