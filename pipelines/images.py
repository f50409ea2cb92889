"""The images of the steps: one for all, and beside it, under the same name, the one with Spark."""

import os

from core.errors import UserError

SPARK = "-spark"  # ends the tag of the image that has Spark, too
DRIVER = {"spark-role": "driver"}  # the label by which the NetworkPolicies of k8s/components/spark know the pod that executors talk to


def use_image(image: str) -> str:
    """Let the steps that are compiled from now on run in an image; to be called before the first is.

    Returns:
        The image.

    Raises:
        UserError: Its name may mean another image tomorrow.
    """
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    if not (digest.startswith("sha256:") or tag not in ("", "latest")):
        raise UserError(f"{image} may be another image tomorrow: name it by a tag that never moves, such as the git commit, or by @sha256:...")
    os.environ["IMAGE"] = image
    return image


def with_spark(image: str) -> str:
    """Name the image that has Spark, too.

    Raises:
        UserError: The image is named by its digest, which says nothing of another's.
    """
    if "@" in image:
        raise UserError(f"{image} does not name the image with Spark: name it by a tag, which {SPARK} can follow")
    return image + SPARK
