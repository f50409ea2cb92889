"""`mlops contract`: read the sources, propose what they may promise."""

import sys
import tempfile

from core.configfile import load_draft
from core.sources import S3Source


def propose(name: str) -> str:
    """Propose a contract for a use case that has none yet, or another one.

    Args:
        name: The use case.

    Returns:
        YAML that can be pasted into its config.

    Raises:
        UserError: The config names no sources, or they cannot be read.
    """
    from components.extract.extract import extract
    from components.validate import proposal
    from core.tracking import Run

    usecase = load_draft(name)
    if any(isinstance(source, S3Source) for source in usecase.sources.values()):
        _find_data(name)
    print(f"reading {', '.join(usecase.sources)}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as workplace:
        extract(Run("extract", usecase), f"{workplace}/tables")
        return proposal.propose(usecase, f"{workplace}/tables")


def _find_data(name: str) -> None:
    """Start the object storage if it does not run; the sample data are delivered as before a run."""
    from local import platform, samples
    from local.environment import enter

    enter(platform.up())
    samples.deliver(name)
