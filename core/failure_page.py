"""The page that explains a failure.

Kubeflow uploads the outputs of a step only if it succeeds, so the step stores this one itself.
"""

from core import storage
from core.errors import UserError


def keep(usecase: str, run_id: str, step: str, name: str, page: bytes) -> str:
    """Store a page at an address that follows from the run.

    Args:
        usecase: The use case.
        run_id: The pipeline run.
        step: The step that failed.
        name: File name of the page, such as `data.html`.
        page: The page.

    Returns:
        Its address; empty if object storage is not configured or refuses it.
    """
    address = f"{storage.artifacts()}/{usecase}-training/{run_id}/{step}/{name}"
    try:
        storage.write(address, page, "text/html; charset=utf-8")
    except UserError:
        return ""
    return address
