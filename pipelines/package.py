"""The checked-in YAML of a commit as the package of a run: nothing is compiled, only the image's name differs."""

from pathlib import Path

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
