"""Whether an object of a use case's name is the use case's own."""

from components.deploy.cluster.objects import labels
from core import cluster
from core.errors import UserError


def require_own(kind: str, namespace: str, usecase: str) -> None:
    """Refuse an object of the use case's name that somebody else has made.

    Raises:
        UserError: The object belongs to somebody else.
    """
    try:
        there = cluster.get(kind, namespace, usecase)["metadata"].get("labels", {})
    except cluster.Gone:
        return
    if not labels(usecase).items() <= there.items():
        raise UserError(
            f"the {kind} {usecase} in {namespace} is not of the use case {usecase} (it lacks the labels {labels(usecase)}): "
            "rename the use case, or delete that object"
        )
