"""The checked-in YAML of a commit as the package of a run: nothing is compiled, only the image's name differs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from core.image import DEFAULT

COMPILED = Path(__file__).resolve().parent / "compiled"


def compiled_for(usecase: str, config: str, image: str) -> tuple[str, str] | None:
    """Return the training pipeline's YAML with another image, and its description.

    Args:
        usecase: The use case.
        config: Text of its config.yaml.
        image: Image of the steps.

    Returns:
        None if there is no such YAML, it was compiled from another config or its image is not the default one.
    """
    path = COMPILED / f"{usecase}-training.yaml"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    specification = next(yaml.load_all(text, yaml.CSafeLoader))
    if specification["root"]["inputDefinitions"]["parameters"]["config"]["defaultValue"] != config or DEFAULT not in text:
        return None
    return text.replace(DEFAULT, image), specification["pipelineInfo"].get("description", "")


def written(text: str, documents: Iterable[Any]) -> str:
    """Write documents as YAML, in which texts of several lines are blocks, below the comments at the top of a package.

    Args:
        text: The package.
        documents: What it says now.
    """
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return head + yaml.dump_all(documents, Dumper=_Blocks, sort_keys=True)


class _Blocks(yaml.CSafeDumper):
    """Writes texts of several lines as blocks, and what is there twice twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Whether `data` is written out each time."""
        return True


_Blocks.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))
